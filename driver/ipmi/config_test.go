package ipmi

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/billet-metal/billet/lab/bmc"
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
		{"texts that came as numbers", node.Document{"ipmi_address": "bmc-1", "ipmi_username": 1001.0,
			"ipmi_password":         json.Number("12345678901234567890"),
			"ipmi_protocol_version": 2.0, "ipmi_bridging": false, "ipmi_force_boot_device": 1.0,
			"ipmi_disable_boot_timeout": "no", "ipmi_priv_level": " user "},
			config{address: "bmc-1:623", user: "1001", password: "12345678901234567890", privilege: 2, forceBootDevice: true}},
		{"a password as a client sends it", decoded(`{"ipmi_address": "bmc-1", "ipmi_password": 12345678}`),
			config{address: "bmc-1:623", password: "12345678", privilege: 4, disableBootTimeout: true}},
		{"a short BMC key", node.Document{"ipmi_address": "bmc-1", "ipmi_hex_kg_key": "0aff"},
			config{address: "bmc-1:623", privilege: 4, disableBootTimeout: true, kg: append([]byte{0x0A, 0xFF}, make([]byte, 18)...)}},
		{"a BMC key of digits", node.Document{"ipmi_address": "bmc-1", "ipmi_hex_kg_key": json.Number(strings.Repeat("10", 20))},
			config{address: "bmc-1:623", privilege: 4, disableBootTimeout: true, kg: bytes.Repeat([]byte{0x10}, 20)}},
		{"what is present and empty", node.Document{"ipmi_address": "bmc-1", "ipmi_port": "", "ipmi_priv_level": "", "ipmi_hex_kg_key": "",
			"ipmi_bridging": "", "ipmi_cipher_suite": ""},
			config{address: "bmc-1:623", privilege: 4, disableBootTimeout: true}},
		{"keys of others, and leftovers", node.Document{"ipmi_address": "bmc-1", "ipmi_verify_ca": false,
			"ipmi_local_address": "0x82", "ipmi_target_address": "0x20",
			"ipmi_target_channel": 0.0, "ipmi_transit_channel": "0", "ipmi_transit_address": "0x82", "ipmi_bridging": "no",
			"redfish_address": "https://bmc-1", "redfish_verify_ca": true},
			config{address: "bmc-1:623", privilege: 4, disableBootTimeout: true}},
	} {
		got, err := parse(tt.info)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", tt.name, err, got, tt.want)
		}
	}
}

func decoded(text string) (d node.Document) {
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		panic(err)
	}
	return d
}

// What is ignored is told once, when the node is verified, and never while it is polled.
func TestIgnoredKeysAreToldAtVerify(t *testing.T) {
	info := start(t, &bmc.Server{})
	power, _ := New(quick)
	result, err := power.verify(t.Context(), task(with(with(info, "ipmi_verify_ca", "false"), "redfish_address", "https://192.0.2.1")))
	const want = "driver_info holds keys that this hardware type does not read; they are ignored: ipmi_verify_ca, redfish_address."
	if err != nil || result.Says != want {
		t.Errorf("says %q, %v; want %q", result.Says, err, want)
	}
	if result, err := power.verify(t.Context(), task(info)); err != nil || result.Says != "" {
		t.Errorf("says %q, %v; want nothing", result.Says, err)
	}
}

// ipmitool is the oracle of what a short BMC key is.
func TestAShortBMCKeyIsWhatIpmitoolTakesItFor(t *testing.T) {
	info := start(t, &bmc.Server{KG: []byte{0x0A, 0xFF}})
	power, _ := New(quick)
	if _, err := power.PowerState(t.Context(), task(with(info, "ipmi_hex_kg_key", "0aff"))); err != nil {
		t.Error(err)
	}
	ipmitool(t, info, "-y", "0aff", "chassis", "power", "status")
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
		{"ipmi_address", "http://bmc", `driver_info/ipmi_address is "http://bmc": give an IP address or host name alone, the port goes to ` +
			`ipmi_port.`},
		{"ipmi_port", 0, `driver_info/ipmi_port is "0"; it must be a number from 1 to 65535.`},
		{"ipmi_port", 70000.0, `driver_info/ipmi_port is "70000"; it must be a number from 1 to 65535.`},
		{"ipmi_port", 6.5, `driver_info/ipmi_port is "6.5"; it must be a number from 1 to 65535.`},
		{"ipmi_port", "http", `driver_info/ipmi_port is "http"; it must be a number from 1 to 65535.`},
		{"ipmi_port", []any{1}, `driver_info/ipmi_port is "a []interface {}"; it must be a number from 1 to 65535.`},
		{"ipmi_username", "a-name-of-17-byte", "driver_info/ipmi_username is too long: IPMI allows at most 16 bytes."},
		{"ipmi_password", secret, "driver_info/ipmi_password is too long: IPMI 2.0 allows at most 20 bytes."},
		{"ipmi_password", []any{}, "driver_info/ipmi_password must be a string."},
		{"ipmi_password", true, "driver_info/ipmi_password must be a string."},
		{"ipmi_password", 12.5, "driver_info/ipmi_password must be a string: " +
			"of a number with a fraction not all digits arrive; write it in quotes."},
		{"ipmi_password", json.Number("123456789012345678901"), "driver_info/ipmi_password is too long: IPMI 2.0 allows at most 20 bytes."},
		{"ipmi_priv_level", "ROOT", `driver_info/ipmi_priv_level is "ROOT"; allowed: ADMINISTRATOR, CALLBACK, OPERATOR, USER.`},
		{"ipmi_cipher_suite", 0, `driver_info/ipmi_cipher_suite is "0"; allowed: 3, 17.`},
		{"ipmi_protocol_version", "1.5", `driver_info/ipmi_protocol_version is "1.5"; allowed: 2.0 (IPMI 1.5 sends commands without ` +
			`encryption).`},
		{"ipmi_bridging", "single", `driver_info/ipmi_bridging is "single"; allowed: no (this driver talks to the BMC itself only; ` +
			`give the address of the BMC that is this machine's own).`},
		{"ipmi_bridging", "dual", `driver_info/ipmi_bridging is "dual"; allowed: no (this driver talks to the BMC itself only; ` +
			`give the address of the BMC that is this machine's own).`},
		{"ipmi_hex_kg_key", "00" + secret, "driver_info/ipmi_hex_kg_key must be an even number of hexadecimal digits, at most 40."},
		{"ipmi_hex_kg_key", "001", "driver_info/ipmi_hex_kg_key must be an even number of hexadecimal digits, at most 40."},
		{"ipmi_hex_kg_key", strings.Repeat("ab", 21), "driver_info/ipmi_hex_kg_key must be an even number of hexadecimal digits, at most 40."},
		{"ipmi_force_boot_device", "maybe", `driver_info/ipmi_force_boot_device is "maybe"; allowed: true, false.`},
		{"ipmi_pasword", secret, "driver_info/ipmi_pasword is not known; it looks like ipmi_password misspelt."},
		{"ipmi_user_name", secret, "driver_info/ipmi_user_name is not known; it looks like ipmi_username misspelt."},
		{"imi_port", 624, ""},
	} {
		info := node.Document{"ipmi_address": "192.0.2.1"}
		if info[tt.key] = tt.value; tt.value == nil {
			delete(info, tt.key)
		}
		_, err := parse(info)
		if err == nil && tt.want == "" {
			continue
		}
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
