package conductor

import (
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

// lineLimit is the most bytes of one line of a machine.
const lineLimit = 500

// lineBuffer makes lines of what comes from a serial line and keeps the last node.LinesKept of them. Terminal
// control is left out: a cursor that is moved ends a line, one that returns writes the line anew.
type lineBuffer struct {
	mu     sync.Mutex
	kept   []node.Line
	open   []byte // the line that has not ended
	since  time.Time
	escape byte // inside an escape sequence: ESC, '[' or '('
	back   bool // the cursor is at the line's start
}

// write takes what came and returns the lines that have ended with it.
func (b *lineBuffer) write(at time.Time, p []byte) []node.Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	var whole []node.Line
	end := func() {
		if text := plain(string(b.open)); text != "" {
			whole = append(whole, node.Line{At: b.since, Text: text})
		}
		b.open, b.back = b.open[:0], false
	}
	for _, c := range p {
		switch {
		case b.escape != 0:
			if b.control(c) {
				end()
			}
		case c == 0x1B:
			b.escape = c
		case c == '\n':
			end()
		case c == '\r':
			b.back = true
		case c == '\b':
			b.open = b.open[:max(0, len(b.open)-1)]
		case c == '\t' || c >= ' ' && c != 0x7F:
			if b.back {
				b.open, b.back = b.open[:0], false
			}
			if len(b.open) == 0 {
				b.since = at
			}
			if b.open = append(b.open, c); len(b.open) == lineLimit {
				end()
			}
		}
	}
	b.kept = lastLines(append(b.kept, whole...))
	return whole
}

// control takes a byte of an escape sequence (ECMA-48) and reports whether it moved the cursor elsewhere.
func (b *lineBuffer) control(c byte) bool {
	switch {
	case b.escape == 0x1B && (c == '[' || c == '('):
		b.escape = c
		return false
	case b.escape == '[' && c >= 0x20 && c < 0x40: // parameters
		return false
	}
	moved := b.escape == '[' && (c == 'H' || c == 'f')
	b.escape = 0
	return moved
}

// lines are those kept, the one that has not ended included, such as a prompt.
func (b *lineBuffer) lines() []node.Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := append([]node.Line(nil), b.kept...)
	if text := plain(string(b.open)); text != "" {
		all = append(all, node.Line{At: b.since, Text: text})
	}
	return lastLines(all)
}

func lastLines(lines []node.Line) []node.Line {
	return lines[max(0, len(lines)-node.LinesKept):]
}

// plain is text as it may be kept and shown: valid, printable, without spaces at its end.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '·'
		}
		return r
	}, text)
	return strings.TrimRight(text, " ")
}

// What may be secret in any machine's text, whatever the node knows: the random part of a boot file's URL, a
// password in a URL, and what follows a telling name.
var secretTexts = []struct {
	find    *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`(/?\bboot/)[0-9a-f]{16,}(/)`), "${1}…${2}"},
	{regexp.MustCompile(`(/b/)[0-9a-f]{32}\b`), "${1}…"}, // node.WithBootKey
	{regexp.MustCompile(`(\bdeployment_key=)[0-9a-f]+`), "${1}…"},
	{regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`), "${1}******@"},
	{regexp.MustCompile(`(?i)\b([\w-]*(?:token|passw(?:or)?d|secret|configdrive|private_key)[\w-]*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s&,;]+)`), "${1}******"},
}

// mask takes secrets out of a machine's text.
func mask(n *node.Node, text string) string {
	text = scrub(n, text)
	for _, s := range secretTexts {
		text = s.find.ReplaceAllString(text, s.replace)
	}
	return text
}

func maskLines(n *node.Node, lines []node.Line) []node.Line {
	masked := make([]node.Line, len(lines))
	for i, l := range lines {
		masked[i] = node.Line{At: l.At, Text: mask(n, l.Text)}
	}
	return masked
}
