package memory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// kept returns v as a database gives it back: nothing of it is shared with v, texts are clean, times have microseconds, and
// documents went through JSON.
func kept[T any](v T) T {
	keep(reflect.ValueOf(&v).Elem())
	return v
}

func keep(v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		*to = micros(*to)
		return
	case *node.Unreadable: // the reader's
		*to = nil
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			keep(v.Field(i))
		}
	case reflect.String:
		v.SetString(strings.ReplaceAll(strings.ToValidUTF8(v.String(), "\uFFFD"), "\x00", "\uFFFD"))
	case reflect.Pointer, reflect.Map, reflect.Slice:
		throughJSON(v)
	}
}

func micros(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// throughJSON replaces v by what is read after it was written. No document is nil; other empty values are.
func throughJSON(v reflect.Value) {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		panic(fmt.Sprintf("a value that is no JSON: %v", err)) // a mistake of the caller: documents come from JSON
	}
	v.Set(empty(v.Type()))
	switch string(text) {
	case "null", "{}", "[]":
		return
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(v.Addr().Interface()); err != nil {
		panic(fmt.Sprintf("written and not read: %v", err))
	}
	plain(v)
}

// empty is a value that was not set, as it is read.
func empty(t reflect.Type) reflect.Value {
	if t.Kind() == reflect.Map {
		return reflect.MakeMap(t)
	}
	return reflect.Zero(t)
}

// plain makes numbers float64, but for integers that a float64 would change.
func plain(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			plain(v.Elem())
		}
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				plain(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			plain(v.Index(i))
		}
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.Interface {
			plainIn(v.Interface())
		}
	case reflect.Interface:
		if !v.IsNil() {
			v.Set(reflect.ValueOf(plainIn(v.Interface())))
		}
	}
}

func plainIn(v any) any {
	switch v := v.(type) {
	case node.Document:
		return plainIn(map[string]any(v))
	case map[string]any:
		for k, e := range v {
			v[k] = plainIn(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainIn(e)
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

// column finds the field of a row by the name it has in a database and in the API; not valid when there is none.
func column(row reflect.Value, name string) reflect.Value {
	if i := columnOf(row.Type(), name); i >= 0 {
		return row.Field(i)
	}
	return reflect.Value{}
}

func columnOf(row reflect.Type, name string) int {
	for i := range row.NumField() {
		if columnName(row, i) == name {
			return i
		}
	}
	return -1
}

// columnName is a field's name in words: provision_updated_at, pxe_enabled.
func columnName(t reflect.Type, i int) string {
	name := t.Field(i).Name
	if other, ok := otherNames[t.Name()+"."+name]; ok {
		return other
	}
	var b strings.Builder
	for i := range len(name) {
		isUpper := func(i int) bool { return i < len(name) && name[i] >= 'A' && name[i] <= 'Z' }
		if i > 0 && isUpper(i) && (!isUpper(i-1) || i+1 < len(name) && !isUpper(i+1)) {
			b.WriteByte('_')
		}
		b.WriteByte(name[i])
	}
	return strings.ToLower(b.String())
}

var otherNames = map[string]string{
	"Node.State": "provision_state", "Node.TargetState": "target_provision_state",
	"Node.Power": "power_state", "Node.TargetPower": "target_power_state", "Port.IsSmartNIC": "is_smartnic",
}

// spoiled takes out of a row just read what is damaged of it.
func spoiled(row reflect.Value, damage node.Unreadable) {
	for name, why := range damage {
		if f := column(row, name); f.IsValid() {
			f.Set(empty(f.Type()))
		}
		unreadable := row.FieldByName("Unreadable")
		if unreadable.IsNil() {
			unreadable.Set(reflect.ValueOf(node.Unreadable{}))
		}
		unreadable.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(why))
	}
}

// mend keeps what is damaged, which the caller knows, and has no new value, and takes what was written off both lists.
func mend(old, row, callers reflect.Value, damage node.Unreadable) {
	known := callers.FieldByName("Unreadable").Interface().(node.Unreadable)
	for name := range damage {
		f := column(row, name)
		if !f.IsValid() {
			continue
		}
		none := f.IsZero() || f.Kind() == reflect.Map && f.Len() == 0
		if _, missed := known[name]; missed && none {
			f.Set(column(old, name))
			continue
		}
		delete(damage, name)
		delete(known, name)
	}
}
