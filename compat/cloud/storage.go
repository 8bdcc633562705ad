package cloud

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// startGlance starts Glance with two stores: files, and objects of Swift.
func (c *Cloud) startGlance() {
	c.database("glance")
	swift := c.write(ini{"ref": {
		"user": "service:glance", "key": Password, "auth_version": 3, "auth_address": c.AuthURL(),
		"user_domain_id": "default", "project_domain_id": "default",
	}}.String(), "etc", "glance", "swift-store.conf")
	conf := c.write(ini{
		"DEFAULT": {
			"use_stderr": true, "bind_host": "127.0.0.1", "bind_port": c.port("glance"), "enabled_backends": "file:file, swift:swift",
			"worker_self_reference_url": c.URL("glance"), "show_multiple_locations": true, "transport_url": bus(c),
		},
		"database": {"connection": connection(c, "glance")}, "glance_store": {"default_backend": "file"},
		"file": {"filesystem_store_datadir": c.mkdir("data", "glance", "images")},
		"swift": {
			"default_swift_reference": "ref", "swift_store_config_file": swift, "swift_store_container": "glance",
			"swift_store_create_container_on_put": true, "swift_store_large_object_size": 5120, // an image is one object
		},
		"os_glance_staging_store": {"filesystem_store_datadir": c.mkdir("data", "glance", "staging")},
		"os_glance_tasks_store":   {"filesystem_store_datadir": c.mkdir("data", "glance", "tasks")},
		"keystone_authtoken":      c.authtoken("glance"), "paste_deploy": {"flavor": "keystone"},
		"oslo_concurrency": {"lock_path": c.path("run")},
	}.String(), "etc", "glance", "glance-api.conf")
	copyFromVenv(c, "etc/glance/glance-api-paste.ini", "etc", "glance", "glance-api-paste.ini")
	c.once(nil, "glance-manage", "--config-file", conf, "db_sync")
	c.wsgi("glance", "glance.wsgi.api", "OS_GLANCE_CONFIG_DIR="+c.path("etc", "glance"))
	c.await("glance", time.Minute, answers(c.URL("glance")))
}

func copyFromVenv(c *Cloud, from string, to ...string) {
	b, err := os.ReadFile(filepath.Join(c.venv, from))
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(string(b), to...)
}

// rings makes the three rings of one disk at once: nine starts of swift-ring-builder take longer than all else of Swift.
const rings = `
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(("account", "container", "object"), sys.argv[2:]):
    ring = RingBuilder(4, 1, 1)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 100})
    ring.rebalance()
    ring.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
`

// startSwift starts a Swift of one disk.
func (c *Cloud) startSwift() {
	etc := c.mkdir("etc", "swift")
	c.mkdir("data", "swift", "d1")
	c.once(nil, "python3", "-c", rings, etc, fmt.Sprint(c.port("account")), fmt.Sprint(c.port("container")), fmt.Sprint(c.port("object")))
	c.write(ini{
		"swift-hash":       {"swift_hash_path_prefix": "a", "swift_hash_path_suffix": "b"},
		"storage-policy:0": {"name": "one", "default": "yes"},
	}.String(),
		"etc", "swift", "swift.conf")
	for _, kind := range []string{"account", "container", "object"} {
		conf := c.write(ini{
			"DEFAULT": {
				"bind_ip": "127.0.0.1", "bind_port": c.port(kind), "swift_dir": etc, "devices": c.path("data", "swift"),
				"mount_check": false, "workers": 0,
				"log_name": "swift-" + kind, "user": "root", "fallocate_reserve": 0,
			},
			"pipeline:main": {"pipeline": kind + "-server"}, "app:" + kind + "-server": {"use": "egg:swift#" + kind},
		}.String(), "etc", "swift", kind+"-server.conf")
		c.run("swift-"+kind, nil, "swift-"+kind+"-server", conf, "-v")
	}
	filters := ini{}
	for name, egg := range map[string]string{
		"catch_errors": "catch_errors", "gatekeeper": "gatekeeper", "healthcheck": "healthcheck", "proxy-logging": "proxy_logging",
		"listing_formats": "listing_formats", "copy": "copy", "slo": "slo", "dlo": "dlo",
	} {
		filters["filter:"+name] = section{"use": "egg:swift#" + egg}
	}
	conf := c.write(filters.with(ini{
		"DEFAULT": {"bind_ip": "127.0.0.1", "bind_port": c.port("swift"), "swift_dir": etc, "workers": 0,
			"log_name": "swift-proxy", "user": "root"},
		"pipeline:main": {"pipeline": "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempurl authtoken keystoneauth " +
			"copy slo dlo proxy-logging proxy-server"},
		"app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": true},
		"filter:cache":     {"use": "egg:swift#memcache", "memcache_servers": fmt.Sprintf("127.0.0.1:%d", c.port("memcached"))},
		"filter:tempurl":   {"use": "egg:swift#tempurl", "allowed_digests": "sha1 sha256 sha512"},
		"filter:keystoneauth": {"use": "egg:swift#keystoneauth", "operator_roles": "admin, member, service",
			"reseller_admin_role": "ResellerAdmin"},
		"filter:authtoken": c.authtoken("swift").and(section{
			"paste.filter_factory": "keystonemiddleware.auth_token:filter_factory", "delay_auth_decision": true,
		}),
	}).String(), "etc", "swift", "proxy-server.conf")
	c.run("swift-proxy", nil, "swift-proxy-server", conf, "-v")
	c.await("swift-proxy", time.Minute, answers(c.URL("swift")+"/healthcheck"))
}
