package api

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// view is a record as one request sees it.
type view[T any] struct {
	it   *T
	call *call
}

// records is one kind of record that belongs to a node: a portgroup, a volume connector, a volume target. Clients
// create, read, change and delete it; what differs between the kinds is here.
type records[T any] struct {
	name     string   // in the version table: "volume_target"
	noun     string   // for people: "volume target"
	path     []string // below /v1: {"volume", "targets"}
	columns  []column[view[T]]
	short    []string // what a list shows unless asked for more
	unsorted []string // fields that do not sort
	setters  map[string]func(*T, any) error
	once     []string // those of them that only a POST may write
	required []string
	uuid     func(*T) *string
	hurt     func(*T) node.Unreadable
	// bare are the fields whose columns mask secrets, as they are: what a patch is applied to.
	bare     map[string]func(*T) any
	defaults func() T
	detail   version // since when a list takes ?detail; 0: as all lists
}

func (k *records[T]) json(c *call, items []T, fields []string) []map[string]any {
	cols := shown(k.columns, k.name, c.version, fields)
	out := make([]map[string]any, len(items))
	for i := range items {
		out[i] = render(cols, view[T]{&items[i], c})
		for field := range k.hurt(&items[i]) {
			if _, shown := out[i][field]; shown {
				out[i][field] = nil // what is not known is not shown as empty
			}
		}
	}
	return out
}

func (k *records[T]) has(field string) bool { return hasColumn(k.columns, field) }

// answer writes one record.
func (k *records[T]) answer(w http.ResponseWriter, c *call, status int, x T, fields []string) {
	writeJSON(w, status, k.json(c, []T{x}, fields)[0])
}

// created answers a POST.
func (k *records[T]) created(w http.ResponseWriter, c *call, x T) {
	w.Header().Set("Location", c.href(append(slices.Clone(k.path), *k.uuid(&x))...))
	k.answer(w, c, http.StatusCreated, x, nil)
}

// show answers a GET of one record.
func (k *records[T]) show(w http.ResponseWriter, c *call, get func() (T, error)) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, k.name, k.columns)
	if err != nil {
		return err
	}
	x, err := get()
	if err == nil {
		err = k.hurt(&x).Damage(k.noun, *k.uuid(&x))
	}
	if err != nil {
		return err
	}
	k.answer(w, c, http.StatusOK, x, fields)
	return nil
}

// asked reads the arguments of a list: filters are those it takes besides the usual ones.
func (k *records[T]) asked(c *call, whole bool, filters ...string) (q url.Values, fields []string, err error) {
	if q, err = c.query(slices.Concat(paging, filters, []string{"fields", "detail"})...); err != nil {
		return nil, nil, err
	}
	for _, f := range filters {
		if q.Has(f) {
			if err := c.version.needsFilter(k.name, f); err != nil {
				return nil, nil, err
			}
		}
	}
	if fields, err = fieldsAsked(c, q, k.name, k.columns); err != nil {
		return nil, nil, err
	}
	detail, err := detailSince(c, q, cmp.Or(k.detail, firstOf("any?detail")))
	if fields == nil && !detail && !whole {
		fields = k.short
	}
	return q, fields, err
}

// list writes a page of records; path is the list's own, below /v1.
func (k *records[T]) list(a *API, w http.ResponseWriter, c *call, q url.Values, fields, path []string, get func(node.Page) ([]T, error)) error {
	return list[T]{
		resource: k.name, key: k.path[len(k.path)-1], unsorted: k.unsorted, has: k.has, json: k.json,
		uuid: func(x T) string { return *k.uuid(&x) },
	}.write(a, w, c, q, fields, path, get)
}

// read makes a new record of a POST's body.
func (k *records[T]) read(c *call) (T, error) {
	x := k.defaults()
	body, err := decodeObject(c.body)
	if err != nil {
		return x, err
	}
	*k.uuid(&x) = newUUID()
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if key == "uuid" {
			s, _ := body[key].(string)
			if !isUUID(s) {
				return x, invalid("Expected a UUID for uuid but received %v.", body[key])
			}
			*k.uuid(&x) = canonicalUUID(s)
			continue
		}
		set := k.setters[key]
		if set == nil {
			return x, invalid("%s cannot be created with the field %q. Allowed are: %s, uuid", "A"+article(k.noun)[1:], key, strings.Join(k.writable(), ", "))
		}
		if err := c.version.needsField(k.name, key); err != nil {
			return x, err
		}
		if k.bare[key] != nil {
			if err := noMask(key, body[key]); err != nil {
				return x, err
			}
		}
		if err := set(&x, body[key]); err != nil {
			return x, err
		}
	}
	for _, key := range k.required {
		if body[key] == nil {
			return x, invalid("%s needs %q. It can not be without: %s", "A"+article(k.noun)[1:], key, strings.Join(k.required, ", "))
		}
	}
	return x, nil
}

func (k *records[T]) writable() []string { return slices.Sorted(maps.Keys(k.setters)) }

func (k *records[T]) patchable() []string {
	return slices.DeleteFunc(k.writable(), func(f string) bool { return slices.Contains(k.once, f) })
}

// patch reads a PATCH's body and returns what it does to a record.
func (k *records[T]) patch(c *call) (func(*T) error, error) {
	ops, err := decodePatch(c.body, patchRules{resource: k.name, version: c.version, allowed: k.patchable(), known: k.has})
	if err != nil {
		return nil, err
	}
	return func(x *T) error { return k.apply(c, x, ops) }, nil
}

func (k *records[T]) apply(c *call, x *T, ops []patchOp) error {
	form := map[string]any{}
	for _, f := range touched(ops) {
		if _, hurt := k.hurt(x)[f]; hurt { // it can be written anew, and not in part
			form[f] = nil
			continue
		}
		if bare := k.bare[f]; bare != nil {
			form[f] = bare(x)
			continue
		}
		i := slices.IndexFunc(k.columns, func(col column[view[T]]) bool { return col.name == f })
		form[f] = k.columns[i].get(view[T]{x, c})
	}
	changed, err := applyPatch(form, ops)
	if err != nil {
		return err
	}
	for _, f := range touched(ops) {
		if changed[f] == nil && slices.Contains(k.required, f) {
			return invalid("The %s of %s can not be taken away.", f, article(k.noun))
		}
		value := changed[f]
		if k.bare[f] != nil {
			if value, err = unmask(f, form[f], value); err != nil {
				return err
			}
		}
		if err := k.setters[f](x, value); err != nil {
			return err
		}
	}
	return nil
}

// nodeField is the setter of node_uuid.
func nodeField[T any](at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		s, _ := v.(string)
		if !isUUID(s) {
			return invalid("Expected a UUID for node_uuid but received %v.", v)
		}
		*at(x) = canonicalUUID(s)
		return nil
	}
}

// macField is the setter of an address that may be left out.
func macField[T any](at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		if *at(x) = ""; v == nil {
			return nil
		}
		s, _ := v.(string)
		mac, ok := canonicalMAC(s)
		if !ok {
			return invalid("Expected a MAC address but received %v.", v)
		}
		*at(x) = mac
		return nil
	}
}

// nameField is the setter of a logical name; null takes it away.
func nameField[T any](noun string, at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		s, err := text("name", v, 255)
		if err == nil && s != "" {
			err = checkName(noun, s)
		}
		*at(x) = s
		return err
	}
}

// mustField is the setter of a text that may not be empty.
func mustField[T any](key string, at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		s, err := text(key, v, 255)
		if err == nil && s == "" {
			err = invalid("Field %s may not be empty.", key)
		}
		*at(x) = s
		return err
	}
}
