package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// keyCases are, for the keys of the table, three values each takes and the texts it refuses, with the beginning of the reason. A key
// without a line here is tried with its default.
var keyCases = map[string]struct {
	good    [3]string
	refused map[string]string
}{
	"data_dir":        {[3]string{"/a", "/b", "/c"}, nil},
	"database":        {[3]string{"postgres://a", "postgres://b", ""}, nil},
	"secret_key_file": {[3]string{"/a", "/b", "c"}, nil},
	"host":            {[3]string{"a", "b", "c.example"}, nil},
	"roles": {[3]string{"api", "conductor,boot", "boot, api"},
		map[string]string{"cook": `"cook" is not allowed; use any of api, conductor, boot`, "": "is empty; use any of api, conductor, boot",
			" , ": "is empty; use any of api, conductor, boot", "API": `"API" is not allowed; use any of api, conductor, boot`}},
	"enabled_hardware_types": {[3]string{"ipmi", "fake-hardware", "ipmi,fake-hardware"},
		map[string]string{"redfish": `"redfish" is not allowed; use any of ipmi, fake-hardware`, "": "is empty; use any of ipmi, fake-hardware"}},
	"log_format": {[3]string{"text", "json", "text"},
		map[string]string{"xml": `"xml" is not allowed; use one of text, json`, "": `"" is not allowed; use one of text, json`}},
	"log_level": {[3]string{"debug", "warn", "error"},
		map[string]string{"INFO": `"INFO" is not allowed; use one of debug, info, warn, error`}},
	"listen": {[3]string{"127.0.0.1:1", "localhost:2", "[::1]:0"},
		map[string]string{"127.0.0.1": `"127.0.0.1" is not address:port`, "6385": `"6385" is not address:port`,
			"127.0.0.1:http": `"127.0.0.1:http" is not address:port`, "127.0.0.1:65536": `"127.0.0.1:65536" is not address:port`,
			"127.0.0.1:-1": `"127.0.0.1:-1" is not address:port`, "::1:80": `"::1:80" is not address:port`, "": `"" is not address:port`}},
	"auth": {[3]string{"noauth", "noauth", "noauth"},
		map[string]string{"kerberos": `"kerberos" is not allowed; use one of noauth, http_basic, keystone`}},
	"openstack_auth_url": {
		[3]string{"https://a/v3", "http://b:5000", ""}, map[string]string{"keystone": `"keystone" is not an http or https URL`},
	},
	"openstack_username": {[3]string{"ironic", "a", ""}, nil}, "openstack_password": {[3]string{"a", "b", ""}, nil},
	"openstack_user_domain": {[3]string{"Default", "a", "b"}, nil}, "openstack_project_domain": {[3]string{"Default", "a", "b"}, nil},
	"openstack_project":                       {[3]string{"service", "a", ""}, nil},
	"openstack_application_credential_id":     {[3]string{"a", "b", ""}, nil},
	"openstack_application_credential_secret": {[3]string{"a", "b", ""}, nil},
	"openstack_region":                        {[3]string{"RegionOne", "a", ""}, nil},
	"openstack_interface": {[3]string{"public", "internal", "admin"},
		map[string]string{"private": `"private" is not allowed; use one of internal, public, admin`}},
	"openstack_endpoints": {[3]string{"image=http://a:9292", "network=http://b,image=https://c/x", ""},
		map[string]string{"compute=http://a": `"compute=http://a" is not TYPE=URL with a type of identity, image, network, object-store`,
			"image": `"image" is not TYPE=URL with a type of identity, image, network, object-store`, "image=a": `"a" is not an http or https URL`}},
	"openstack_ca_file":        {[3]string{"/a", "/b", ""}, nil},
	"image_cache_dir":          {[3]string{"/a", "/b", ""}, nil},
	"image_cache_size_gb":      {[3]string{"20", "1", "5000"}, map[string]string{"0": `"0" is not a number from 1 to 1000000`}},
	"neutron":                  {[3]string{"true", "false", "1"}, map[string]string{"maybe": `"maybe" is not true or false`}},
	"neutron_cleaning_network": {[3]string{"a", "b", ""}, nil}, "neutron_provisioning_network": {[3]string{"a", "b", ""}, nil},
	"neutron_inspection_network": {[3]string{"a", "b", ""}, nil}, "neutron_rescuing_network": {[3]string{"a", "b", ""}, nil},
	"neutron_servicing_network": {[3]string{"a", "b", ""}, nil},
	"neutron_port_timeout":      {[3]string{"2m", "30s", "90"}, map[string]string{"soon": `"soon" is not a duration such as 90s or 30m`}},
	"openstack_timeout":         {[3]string{"30s", "1m", "5"}, map[string]string{"soon": `"soon" is not a duration such as 90s or 30m`}},
	"www_authenticate_uri":      {[3]string{"https://a", "http://b:5000/v3", ""}, map[string]string{"a": `"a" is not an http or https URL`}},
	"htpasswd_file":             {[3]string{"/a", "/b", "/c"}, nil},
	"swift_temp_url_key":        {[3]string{"a", "b", ""}, nil},
	"swift_temp_url_endpoint": {[3]string{"http://a:8080", "https://b", ""},
		map[string]string{"a:8080": `"a:8080" is not an http or https URL`}},
	"configdrive_use_object_store": {[3]string{"false", "0", "f"}, map[string]string{"swift": `"swift" is not true or false`}},
	"configdrive_swift_container":  {[3]string{"a", "b", ""}, nil},
	"configdrive_swift_threshold_kb": {[3]string{"0", "64", "1000000"},
		map[string]string{"-1": `"-1" is not a number from 0 to 1000000`}},
	"configdrive_swift_expire":  {[3]string{"168h", "1m", "5"}, map[string]string{"soon": `"soon" is not a duration such as 90s or 30m`}},
	"configdrive_swift_timeout": {[3]string{"5m", "1m", "5"}, map[string]string{"soon": `"soon" is not a duration such as 90s or 30m`}},
	"deploy_logs_storage_backend": {[3]string{"local", "local", "local"},
		map[string]string{"none": `"none" is not allowed; use one of local, swift`}},
	"deploy_logs_swift_container": {[3]string{"a", "b", ""}, nil},
	"deploy_logs_swift_days_to_expire": {[3]string{"30", "0", "36500"},
		map[string]string{"-1": `"-1" is not a number from 0 to 36500`}},
	"inventory_data_backend": {[3]string{"database", "none", "database"},
		map[string]string{"file": `"file" is not allowed; use one of database, swift, none`}},
	"inventory_swift_data_container": {[3]string{"a", "b", ""}, nil},
	"image_download_source": {[3]string{"cache", "swift", "cache"},
		map[string]string{"http": `"http" is not allowed; use one of cache, swift`}},
	"glance_swift_container": {[3]string{"glance", "a", "b"}, nil}, "glance_swift_account": {[3]string{"AUTH_a", "b", ""}, nil},
	"noauth_anywhere": {[3]string{"true", "false", "1"},
		map[string]string{"yes": `"yes" is not true or false`, "": `"" is not true or false`, "2": `"2" is not true or false`}},
	"public_endpoint": {[3]string{"https://a", "http://b:1", "http://c/x"}, nil},
	"allowed_hosts":   {[3]string{"metal.example", "a,b", "10.0.0.1,fd00::1"}, nil},
	"discovery_limit": {[3]string{"0", "5", "1000000"}, map[string]string{"-1": `"-1" is not a number from 0 to 1000000`}},
	"max_limit": {[3]string{"1", "50", "1000000"}, map[string]string{"0": `"0" is not a number from 1 to 1000000`,
		"1000001": `"1000001" is not a number from 1 to 1000000`, "1e3": `"1e3" is not a number from 1 to 1000000`}},
	"provision_interface": {[3]string{"eth0", "br0", "lo"}, nil},
	"provision_port": {[3]string{"1", "80", "65535"}, map[string]string{"0": `"0" is not a number from 1 to 65535`,
		"65536": `"65536" is not a number from 1 to 65535`, "http": `"http" is not a number from 1 to 65535`}},
	"dhcp_provider": {[3]string{"billet", "none", "billet"},
		map[string]string{"dnsmasq": `"dnsmasq" is not allowed; use one of billet, neutron, none`}},
	"dhcp_mode": {[3]string{"full", "proxy", "off"}, map[string]string{"on": `"on" is not allowed; use one of full, proxy, off`}},
	"dhcp_range": {[3]string{"10.0.0.1-10.0.0.9", "10.0.0.5-10.0.0.5", "192.0.2.1-192.0.2.254"},
		map[string]string{"10.0.0.9-10.0.0.1": `"10.0.0.9-10.0.0.1" is not first-last, two IPv4 addresses`,
			"10.0.0.1":            `"10.0.0.1" is not first-last, two IPv4 addresses`,
			"10.0.0.0/24":         `"10.0.0.0/24" is not first-last, two IPv4 addresses`,
			"10.0.0.1-":           `"10.0.0.1-" is not first-last, two IPv4 addresses`,
			"fd00::1-fd00::9":     `"fd00::1-fd00::9" is not first-last, two IPv4 addresses`,
			"10.0.0.1 - 10.0.0.9": `"10.0.0.1 - 10.0.0.9" is not first-last, two IPv4 addresses`}},
	"dhcp_ranges": rangesCase,
	"dhcp_router": {[3]string{"10.0.0.1", "192.0.2.1", ""}, map[string]string{"gateway": `"gateway" is not an IP address`,
		"10.0.0.0/24": `"10.0.0.0/24" is not an IP address`, "10.0.0.256": `"10.0.0.256" is not an IP address`}},
	"dhcp_dns": {[3]string{"10.0.0.1", "10.0.0.1,192.0.2.1", "fd00::1"},
		map[string]string{"10.0.0.1,ns1": `"ns1" is not an IP address`, "10.0.0.1 192.0.2.1": `"10.0.0.1 192.0.2.1" is not an IP address`}},
	"dhcp_lease_time": {[3]string{"1h", "90", "30m10s"},
		map[string]string{"1 hour": `"1 hour" is not a duration such as 90s or 30m`, "-5m": `"-5m" is not a duration such as 90s or 30m`,
			"1.5": `"1.5" is not a duration such as 90s or 30m`, "": `"" is not a duration such as 90s or 30m`}},
	"tftp_port":   {[3]string{"69", "6969", "1"}, map[string]string{"70000": `"70000" is not a number from 1 to 65535`}},
	"loader_dirs": {[3]string{"/a", "/a,/b", ""}, nil},
	"agent_networks": {[3]string{"10.0.0.0/8", "10.1.0.0/16,fd00::/8", ""},
		map[string]string{"rack1": `"rack1" is neither an address nor a network`}},
	"boot_address_check":     {[3]string{"true", "false", "t"}, map[string]string{"on": `"on" is not true or false`}},
	"discovery":              {[3]string{"true", "false", "t"}, map[string]string{"on": `"on" is not true or false`}},
	"deploy_kernel":          {[3]string{"/a", "http://b/k", "file:///c"}, nil},
	"deploy_ramdisk":         {[3]string{"/a", "http://b/r", "file:///c"}, nil},
	"kernel_append_params":   {[3]string{"quiet", "console=ttyS0,115200 a=b", ""}, nil},
	"image_dir":              {[3]string{"/a", "/b", "c"}, nil},
	"file_url_allowed_paths": {[3]string{"/a", "/a,/b", ""}, nil},
	"url_allowed_networks": {[3]string{"127.0.0.1", "127.0.0.0/8,[::1]:6385", "fe80::/10"},
		map[string]string{"localhost": `"localhost" is neither an address nor a network such as 10.0.0.0/8`,
			"10.0.0.0/33": `"10.0.0.0/33" is neither an address nor a network such as 10.0.0.0/8`}},
	"url_denied_networks": {[3]string{"10.0.0.1", "10.0.0.0/8,fd00::/8", ""},
		map[string]string{"10.0.0.1:80": `"10.0.0.1:80" is neither an address nor a network such as 10.0.0.0/8`}},
	"automated_clean":                {[3]string{"true", "false", "0"}, map[string]string{"never": `"never" is not true or false`}},
	"allow_deleting_available_nodes": {[3]string{"true", "false", "F"}, map[string]string{"no": `"no" is not true or false`}},
	"erase_devices_priority": {[3]string{"0", "10", "1000"},
		map[string]string{"-1": `"-1" is not a number from 0 to 1000`, "1001": `"1001" is not a number from 0 to 1000`}},
	"deploy_callback_timeout": {[3]string{"30m", "1800", "0s"},
		map[string]string{"soon": `"soon" is not a duration such as 90s or 30m`}},
	"clean_callback_timeout":     {[3]string{"30m", "1800", "0"}, map[string]string{"-1": `"-1" is not a duration such as 90s or 30m`}},
	"inspect_callback_timeout":   {[3]string{"30m", "1800", "24h"}, map[string]string{"1d": `"1d" is not a duration such as 90s or 30m`}},
	"inspection_lldp":            {[3]string{"true", "false", "1"}, map[string]string{"lldp": `"lldp" is not true or false`}},
	"rescue_callback_timeout":    {[3]string{"30m", "1800", "1ms"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"service_callback_timeout":   {[3]string{"30m", "1800", "1h1s"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"boot_phase_timeout":         {[3]string{"110s", "0s", "5m"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"firmware_timeout":           {[3]string{"25m", "0", "1h"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"power_state_change_timeout": {[3]string{"60s", "5", "2m"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"sync_power_state_interval":  {[3]string{"2m", "0s", "10"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"heartbeat_timeout":          {[3]string{"5m", "300", "1h"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"lease_ttl":                  {[3]string{"30s", "45", "1m"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"discovery_driver": {[3]string{"ipmi", "fake-hardware", "ipmi"},
		map[string]string{"redfish": `"redfish" is not allowed; use one of ipmi, fake-hardware`}},
	"fast_track":         {[3]string{"true", "false", "1"}, map[string]string{"fast": `"fast" is not true or false`}},
	"fast_track_timeout": {[3]string{"5m", "60", "1h"}, map[string]string{"x": `"x" is not a duration such as 90s or 30m`}},
	"inspection_hooks":   {[3]string{"memory", "cpus,memory", "root-device"}, nil},
	"inspection_add_ports": {[3]string{"pxe", "all", "disabled"},
		map[string]string{"none": `"none" is not allowed; use one of pxe, active, all, disabled`}},
	"inspection_keep_ports": {[3]string{"all", "present", "added"},
		map[string]string{"some": `"some" is not allowed; use one of all, present, added`}},
	"inspection_update_pxe_enabled": {[3]string{"true", "false", "0"}, map[string]string{"x": `"x" is not true or false`}},
	"inspection_power_off":          {[3]string{"true", "false", "0"}, map[string]string{"x": `"x" is not true or false`}},
	"inspection_rules_built_in":     {[3]string{"/a", "/b", ""}, nil},
	"capture_serial":                {[3]string{"true", "false", "0"}, map[string]string{"x": `"x" is not true or false`}},
	"serial_console":                {[3]string{"ttyS0", "ttyS1,9600n8", ""}, nil},
	"workers": {[3]string{"1", "300", "100000"},
		map[string]string{"0": `"0" is not a number from 1 to 100000`, "many": `"many" is not a number from 1 to 100000`,
			" 5": `" 5" is not a number from 1 to 100000`}},
}

// written reads a configuration and returns what each key was set to, as it was written.
func written(t *testing.T, file string, environ, args []string) (map[string]string, error) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addConfigFlags(flags)
	if file != "" {
		args = append([]string{"--config", writeFile(t, file)}, args...)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	_, texts, err := loadConfig(flags, environ)
	return texts, err
}

// Every key may be set in the file, in the environment and by a flag; each beats the ones before it, and what is set nowhere has its
// default.
func TestEveryKeyFromEverySource(t *testing.T) {
	for _, k := range new(Config).keys() {
		c, ok := keyCases[k.name]
		if !ok {
			c.good = [3]string{k.def, k.def, k.def}
		}
		file := fmt.Sprintf("%s: %q\n", k.name, c.good[0])
		environ := []string{"BILLET_" + strings.ToUpper(k.name) + "=" + c.good[1]}
		flag := []string{"--" + strings.ReplaceAll(k.name, "_", "-") + "=" + c.good[2]}
		for _, tt := range []struct {
			what          string
			file          string
			environ, args []string
			want          string
			set           bool
		}{
			{"nowhere", "", nil, nil, "", false},
			{"in the file", file, nil, nil, c.good[0], true},
			{"in the environment", "", environ, nil, c.good[1], true},
			{"by a flag", "", nil, flag, c.good[2], true},
			{"in the file and the environment", file, environ, nil, c.good[1], true},
			{"in the file and by a flag", file, nil, flag, c.good[2], true},
			{"in the environment and by a flag", "", environ, flag, c.good[2], true},
			{"everywhere", file, environ, flag, c.good[2], true},
		} {
			texts, err := written(t, tt.file, tt.environ, tt.args)
			got, set := texts[k.name]
			if err != nil || got != tt.want || set != tt.set {
				t.Errorf("%s set %s: %q, %v, %v; want %q", k.name, tt.what, got, set, err, tt.want)
			}
			if len(texts) > 1 {
				t.Errorf("%s set %s set %v too", k.name, tt.what, texts)
			}
		}
	}
	for name := range keyCases {
		if !slices.ContainsFunc(new(Config).keys(), func(k key) bool { return k.name == name }) {
			t.Errorf("keyCases has %s, which is no key", name)
		}
	}
}

// A value that a key does not take is refused with the key, where it was set and what is allowed; a good one further on does not hide it
// and a bad one that is overruled does no harm.
func TestEveryKeysRefusals(t *testing.T) {
	for name, c := range keyCases {
		flag := "--" + strings.ReplaceAll(name, "_", "-")
		variable := "BILLET_" + strings.ToUpper(name) + "="
		for bad, why := range c.refused {
			for _, tt := range []struct {
				file          string
				environ, args []string
				want          string // FILE stands for the file's name
			}{
				{fmt.Sprintf("%s: %q\n", name, bad), nil, nil, "configuration file FILE: " + name + ": " + why},
				{"", []string{variable + bad}, nil, "environment (BILLET_…): " + name + ": " + why},
				{"", nil, []string{flag + "=" + bad}, "flag " + flag + ": " + name + ": " + why},
				{fmt.Sprintf("%s: %q\n", name, bad), []string{variable + c.good[1]}, nil, ""},
				{fmt.Sprintf("%s: %q\n", name, c.good[0]), []string{variable + bad}, nil, "environment (BILLET_…): " + name + ": " + why},
				{"", []string{variable + bad}, []string{flag + "=" + c.good[2]}, ""},
			} {
				_, err := written(t, tt.file, tt.environ, tt.args)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if before, _, found := strings.Cut(tt.want, "FILE"); found {
					if _, after, ok := strings.Cut(got, ".yaml"); ok && strings.HasPrefix(got, before) {
						got = before + "FILE" + after
					}
				}
				if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
					t.Errorf("%s %q:\n got %s\nwant %s", name, bad, got, tt.want)
				}
			}
		}
	}
}

// YAML says the same thing in several ways; each becomes what the key means.
func TestYAMLForms(t *testing.T) {
	for _, tt := range []struct{ file, key, want string }{
		{"roles: [api, conductor]\n", "roles", "api,conductor"},
		{"roles:\n  - api\n  - boot\n", "roles", "api,boot"},
		{"roles: api\n", "roles", "api"},
		{"workers: 7\n", "workers", "7"},
		{"workers: '7'\n", "workers", "7"},
		{"automated_clean: false\n", "automated_clean", "false"},
		{"deploy_callback_timeout: 90\n", "deploy_callback_timeout", "90"},
		{"dhcp_dns: [10.0.0.1, 10.0.0.2]\n", "dhcp_dns", "10.0.0.1,10.0.0.2"},
		{"host: 'a: b'\n", "host", "a: b"},
		{"host: ~\n", "host", ""},
		{"# nothing\nhost: a # a comment\n", "host", "a"},
		{"kernel_append_params: >-\n  quiet\n  splash\n", "kernel_append_params", "quiet splash"},
		{"file_url_allowed_paths: []\n", "file_url_allowed_paths", ""},
	} {
		texts, err := written(t, tt.file, nil, nil)
		if err != nil || texts[tt.key] != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.file, texts[tt.key], err, tt.want)
		}
	}
	if texts, err := written(t, "# only a comment\n", nil, nil); err != nil || len(texts) != 0 {
		t.Errorf("an empty file: %v, %v", texts, err)
	}
}

// Variables of the operator's commands are not keys, and those of other programs are left alone.
func TestVariablesThatAreNoKeys(t *testing.T) {
	texts, err := written(t, "", []string{"BILLET_API=http://x", "BILLET_USER=ada", "BILLET_PASSWORD=hunter2", "BILLET_LAB_DIR=/lab",
		"BILLET_TEST_OPENSTACK=/venv", "BILLETS=5", "XBILLET_HOST=x", "billet_host=x", "PATH=/bin"}, nil)
	if err != nil || len(texts) != 0 {
		t.Errorf("%v, %v", texts, err)
	}
	for _, tt := range []struct{ variable, key string }{
		{"BILLET_HOSTS=x", "hosts"}, {"BILLET_data-dir=x", "data-dir"}, {"BILLET_API_KEY=x", "api_key"},
	} {
		_, err := written(t, "", []string{tt.variable}, nil)
		if want := fmt.Sprintf("environment (BILLET_…): unknown key %q; the keys are ", tt.key); err == nil ||
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", tt.variable, err)
		}
	}
}

// What is listened on must be guarded: by being the machine's own, by passwords, or by the operator's word.
func TestWhoMayListenWithoutPasswords(t *testing.T) {
	for _, tt := range []struct {
		args []string
		open bool
	}{
		{[]string{"--listen", "127.0.0.1:1"}, true},
		{[]string{"--listen", "127.8.9.10:1"}, true},
		{[]string{"--listen", "[::1]:1"}, true},
		{[]string{"--listen", "localhost:1"}, true},
		{[]string{"--listen", "0.0.0.0:1"}, false},
		{[]string{"--listen", ":1"}, false},
		{[]string{"--listen", "[::]:1"}, false},
		{[]string{"--listen", "10.0.0.1:1"}, false},
		{[]string{"--listen", "localhost.example:1"}, false},
		{[]string{"--listen", "0.0.0.0:1", "--noauth-anywhere", "true"}, true},
		{[]string{"--listen", "0.0.0.0:1", "--roles", "conductor"}, true}, // there is no API to guard
		{[]string{"--listen", "0.0.0.0:1", "--auth", "http_basic", "--htpasswd-file", "x"}, true},
	} {
		_, err := written(t, "", nil, tt.args)
		if (err == nil) != tt.open || err != nil && !strings.HasPrefix(err.Error(), "listen: ") {
			t.Errorf("%v: %v", tt.args, err)
		}
	}
}

var rangesCase = struct {
	good    [3]string
	refused map[string]string
}{[3]string{"10.50.0.0/24 10.50.0.20-10.50.0.200", "10.50.0.0/24 10.50.0.9-10.50.0.9 lease=90 dns= router=10.50.0.1; " +
	"10.51.0.0/16 10.51.1.1-10.51.9.9 dns=10.0.0.1,10.0.0.2", ""}, map[string]string{
	"10.50.0.0/24": `"10.50.0.0/24": a network and first-last are needed, ` +
		`such as 10.50.0.0/24 10.50.0.20-10.50.0.200`,
	"10.50.0.1/24 10.50.0.20-10.50.0.200": `"10.50.0.1/24 10.50.0.20-10.50.0.200": ` +
		`"10.50.0.1/24" is not an IPv4 network such as 10.50.0.0/24`,
	"10.50.0.0/24 10.50.0.20": `"10.50.0.0/24 10.50.0.20": "" is not an IPv4 address`,
	"10.50.0.0/24 10.50.0.20-10.50.1.2": `dhcp range 10.50.0.20-10.50.1.2: ` +
		`both ends must lie in 10.50.0.0/24, the lower first`,
	"10.50.0.0/24 10.50.0.20-10.50.0.30 router=10.0.0.1": `dhcp router 10.0.0.1 does not lie in 10.50.0.0/24`,
	"10.50.0.0/24 10.50.0.20-10.50.0.30 gateway=10.50.0.1": `"10.50.0.0/24 10.50.0.20-10.50.0.30 gateway=10.50.0.1": ` +
		`"gateway=10.50.0.1" is none of router=, dns=, lease=`,
	"10.50.0.0/24 10.50.0.20-10.50.0.30 lease=5": `"10.50.0.0/24 10.50.0.20-10.50.0.30 lease=5": ` +
		`"5" is not a time of a minute or more, such as 30m`,
	"10.50.0.0/16 10.50.0.2-10.50.0.3;10.50.7.0/24 10.50.7.2-10.50.7.3": `dhcp ranges: the networks 10.50.0.0/16 and 10.50.7.0/24 overlap`,
}}
