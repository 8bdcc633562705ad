package diagnosis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/billet-metal/billet/diagnosis"
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
		{"longer than a line", strings.Repeat("x", 2*diagnosis.LineLimit+3) + "\n",
			strings.Repeat("x", diagnosis.LineLimit) + "|" + strings.Repeat("x", diagnosis.LineLimit) + "|xxx"},
	} {
		var whole, slow diagnosis.Console
		whole.Write(time.Now(), []byte(tt.in))
		for i := range len(tt.in) {
			slow.Write(time.Now(), []byte(tt.in[i:i+1]))
		}
		if got := texts(whole.Lines()); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := texts(slow.Lines()); got != tt.want {
			t.Errorf("%s, byte by byte: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTheLastLinesAreKept(t *testing.T) {
	var b diagnosis.Console
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ended := 0
	for i := range 1000 {
		ended += len(b.Write(at.Add(time.Duration(i)*time.Second), fmt.Appendf(nil, "line %d\n", i)))
	}
	b.Write(at.Add(time.Hour), []byte("open"))
	got := b.Lines()
	if ended != 1000 || len(got) != node.LinesKept || got[0].Text != "line 801" || got[198].Text != "line 999" || got[199].Text != "open" {
		t.Errorf("%d ended, %d kept, from %q to %q", ended, len(got), got[0].Text, got[len(got)-1].Text)
	}
	if !got[0].At.Equal(at.Add(801*time.Second)) || !got[199].At.Equal(at.Add(time.Hour)) {
		t.Errorf("heard at %s and %s", got[0].At, got[199].At)
	}
	got[0].Text = "changed"
	if b.Lines()[0].Text != "line 801" {
		t.Error("what was handed out is the buffer itself")
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("SeaBIOS\r\n\x1b[2J\x1b[1;1HiPXE\b\b 5%\r10%\n\xff"), 3)
	f.Add([]byte("\x1b"), 0)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var whole, parts diagnosis.Console
		at := time.Unix(1, 0)
		whole.Write(at, in)
		cut = min(max(cut, 0), len(in))
		parts.Write(at, in[:cut])
		parts.Write(at, in[cut:])
		if texts(whole.Lines()) != texts(parts.Lines()) {
			t.Errorf("%q in one piece, %q in two", texts(whole.Lines()), texts(parts.Lines()))
		}
		if n := len(whole.Lines()); n > node.LinesKept {
			t.Errorf("%d lines", n)
		}
		for _, l := range whole.Lines() {
			bad := strings.ContainsFunc(l.Text, func(r rune) bool { return !unicode.IsPrint(r) })
			if bad || l.Text == "" || !utf8.ValidString(l.Text) || len(l.Text) > 2*diagnosis.LineLimit {
				t.Errorf("line %q", l.Text)
			}
		}
	})
}
