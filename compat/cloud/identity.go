package cloud

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"time"
)

// startDatabase starts MariaDB and memcached.
func (c *Cloud) startDatabase() {
	data := c.path("data", "mysql")
	c.once(nil, "mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+data, "--auth-root-authentication-method=socket")
	c.run("db", nil, "mariadbd", "--no-defaults", "--user=root", "--datadir="+data, "--socket="+c.path("run", "db.sock"),
		"--bind-address=127.0.0.1", fmt.Sprint("--port=", c.port("db")), "--max-connections=400", "--innodb-buffer-pool-size=128M",
		"--innodb-flush-log-at-trx-commit=2", "--skip-name-resolve")
	c.await("db", time.Minute, func() bool {
		return exec.Command("mariadb", "--no-defaults", "--socket="+c.path("run", "db.sock"), "-uroot", "-e", "SELECT 1").Run() == nil
	})
	c.run("memcached", nil, "memcached", "-u", "root", "-l", "127.0.0.1", "-p", fmt.Sprint(c.port("memcached")), "-m", "64")
}

// startKeystone starts Keystone with users, roles and a catalog of all services of the cloud.
func (c *Cloud) startKeystone() {
	c.database("keystone")
	conf := c.write(ini{
		"DEFAULT": {"use_stderr": true}, "database": {"connection": connection(c, "keystone")},
		"token":                        {"provider": "fernet", "expiration": 36000},
		"fernet_tokens":                {"key_repository": c.mkdir("data", "keystone", "fernet")},
		"fernet_receipts":              {"key_repository": c.mkdir("data", "keystone", "receipts")},
		"credential":                   {"key_repository": c.mkdir("data", "keystone", "credential")},
		"identity":                     {"password_hash_rounds": 4},                          // bcrypt's fewest: no password here is worth more
		"cache":                        {"enabled": true, "backend": "dogpile.cache.memory"}, // without it each token costs a second
		"oslo_policy":                  {"enforce_scope": true, "enforce_new_defaults": true},
		"oslo_messaging_notifications": {"driver": "noop"},
	}.String(), "etc", "keystone", "keystone.conf")
	for _, kind := range []string{"fernet", "receipts", "credential"} {
		newKeys(c, "data", "keystone", kind)
	}
	c.once(nil, "keystone-manage", "--config-file", conf, "db_sync")
	c.once(nil, "keystone-manage", "--config-file", conf, "bootstrap", "--bootstrap-password", "admin", "--bootstrap-region-id", "RegionOne",
		"--bootstrap-admin-url", c.AuthURL(), "--bootstrap-internal-url", c.AuthURL(), "--bootstrap-public-url", c.AuthURL())
	c.wsgi("keystone", "keystone.wsgi.api", "OS_KEYSTONE_CONFIG_DIR="+c.path("etc", "keystone"), "OS_KEYSTONE_CONFIG_FILES="+conf)
	c.await("keystone", time.Minute, answers(c.AuthURL()))
	fillKeystone(c)
}

// newKeys writes what `keystone-manage fernet_setup` would, which takes seconds to start: the next key of tokens (0) and the one in use.
func newKeys(c *Cloud, folder ...string) {
	for _, name := range []string{"0", "1"} {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		c.write(base64.URLEncoding.EncodeToString(key), append(slices.Clone(folder), name)...)
	}
}

// fillKeystone makes the projects, the roles, a person, demo, and nova, a service that acts for users. The other services enlist when
// they start; Billet's own user, endpoints and roles are not among them: `billet openstack register` makes those.
func fillKeystone(c *Cloud) {
	k := &Identities{rest: c.speaker("admin"), roles: map[string]string{}, projects: map[string]string{}}
	for _, r := range k.list("roles") {
		k.roles[r["name"].(string)] = r["id"].(string)
	}
	for _, name := range []string{"service", "ResellerAdmin"} { // by the latter Swift lets a service read other projects' objects
		if k.roles[name] == "" {
			k.roles[name] = k.create("role", section{"name": name})
		}
	}
	for _, name := range []string{"service", "demo"} {
		k.projects[name] = k.create("project", section{"name": name, "domain_id": "default"})
	}
	for _, admin := range k.list("users") {
		k.do("PUT", fmt.Sprintf("/system/users/%v/roles/%s", admin["id"], k.roles["admin"]), nil, nil)
	}
	k.user("demo", "demo", "demo", "member", "reader")
	k.service("nova")
	*c.identity = *k
}

// catalog are the types of the services, and what follows the URL of each.
var catalog = map[string]struct{ kind, path string }{
	"glance": {"image", ""}, "placement": {"placement", ""}, "neutron": {"network", ""}, "nova": {"compute", "/v2.1"},
	"swift": {"object-store", "/v1/AUTH_%(project_id)s"},
}

// enlist makes the account of a service that starts, and its endpoints.
func enlist(c *Cloud, name string) {
	entry, ok := catalog[name]
	if !ok {
		return
	}
	k := c.Identities()
	if name != "nova" {
		k.service(name)
	}
	service := k.create("service", section{"type": entry.kind, "name": entry.kind})
	for _, face := range []string{"public", "internal"} {
		k.create("endpoint", section{"service_id": service, "interface": face, "region_id": "RegionOne", "url": c.URL(name) + entry.path})
	}
}

// service makes the account of a service. Neutron lets nobody but the role service bind ports.
func (k *Identities) service(name string) {
	id := k.user(name, Password, "service", "admin", "service")
	if name == "neutron" || name == "nova" {
		k.do("PUT", fmt.Sprintf("/system/users/%s/roles/%s", id, k.roles["admin"]), nil, nil)
	}
}

// Identities are Keystone's, for an administrator. It asks on behalf of the test that this cloud is of.
func (c *Cloud) Identities() *Identities {
	k := *c.identity.rest
	k.c = c
	return &Identities{&k, c.identity.roles, c.identity.projects}
}

// User makes an account with roles in a project, whose password is Password.
func (k *Identities) User(name, project string, roles ...string) {
	k.c.t.Helper()
	k.user(name, Password, project, roles...)
}

func (k *Identities) user(name, password, project string, roles ...string) (id string) {
	id = k.create("user", section{"name": name, "password": password, "domain_id": "default"})
	for _, r := range roles {
		k.do("PUT", fmt.Sprintf("/projects/%s/users/%s/roles/%s", k.projects[project], id, k.roles[r]), nil, nil)
	}
	return id
}

// rest is the little of a service's API that fills an empty cloud. A refusal ends the test.
type rest struct {
	c                   *Cloud
	url, token, subject string // subject is the token that is asked about
}

// Identities are an administrator's words with Keystone.
type Identities struct {
	*rest
	roles, projects map[string]string // name → ID
}

// speaker speaks to Keystone, as one of the cloud's users.
func (c *Cloud) speaker(user string) *rest {
	c.t.Helper()
	return &rest{c: c, url: c.AuthURL(), token: c.Token(user)}
}

// Token logs in as one of the cloud's users, and spares the start of a client, a second and a half of a processor.
func (c *Cloud) Token(user string) string {
	c.t.Helper()
	project, password := userOf(user)
	return c.TokenFor(user, password, project)
}

// TokenFor logs in for a project, or with "" for the whole system.
func (c *Cloud) TokenFor(user, password, project string) string {
	c.t.Helper()
	here := section{"id": "default"}
	scope := section{"project": section{"name": project, "domain": here}}
	if project == "" {
		scope = section{"system": section{"all": true}}
	}
	who := section{"name": user, "password": password, "domain": here}
	body := section{"auth": section{
		"identity": section{"methods": []string{"password"}, "password": section{"user": who}}, "scope": scope,
	}}
	k := &rest{c: c, url: c.AuthURL()}
	return k.do("POST", "/auth/tokens", body, nil).Get("X-Subject-Token")
}

// Revoke ends a token.
func (k *Identities) Revoke(token string) {
	k.c.t.Helper()
	(&rest{c: k.c, url: k.url, token: token, subject: token}).do("DELETE", "/auth/tokens", nil, nil)
}

func (k *rest) list(kind string) []map[string]any {
	out := map[string]json.RawMessage{}
	k.do("GET", "/"+kind, nil, &out)
	var items []map[string]any
	if err := json.Unmarshal(out[kind], &items); err != nil {
		k.c.t.Fatal(err)
	}
	return items
}

func (k *rest) create(kind string, fields section) (id string) {
	out := map[string]map[string]any{}
	k.do("POST", "/"+kind+"s", map[string]any{kind: fields}, &out)
	id, _ = out[kind]["id"].(string)
	return id
}

func (k *rest) do(method, path string, in, out any) http.Header {
	k.c.t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			k.c.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, k.url+path, &body)
	if err != nil {
		k.c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if k.token != "" {
		req.Header.Set("X-Auth-Token", k.token)
	}
	if k.subject != "" {
		req.Header.Set("X-Subject-Token", k.subject)
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		k.c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		k.c.t.Fatalf("%s %s: %d %v %s", method, path, resp.StatusCode, err, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			k.c.t.Fatal(err)
		}
	}
	return resp.Header
}
