package cloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
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
		"DEFAULT": {"use_stderr": true}, "database": {"connection": c.connection("keystone")},
		"token":                        {"provider": "fernet", "expiration": 36000},
		"fernet_tokens":                {"key_repository": c.mkdir("data", "keystone", "fernet")},
		"fernet_receipts":              {"key_repository": c.mkdir("data", "keystone", "receipts")},
		"credential":                   {"key_repository": c.mkdir("data", "keystone", "credential")},
		"identity":                     {"password_hash_rounds": 4}, // bcrypt's fewest: no password here is worth more
		"cache":                        {"enabled": false},
		"oslo_policy":                  {"enforce_scope": true, "enforce_new_defaults": true},
		"oslo_messaging_notifications": {"driver": "noop"},
	}.String(), "etc", "keystone", "keystone.conf")
	for _, args := range [][]string{
		{"db_sync"}, {"fernet_setup", "--keystone-user", "root", "--keystone-group", "root"},
		{"credential_setup", "--keystone-user", "root", "--keystone-group", "root"},
		{"bootstrap", "--bootstrap-password", "admin", "--bootstrap-region-id", "RegionOne", "--bootstrap-admin-url", c.AuthURL(),
			"--bootstrap-internal-url", c.AuthURL(), "--bootstrap-public-url", c.AuthURL()},
	} {
		c.once(nil, "keystone-manage", append([]string{"--config-file", conf}, args...)...)
	}
	c.wsgi("keystone", "keystone.wsgi.api", "OS_KEYSTONE_CONFIG_DIR="+c.path("etc", "keystone"), "OS_KEYSTONE_CONFIG_FILES="+conf)
	c.await("keystone", time.Minute, answers(c.AuthURL()))
	c.fillKeystone()
}

// users are the services' and a person's, with the roles they have in their project. Neutron lets nobody but the role service bind
// ports; Swift lets ResellerAdmin read other projects' objects.
var users = []struct {
	name, project string
	roles         []string
	system        bool // admin for the whole cloud, too
}{
	{"glance", "service", []string{"admin", "service"}, false},
	{"neutron", "service", []string{"admin", "service"}, true},
	{"nova", "service", []string{"admin", "service"}, true},
	{"placement", "service", []string{"admin", "service"}, false},
	{"swift", "service", []string{"admin", "service"}, false},
	{"demo", "demo", []string{"member", "reader"}, false},
}

// fillKeystone makes projects, users, roles and the catalog by the Identity API. Billet's own user, endpoints and roles are not
// among them: `billet openstack register` makes those.
func (c *Cloud) fillKeystone() {
	k := c.speaker("admin")
	roles := map[string]string{}
	for _, r := range k.list("roles") {
		roles[r["name"].(string)] = r["id"].(string)
	}
	for _, name := range []string{"service", "ResellerAdmin"} {
		if roles[name] == "" {
			roles[name] = k.create("role", section{"name": name})
		}
	}
	projects := map[string]string{}
	for _, name := range []string{"service", "demo"} {
		projects[name] = k.create("project", section{"name": name, "domain_id": "default"})
	}
	for _, admin := range k.list("users") {
		k.do("PUT", fmt.Sprintf("/system/users/%v/roles/%s", admin["id"], roles["admin"]), nil, nil)
	}
	for _, u := range users {
		password := Password
		if u.name == "demo" {
			password = "demo"
		}
		id := k.create("user", section{"name": u.name, "domain_id": "default", "password": password})
		for _, r := range u.roles {
			k.do("PUT", fmt.Sprintf("/projects/%s/users/%s/roles/%s", projects[u.project], id, roles[r]), nil, nil)
		}
		if u.system {
			k.do("PUT", fmt.Sprintf("/system/users/%s/roles/%s", id, roles["admin"]), nil, nil)
		}
	}
	for kind, url := range map[string]string{
		"image": c.URL("glance"), "placement": c.URL("placement"), "network": c.URL("neutron"), "compute": c.URL("nova") + "/v2.1",
		"object-store": c.URL("swift") + "/v1/AUTH_%(project_id)s",
	} {
		service := k.create("service", section{"type": kind, "name": kind})
		for _, face := range []string{"public", "internal"} {
			k.create("endpoint", section{"service_id": service, "interface": face, "region_id": "RegionOne", "url": url})
		}
	}
}

// rest is the little of a service's API that fills an empty cloud. A refusal ends the test.
type rest struct {
	c          *Cloud
	url, token string
}

// speaker speaks to Keystone, as one of the cloud's users.
func (c *Cloud) speaker(user string) *rest {
	c.t.Helper()
	k := &rest{c: c, url: c.AuthURL()}
	project, password := c.userOf(user)
	domain := map[string]any{"id": "default"}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": user, "password": password, "domain": domain,
		}}},
		"scope": map[string]any{"project": map[string]any{"name": project, "domain": domain}},
	}}
	k.token = k.do("POST", "/auth/tokens", body, nil).Get("X-Subject-Token")
	return k
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
