package cloud

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ini is a configuration file of oslo.config or paste: sections with keys.
type ini map[string]section

type section map[string]any

func (f ini) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "[%s]\n", name)
		for _, key := range slices.Sorted(maps.Keys(f[name])) {
			fmt.Fprintf(&b, "%s = %v\n", key, f[name][key])
		}
	}
	return b.String()
}

// with adds sections.
func (f ini) with(more ini) ini {
	all := maps.Clone(f)
	maps.Copy(all, more)
	return all
}

// and adds keys.
func (s section) and(more section) section {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// login is how a service logs in as a user of project service.
func (c *Cloud) login(user string) section {
	return section{
		"auth_url": c.AuthURL(), "auth_type": "password", "username": user, "password": Password, "project_name": "service",
		"user_domain_id": "default", "project_domain_id": "default",
	}
}

// authtoken is how a service checks the tokens it is shown.
func (c *Cloud) authtoken(user string) section {
	return c.login(user).and(section{
		"www_authenticate_uri": c.AuthURL(), "service_token_roles": "service", "service_token_roles_required": true,
	})
}

func connection(c *Cloud, database string) string {
	return fmt.Sprintf("mysql+pymysql://cloud:cloud@127.0.0.1:%d/%s", c.port("db"), database)
}

func bus(c *Cloud) string {
	return fmt.Sprintf("rabbit://cloud:cloud@127.0.0.1:%d/", c.port("rabbit"))
}

// wsgi runs a WSGI application under uWSGI. Its HTTP router, not --http-socket, lets a client read a refusal while it still sends.
func (c *Cloud) wsgi(name, module string, env ...string) {
	c.run(name, env, "/usr/bin/uwsgi", "--plugin", "http,python3", "--virtualenv", c.venv, "--http", fmt.Sprintf("127.0.0.1:%d", c.port(name)),
		"--http-chunked-input", "--http-auto-chunked", "--add-header", "Connection: close", "--module", module, "--master",
		"--processes", "1", "--threads", "8", "--enable-threads", "--lazy-apps", "--need-app", "--die-on-term",
		"--buffer-size", "65535", "--disable-logging")
}
