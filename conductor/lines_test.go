package conductor

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

func texts(lines []node.Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return strings.Join(all, "|")
}

func TestLinesOfASerialLine(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"lines", "SeaBIOS 1.16\r\niPXE\n\rBooting\n", "SeaBIOS 1.16|iPXE|Booting"},
		{"a prompt", "debian login: ", "debian login:"},
		{"empty lines", "\n\r\n  \n\t\na\n\n", "a"},
		{"colours", "\x1b[0;37;40mred\x1b[1m alert\x1b[0m\n\x1b(Bx\x1b=y\n", "red alert|xy"},
		{"a screen", "\x1b[2J\x1b[01;01HBdsDxe: loading\x1b[02;01HBdsDxe: starting\x1b[3;1fdone", "BdsDxe: loading|BdsDxe: starting|done"},
		{"a line written anew", "ramdisk... 5%\rramdisk... 50%\rramdisk... ok\n", "ramdisk... ok"},
		{"returned, and no more", "kept\r\n", "kept"},
		{"a turning wheel", "wait |\b/\b-\bok\n", "wait ok"},
		{"backspaces only", "\b\b\ba\n", "a"},
		{"bell, delete, NUL and tab", "a\x07b\x7fc\x00d\te\n", "abcd e"},
		{"no UTF-8", "caf\xe9 \xc3\xa9\n", "caf· é"},
		{"an escape sequence that never ends", "a\n\x1b[1;2;3", "a"},
		{"an unknown escape", "\x1bMa\n", "a"},
		{"longer than a line", strings.Repeat("x", 2*lineLimit+3) + "\n", strings.Repeat("x", lineLimit) + "|" + strings.Repeat("x", lineLimit) + "|xxx"},
	} {
		var whole, slow lineBuffer
		whole.write(time.Now(), []byte(tt.in))
		for i := range len(tt.in) {
			slow.write(time.Now(), []byte(tt.in[i:i+1]))
		}
		if got := texts(whole.lines()); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := texts(slow.lines()); got != tt.want {
			t.Errorf("%s, byte by byte: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTheLastLinesAreKept(t *testing.T) {
	var b lineBuffer
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ended := 0
	for i := range 1000 {
		ended += len(b.write(at.Add(time.Duration(i)*time.Second), fmt.Appendf(nil, "line %d\n", i)))
	}
	b.write(at.Add(time.Hour), []byte("open"))
	got := b.lines()
	if ended != 1000 || len(got) != node.LinesKept || got[0].Text != "line 801" || got[198].Text != "line 999" || got[199].Text != "open" {
		t.Errorf("%d ended, %d kept, from %q to %q", ended, len(got), got[0].Text, got[len(got)-1].Text)
	}
	if !got[0].At.Equal(at.Add(801*time.Second)) || !got[199].At.Equal(at.Add(time.Hour)) {
		t.Errorf("heard at %s and %s", got[0].At, got[199].At)
	}
	got[0].Text = "changed"
	if b.lines()[0].Text != "line 801" {
		t.Error("what was handed out is the buffer itself")
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("SeaBIOS\r\n\x1b[2J\x1b[1;1HiPXE\b\b 5%\r10%\n\xff"), 3)
	f.Add([]byte("\x1b"), 0)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var whole, parts lineBuffer
		at := time.Unix(1, 0)
		whole.write(at, in)
		cut = min(max(cut, 0), len(in))
		parts.write(at, in[:cut])
		parts.write(at, in[cut:])
		if texts(whole.lines()) != texts(parts.lines()) {
			t.Errorf("%q in one piece, %q in two", texts(whole.lines()), texts(parts.lines()))
		}
		if n := len(whole.lines()); n > node.LinesKept {
			t.Errorf("%d lines", n)
		}
		for _, l := range whole.lines() {
			bad := strings.ContainsFunc(l.Text, func(r rune) bool { return !unicode.IsPrint(r) })
			if bad || l.Text == "" || !utf8.ValidString(l.Text) || len(l.Text) > 2*lineLimit {
				t.Errorf("line %q", l.Text)
			}
		}
	})
}

func TestMask(t *testing.T) {
	n := &node.Node{
		Agent: node.Agent{Token: "tok-1234567890"}, ConfigDrive: "H4sIAAAA",
		DriverInfo: node.Document{"ipmi_password": "hunter2-secret", "ipmi_address": "192.0.2.7"}, InstanceInfo: node.Document{"image_server_password": "swordfish"},
	}
	for _, tt := range []struct{ in, want string }{
		{"nothing to hide at 192.0.2.7", "nothing to hide at 192.0.2.7"},
		{"BMC said hunter2-secret", "BMC said ******"},
		{"got tok-1234567890 and H4sIAAAA and swordfish", "got ****** and ****** and ******"},
		{"http://10.0.0.1:6386/boot/0123456789abcdef0123456789abcdef/ramdisk... ok", "http://10.0.0.1:6386/boot/…/ramdisk... ok"},
		{"Command line: boot/0123456789abcdef0123456789abcdef/kernel ipa-agent-token=abc.def-9 quiet", "Command line: boot/…/kernel ipa-agent-token=****** quiet"},
		{"GET http://bob:pa55@mirror/x", "GET http://bob:******@mirror/x"},
		{`level=INFO agent_token="a b c" next=1`, "level=INFO agent_token=****** next=1"},
		{`{"admin_password": "a b", "x": 1}`, `{"admin_password": ******, "x": 1}`},
		{"Password: letmein", "Password: ******"},
		{"http://example.org:8080/boot/ipxe?mac=52:54:00:00:00:01", "http://example.org:8080/boot/ipxe?mac=52:54:00:00:00:01"},
		{"the token was given", "the token was given"},
	} {
		if got := mask(n, tt.in); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	lines := []node.Line{{Text: "hunter2-secret"}}
	if got := maskLines(n, lines); got[0].Text != "******" || lines[0].Text != "hunter2-secret" {
		t.Errorf("%q of %q", got, lines)
	}
}
