package memory

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// page returns one page of those rows that fit. rows are all of their kind, in the order of creation; interfaces may sort
// nodes, and reservation.
func page[T any](rows []*T, fits func(*T) bool, p node.Page, notFound func(string) *node.Err) ([]*T, error) {
	order, err := orderOf[T](p.SortKey)
	if err != nil {
		return nil, err
	}
	less := func(a, b *T) int {
		c := cmp.Or(order(a, b), cmp.Compare(idOf(a), idOf(b)))
		if p.SortDesc {
			return -c
		}
		return c
	}
	var marker *T
	if p.Marker != "" {
		i := slices.IndexFunc(rows, func(r *T) bool { return uuidOf(r) == strings.ToLower(p.Marker) })
		if i < 0 {
			return nil, notFound(p.Marker)
		}
		marker = rows[i]
	}
	some := slices.DeleteFunc(slices.Clone(rows), func(r *T) bool {
		return !fits(r) || marker != nil && less(r, marker) <= 0
	})
	slices.SortFunc(some, less)
	if p.Limit > 0 && len(some) > p.Limit {
		some = some[:p.Limit]
	}
	return some, nil
}

func idOf[T any](r *T) int64    { return reflect.ValueOf(r).Elem().FieldByName("ID").Int() }
func uuidOf[T any](r *T) string { return reflect.ValueOf(r).Elem().FieldByName("UUID").String() }

// orderOf returns what a sort key compares. All fields that are no documents sort, but for some that the API does not sort by.
func orderOf[T any](key string) (func(a, b *T) int, error) {
	if key == "" || key == "id" {
		return func(a, b *T) int { return 0 }, nil
	}
	value := valueOf[T](key)
	if value == nil {
		return nil, node.Errorf(node.Invalid, "The sort_key value %q is an invalid field for sorting", key)
	}
	return func(a, b *T) int { return compare(value(a), value(b)) }, nil
}

var unsorted = []string{"id", "node_uuid", "power_failures", "config_drive"}

// valueOf returns what takes the value that a row is sorted by; nil when the key sorts nothing.
func valueOf[T any](key string) func(r *T) any {
	row := reflect.TypeFor[T]()
	if row == reflect.TypeFor[node.Node]() {
		if key == "reservation" {
			return func(r *T) any { return any(r).(*node.Node).Lease.Holder }
		}
		if i, of := strings.CutSuffix(key, "_interface"); of && slices.Contains(node.Interfaces, node.Interface(i)) {
			return func(r *T) any { return any(r).(*node.Node).Interfaces[node.Interface(i)] }
		}
	}
	i := columnOf(row, key)
	if i < 0 || slices.Contains(unsorted, key) || scalar(reflect.New(row).Elem().Field(i)) == nil {
		return nil
	}
	return func(r *T) any { return scalar(reflect.ValueOf(r).Elem().Field(i)) }
}

// scalar is a field's value for compare; nil for what does not sort.
func scalar(f reflect.Value) any {
	switch v := f.Interface().(type) {
	case bool, *bool, time.Time:
		return v
	}
	switch f.Kind() {
	case reflect.String:
		return f.String()
	case reflect.Int:
		return f.Int()
	}
	return nil
}

func compare(a, b any) int {
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case bool:
		b := b.(bool)
		return cmp.Compare(rank(&a), rank(&b))
	default:
		return cmp.Compare(rank(a.(*bool)), rank(b.(*bool)))
	}
}

// rank is the place of a flag in the order none, false, true.
func rank(b *bool) int {
	switch {
	case b == nil:
		return 0
	case *b:
		return 2
	}
	return 1
}
