package ipmi

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		info node.Document
		want config
	}{
		{"the least", node.Document{"ipmi_address": "192.0.2.1"},
			config{address: "192.0.2.1:623", privilege: 4, disableBootTimeout: true}},
		{"everything", node.Document{
			"ipmi_address": "2001:db8::1", "ipmi_port": "6230", "ipmi_username": "u", "ipmi_password": "p", "ipmi_priv_level": "operator",
			"ipmi_cipher_suite": "17", "ipmi_hex_kg_key": strings.Repeat("00ff", 10), "ipmi_protocol_version": "2.0",
			"ipmi_force_boot_device": "True", "ipmi_disable_boot_timeout": false, "ipmi_bridging": "no", "ipmi_terminal_port": 10000,
			"deploy_kernel": "http://192.0.2.2/kernel",
		}, config{address: "[2001:db8::1]:6230", user: "u", password: "p", privilege: 3, wantSuite: 17,
			kg: []byte(strings.Repeat("\x00\xff", 10)), forceBootDevice: true}},
		{"numbers of JSON", node.Document{"ipmi_address": "bmc-1", "ipmi_port": float64(624), "ipmi_cipher_suite": float64(3)},
			config{address: "bmc-1:624", privilege: 4, wantSuite: 3, disableBootTimeout: true}},
		{"numbers kept as text", node.Document{"ipmi_address": "bmc-1", "ipmi_port": json.Number("625"), "ipmi_cipher_suite": int64(3)},
			config{address: "bmc-1:625", privilege: 4, wantSuite: 3, disableBootTimeout: true}},
	} {
		got, err := parse(tt.info)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", tt.name, err, got, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const secret = "do-not-show-me-anywhere-please"
	for _, tt := range []struct {
		key   string
		value any
		want  string
	}{
		{"ipmi_address", nil, "driver_info/ipmi_address is missing: give the BMC's IP address or host name."},
		{"ipmi_address", " ", "driver_info/ipmi_address is missing: give the BMC's IP address or host name."},
		{"ipmi_address", 7, "driver_info/ipmi_address must be a string."},
		{"ipmi_address", "http://bmc", `driver_info/ipmi_address is "http://bmc": give an IP address or host name alone, the port goes to ipmi_port.`},
		{"ipmi_port", 0, `driver_info/ipmi_port is "0"; allowed are 1 to 65535.`},
		{"ipmi_port", 70000.0, `driver_info/ipmi_port is "70000"; allowed are 1 to 65535.`},
		{"ipmi_port", 6.5, `driver_info/ipmi_port is "6.5"; allowed are 1 to 65535.`},
		{"ipmi_port", "http", `driver_info/ipmi_port is "http"; allowed are 1 to 65535.`},
		{"ipmi_port", []any{1}, `driver_info/ipmi_port is "a []interface {}"; allowed are 1 to 65535.`},
		{"ipmi_username", "a-name-of-17-byte", "driver_info/ipmi_username is too long: IPMI allows at most 16 bytes."},
		{"ipmi_password", secret, "driver_info/ipmi_password is too long: IPMI 2.0 allows at most 20 bytes."},
		{"ipmi_password", 12345678, "driver_info/ipmi_password must be a string."},
		{"ipmi_priv_level", "ROOT", `driver_info/ipmi_priv_level is "ROOT"; allowed: ADMINISTRATOR, CALLBACK, OPERATOR, USER.`},
		{"ipmi_cipher_suite", 0, `driver_info/ipmi_cipher_suite is "0"; allowed: 3, 17.`},
		{"ipmi_protocol_version", "1.5", `driver_info/ipmi_protocol_version is "1.5"; allowed: 2.0 (IPMI 1.5 sends commands without encryption).`},
		{"ipmi_bridging", "single", `driver_info/ipmi_bridging is "single"; allowed: no (this driver talks to the BMC itself only).`},
		{"ipmi_hex_kg_key", "00" + secret, "driver_info/ipmi_hex_kg_key must be 40 hexadecimal digits."},
		{"ipmi_hex_kg_key", "0011", "driver_info/ipmi_hex_kg_key must be 40 hexadecimal digits."},
		{"ipmi_force_boot_device", "maybe", `driver_info/ipmi_force_boot_device is "maybe"; allowed: true, false.`},
		{"ipmi_pasword", secret, "driver_info/ipmi_pasword is not known; allowed: ipmi_address, ipmi_bridging, ipmi_cipher_suite, ipmi_disable_boot_timeout, " +
			"ipmi_force_boot_device, ipmi_hex_kg_key, ipmi_password, ipmi_port, ipmi_priv_level, ipmi_protocol_version, ipmi_terminal_port, ipmi_username."},
	} {
		info := node.Document{"ipmi_address": "192.0.2.1"}
		if info[tt.key] = tt.value; tt.value == nil {
			delete(info, tt.key)
		}
		_, err := parse(info)
		if err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid {
			t.Errorf("%s = %v:\ngot  %v\nwant %s", tt.key, tt.value, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows a secret", tt.key)
		}
	}
}

func TestThePageListsEveryKey(t *testing.T) {
	page, err := os.ReadFile("../../docs/hardware-ipmi.md")
	if err != nil {
		t.Fatal(err)
	}
	for key := range properties {
		if !strings.Contains(string(page), "| `"+key+"` |") {
			t.Errorf("docs/hardware-ipmi.md does not list %s", key)
		}
	}
}
