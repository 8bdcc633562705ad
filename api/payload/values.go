package payload

import (
	"strings"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

// invalid is what is wrong with what a client sends, for people.
func invalid(format string, args ...any) error { return node.Errorf(node.Invalid, format, args...) }

// Text reads a string or null of at most limit characters.
func Text(key string, v any, limit int) (string, error) {
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", invalid("Field %s must be a string, not %s.", key, KindOf(v))
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return "", invalid("Field %s may have at most %d characters, not %d.", key, limit, n)
	}
	return s, nil
}

// Boolean reads a boolean, also in the spellings that the API takes; null is false.
func Boolean(key string, v any) (bool, error) {
	switch x := v.(type) {
	case nil:
		return false, nil
	case bool:
		return x, nil
	case string:
		if b, ok := SpelledBool(x); ok {
			return b, nil
		}
	}
	return false, invalid("Field %s must be a boolean, not %s.", key, KindOf(v))
}

// Object reads an object or null; null is an empty document.
func Object(key string, v any) (node.Document, error) {
	switch x := v.(type) {
	case nil:
		return node.Document{}, nil
	case map[string]any:
		return x, nil
	}
	return nil, invalid("Field %s must be an object, not %s.", key, KindOf(v))
}

// SpelledBool reads a boolean in all spellings that the API takes.
func SpelledBool(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "t", "true", "on", "y", "yes":
		return true, true
	case "0", "f", "false", "off", "n", "no":
		return false, true
	}
	return false, false
}
