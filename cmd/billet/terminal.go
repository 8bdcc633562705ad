package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// What a machine, a switch or another user wrote ends on an operator's terminal: names, consoles, logs, errors. A terminal
// obeys some of it, so none of it goes there as it is.

// shown is s as it may go to a terminal: what is no text is written as in JSON, \u001b. A line end within s is kept, with
// blanks behind it, so that no part of s looks like a line of this program.
func shown(s string) string {
	if strings.IndexFunc(s, unfit) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range strings.TrimRight(s, "\r\n") {
		switch {
		case r == '\n':
			b.WriteString("\n        ")
		case r == '\r':
		case unfit(r):
			writeEscaped(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unfit reports what is no text: controls, C1 controls among them, and what turns the direction of text around.
func unfit(r rune) bool {
	return r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029')
}

func writeEscaped(b *strings.Builder, r rune) { fmt.Fprintf(b, `\u%04x`, r) }

// cleaned is what a service answered, decoded, with each text fit for a terminal.
func cleaned(v any) any {
	switch v := v.(type) {
	case string:
		return shown(v)
	case []any:
		for i := range v {
			v[i] = cleaned(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = cleaned(v[k])
		}
	}
	return v
}

// decodeShown decodes what a service answered for a command that prints it.
func decodeShown(answer []byte, into any) error {
	if raw, ok := into.(*json.RawMessage); ok { // printed as JSON, or decoded later
		return json.Unmarshal(answer, raw)
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	clean, err := json.Marshal(cleaned(v))
	if err != nil {
		return err
	}
	return json.Unmarshal(clean, into)
}

// terminal is where a command prints: whatever reaches it, only text and line ends go on.
type terminal struct{ io.Writer }

func (t terminal) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(p) {
		if r != '\n' && unfit(r) {
			writeEscaped(&b, r)
			continue
		}
		b.WriteRune(r)
	}
	if _, err := io.WriteString(t.Writer, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
