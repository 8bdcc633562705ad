package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON of strangers is bounded in depth and number before it is built, and an answer is encoded whole before its status is
// sent, so that no success turns out to hold an error.

// maxDepth is how deep a JSON body may nest.
const maxDepth = 25

// maxValues is how many values a JSON body may have, all levels together: a report of a large machine has some thousands.
const maxValues = 100_000

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := marshal(v)
	if err != nil { // never a success that holds an error
		status, b = http.StatusInternalServerError, compact(wrapped(faultOf(http.StatusInternalServerError, "The answer could not be encoded.")))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone; there is nobody to tell
}

// unmarshal decodes exactly one JSON value. Numbers become float64, as drivers expect, unless that
// would change an integer: then they stay json.Number.
func unmarshal(b []byte, v any) error {
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

// plain turns the json.Number inside v into float64 where no integer is changed by it.
func plain(v any) any {
	switch x := v.(type) {
	case json.Number:
		return plainNumber(x)
	case map[string]any:
		for k, e := range x {
			x[k] = plain(e)
		}
	case []any:
		for i, e := range x {
			x[i] = plain(e)
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

// decodeValue decodes one JSON value into maps, slices, strings, bools and numbers.
func decodeValue(b []byte) (any, error) {
	var v any
	if err := unmarshal(b, &v); err != nil {
		return nil, err
	}
	return plain(v), nil
}

// noBody reports whether a request has nothing to say; clients send null for that.
func noBody(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || string(b) == "null"
}

// decodeObject decodes a body that must be a JSON object. No body is an empty object.
func decodeObject(b []byte) (map[string]any, error) {
	if noBody(b) {
		return map[string]any{}, nil
	}
	v, err := decodeValue(b)
	if err != nil {
		return nil, invalid("The body is not valid JSON: %s.", err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("The body must be a JSON object, not %s.", kindOf(v))
	}
	return m, nil
}

// kindOf names a JSON value for people.
func kindOf(v any) string {
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

// tooMuch says what is wrong with the shape of a body: brackets that nest deeper than maxDepth, or more values than
// maxValues, which take many times the memory that the body does. It runs before any decoder does and needs no valid JSON.
func tooMuch(b []byte) string {
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
			if depth++; depth > maxDepth {
				return fmt.Sprintf("The JSON body nests deeper than the %d levels allowed.", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if values > maxValues {
			return fmt.Sprintf("The JSON body has more than the %d values allowed.", maxValues)
		}
	}
	return ""
}
