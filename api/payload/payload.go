// Package payload owns the JSON that clients send: it is decoded whole or refused, read value by value, and secrets in it that
// are masked stay what they were. It knows no resource and no version.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// JSON of strangers is bounded in depth and number before it is built.

// MaxDepth is how deep a JSON body may nest.
const MaxDepth = 25

// MaxValues is how many values a JSON body may have, all levels together: a report of a large machine has some thousands.
const MaxValues = 100_000

// Marshal encodes v without HTML escapes, which would make texts unreadable.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// Unmarshal decodes exactly one JSON value. Numbers become float64, as drivers expect, unless that
// would change an integer: then they stay json.Number.
func Unmarshal(b []byte, v any) error {
	if !utf8.Valid(b) { // the decoder would put other characters in the place of, say, gzipped user data
		return errors.New("it is not UTF-8 text, which JSON must be (RFC 8259)")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the body is empty")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON value")
	}
	return nil
}

// Plain turns the json.Number inside v into float64 where no integer is changed by it.
func Plain(v any) any {
	switch x := v.(type) {
	case json.Number:
		return plainNumber(x)
	case map[string]any:
		for k, e := range x {
			x[k] = Plain(e)
		}
	case []any:
		for i, e := range x {
			x[i] = Plain(e)
		}
	}
	return v
}

const exactInFloat = 1 << 53 // integers up to here survive in a float64

func plainNumber(x json.Number) any {
	f, err := x.Float64()
	if err != nil {
		return x
	}
	if strings.ContainsAny(x.String(), ".eE") {
		return f
	}
	if i, err := x.Int64(); err != nil || i > exactInFloat || i < -exactInFloat {
		return x
	}
	return f
}

// DecodeValue decodes one JSON value into maps, slices, strings, bools and numbers.
func DecodeValue(b []byte) (any, error) {
	var v any
	if err := Unmarshal(b, &v); err != nil {
		return nil, err
	}
	return Plain(v), nil
}

// Empty reports whether a request has nothing to say; clients send null for that.
func Empty(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || string(b) == "null"
}

// DecodeObject decodes a body that must be a JSON object. No body is an empty object.
func DecodeObject(b []byte) (map[string]any, error) {
	if Empty(b) {
		return map[string]any{}, nil
	}
	v, err := DecodeValue(b)
	if err != nil {
		return nil, invalid("The body is not valid JSON: %s.", err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("The body must be a JSON object, not %s.", KindOf(v))
	}
	return m, nil
}

// KindOf names a JSON value for people.
func KindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return "a number"
	}
}

// TooMuch says what is wrong with the shape of a body: brackets that nest deeper than MaxDepth, or more values than
// MaxValues, which take many times the memory that the body does. It runs before any decoder does and needs no valid JSON.
func TooMuch(b []byte) string {
	depth, values, inString := 0, 1, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			values++
			if depth++; depth > MaxDepth {
				return fmt.Sprintf("The JSON body nests deeper than the %d levels allowed.", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if values > MaxValues {
			return fmt.Sprintf("The JSON body has more than the %d values allowed.", MaxValues)
		}
	}
	return ""
}
