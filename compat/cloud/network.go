package cloud

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startBus starts RabbitMQ. Debian's wrapper insists on a user of its own, so the server's own script is started.
func (c *Cloud) startBus() {
	data := c.mkdir("data", "rabbit")
	conf := c.write(fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\nloopback_users = none\ndefault_user = cloud\ndefault_pass = cloud\n"+
		"vm_memory_high_watermark.absolute = 1GB\n", c.port("rabbit")), "etc", "rabbit", "rabbitmq.conf")
	plugins := c.write("[].\n", "etc", "rabbit", "plugins")
	env := c.write("", "etc", "rabbit", "env.conf")
	epmd := []string{fmt.Sprint("ERL_EPMD_PORT=", c.port("epmd")), "ERL_EPMD_ADDRESS=127.0.0.1"}
	c.run("epmd", epmd, "epmd", "-port", fmt.Sprint(c.port("epmd")))
	c.run("bus", append(epmd, "HOME="+data, fmt.Sprintf("RABBITMQ_NODENAME=cloud%d@localhost", c.base),
		fmt.Sprint("RABBITMQ_DIST_PORT=", c.port("rabbit-dist")), "RABBITMQ_CONFIG_FILE="+conf, "RABBITMQ_CONF_ENV_FILE="+env,
		"RABBITMQ_MNESIA_BASE="+data, "RABBITMQ_LOG_BASE="+c.path("log"), "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 1:1"),
		"/usr/lib/rabbitmq/bin/rabbitmq-server")
	c.await("bus", 90*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", c.port("rabbit")), time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// ovs are the variables by which Open vSwitch finds its files.
func (c *Cloud) ovs() []string {
	return []string{
		"OVS_RUNDIR=" + c.path("run", "ovs"), "OVS_LOGDIR=" + c.path("log"), "OVS_DBDIR=" + c.path("data", "ovs"),
		"OVS_SYSCONFDIR=" + c.path("etc"),
	}
}

func (c *Cloud) ovsSocket() string { return "unix:" + c.path("run", "ovs", "db.sock") }

// VSwitch runs ovs-vsctl.
func (c *Cloud) VSwitch(args ...string) (string, error) {
	cmd := exec.Command("ovs-vsctl", append([]string{"--timeout=20", "--db=" + c.ovsSocket()}, args...)...)
	cmd.Env = append(os.Environ(), c.ovs()...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// startSwitch starts Open vSwitch in user space, which needs no kernel module, with SSH for Neutron's switch driver.
func (c *Cloud) startSwitch() {
	c.mkdir("run", "ovs")
	db := filepath.Join(c.mkdir("data", "ovs"), "conf.db")
	c.once(c.ovs(), "ovsdb-tool", "create", db, "/usr/share/openvswitch/vswitch.ovsschema")
	c.run("ovsdb", c.ovs(), "ovsdb-server", db, "--remote=p"+c.ovsSocket(), "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
		"--unixctl="+c.path("run", "ovs", "ovsdb.ctl"))
	c.await("ovsdb", 20*time.Second, func() bool { _, err := c.VSwitch("--no-wait", "init"); return err == nil })
	c.run("vswitchd", c.ovs(), "ovs-vswitchd", c.ovsSocket(), "--unixctl="+c.path("run", "ovs", "vswitchd.ctl"))
	c.mustVSwitch("--may-exist", "add-br", c.Bridge, "--", "set", "bridge", c.Bridge, "datapath_type=netdev")
	c.mkdir("etc", "switch")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		c.t.Fatal(err)
	}
	host, key := c.path("etc", "switch", "host"), c.path("etc", "switch", "key")
	c.once(nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host)
	c.once(nil, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", key)
	conf := c.write(fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nPermitRootLogin prohibit-password\n"+
		"PasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nSetEnv OVS_RUNDIR=%s\n",
		c.port("switch"), host, key, c.path("run", "ovs")), "etc", "switch", "sshd_config")
	c.run("switch-ssh", nil, "/usr/sbin/sshd", "-D", "-f", conf)
}

func (c *Cloud) mustVSwitch(args ...string) {
	c.t.Helper()
	if out, err := c.VSwitch(args...); err != nil {
		c.t.Fatalf("ovs-vsctl %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// neutronConf writes neutron.conf. There are two switches for bare metal ports; local_link_connection names one in switch_info:
// "noted" only takes note of what it is told, "ovs" is the bridge, where port_id is a port's name.
func (c *Cloud) neutronConf() string {
	helper := section{"helper_command": filepath.Join(c.venv, "bin", "privsep-helper")}
	conf := ini{
		"DEFAULT": {
			"use_stderr": true, "host": "cloud", "state_path": c.mkdir("data", "neutron"), "core_plugin": "ml2", "service_plugins": "",
			"transport_url": bus(c), "auth_strategy": "keystone", "api_paste_config": filepath.Join(c.venv, "etc/neutron/api-paste.ini"),
			"notify_nova_on_port_status_changes": true, "notify_nova_on_port_data_changes": true, "dhcp_agents_per_network": 1,
			"rpc_workers": 1, "rpc_state_report_workers": 0,
		},
		"database": {"connection": connection(c, "neutron")}, "keystone_authtoken": c.authtoken("neutron"),
		"nova":             c.login("nova").and(section{"region_name": "RegionOne"}),
		"ironic":           c.login("neutron").and(section{"enable_notifications": c.Notifies}),
		"oslo_concurrency": {"lock_path": c.mkdir("data", "neutron", "lock")},
		// Debian's dnsmasq 2.90 ends with a fault when hosts are taken out of its list; the agent looks for that every 2 s.
		"agent": {"root_helper": "", "report_interval": 10, "check_child_processes_interval": 2},
		"ml2": {
			"type_drivers": "flat,vlan", "tenant_network_types": "", "mechanism_drivers": "openvswitch,genericswitch,baremetal",
			"extension_drivers": "port_security",
		},
		"ml2_type_flat": {"flat_networks": "prov"}, "ml2_type_vlan": {"network_vlan_ranges": "prov:100:199"},
		"securitygroup": {"enable_security_group": false, "firewall_driver": "noop"},
		"ovs": {
			"bridge_mappings": "prov:" + c.Bridge, "datapath_type": "netdev", "ovsdb_connection": c.ovsSocket(),
			"of_listen_port": c.port("openflow"),
		},
		"genericswitch:noted": {"device_type": "netmiko_fake", "ip": "127.0.0.1", "username": "none", "password": "none"},
		"genericswitch:ovs": {
			"device_type": "netmiko_ovs_linux", "ip": "127.0.0.1", "port": c.port("switch"), "username": "root", "use_keys": true,
			"key_file": c.path("etc", "switch", "key"), "ngs_ovs_bridge": c.Bridge,
			"ngs_port_default_vlan": Parked, // else an unbound port carries all VLANs
		},
	}
	for _, name := range []string{
		"privsep", "privsep_dhcp_release", "privsep_ovs_vsctl", "privsep_namespace", "privsep_conntrack", "privsep_link",
	} {
		conf[name] = helper
	}
	return c.write(conf.String(), "etc", "neutron", "neutron.conf")
}

func (c *Cloud) startNeutron() {
	c.database("neutron")
	conf := c.neutronConf()
	c.once(nil, "neutron-db-manage", "--config-file", conf, "upgrade", "heads")
	c.wsgi("neutron", "neutron.wsgi.api", "OS_NEUTRON_CONFIG_DIR="+filepath.Dir(conf), "OS_NEUTRON_CONFIG_FILES=neutron.conf")
	c.run("neutron-rpc", nil, "neutron-rpc-server", "--config-file", conf)
	c.await("neutron", 2*time.Minute, answers(c.URL("neutron")))
}

// startDHCP starts Neutron's agents: for the switch, for DHCP (dnsmasq), and for the nodes of the Bare Metal API.
func (c *Cloud) startDHCP() {
	conf := c.path("etc", "neutron", "neutron.conf")
	agent := c.write(ini{
		"DEFAULT": {
			"interface_driver": "openvswitch", "dhcp_driver": "neutron.agent.linux.dhcp.Dnsmasq", "enable_isolated_metadata": false,
			"enable_metadata_network": false, "ovs_integration_bridge": "br-int", "resync_interval": 5,
			"dnsmasq_base_log_dir": c.mkdir("log", "dnsmasq"),
		},
		"ovs": {"ovsdb_connection": c.ovsSocket()},
	}.String(), "etc", "neutron", "dhcp_agent.ini")
	c.run("neutron-ovs-agent", c.ovs(), "neutron-openvswitch-agent", "--config-file", conf)
	c.run("neutron-dhcp-agent", c.ovs(), "neutron-dhcp-agent", "--config-file", conf, "--config-file", agent)
	c.run("ironic-neutron-agent", nil, "ironic-neutron-agent", "--config-file", conf)
	c.await("neutron-dhcp-agent", 2*time.Minute, func() bool {
		var list struct{ Agents []struct{ Alive bool } }
		c.Neutron("GET", "/agents?agent_type=DHCP+agent&agent_type=Open+vSwitch+agent", nil, &list)
		return len(list.Agents) == 2 && list.Agents[0].Alive && list.Agents[1].Alive
	})
}

// endDHCP ends what outlives the DHCP agent: a dnsmasq and a namespace for each network.
func (c *Cloud) endDHCP() {
	for _, name := range []string{"neutron-dhcp-agent", "neutron-ovs-agent"} {
		if s := c.services[name]; s != nil {
			s.signal(syscall.SIGCONT)
			s.signal(syscall.SIGTERM)
			select {
			case <-s.done:
			case <-time.After(15 * time.Second):
				s.signal(syscall.SIGKILL)
			}
		}
	}
	dirs, _ := filepath.Glob(c.path("data", "neutron", "dhcp", "*"))
	for _, dir := range dirs {
		if b, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = exec.Command("ip", "netns", "del", "qdhcp-"+filepath.Base(dir)).Run()
	}
	if c.services["vswitchd"] != nil {
		for _, bridge := range []string{"br-int", c.Bridge} {
			_, _ = c.VSwitch("--if-exists", "del-br", bridge)
		}
	}
}
