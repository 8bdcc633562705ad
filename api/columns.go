package api

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// Every resource shows its fields by version, by ?fields= and with links. A resource is a table of columns, so that this is
// written once and no resource forgets it.

// column is one field of a resource: its name in JSON and how it is read. The version that first
// shows it is in the table since, under "<resource>.<name>".
type column[T any] struct {
	name string
	get  func(T) any
}

// shown picks the columns a client sees: all that its version knows, or those it asked for.
// The columns keep the table's order.
func shown[T any](all []column[T], resource string, v version, fields []string) []column[T] {
	var cols []column[T]
	for _, col := range all {
		if v.knows(resource+"."+col.name) && (fields == nil || slices.Contains(fields, col.name)) {
			cols = append(cols, col)
		}
	}
	return cols
}

func render[T any](cols []column[T], x T) map[string]any {
	out := make(map[string]any, len(cols))
	for _, col := range cols {
		out[col.name] = col.get(x)
	}
	return out
}

func hasColumn[T any](all []column[T], name string) bool {
	return slices.ContainsFunc(all, func(c column[T]) bool { return c.name == name })
}

// fieldsAsked reads ?fields=a,b. It returns nil when the client did not ask; "links" is always
// among the answer.
func fieldsAsked[T any](c *call, q url.Values, resource string, all []column[T]) ([]string, error) {
	if !q.Has("fields") {
		return nil, nil
	}
	first := firstOf("any?fields")
	if resource == "driver" {
		first = firstOf("driver?fields")
	}
	if err := c.version.needs(first, "the query argument 'fields'"); err != nil {
		return nil, err
	}
	fields := []string{"links"}
	var unknown []string
	for f := range strings.SplitSeq(strings.ToLower(q.Get("fields")), ",") {
		f = strings.TrimSpace(f)
		switch {
		case !hasColumn(all, f):
			unknown = append(unknown, f)
		case !slices.Contains(fields, f):
			fields = append(fields, f)
		}
	}
	if len(unknown) > 0 {
		return nil, invalid("Field(s) %q are not valid for a %s.", strings.Join(unknown, ", "), resource)
	}
	for _, f := range fields {
		if err := c.version.needsField(resource, f); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// orNull shows an empty string as null.
func orNull[S ~string](s S) any {
	if s == "" {
		return nil
	}
	return string(s)
}

// stamp shows a time as ISO 8601 with an offset, or null. The fraction has six digits or, when it is
// zero, none: Python's isoformat, which clients' older parsers take as the only form.
func stamp(t time.Time) any {
	t = t.UTC().Truncate(time.Microsecond)
	switch {
	case t.IsZero():
		return nil
	case t.Nanosecond() == 0:
		return t.Format("2006-01-02T15:04:05+00:00")
	}
	return t.Format("2006-01-02T15:04:05.000000+00:00")
}

// document shows a document; nil is an empty object.
func document(d node.Document) any {
	if d == nil {
		return map[string]any{}
	}
	return map[string]any(d)
}

func optionalBool(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}
