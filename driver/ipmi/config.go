package ipmi

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// config is what driver_info says of a BMC.
type config struct {
	address            string // host:port
	user, password     string
	kg                 []byte // BMC key; nil: none
	wantSuite          int    // cipher suite; 0: choose
	privilege          byte
	asked              []string // rows of the table of quirks that the node names
	forceBootDevice    flag
	disableBootTimeout flag
}

type flag bool

// properties documents the driver_info keys that this driver reads.
var properties = map[string]string{
	addressKey:      "IP address or host name of the BMC. Required.",
	"ipmi_username": "User name, at most 16 characters. Default: the null user.",
	"ipmi_password": "Password, at most 20 bytes. Default: none.",
	"ipmi_port":     "UDP port of the BMC, 1 to 65535. Default: 623.",
	"ipmi_priv_level": "Privilege level: ADMINISTRATOR, OPERATOR, USER or CALLBACK; switching power needs OPERATOR. " +
		"Default: ADMINISTRATOR.",
	"ipmi_protocol_version": "Version of IPMI; only 2.0. Default: 2.0.",
	"ipmi_cipher_suite":     "Cipher suite: 17 or 3. Default: 17 where the BMC has it, else 3.",
	"ipmi_hex_kg_key":       "BMC key Kg for two-key log-ins, up to 40 hexadecimal digits; the rest is zeros. Default: none.",
	"ipmi_force_boot_device": "Whether to set the persistent boot device again at each power-on, for BMCs that forget it: " +
		"true or false. Default: false.",
	"ipmi_disable_boot_timeout": "Whether to tell the BMC not to drop the boot device after 60 s without a power change: true or " +
		"false. Default: true.",
	"ipmi_bridging":      "Bridging; only no. Default: no.",
	quirksKey:            "Names of quirks of this BMC that it does not tell by itself, a list or with commas. Default: none.",
	"ipmi_terminal_port": "TCP port of the node's console, 1 to 65535. Used by console interfaces.",
	driver.CaptureSerial: "Whether the serial line is heard over LAN while a flow works on the machine: true or false. " +
		"Default: the service's own.",
}

var privileges = map[string]byte{"CALLBACK": 1, "USER": 2, "OPERATOR": 3, "ADMINISTRATOR": 4}

// parse checks driver_info. Its errors are node.Invalid and name the key and what is allowed.
func parse(info node.Document) (config, error) {
	r := reader{info: info}
	host, port := r.host(), r.number("ipmi_port", 623)
	c := config{
		address:            net.JoinHostPort(host, strconv.Itoa(port)),
		user:               r.text("ipmi_username"),
		password:           r.text("ipmi_password"),
		kg:                 r.kg(),
		wantSuite:          r.suite(),
		privilege:          privileges[r.choice("ipmi_priv_level", "ADMINISTRATOR", slices.Sorted(maps.Keys(privileges))...)],
		forceBootDevice:    r.flag("ipmi_force_boot_device", false),
		disableBootTimeout: r.flag("ipmi_disable_boot_timeout", true),
		asked:              r.quirks(quirks),
	}
	r.choice("ipmi_protocol_version", "2.0", "2.0", "2")
	r.choice("ipmi_bridging", "no", "no", "false") // YAML's no is JSON's false
	r.number("ipmi_terminal_port", 623)
	r.flag(driver.CaptureSerial, false)
	switch {
	case r.err == nil && strings.TrimSpace(host) == "":
		r.refuse(addressKey, "is missing: give the BMC's IP address or host name")
	case strings.ContainsAny(host, " /[]"):
		r.refuse(addressKey, fmt.Sprintf("is %q: give an IP address or host name alone, the port goes to ipmi_port", host))
	case len(c.user) > 16:
		r.refuse("ipmi_username", "is too long: IPMI allows at most 16 bytes")
	case len(c.password) > 20:
		r.refuse("ipmi_password", "is too long: IPMI 2.0 allows at most 20 bytes")
	}
	r.misspelt()
	return c, r.err
}

// port is the BMC's UDP port.
func (c config) port() string {
	_, port, _ := net.SplitHostPort(c.address)
	return port
}
