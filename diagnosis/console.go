package diagnosis

import (
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

// A serial line carries a screen: firmware moves the cursor and draws over what it wrote. What is looked through for
// symptoms, and shown to people, is lines.

// LineLimit is the most bytes of one line of a machine.
const LineLimit = 500

// Console makes lines of what comes from a serial line, and has the last node.LinesKept of them. Terminal control is left
// out: a cursor that is moved ends a line, one that returns writes the line anew. Any goroutine may use it.
type Console struct {
	mu     sync.Mutex
	kept   []node.Line
	open   []byte // the line that has not ended
	since  time.Time
	escape byte // inside an escape sequence: ESC, '[' or '('
	back   bool // the cursor is at the line's start
}

// Write takes what came and returns the lines that have ended with it.
func (c *Console) Write(at time.Time, p []byte) (ended []node.Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if c.ends(at, b) {
			if text := Plain(string(c.open)); text != "" {
				ended = append(ended, node.Line{At: c.since, Text: text})
			}
			c.open, c.back = c.open[:0], false
		}
	}
	c.kept = LastLines(append(c.kept, ended...))
	return ended
}

// ends takes a byte and reports whether the line ends with it.
func (c *Console) ends(at time.Time, b byte) bool {
	switch {
	case c.escape != 0:
		return c.control(b)
	case b == 0x1B:
		c.escape = b
	case b == '\n':
		return true
	case b == '\r':
		c.back = true
	case b == '\b':
		c.open = c.open[:max(0, len(c.open)-1)]
	case b == '\t' || b >= ' ' && b != 0x7F:
		if c.back {
			c.open, c.back = c.open[:0], false
		}
		if len(c.open) == 0 {
			c.since = at
		}
		c.open = append(c.open, b)
		return len(c.open) == LineLimit
	}
	return false
}

// control takes a byte of an escape sequence (ECMA-48) and reports whether it moved the cursor elsewhere.
func (c *Console) control(b byte) bool {
	switch {
	case c.escape == 0x1B && (b == '[' || b == '('):
		c.escape = b
		return false
	case c.escape == '[' && b >= 0x20 && b < 0x40: // parameters
		return false
	}
	moved := c.escape == '[' && (b == 'H' || b == 'f')
	c.escape = 0
	return moved
}

// Lines are those kept, the one that has not ended included, such as a prompt.
func (c *Console) Lines() []node.Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append([]node.Line(nil), c.kept...)
	if text := Plain(string(c.open)); text != "" {
		all = append(all, node.Line{At: c.since, Text: text})
	}
	return LastLines(all)
}

// LastLines are as many of the lines as are kept of a machine.
func LastLines(lines []node.Line) []node.Line {
	return lines[max(0, len(lines)-node.LinesKept):]
}

// Plain is text as it may be kept and shown: valid, printable, without spaces at its end.
func Plain(text string) string {
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
