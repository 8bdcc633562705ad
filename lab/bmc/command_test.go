package bmc

import (
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// active is a loop nobody runs, with one administrator's session.
func active(t testing.TB, m Machine) (*loop, *session) {
	t.Helper()
	l := testLoop(m)
	s := l.newSession(&net.UDPAddr{}, suites[0], 0x0A0B0C0D)
	s.limit = Administrator
	l.activate(s)
	s.privilege = Administrator
	return l, s
}

// Every command, byte by byte: what real clients read out of these answers is in the tests with
// ipmitool and FreeIPMI.
func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name       string
		netFn, cmd byte
		data       string
		want       string // completion code and data
	}{
		{"chassis capabilities", netChassis, 0x00, "", "00 0020202020"},
		{"chassis status", netChassis, 0x01, "", "00 610000"},
		{"power on, it is on", netChassis, 0x02, "01", "00"},
		{"diagnostic interrupt", netChassis, 0x02, "04", "00"},
		{"an unknown chassis control", netChassis, 0x02, "06", "cc"},
		{"power without saying which", netChassis, 0x02, "", "c7"},
		{"restart cause", netChassis, 0x07, "", "00 0000"},
		{"boot flags", netChassis, 0x09, "050000", "00 0105 c004000000"},
		{"boot in progress", netChassis, 0x09, "000000", "00 0100 00"},
		{"boot clearing", netChassis, 0x09, "030000", "00 0103 00"},
		{"boot acknowledge", netChassis, 0x09, "040000", "00 0104 0000"},
		{"boot mailbox", netChassis, 0x09, "070000", "80"},
		{"device id", netApp, 0x01, "", "00 20 01 01 00 02 8e 000000 0000 00000000"},
		{"self test", netApp, 0x04, "", "00 5500"},
		{"GUID", netApp, 0x37, "", "00" + strings.Repeat("00", 16)},
		{"device GUID", netApp, 0x08, "", "00" + strings.Repeat("00", 16)},
		{"capabilities, asked the new way", netApp, 0x38, "8e04", "00 01 80 04 02 00000000"},
		{"capabilities, asked the old way", netApp, 0x38, "0e04", "00 01 00 04 02 00000000"},
		{"privilege: ask", netApp, 0x3B, "00", "00 04"},
		{"privilege: lower", netApp, 0x3B, "02", "00 02"},
		{"privilege: too high", netApp, 0x3B, "05", "81"},
		{"close an unknown session", netApp, 0x3C, "01020304", "87"},
		{"session info", netApp, 0x3D, "00", "00 01 08 01 02 04 11"},
		{"session info of another", netApp, 0x3D, "01", "cb"},
		{"channel access", netApp, 0x41, "0140", "00 02 04"},
		{"channel info", netApp, 0x42, "0e", "00 01 04 01 81 f21b00 0000"},
		{"channel info of another", netApp, 0x42, "02", "cc"},
		{"null user", netApp, 0x44, "0101", "00 02 41 01 0f"},
		{"our user", netApp, 0x44, "0102", "00 02 41 01 34"},
		{"another user", netApp, 0x44, "0103", "cc"},
		{"null user's name", netApp, 0x46, "01", "00" + strings.Repeat("00", 16)},
		{"our user's name", netApp, 0x46, "02", "00 61646d696e" + strings.Repeat("00", 11)},
		{"another user's name", netApp, 0x46, "03", "cc"},
		{"activate an unknown payload", netApp, 0x48, "020100000000", "81"},
		{"activate a second instance", netApp, 0x48, "010200000000", "81"},
		{"deactivate nothing", netApp, 0x49, "010100000000", "80"},
		{"deactivate an unknown payload", netApp, 0x49, "020100000000", "81"},
		{"payload status", netApp, 0x4A, "01", "00 01 00 00"},
		{"payload instance", netApp, 0x4B, "0101", "00 000000000000000000000000"},
		{"user payload access", netApp, 0x4D, "0102", "00 02000000"},
		{"payload support", netApp, 0x4E, "01", "00 03003f0000000000"},
		{"payload version", netApp, 0x4F, "0101", "00 10"},
		{"cipher suites", netApp, 0x54, "0e0080", "00 01 c011034481 c003014181"},
		{"cipher suites, second part", netApp, 0x54, "0e0081", "00 01"},
		{"cipher suites, far out", netApp, 0x54, "0e00bf", "00 01"},
		{"FRU size", netStorage, 0x10, "00", "00 300000"},
		{"FRU of nothing", netStorage, 0x10, "01", "cb"},
		{"FRU header", netStorage, 0x11, "00000008", "00 08 01000000010000fe"},
		{"FRU past the end", netStorage, 0x11, "00ffff08", "00 00"},
		{"FRU of nothing, read", netStorage, 0x11, "01000008", "cb"},
		{"SDR repository", netStorage, 0x20, "", "00 51 0100 ffff 00000000 00000000 02"},
		{"SDR reservation", netStorage, 0x22, "", "00 0100"},
		{"first SDR's header", netStorage, 0x23, "010000000005", "00 ffff 0100511215"},
		{"SDR past the end", netStorage, 0x23, "01000000ff05", "00 ffff"},
		{"no such SDR", netStorage, 0x23, "010007000005", "cb"},
		{"SEL", netStorage, 0x40, "", "00 51 0000 ffff 00000000 00000000 02"},
		{"SEL entry", netStorage, 0x43, "0000000000ff", "cb"},
		{"LAN address", netTransport, 0x02, "01030000", "00 11 7f000001"},
		{"LAN cipher suites", netTransport, 0x02, "01170000", "00 11 00 11 03" + strings.Repeat("00", 14)},
		{"LAN, unknown parameter", netTransport, 0x02, "01c00000", "80"},
		{"SOL port", netTransport, 0x22, "01080000", "00 11 6f02"},
		{"SOL, unknown parameter", netTransport, 0x22, "01c00000", "80"},
		{"an OEM command", 0x2E, 0x01, "", "c1"},
		{"an unknown command", netApp, 0xFF, "", "c1"},
	} {
		l, s := active(t, &fakeMachine{on: true, boot: BootDevice{Device: "pxe", Persistent: true}})
		data, err := hex.DecodeString(tt.data)
		if err != nil {
			t.Fatal(err)
		}
		code, answer := l.dispatch(&call{session: s, request: request{netFn: tt.netFn, cmd: tt.cmd, data: data}})
		got := hex.EncodeToString(append([]byte{code}, answer...))
		if want := strings.ReplaceAll(tt.want, " ", ""); got != want {
			t.Errorf("%s: got %s, want %s", tt.name, got, want)
		}
	}
}

// Each command of the table is refused below its privilege and with too little data.
func TestEveryCommandChecks(t *testing.T) {
	for _, c := range commands {
		l, s := active(t, &fakeMachine{})
		if c.min > Callback {
			s.privilege = c.min - 1
			if code,
				_ := l.dispatch(&call{session: s, request: request{netFn: c.netFn, cmd: c.cmd, data: make([]byte, 20)}}); code != codeNoPrivilege {
				t.Errorf("%#x/%#x below its privilege: %#x", c.netFn, c.cmd, code)
			}
			s.privilege = Administrator
		}
		if c.length > 0 {
			if code,
				_ := l.dispatch(&call{session: s, request: request{netFn: c.netFn, cmd: c.cmd, data: make([]byte, c.length-1)}}); code != codeTooShort {
				t.Errorf("%#x/%#x with a byte missing: %#x", c.netFn, c.cmd, code)
			}
		}
	}
}

func TestAnAdministratorEndsAnotherSession(t *testing.T) {
	l, s := active(t, &fakeMachine{})
	other := l.newSession(&net.UDPAddr{}, suites[1], 2)
	l.activate(other)
	closing := &call{session: s, request: request{netFn: netApp, cmd: 0x3C, data: le32(other.id)}}
	s.privilege = Operator
	if code, _ := l.dispatch(closing); code != codeNoPrivilege || l.active() != 2 {
		t.Errorf("as operator: %#x, %d sessions", code, l.active())
	}
	s.privilege = Administrator
	if code, _ := l.dispatch(closing); code != codeOK || l.active() != 1 {
		t.Errorf("as administrator: %#x, %d sessions", code, l.active())
	}
}

// stubborn refuses every boot device.
type stubborn struct{ fakeMachine }

func (*stubborn) SetBootDevice(BootDevice) error { return errors.New("no") }

func TestAMachineThatRefusesABootDevice(t *testing.T) {
	l, s := active(t, &stubborn{})
	code, _ := l.dispatch(&call{session: s, request: request{netFn: netChassis, cmd: 0x08, data: []byte{bootFlags, 0x80, 4, 0, 0, 0}}})
	if code != codeUnspecified {
		t.Errorf("completion code %#x, want %#x", code, codeUnspecified)
	}
}

func TestPowerJobsAreBounded(t *testing.T) {
	l, s := active(t, &fakeMachine{})
	var last byte
	for range cap(l.power) + 1 {
		last, _ = l.dispatch(&call{session: s, request: request{netFn: netChassis, cmd: 0x02, data: []byte{1}}})
	}
	if last != codeBusy {
		t.Errorf("one job too many: %#x, want %#x", last, codeBusy)
	}
}

func TestBootDevicesSurviveTheWire(t *testing.T) {
	for _, name := range bootDevices {
		for _, d := range []BootDevice{{Device: name}, {Device: name, Persistent: true}, {Device: name, UEFI: true}} {
			if name == "" {
				d = BootDevice{}
			}
			m := &fakeMachine{}
			l := testLoop(m)
			if code := l.setBootFlags((&loop{}).packBootFlags(d)); code != codeOK || m.BootDevice() != d {
				t.Errorf("%+v became %+v (%#x)", d, m.BootDevice(), code)
			}
		}
	}
}

func TestLoginRefusals(t *testing.T) {
	admin := append(make([]byte, 24), 0x14, 0, 0, 5, 'a', 'd', 'm', 'i', 'n')
	change := func(i int, b byte) []byte {
		p := append([]byte(nil), admin...)
		p[i] = b
		return p
	}
	for _, tt := range []struct {
		name string
		p    []byte
		want byte
	}{
		{"good", admin, statusOK},
		{"another name", change(28, 'A'), statusUnknownName},
		{"no level", change(24, 0x10), statusBadRole},
		{"OEM level", change(24, 0x15), statusBadRole},
		{"a long name", append(change(27, 17), make([]byte, 12)...), statusBadNameLength},
	} {
		if got := testLoop(nil).checkName(tt.p); got != tt.want {
			t.Errorf("%s: status %#x, want %#x", tt.name, got, tt.want)
		}
	}
	l := testLoop(nil)
	for name, answer := range map[string][]byte{
		"RAKP 1 cut short":             l.rakp1(admin[:27]),
		"RAKP 1 with a name cut short": l.rakp1(admin[:30]),
		"RAKP 3 cut short":             l.rakp3(make([]byte, 7)),
		"open request cut short":       l.openSession(&net.UDPAddr{}, make([]byte, 31)),
	} {
		if answer != nil {
			t.Errorf("%s: answered % x", name, answer)
		}
	}
	for name, answer := range map[string][]byte{"RAKP 1": l.rakp1(admin), "RAKP 3": l.rakp3(make([]byte, 28))} {
		if len(answer) != 8 || answer[1] != statusBadSession {
			t.Errorf("%s of an unknown session: % x", name, answer)
		}
	}
}

// A client that did not like message 2 says so, and its log-in is forgotten.
func TestALoginThatTheClientBreaksOff(t *testing.T) {
	l := testLoop(nil)
	s := l.newSession(&net.UDPAddr{}, suites[0], 1)
	s.rakp1 = []byte{1}
	if answer := l.rakp3(append([]byte{0, statusBadIntegrity, 0, 0}, le32(s.id)...)); answer != nil || len(l.sessions) != 0 {
		t.Errorf("answered % x, %d log-ins left", answer, len(l.sessions))
	}
	s = l.newSession(&net.UDPAddr{}, suites[0], 1)
	s.rakp1 = []byte{1}
	answer := l.rakp3(append(append([]byte{0, 0, 0, 0}, le32(s.id)...), make([]byte, 32)...))
	if len(answer) != 8 || answer[1] != statusBadIntegrity || len(l.sessions) != 0 {
		t.Errorf("a wrong code: answered % x, %d log-ins left", answer, len(l.sessions))
	}
}

func TestSuiteMatching(t *testing.T) {
	wildcard := openRequest(1, suites[0])[8:]
	for i := range 3 {
		wildcard[8*i+3], wildcard[8*i+4] = 0, 0
	}
	mixed := openRequest(1, suites[0])[8:]
	mixed[8+4] = suites[1].integrity
	for _, tt := range []struct {
		name   string
		offers []int
		asked  []byte
		want   int // 0: none
	}{
		{"17", nil, openRequest(1, suites[0])[8:], 17},
		{"3", nil, openRequest(1, suites[1])[8:], 3},
		{"17, not offered", []int{3}, openRequest(1, suites[0])[8:], 0},
		{"whatever the BMC likes", nil, wildcard, 17},
		{"whatever, 3 offered", []int{3}, wildcard, 3},
		{"two suites mixed", nil, mixed, 0},
		{"nothing offered", []int{}, wildcard, 0},
	} {
		l := testLoop(nil)
		l.srv.CipherSuites = tt.offers
		if got, ok := l.matchSuite(tt.asked); got.id != tt.want || ok != (tt.want != 0) {
			t.Errorf("%s: suite %d, want %d", tt.name, got.id, tt.want)
		}
	}
}

func TestParsePacketRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                     {},
		"another version of RMCP":     {5, 0, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"another class":               {6, 0, 0xFF, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"ping of another enterprise":  {6, 0, 0xFF, 6, 0, 0, 0x11, 0xBF, 0x80, 1, 0, 0},
		"ping cut short":              {6, 0, 0xFF, 6, 0, 0, 0x11},
		"IPMI 1.5 with a session":     {6, 0, 0xFF, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
		"IPMI 1.5 longer than itself": {6, 0, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		"IPMI 1.5 with MD5":           {6, 0, 0xFF, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"RMCP+ cut short":             {6, 0, 0xFF, 7, 6, 0, 0, 0, 0, 0},
		"RMCP+ longer than itself":    {6, 0, 0xFF, 7, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
		"longer than any packet":      append([]byte{6, 0, 0xFF, 7, 0}, make([]byte, maxPacket)...),
	} {
		if p, err := parsePacket(b); err == nil {
			t.Errorf("%s: taken for %+v", name, p)
		}
	}
}

func TestDecryptRefuses(t *testing.T) {
	k2 := make([]byte, 20)
	for name, b := range map[string][]byte{
		"nothing": nil, "a vector alone": make([]byte, 16), "half a block": make([]byte, 40),
	} {
		if plain, err := decrypt(k2, b); err == nil {
			t.Errorf("%s: % x", name, plain)
		}
	}
	good := encrypt(k2, []byte("0123456789abcde"), 0)
	if plain, err := decrypt(k2, good); err != nil || string(plain) != "0123456789abcde" {
		t.Errorf("%q, %v", plain, err)
	}
	good[15] ^= 0xFF // the vector reaches the first block's last byte, the padding's length
	if plain, err := decrypt(k2, good); err == nil {
		t.Errorf("padding longer than the message: % x", plain)
	}
}

func TestBusyIsUsedUp(t *testing.T) {
	l, s := active(t, &fakeMachine{})
	l.srv.SetFaults(Faults{BusyCommands: 2})
	var codes []byte
	for range 3 {
		code, _ := l.dispatch(&call{session: s, request: request{netFn: netChassis, cmd: 0x01}})
		codes = append(codes, code)
	}
	if got := hex.EncodeToString(codes); got != "c0c000" {
		t.Errorf("completion codes %s, want busy twice", got)
	}
}

func TestSELTimeIsNow(t *testing.T) {
	before := time.Now().Unix()
	_, b := selTime(nil, nil)
	if got := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 | int64(b[3])<<24; got < before || got > before+5 {
		t.Errorf("%d, it is %d", got, before)
	}
}
