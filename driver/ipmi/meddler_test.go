package ipmi

import (
	"bytes"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

// meddle puts itself between the driver and a virtual BMC and changes the answers before a session,
// which nothing protects: the firmware that nobody has on the shelf. change gets a copy of the
// datagram and returns what the driver sees; nil loses it.
func meddle(t *testing.T, info node.Document, change func([]byte) []byte) node.Document {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", net.JoinHostPort(info.String("ipmi_address"), info.String("ipmi_port")))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var driver net.Addr
	var work sync.WaitGroup
	work.Go(func() {
		buf := make([]byte, maxPacket)
		for {
			n, from, err := front.ReadFrom(buf)
			if err != nil {
				return
			}
			mu.Lock()
			driver = from
			mu.Unlock()
			back.Write(buf[:n])
		}
	})
	work.Go(func() {
		buf := make([]byte, maxPacket)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			to := driver
			mu.Unlock()
			if b := change(bytes.Clone(buf[:n])); b != nil {
				front.WriteTo(b, to)
			}
		}
	})
	t.Cleanup(func() { front.Close(); back.Close(); work.Wait() })
	return with(info, "ipmi_port", strconv.Itoa(front.LocalAddr().(*net.UDPAddr).Port))
}

// answersTo changes the RMCP+ answers of one payload type; p is the payload behind 16 bytes of header.
func answersTo(kind byte, change func(p []byte)) func([]byte) []byte {
	return func(b []byte) []byte {
		if b[4] == authTypePlus && b[5] == kind+1 {
			change(b[16:])
		}
		return b
	}
}

// refuses answers a set-up message with an RMCP+ status and nothing behind the session id.
func refuses(kind, status byte) func([]byte) []byte {
	return func(b []byte) []byte {
		if b[4] != authTypePlus || b[5] != kind+1 {
			return b
		}
		return wrapPlus(kind+1, 0, 0, append([]byte{b[16], status, 0, 0}, b[20:24]...))
	}
}

// plainAnswer replaces the answer to a command outside a session: completion code, then data.
func plainAnswer(cmd byte, codeAndData ...byte) func([]byte) []byte {
	return func(b []byte) []byte {
		if b[4] != authTypeNone || b[14+5] != cmd {
			return b
		}
		msg := append(bytes.Clone(b[14:14+6]), codeAndData...)
		return wrapPlain(append(msg, -sum(msg[3:])))
	}
}

func TestOddLogins(t *testing.T) {
	const startedOver = "BMC ADDR: broke off the log-in 4 times although the password is right"
	const wrongPassword = `BMC ADDR: log-in as "admin" was refused: the password is wrong; check driver_info/ipmi_username and ipmi_password`
	const noSuite = "BMC ADDR: does not accept cipher suite 3; set driver_info/ipmi_cipher_suite to one that it has: 3 or 17"
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   string // "" when it must work
	}{
		{"untouched", func(b []byte) []byte { return b }, ""},
		{"IPMI 1.5 only", plainAnswer(0x38, 0, 1, 0x84, 0x04, 0x01, 0, 0, 0, 0), "BMC ADDR: speaks IPMI 1.5 only; this driver needs IPMI 2.0"},
		{"does not know about capabilities", plainAnswer(0x38, 0xC1), ""},
		{"old capabilities without the second half", plainAnswer(0x38, 0, 1, 0x04, 0x04, 0x00, 0, 0, 0, 0), ""},
		{"does not list its suites", plainAnswer(0x54, 0xC1), ""},
		{"lists nothing", plainAnswer(0x54, 0, 1), ""},
		{"lists less than nothing", plainAnswer(0x54, 0), ""},
		{"lists other suites than it has", plainAnswer(0x54, 0, 1, 0xC0, 1, 1, 0x40, 0x80, 0xC0, 8, 2, 0x42, 0x81), ""},
		{"lists one piece for ever", plainAnswer(0x54, 0, 1, 0xC0, 1, 1, 0x40, 0x80, 0xC0, 8, 2, 0x42, 0x81, 0xC0, 1, 1, 0x40, 0x80, 0xC0), ""},

		{"open: insufficient resources", refuses(payloadOpen, 0x01),
			"BMC ADDR: has no room for another session; close other sessions or wait a minute"},
		{"open: invalid authentication algorithm", refuses(payloadOpen, 0x04), noSuite},
		{"open: no match", refuses(payloadOpen, 0x11), noSuite},
		{"open: unknown status", refuses(payloadOpen, 0x77), "BMC ADDR: refused the log-in with RMCP+ status 0x77"},
		{"open: other algorithms", answersTo(payloadOpen, func(p []byte) { p[16] = 2 }),
			"BMC ADDR: answered with other algorithms than those of cipher suite 3"},
		{"open: cut short", func(b []byte) []byte {
			if b[4] == authTypePlus && b[5] == payloadOpen+1 {
				return wrapPlus(payloadOpen+1, 0, 0, b[16:26])
			}
			return b
		}, "BMC ADDR: sent an open session response that is too short"},

		{"RAKP 2: unknown user", refuses(payloadRAKP1, 0x0D),
			`BMC ADDR: log-in as "admin" was refused: there is no such user; check driver_info/ipmi_username and ipmi_password`},
		{"RAKP 2: level", refuses(payloadRAKP1, 0x0A), tooHigh},
		{"RAKP 2: level for this session", refuses(payloadRAKP1, 0x09), tooHigh},
		{"RAKP 2: no room at this level", refuses(payloadRAKP1, 0x0B),
			"BMC ADDR: has no room for another session; close other sessions or wait a minute"},
		{"RAKP 2: invalid session", refuses(payloadRAKP1, 0x02), startedOver},
		{"RAKP 2: integrity", refuses(payloadRAKP1, 0x0F), wrongPassword},
		{"RAKP 2: proves nothing", answersTo(payloadRAKP1, func(p []byte) { p[45] ^= 1 }), wrongPassword},
		{"RAKP 2: cut short", func(b []byte) []byte {
			if b[4] == authTypePlus && b[5] == payloadRAKP1+1 {
				return wrapPlus(payloadRAKP1+1, 0, 0, b[16:30])
			}
			return b
		}, wrongPassword},

		{"RAKP 4: integrity, although RAKP 2 was right", refuses(payloadRAKP3, 0x0F), startedOver},
		{"RAKP 4: invalid session", refuses(payloadRAKP3, 0x02), startedOver},
		{"RAKP 4: proves nothing", answersTo(payloadRAKP3, func(p []byte) { p[10] ^= 1 }),
			`BMC ADDR: log-in as "admin" was refused: the password is right but the BMC key is not; check driver_info/ipmi_hex_kg_key`},
		{"RAKP 4: of another session", answersTo(payloadRAKP3, func(p []byte) { p[4] ^= 1 }),
			"BMC ADDR: too slow: it answers, but did not log in within N s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			info := meddle(t, start(t, &bmc.Server{MaxSessions: 100}), tt.change)
			power, _ := New(quick)
			_, err := power.PowerState(t.Context(), task(info))
			if got := said(err, info); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A BMC that loses track of one log-in only is logged in to again.
func TestALoginThatIsLostOnce(t *testing.T) {
	for _, kind := range []byte{payloadRAKP1, payloadRAKP3} {
		var once sync.Once
		refuse := refuses(kind, 0x02)
		info := meddle(t, start(t, &bmc.Server{}), func(b []byte) []byte {
			if b[4] == authTypePlus && b[5] == kind+1 {
				once.Do(func() { b = refuse(b) })
			}
			return b
		})
		power, _ := New(quick)
		if _, err := power.PowerState(t.Context(), task(info)); err != nil {
			t.Errorf("message %#x: %v", kind, err)
		}
	}
}

// What others send to our port, or sent before, is not taken for an answer.
func TestStrayPacketsAreIgnored(t *testing.T) {
	server := start(t, &bmc.Server{})
	var info node.Document
	stray := [][]byte{{}, {6}, []byte("GET / HTTP/1.1\r\n"), wrapPlain(nil), wrapPlus(payloadOpen+1, 0, 0, nil),
		wrapPlus(payloadIPMI|encrypted|authenticated, 99, 1, make([]byte, 48))}
	var mu sync.Mutex
	sent := 0
	info = meddle(t, server, func(b []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if sent++; sent%2 == 1 { // each answer comes at the second asking, a stray packet at the first
			return append([]byte(nil), stray[sent/2%len(stray)]...)
		}
		return b
	})
	power, _ := New(quick)
	if _, err := power.PowerState(t.Context(), task(info)); err != nil {
		t.Error(err)
	}
}
