package inventory

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// BMC is where the machine's management controller is reached; empty texts where it says nothing.
type BMC struct{ Address, V6Address, MAC string }

// Commander carries one IPMI request to the BMC and returns the answer's data, which begins with
// the completion code.
type Commander interface {
	Command(netFn, cmd byte, data ...byte) ([]byte, error)
}

// Codes of the IPMI 2.0 specification, revision 1.1.
const (
	netApp       = 0x06
	netTransport = 0x0c

	getChannelInfo  = 0x42 // 22.24
	getLANParameter = 0x02 // 23.2

	mediumLAN = 4 // 802.3 LAN, table 6-3

	paramAddress  = 3  // table 23-4
	paramMAC      = 5  //
	paramV6Static = 56 // static IPv6 addresses
	paramV6Dyn    = 59 // dynamic ones
)

// timedOut is the completion code (table 5-2) that the kernel's driver answers with for a BMC that says nothing.
const timedOut completionError = 0xc3

// FindBMC asks every LAN channel (1 to 11, table 6-1) for its addresses and returns those of the
// first that has one. Channels a BMC does not have are no error; one that answers nothing at all is.
func FindBMC(c Commander) (BMC, error) {
	var found BMC
	var last error
	answered := false
	for channel := byte(1); channel <= 11; channel++ {
		info, err := ask(c, netApp, getChannelInfo, channel)
		if err != nil {
			last = err
			if code := completionError(0); errors.As(err, &code) && code != timedOut { // it has no such channel
				answered = true
			} else if !answered && channel >= 3 { // a silent BMC: each question takes seconds
				break
			}
			continue
		}
		answered = true
		if len(info) < 2 || info[1]&0x7f != mediumLAN {
			continue
		}
		found = onChannel(c, channel)
		if found.Address != "" || found.V6Address != "" {
			return found, nil
		}
	}
	if !answered && last != nil {
		return BMC{}, fmt.Errorf("asking the BMC for its channels: %w", last)
	}
	return found, nil
}

// onChannel reads one channel's addresses.
func onChannel(c Commander, channel byte) BMC {
	var b BMC
	if v := lanParameter(c, channel, paramAddress, 0); len(v) == 4 {
		if ip := netip.AddrFrom4([4]byte(v)); !ip.IsUnspecified() {
			b.Address = ip.String()
		}
	}
	if v := lanParameter(c, channel, paramMAC, 0); len(v) == 6 {
		b.MAC = net.HardwareAddr(v).String()
	}
	for _, param := range []byte{paramV6Static, paramV6Dyn} {
		for set := byte(0); set < 4 && b.V6Address == ""; set++ {
			b.V6Address = v6Address(lanParameter(c, channel, param, set))
		}
	}
	return b
}

// v6Address reads an entry of parameter 56 or 59: set selector, source (and, of a static one, the
// enable bit), 16 bytes of address, prefix length, status. Link-local addresses say nothing to a
// conductor.
func v6Address(v []byte) string {
	if len(v) < 18 {
		return ""
	}
	ip := netip.AddrFrom16([16]byte(v[2:18]))
	if ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return ""
	}
	return ip.String()
}

// lanParameter returns a parameter's value without its revision; nil when the BMC has none.
func lanParameter(c Commander, channel, param, set byte) []byte {
	v, err := ask(c, netTransport, getLANParameter, channel, param, set, 0)
	if err != nil || len(v) < 2 {
		return nil
	}
	return v[1:]
}

// ask returns the answer without its completion code, which must be 0.
func ask(c Commander, netFn, cmd byte, data ...byte) ([]byte, error) {
	answer, err := c.Command(netFn, cmd, data...)
	switch {
	case err != nil:
		return nil, err
	case len(answer) == 0:
		return nil, fmt.Errorf("the BMC's answer to command %02xh is empty", cmd)
	case answer[0] != 0:
		return nil, completionError(answer[0])
	}
	return answer[1:], nil
}

// completionError is a BMC's no.
type completionError byte

func (e completionError) Error() string {
	return fmt.Sprintf("the BMC says no with completion code %02xh", byte(e))
}
