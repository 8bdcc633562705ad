package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/billet-metal/billet/driver/agent"
)

// writeFile puts a configuration file somewhere and returns its name.
func writeFile(t *testing.T, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "billet.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, yaml string, environ, args []string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addConfigFlags(flags)
	if yaml != "" {
		args = append([]string{"--config", writeFile(t, yaml)}, args...)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, _, err := loadConfig(flags, environ)
	return c, err
}

func TestConfigLaterSourceWins(t *testing.T) {
	yaml := "data_dir: /from-file\nlisten: 127.0.0.1:1\nworkers: 7\nroles: [api, conductor]\ndeploy_callback_timeout: 90\n"
	c, err := load(t, yaml, []string{"BILLET_LISTEN=127.0.0.1:2", "BILLET_HOST=env-host", "BILLET_API=http://x", "HOME=/root"},
		[]string{"--listen", "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.DataDir, c.Listen, c.Workers, strings.Join(c.Roles, "+"), c.DeployTimeout, c.Host, c.ImageDir, c.DHCPMode}
	want := []any{"/from-file", "127.0.0.1:3", 7, "api+conductor", 90 * time.Second, "env-host", "/from-file/images", "full"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("value %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// Files below data_dir are named from the root: what reads them later may run elsewhere.
func TestDataDirIsTheCallers(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "", nil, []string{"--data-dir", "data"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.DataDir, c.ImageDir, c.DeployKernel, c.DeployRamdisk}
	want := []string{here + "/data", here + "/data/images", here + "/data/ramdisk/vmlinuz", here + "/data/ramdisk/initramfs"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, tt := range []struct {
		yaml    string
		environ []string
		args    []string
		want    string
	}{
		{yaml: "data_dri: /x\n", want: `billet.yaml: unknown key "data_dri"; ` +
			`the keys are agent_networks, allow_deleting_available_nodes, allowed_hosts, auth,`},
		{environ: []string{"BILLET_LISTN=x"}, want: `environment (BILLET_…): unknown key "listn"`},
		{yaml: "roles: [api, cook]\n", want: `roles: "cook" is not allowed; use any of api, conductor, boot`},
		{yaml: "workers: many\n", want: `workers: "many" is not a number from 1 to 100000`},
		{yaml: "workers:\n  a: 1\n", want: `workers`},
		{args: []string{"--dhcp-range", "10.0.0.9-10.0.0.1"},
			want: `flag --dhcp-range: dhcp_range: "10.0.0.9-10.0.0.1" is not first-last, two IPv4 addresses`},
		{args: []string{"--dhcp-range", "fd00::1-fd00::9"}, want: `dhcp_range: "fd00::1-fd00::9" is not first-last, two IPv4 addresses`},
		{yaml: "dhcp_dns: [192.0.2.1, ns1]\n", want: `dhcp_dns: "ns1" is not an IP address`},
		{args: []string{"--listen", "0.0.0.0:6385"}, want: "listen: 0.0.0.0:6385 can be reached by others and auth is noauth"},
		{args: []string{"--dhcp-provider", "neutron"}, want: "dhcp_provider: neutron needs openstack_auth_url"},
		{args: []string{"--dhcp-provider", "none", "--dhcp-mode", "proxy"},
			want: "dhcp_mode: proxy is for dhcp_provider billet, and that is none: leave it out"},
		{args: []string{"--auth", "http_basic"}, want: "htpasswd_file: auth http_basic needs it"},
		{args: []string{"--auth", "keystone"}, want: "openstack_auth_url: auth keystone needs it"},
		{args: []string{"--auth", "keystone", "--openstack-auth-url", "http://k", "--openstack-username", "a"},
			want: "openstack_auth_url: a login to the cloud needs a user name and a password with a project or the system, " +
				"or an application credential's ID and secret, and not both"},
		{yaml: "shred_final_overwrite_with_zeros: false\n", want: "shred_final_overwrite_with_zeros: it is false and " +
			"shred_random_overwrite_iterations is 0, so overwriting a disk would write nothing"},
		{args: []string{"--shred-random-overwrite-iterations", "101"},
			want: `shred_random_overwrite_iterations: "101" is not a number from 0 to 100`},
		{yaml: "disk_erasure_concurrency: 0\n", want: `disk_erasure_concurrency: "0" is not a number from 1 to 1000`},
		{args: []string{"--config", "/nonexistent.yaml"}, want: "configuration file /nonexistent.yaml"},
		{yaml: "a: [", want: "billet.yaml"},
	} {
		_, err := load(t, tt.yaml, tt.environ, tt.args)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %v %v: got %v, want …%s…", tt.yaml, tt.environ, tt.args, err, tt.want)
		}
	}
}

// Billet's own DHCP is silent where somebody else serves it, without another key.
func TestAnotherProviderOfDHCP(t *testing.T) {
	cloud := []string{"--openstack-auth-url", "http://k", "--openstack-username", "a", "--openstack-password", "b"}
	for provider, want := range map[string]string{"billet": "full", "neutron": "off", "none": "off"} {
		c, err := load(t, "", nil, append(cloud, "--dhcp-provider", provider))
		if err != nil || c.DHCPMode != want {
			t.Fatalf("with dhcp_provider %s the mode is %+v, want %s (%v)", provider, c, want, err)
		}
		// Neutron alone is told what machines boot.
		ip := netip.MustParseAddr("10.0.0.1")
		if told := bootServer(c, &provisioning{ip: ip}); (told == ip) != (provider == "neutron") || bootServer(c, nil).IsValid() {
			t.Errorf("with dhcp_provider %s ports are told of %s", provider, told)
		}
	}
}

// The keys of erasing reach the deploy interface of every hardware type, and leave its defaults as they are.
func TestEraseKeysReachTheDeployInterface(t *testing.T) {
	raid := map[string]int{"deploy.erase_devices": 0, "deploy.erase_devices_metadata": 99, "raid.create_configuration": 0,
		"raid.delete_configuration": 0}
	for _, tt := range []struct {
		yaml       string
		erase      agent.Erase
		priorities map[string]int
	}{
		{"", agent.Erase{ATA: true, NVMe: true, AtOnce: 4}, raid},
		{"enable_ata_secure_erase: false\nenable_nvme_secure_erase: false\ncontinue_if_disk_secure_erase_fails: true\nerase_skip_read_only: " +
			"true\ndisk_erasure_concurrency: 9\nshred_random_overwrite_iterations: 3\nshred_final_overwrite_with_zeros: false\n" +
			"erase_devices_priority: 10\nerase_devices_metadata_priority: 0\ncreate_configuration_priority: 20\ndelete_configuration_priority: 30\n",
			agent.Erase{Overwrite: true, SkipReadOnly: true, AtOnce: 9, RandomPasses: 3, NoZerosAfterAll: true},
			map[string]int{"deploy.erase_devices": 10, "deploy.erase_devices_metadata": 0, "raid.create_configuration": 20,
				"raid.delete_configuration": 30}},
	} {
		c, err := load(t, tt.yaml, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, hardware := range hardwareTypes(c, parts{}) {
			for _, deploy := range hardware.Deploy {
				d, ok := deploy.(*agent.Direct)
				if !ok {
					continue
				}
				found++
				if *d.Erase != tt.erase || !maps.Equal(d.Priorities, tt.priorities) {
					t.Errorf("%s: %+v, %v", hardware.Name, *d.Erase, d.Priorities)
				}
			}
		}
		if found != 2 {
			t.Errorf("%d hardware types have the deploy interface direct", found)
		}
	}
}

// docs/configuration.md is written from the table; UPDATE_DOCS=1 writes it anew.
func TestConfigurationPageIsCurrent(t *testing.T) {
	const file = "../../docs/configuration.md"
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(configPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != configPage() {
		t.Errorf("%s is not what the table says; run UPDATE_DOCS=1 go test ./cmd/billet", file)
	}
}

// A byte-order mark and the line ends of another system change nothing of a configuration file.
func TestConfigFilesOfOtherSystems(t *testing.T) {
	c, err := load(t, "\xef\xbb\xbflisten: 127.0.0.1:7777\r\nworkers: 5\r\n", nil, nil)
	if err != nil || c.Listen != "127.0.0.1:7777" || c.Workers != 5 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := load(t, "\xff\xfel\x00i\x00s\x00t\x00e\x00n\x00", nil, nil); err == nil ||
		!strings.Contains(err.Error(), "billet.yaml: yaml: ") {
		t.Errorf("UTF-16: %v", err)
	}
}

// configPage returns docs/configuration.md.
func configPage() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\nWritten from `cmd/billet/config.go`; do not edit. A key is set, the later winning, by its default, by " +
		"the YAML file named\nwith `--config` (or `BILLET_CONFIG`), by the environment (`BILLET_` and the key in capitals) and by a flag of " +
		"`billet serve`\n(`--` and the key with dashes). An unknown key is an error.\n\n| key | default | meaning |\n|---|---|---|\n")
	for _, k := range new(Config).keys() {
		def := "empty"
		if k.def != "" {
			def = "`" + k.def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, def, strings.ReplaceAll(k.help, "|", "\\|"))
	}
	return b.String()
}

// A network of Neutron without a cloud is refused at the start.
func TestServeRefusesNetworksOfNoCloud(t *testing.T) {
	c, err := load(t, "", nil, []string{"--neutron-cleaning-network", "a"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.checkNetworks()
	if err == nil || !strings.Contains(err.Error(), "neutron_cleaning_network: it needs openstack_auth_url and a login there") {
		t.Error(err)
	}
	c.NeutronNetworks = nil
	if err := c.checkNetworks(); err != nil {
		t.Error(err)
	}
}

// Without a cloud there is no network interface neutron, and machines are left where they are plugged in; with one Neutron connects
// them unless somebody says otherwise.
func TestNetworkInterfacesOfACloud(t *testing.T) {
	login := []string{"--openstack-auth-url", "http://k", "--openstack-username", "a", "--openstack-password", "b"}
	for want, args := range map[string][]string{
		"noop flat": nil, "flat neutron noop": login, "noop flat ": append(login, "--neutron=false"),
	} {
		c, err := load(t, "", nil, args)
		if err != nil {
			t.Fatal(err)
		}
		session, err := c.session()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range networkInterfaces(c, parts{cloud: session}) {
			got = append(got, n.Name())
		}
		if strings.Join(got, " ") != strings.TrimSpace(want) {
			t.Errorf("%v: %v", args, got)
		}
		c.HardwareTypes = []string{"manual-management"}
		if first := hardwareTypes(c, parts{cloud: session})[0].Network[0].Name(); first != "noop" {
			t.Errorf("%v: the default of a machine without a BMC is %s", args, first)
		}
	}
}
