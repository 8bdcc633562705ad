package store

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store/seal"
)

// document keeps a JSON value as text; an empty one as NULL. to is a pointer.
type document struct{ to any }

func (d document) Value() (driver.Value, error) {
	text, err := encodeJSON(d.to)
	if text == nil || err != nil {
		return nil, err
	}
	return string(text), nil
}

// empty makes the value what it is before it is scanned: no documents are nil.
func (d document) empty() { emptyJSON(d.to) }

func (d document) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		return nil
	case string:
		return decodeJSON([]byte(v), d.to)
	case []byte:
		return decodeJSON(v, d.to)
	}
	return fmt.Errorf("document kept as %T", src)
}

// sealed keeps a JSON value sealed, bound to its node and column; an empty one as NULL. uuid is a
// pointer because a row's UUID is scanned just before its sealed columns.
type sealed struct {
	seal   *seal.Sealer
	uuid   *string
	column string
	to     any
}

func (s sealed) place() string { return *s.uuid + " " + s.column }

func (s sealed) Value() (driver.Value, error) {
	text, err := encodeJSON(s.to)
	if text == nil || err != nil {
		return nil, err
	}
	return s.seal.Seal(text, s.place()), nil
}

func (s sealed) empty() { emptyJSON(s.to) }

func (s sealed) Scan(src any) error {
	if src == nil {
		return nil
	}
	box, ok := src.([]byte)
	if !ok {
		return fmt.Errorf("sealed value kept as %T", src)
	}
	text, err := s.seal.Open(box, s.place())
	if err != nil {
		return err
	}
	return decodeJSON(text, s.to)
}

func emptyJSON(to any) {
	switch to := to.(type) {
	case *node.Document:
		*to = node.Document{}
	case *map[node.Interface]string:
		*to = map[node.Interface]string{}
	default:
		reflect.ValueOf(to).Elem().SetZero()
	}
}

// encodeJSON returns nil for an empty value.
func encodeJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a document: %w", err)
	}
	switch string(text) {
	case "null", "{}", "[]", `""`:
		return nil, nil
	}
	return text, nil
}

// decodeJSON reads what encodeJSON wrote. Numbers become float64, as everywhere in Go, but for
// integers that a float64 would change: those stay json.Number.
func decodeJSON(text []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(to); err != nil {
		return fmt.Errorf("read a document: %v", err) // not %w: an io.EOF of damaged text is no database that is away
	}
	switch v := to.(type) {
	case *node.Document:
		plainNumbers(map[string]any(*v))
	case *[]node.PlannedStep:
		for i := range *v {
			plainNumbers((*v)[i].Args)
		}
	case *[]node.RuleOperation:
		for i, o := range *v {
			(*v)[i].Args, (*v)[i].Loop = plainNumbers(o.Args), plainNumbers(o.Loop)
		}
	case **node.Plan:
		for i := range (*v).Steps {
			plainNumbers((*v).Steps[i].Args)
		}
	}
	return nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	case json.Number:
		f, err := v.Float64()
		isInteger := !strings.ContainsAny(v.String(), ".eE")
		if err == nil && (!isInteger || strconv.FormatFloat(f, 'f', -1, 64) == v.String()) {
			return f
		}
	}
	return v
}
