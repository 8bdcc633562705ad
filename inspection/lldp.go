package inspection

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/billet-metal/billet/wire"
)

// Types of LLDP fields, IEEE 802.1AB-2016 8.5, and of organisations' own, 8.6.
const (
	lldpChassis     = 1
	lldpPort        = 2
	lldpDescription = 4
	lldpName        = 5
	lldpSystem      = 6
	lldpOrganised   = 127
)

const (
	oui8021, oui8023 = "\x00\x80\xc2", "\x00\x12\x0f"

	mtuSubtype  = 4 // of 802.3: maximum frame size
	vlanSubtype = 1 // of 802.1: port VLAN
)

// LLDP frames come from the network: a switch, or whoever plays one, writes them. Nothing of them is trusted further than
// text that people read, and an inspection does not fail on them.

// neighbour is what a switch said of itself and of the port at the other end of the cable.
type neighbour struct {
	said     map[string]any // in Ironic's names
	switchID string         // a MAC address; "" when the switch names itself in another way
	portID   string
}

// What one report may say: a value's length has 9 bits (IEEE 802.1AB-2016 8.4), a frame of the agent's has at most 128 fields,
// and no machine has a cable in more interfaces than this. More is of a report that no switch and no agent of ours made.
const (
	maxLLDPValue      = 511
	maxLLDPFields     = 128
	maxLLDPInterfaces = 64
)

// neighbours reads the LLDP fields of every interface, by name. What cannot be read is left out.
func neighbours(nics []wire.NIC) map[string]neighbour {
	out := map[string]neighbour{}
	for _, nic := range nics {
		n := neighbour{said: map[string]any{}}
		fields, _ := nic.LLDP.([]any)
		if len(fields) > 0 && len(out) == maxLLDPInterfaces {
			break
		}
		for _, field := range fields[:min(len(fields), maxLLDPFields)] {
			if kind, value, ok := lldpField(field); ok {
				n.read(kind, value)
			}
		}
		if len(n.said) > 0 {
			out[nic.Name] = n
		}
	}
	return out
}

// lldpField is one [type, "hex"] of the inventory.
func lldpField(v any) (kind int, value string, ok bool) {
	pair, _ := v.([]any)
	if len(pair) != 2 {
		return 0, "", false
	}
	number, isNumber := pair[0].(float64)
	digits, isText := pair[1].(string)
	if len(digits) > 2*maxLLDPValue || number < 0 || number > 127 {
		return 0, "", false
	}
	raw, err := hex.DecodeString(digits)
	return int(number), string(raw), isNumber && isText && err == nil && len(raw) > 0
}

func (n *neighbour) read(kind int, value string) {
	switch kind {
	case lldpChassis:
		id, isMAC := lldpID(value, 4, 5)
		if n.set("switch_chassis_id", id); isMAC {
			n.switchID = id
		}
	case lldpPort:
		n.portID, _ = lldpID(value, 3, 4)
		n.set("switch_port_id", n.portID)
	case lldpDescription:
		n.set("switch_port_description", printable(value))
	case lldpName:
		n.set("switch_system_name", printable(value))
	case lldpSystem:
		n.set("switch_system_description", printable(value))
	case lldpOrganised:
		n.readOrganised(value)
	}
}

func (n *neighbour) set(name, value string) {
	if value != "" {
		n.said[name] = value
	}
}

// readOrganised reads a field of an organisation: three bytes of whose it is, a subtype, a value.
func (n *neighbour) readOrganised(v string) {
	if len(v) < 6 {
		return
	}
	number := int(binary.BigEndian.Uint16([]byte(v[4:6])))
	switch {
	case v[:3] == oui8021 && v[3] == vlanSubtype && number > 0: // 0: the port has no untagged VLAN
		n.said["switch_port_untagged_vlan_id"] = number
	case v[:3] == oui8023 && v[3] == mtuSubtype:
		n.said["switch_port_mtu"] = number
	}
}

// lldpID is the text of a chassis or port ID: a byte of subtype, then the ID. The subtypes of a MAC
// and of a network address differ between the two.
func lldpID(v string, macSubtype, addressSubtype byte) (id string, isMAC bool) {
	subtype, rest := v[0], v[1:]
	switch {
	case subtype == macSubtype && len(rest) == 6:
		return net.HardwareAddr(rest).String(), true
	case subtype == macSubtype:
		return "", false
	case subtype == addressSubtype: // a byte of address family first: RFC 3232, 1 is IPv4, 2 is IPv6
		if len(rest) == 0 {
			return "", false
		}
		if ip, ok := netip.AddrFromSlice([]byte(rest[1:])); ok {
			return ip.String(), false
		}
		return "", false
	}
	return printable(rest), false
}

// printable keeps what people can read of a switch's text.
func printable(s string) string {
	s = strings.Trim(s, "\x00 ")
	if !utf8.ValidString(s) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) { // controls, and what turns the direction of text around
			return -1
		}
		return r
	}, s)
}
