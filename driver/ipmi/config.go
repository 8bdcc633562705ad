package ipmi

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
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
	forceBootDevice    flag
	disableBootTimeout flag
}

type flag bool

// properties documents the driver_info keys; a key that is not here is refused.
var properties = map[string]string{
	"ipmi_address":              "IP address or host name of the BMC. Required.",
	"ipmi_username":             "User name, at most 16 characters. Default: the null user.",
	"ipmi_password":             "Password, at most 20 bytes. Default: none.",
	"ipmi_port":                 "UDP port of the BMC, 1 to 65535. Default: 623.",
	"ipmi_priv_level":           "Privilege level: ADMINISTRATOR, OPERATOR, USER or CALLBACK; switching power needs OPERATOR. Default: ADMINISTRATOR.",
	"ipmi_protocol_version":     "Version of IPMI; only 2.0. Default: 2.0.",
	"ipmi_cipher_suite":         "Cipher suite: 17 or 3. Default: 17 where the BMC has it, else 3.",
	"ipmi_hex_kg_key":           "BMC key Kg for two-key log-ins, 40 hexadecimal digits. Default: none.",
	"ipmi_force_boot_device":    "Whether to set the persistent boot device again at each power-on, for BMCs that forget it: true or false. Default: false.",
	"ipmi_disable_boot_timeout": "Whether to tell the BMC not to drop the boot device after 60 s without a power change: true or false. Default: true.",
	"ipmi_bridging":             "Bridging; only no. Default: no.",
	"ipmi_terminal_port":        "TCP port of the node's console, 1 to 65535. Used by console interfaces.",
	driver.CaptureSerial:        "Whether the serial line is heard over LAN while a flow works on the machine: true or false. Default: the service's own.",
}

var privileges = map[string]byte{"CALLBACK": 1, "USER": 2, "OPERATOR": 3, "ADMINISTRATOR": 4}

// parse checks driver_info. Its errors are node.Invalid and name the key and what is allowed.
func parse(info node.Document) (config, error) {
	r := reader{info: info}
	host, port := r.text("ipmi_address"), r.number("ipmi_port", 623)
	c := config{
		address:            net.JoinHostPort(host, strconv.Itoa(port)),
		user:               r.text("ipmi_username"),
		password:           r.text("ipmi_password"),
		kg:                 r.kg(),
		wantSuite:          r.suite(),
		privilege:          privileges[r.choice("ipmi_priv_level", "ADMINISTRATOR", slices.Sorted(maps.Keys(privileges))...)],
		forceBootDevice:    r.flag("ipmi_force_boot_device", false),
		disableBootTimeout: r.flag("ipmi_disable_boot_timeout", true),
	}
	r.choice("ipmi_protocol_version", "2.0", "2.0")
	r.choice("ipmi_bridging", "no", "no")
	r.number("ipmi_terminal_port", 623)
	r.flag(driver.CaptureSerial, false)
	switch {
	case r.err == nil && strings.TrimSpace(host) == "":
		r.refuse("ipmi_address", "is missing: give the BMC's IP address or host name")
	case strings.ContainsAny(host, " /[]"):
		r.refuse("ipmi_address", fmt.Sprintf("is %q: give an IP address or host name alone, the port goes to ipmi_port", host))
	case len(c.user) > 16:
		r.refuse("ipmi_username", "is too long: IPMI allows at most 16 bytes")
	case len(c.password) > 20:
		r.refuse("ipmi_password", "is too long: IPMI 2.0 allows at most 20 bytes")
	}
	r.unknown()
	return c, r.err
}

// reader takes values out of driver_info and keeps the first error. Values never go into errors
// where they may be secret.
type reader struct {
	info node.Document
	err  error
}

func (r *reader) refuse(key, why string) {
	if r.err == nil {
		r.err = node.Errorf(node.Invalid, "driver_info/%s %s.", key, why)
	}
}

func (r *reader) text(key string) string {
	switch v := r.info[key].(type) {
	case nil:
		return ""
	case string:
		return v
	}
	r.refuse(key, "must be a string")
	return ""
}

// scalar accepts the ways people write numbers and flags in JSON.
func (r *reader) scalar(key string) (string, bool) {
	switch v := r.info[key].(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case json.Number:
		return v.String(), true
	case float64:
		if v == math.Trunc(v) {
			return strconv.FormatFloat(v, 'f', 0, 64), true
		}
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return fmt.Sprintf("a %T", r.info[key]), true
}

func (r *reader) number(key string, standard int) int {
	s, ok := r.scalar(key)
	if !ok {
		return standard
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		r.refuse(key, fmt.Sprintf("is %q; allowed are 1 to 65535", s))
	}
	return n
}

// choice compares without case. The refused value is named: none of these keys is secret.
func (r *reader) choice(key, standard string, allowed ...string) string {
	s, ok := r.scalar(key)
	if !ok {
		return standard
	}
	for _, a := range allowed {
		if strings.EqualFold(a, s) {
			return a
		}
	}
	why := fmt.Sprintf("is %q; allowed: %s", s, strings.Join(allowed, ", "))
	switch key {
	case "ipmi_protocol_version":
		why += " (IPMI 1.5 sends commands without encryption)"
	case "ipmi_bridging":
		why += " (this driver talks to the BMC itself only)"
	}
	r.refuse(key, why)
	return standard
}

func (r *reader) flag(key string, standard flag) flag {
	word := "false"
	if standard {
		word = "true"
	}
	return r.choice(key, word, "true", "false") == "true"
}

func (r *reader) suite() int {
	id, _ := strconv.Atoi(r.choice("ipmi_cipher_suite", "0", "3", "17"))
	return id
}

func (r *reader) kg() []byte {
	s := r.text("ipmi_hex_kg_key")
	if s == "" {
		return nil
	}
	k, err := hex.DecodeString(s)
	if err != nil || len(k) != 20 {
		r.refuse("ipmi_hex_kg_key", "must be 40 hexadecimal digits")
	}
	return k
}

// unknown catches typing errors, which would otherwise be defaults nobody asked for.
func (r *reader) unknown() {
	other := func(key string) bool { return !strings.HasPrefix(key, "ipmi_") }
	allowed := slices.DeleteFunc(slices.Sorted(maps.Keys(properties)), other)
	for _, key := range slices.Sorted(maps.Keys(r.info)) {
		if !other(key) && !slices.Contains(allowed, key) {
			r.refuse(key, "is not known; allowed: "+strings.Join(allowed, ", "))
		}
	}
}

// port is the BMC's UDP port.
func (c config) port() string {
	_, port, _ := net.SplitHostPort(c.address)
	return port
}
