package cloud

import (
	"maps"
	"time"
)

// startPlacement starts the service that counts what the scheduler may give away.
func (c *Cloud) startPlacement() {
	c.database("placement")
	conf := c.write(ini{
		"DEFAULT": {"use_stderr": true}, "placement_database": {"connection": connection(c, "placement")},
		"api": {"auth_strategy": "keystone"}, "keystone_authtoken": c.authtoken("placement"),
	}.String(), "etc", "placement", "placement.conf")
	c.once(nil, "placement-manage", "--config-file", conf, "db", "sync")
	c.wsgi("placement", "placement.wsgi.api", "OS_PLACEMENT_CONFIG_DIR="+c.path("etc", "placement"))
	c.await("placement", time.Minute, answers(c.URL("placement")))
}

// novaConf is Nova's configuration, for a host.
func (c *Cloud) novaConf(host string) ini {
	login := c.login("nova")
	there := login.and(section{"region_name": "RegionOne"})
	return ini{
		"DEFAULT": {
			"use_stderr": true, "host": host, "my_ip": "127.0.0.1", "state_path": c.mkdir("data", host), "transport_url": bus(c),
			"compute_driver": "ironic.IronicDriver", "reserved_host_memory_mb": 0, "ram_allocation_ratio": 1.0, "force_config_drive": true,
			"running_deleted_instance_action": "noop", "sync_power_state_interval": -1,
			"update_resources_interval": 5, // the scheduler learns so soon of a node that is free again; the default is a minute
		},
		"api": {"auth_strategy": "keystone"}, "keystone_authtoken": c.authtoken("nova"),
		"service_user": login.and(section{"send_service_user_token": true}),
		"placement":    there, "neutron": there, "cinder": login, "glance": {"region_name": "RegionOne"},
		// Unless it is told to, nova-compute does not ask again when the Bare Metal API is away for a moment: the spawn fails.
		"ironic": there.and(section{
			"connect_retries": 60, "connect_retry_delay": 1, "status_code_retries": 60, "status_code_retry_delay": 1,
		}),
		"conductor": {"workers": 1}, "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 30},
		"filter_scheduler": {"track_instance_changes": false}, "vnc": {"enabled": false},
		"oslo_concurrency":      {"lock_path": c.mkdir("data", host, "lock")},
		"oslo_messaging_rabbit": {"rabbit_quorum_queue": false},
	}
}

// startNova starts Nova's API, conductor and scheduler.
func (c *Cloud) startNova() {
	c.database("nova_api", "nova", "nova_cell0")
	conf := c.write(c.novaConf("cloud").String(), "etc", "nova", "nova.conf")
	// In a file of its own, because nova-compute must not have it.
	databases := c.write(ini{
		"api_database": {"connection": connection(c, "nova_api")}, "database": {"connection": connection(c, "nova")},
	}.String(),
		"etc", "nova", "databases.conf")
	copyFromVenv(c, "etc/nova/api-paste.ini", "etc", "nova", "api-paste.ini")
	both := []string{"--config-file", conf, "--config-file", databases}
	for _, args := range [][]string{
		{"api_db", "sync"}, {"cell_v2", "map_cell0", "--database_connection", connection(c, "nova_cell0")}, {"db", "sync"},
		{"cell_v2", "create_cell", "--name", "cell1"},
	} {
		c.once(nil, "nova-manage", append(append([]string{}, both...), args...)...)
	}
	// The first file of the list is the one of paste.
	c.wsgi("nova", "nova.wsgi.osapi_compute", "OS_NOVA_CONFIG_DIR="+c.path("etc", "nova"),
		"OS_NOVA_CONFIG_FILES=api-paste.ini;nova.conf;databases.conf")
	startConductor(c)
	c.run("nova-scheduler", nil, "nova-scheduler", both...)
	c.await("nova", 2*time.Minute, answers(c.URL("nova")))
}

func startConductor(c *Cloud) {
	c.run("nova-conductor", nil, "nova-conductor", "--config-file", c.path("etc", "nova", "nova.conf"),
		"--config-file", c.path("etc", "nova", "databases.conf"))
}

// Attempts says on how many machines Nova tries to build a server before it gives up: 3 unless told otherwise. Its conductor,
// which counts them, is started anew.
func Attempts(c *Cloud, most int) {
	c.t.Helper()
	conf := c.novaConf("cloud")
	conf["scheduler"]["max_attempts"] = most
	c.write(conf.String(), "etc", "nova", "nova.conf")
	c.Kill("nova-conductor")
	startConductor(c)
}

// ComputeName is what the nova-compute of a host is called by Signal, Kill and Log.
func ComputeName(host string) string { return "nova-compute-" + host }

// DiscoverHosts tells Nova's cell of a nova-compute that has just started; by itself it looks every 30 s.
func DiscoverHosts(c *Cloud) {
	c.t.Helper()
	c.once(nil, "nova-manage", "--config-file", c.path("etc", "nova", "nova.conf"), "--config-file", c.path("etc", "nova", "databases.conf"),
		"cell_v2", "discover_hosts", "--by-service") // by its nodes it would not be found: it may have none yet
}

// Compute starts a nova-compute of a host, with settings beside the usual ones. The Bare Metal API must answer.
func (c *Cloud) Compute(host string, ironic map[string]any) {
	c.t.Helper()
	conf := c.novaConf(host)
	maps.Copy(conf["ironic"], section(ironic))
	c.run(ComputeName(host), nil, "nova-compute", "--config-file", c.write(conf.String(), "etc", "compute-"+host, "nova.conf"))
}
