package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// management is a BMC: the LAN parameters of its channels, and the medium of each.
type management struct {
	medium map[byte]byte
	params map[string][]byte // "channel/parameter/set"
	err    error
	empty  bool
	asked  int
}

func (m *management) Command(netFn, cmd byte, data ...byte) ([]byte, error) {
	m.asked++
	if m.err != nil || m.empty {
		return nil, m.err
	}
	switch {
	case netFn == netApp && cmd == getChannelInfo:
		medium, ok := m.medium[data[0]]
		if !ok {
			return []byte{0xcc}, nil // invalid data field
		}
		return []byte{0, data[0], 0x80 | medium, 1, 0, 0xf2, 0x1b, 0, 0, 0}, nil
	case netFn == netTransport && cmd == getLANParameter:
		v, ok := m.params[fmt.Sprintf("%d/%d/%d", data[0], data[1], data[2])]
		if !ok {
			return []byte{0x80}, nil // parameter not supported
		}
		return append([]byte{0, 0x11}, v...), nil
	}
	return []byte{0xc1}, nil
}

// v6 is an entry of parameter 56 or 59.
func v6(set byte, address string) []byte {
	ip := netip.MustParseAddr(address).As16()
	return append(append([]byte{set, 0x80}, ip[:]...), 64, 0)
}

func TestFindBMC(t *testing.T) {
	const (
		lan    = mediumLAN
		serial = 5
	)
	mac := []byte{0x0c, 0xc4, 0x7a, 1, 2, 3}
	for _, tt := range []struct {
		name string
		bmc  management
		want BMC
		err  string
	}{
		{"one channel", management{medium: map[byte]byte{1: lan}, params: map[string][]byte{"1/3/0": {192, 0, 2, 7}, "1/5/0": mac}},
			BMC{Address: "192.0.2.7", MAC: "0c:c4:7a:01:02:03"}, ""},
		{"the second LAN channel has the cable", management{medium: map[byte]byte{1: lan, 2: serial, 8: lan},
			params: map[string][]byte{"1/3/0": {0, 0, 0, 0}, "1/5/0": {9, 9, 9, 9, 9, 9}, "2/3/0": {10, 0, 0, 1}, "8/3/0": {10, 0, 0, 9},
				"8/5/0": mac}},
			BMC{Address: "10.0.0.9", MAC: "0c:c4:7a:01:02:03"}, ""},
		{"IPv6 only, behind a link-local and an unused entry", management{medium: map[byte]byte{1: lan},
			params: map[string][]byte{"1/3/0": {0, 0, 0, 0}, "1/56/0": v6(0, "::"), "1/59/0": v6(0, "fe80::1"), "1/59/1": v6(1, "2001:db8::7")}},
			BMC{V6Address: "2001:db8::7"}, ""},
		{"static IPv6 wins", management{medium: map[byte]byte{1: lan},
			params: map[string][]byte{"1/3/0": {192, 0, 2, 7}, "1/56/0": v6(0, "2001:db8::5"), "1/59/0": v6(0, "2001:db8::7")}},
			BMC{Address: "192.0.2.7", V6Address: "2001:db8::5"}, ""},
		{"answers too short to be addresses", management{medium: map[byte]byte{1: lan},
			params: map[string][]byte{"1/3/0": {192, 0}, "1/5/0": {1}, "1/56/0": {0}}}, BMC{}, ""},
		{"no LAN at all", management{medium: map[byte]byte{1: serial}}, BMC{}, ""},
		{"no channels: it answers, only not what is asked", management{}, BMC{}, ""},
		{"the kernel gives up", management{err: errors.New("the BMC does not answer")}, BMC{},
			"asking the BMC for its channels: the BMC does not answer"},
		{"an empty answer", management{empty: true}, BMC{}, "asking the BMC for its channels: the BMC's answer to command 42h is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FindBMC(&tt.bmc)
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if said := fmt.Sprint(err); tt.err != "" && said != tt.err || tt.err == "" && err != nil {
				t.Errorf("error %q, want %q", said, tt.err)
			}
		})
	}
}

// Each question to a silent BMC takes seconds, so few are asked.
func TestASilentBMCIsNotAskedForLong(t *testing.T) {
	m := &management{err: errors.New("silence")}
	if _, err := FindBMC(m); err == nil || m.asked != 3 {
		t.Errorf("asked %d times: %v", m.asked, err)
	}
}

func TestCompletionError(t *testing.T) {
	_, err := ask(&management{}, netApp, 0x99)
	if err == nil || err.Error() != "the BMC says no with completion code c1h" {
		t.Error(err)
	}
}

// The device of the kernel: one that is not there, and one that is something else.
func TestIPMIDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipmi0")
	if _, err := OpenIPMI(path); err == nil || err.Error() != "opening "+path+": no such file or directory" {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenIPMI(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Command(netApp, getChannelInfo, 1); err == nil ||
		!strings.HasPrefix(err.Error(), "sending command 42h to the BMC: inappropriate ioctl") {
		t.Error(err)
	}
}
