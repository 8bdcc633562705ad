package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// view is a record as one request sees it.
type view[T any] struct {
	it   *T
	call *call
}

// records is one kind of record: what clients see of it and may write, and what carries that out. F is what its lists are
// filtered by. The frame makes its routes and their handlers of that; a kind says only what is its own.
type records[T, F any] struct {
	name string   // in the version table: "volume_target"
	noun string   // for people: "volume target"
	path []string // below /v1: {"volume", "targets"}
	kept Records[T, F]

	named    naming // how a path names one
	deleted  naming // how a DELETE does; default: as named
	columns  []column[view[T]]
	short    []string // what a list shows unless asked for more; nil: all
	unsorted []string // fields that do not sort: documents, and what other rows say
	filters  []string // arguments of the list besides the usual ones
	filter   func(c *call, q url.Values) (F, error)
	sublists []sublist[F]
	more     []route // beside those of every kind
	inDetail bool    // its lists have a path for all fields, which ends in "detail"
	detail   version // since when a list takes ?detail; 0: as all lists
	changes  version // since when a PATCH changes one, which is a 405 before; 0: as old as the kind
	oldWrite bool    // versions that do not know the kind answer writes with a 405

	setters  map[string]func(*T, any) error
	once     []string // those of them that only a POST may write
	required []string
	needs    string   // what a POST without one of them is told, with %q for its name; default: the list of them
	whole    []string // those that a PATCH replaces as a whole
	// bare are the fields whose columns mask secrets, as they are: what a patch is applied to.
	bare     map[string]func(*T) any
	defaults func() T
	form     form[T] // instead of setters, for a kind whose fields are checked together

	head   func(*T) head
	damage func(*T) error // of one that is shown alone; default: that it is not shown
	mended bool           // a damaged one is only saved when all that is unreadable is written anew

	// complete finishes a new record, of which the body is, before it is kept; may be nil.
	complete func(c *call, x *T, body map[string]any) error
	// What changes records; where they are not set it is the store, since no node changes with the kind.
	create func(ctx context.Context, x T) (T, error)
	update func(ctx context.Context, uuid string, change func(*T) error) (T, error)
	remove func(ctx context.Context, uuid string) error
}

// head is what a record of every kind has.
type head struct {
	uuid             *string
	created, updated time.Time
	unreadable       node.Unreadable
}

// kind is a kind of record with its routes.
type kind interface{ routes() []route }

// with is the kind with the columns that every kind has.
func (k records[T, F]) with(columns ...column[view[T]]) *records[T, F] {
	k.columns = append(columns, []column[view[T]]{
		{"uuid", func(v view[T]) any { return k.uuid(v.it) }},
		{"created_at", func(v view[T]) any { return stamp(k.head(v.it).created) }},
		{"updated_at", func(v view[T]) any { return stamp(k.head(v.it).updated) }},
		{"links", func(v view[T]) any { return v.call.links(k.below(v.it)...) }},
	}...)
	k.unsorted = append(k.unsorted, "links")
	return &k
}

func (k *records[T, F]) uuid(x *T) string { return *k.head(x).uuid }

// below is the path of a record, and of what is below it.
func (k *records[T, F]) below(x *T, more ...string) []string {
	return slices.Concat(k.path, []string{k.uuid(x)}, more)
}

// sublist is a list of those records that belong to what its path names.
type sublist[F any] struct {
	pattern string // "/v1/nodes/{ident}/ports"
	of      func(c *call) (f F, path []string, err error)
}

// routes are the kind's.
func (k *records[T, F]) routes() []route {
	list := "/v1" + joined(k.path)
	one := list + "/{" + k.named.variable + "}"
	all := slices.Concat(k.lists(sublist[F]{pattern: list}), []route{
		{pattern: "POST " + list, serve: k.post, oldWrite: k.oldWrite},
		{pattern: "GET " + one, serve: k.show(k.find)},
		{pattern: "PATCH " + one, serve: k.patch, oldWrite: k.oldWrite},
		{pattern: "DELETE " + one, serve: k.del(k.toDelete), oldWrite: k.oldWrite},
	})
	for _, l := range k.sublists {
		all = append(all, k.lists(l)...)
	}
	return append(all, k.more...)
}

func (k *records[T, F]) lists(l sublist[F]) []route {
	routes := []route{{pattern: "GET " + l.pattern, serve: k.list(l, false)}}
	if k.inDetail {
		routes = append(routes, route{pattern: "GET " + l.pattern + "/detail", serve: k.list(l, true)})
	}
	return routes
}

// list answers a page; whole is every field.
func (k *records[T, F]) list(l sublist[F], whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := k.asked(c, l.of == nil, whole)
		if err != nil {
			return err
		}
		var f F
		path := k.path
		switch {
		case l.of != nil:
			f, path, err = l.of(c)
		case k.filter != nil:
			f, err = k.filter(c, q)
		}
		if err != nil {
			return err
		}
		if whole {
			path = append(slices.Clone(path), "detail")
		}
		return k.page(w, c, q, f, fields, path)
	}
}

// asked reads the arguments of a list.
func (k *records[T, F]) asked(c *call, filtered, whole bool) (q url.Values, fields []string, err error) {
	var filters []string
	if filtered {
		filters = k.filters
	}
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

// page writes a page; path is the list's own, for the next one.
func (k *records[T, F]) page(w http.ResponseWriter, c *call, q url.Values, f F, fields, path []string) error {
	p, err := c.page(q, func(key string) error {
		if !hasColumn(k.columns, key) || slices.Contains(k.unsorted, key) {
			return badSortKey(key)
		}
		return c.version.needsField(k.name, key)
	})
	if err != nil {
		return err
	}
	items, err := k.kept.List(c.Context(), f, p)
	if err != nil {
		return err
	}
	var next any
	if len(items) > 0 {
		next = c.next(q, p, len(items), k.uuid(&items[len(items)-1]), path...)
	}
	writeJSON(w, http.StatusOK, collection(k.path[len(k.path)-1], k.json(c, items, fields), next))
	return nil
}

func (k *records[T, F]) json(c *call, items []T, fields []string) []map[string]any {
	cols := shown(k.columns, k.name, c.version, fields)
	out := make([]map[string]any, len(items))
	for i := range items {
		out[i] = render(cols, view[T]{&items[i], c})
		for field := range k.head(&items[i]).unreadable {
			if _, shown := out[i][field]; shown {
				out[i][field] = nil // what is not known is not shown as empty
			}
		}
	}
	return out
}

// answer writes one record.
func (k *records[T, F]) answer(w http.ResponseWriter, c *call, status int, x T, fields []string) {
	writeJSON(w, status, k.json(c, []T{x}, fields)[0])
}

// find is the record that a path names.
func (k *records[T, F]) find(c *call) (x T, err error) {
	ident, err := k.named.in(c)
	if err != nil {
		return x, err
	}
	return k.kept.Get(c.Context(), ident)
}

// toDelete and toPatch are the UUID of the record that a path names. A record is read only to learn that: one that cannot be
// read can be deleted by its UUID.
func (k *records[T, F]) toDelete(c *call) (string, error) {
	if k.deleted.in != nil {
		return k.deleted.in(c)
	}
	return k.toPatch(c)
}

func (k *records[T, F]) toPatch(c *call) (string, error) {
	ident, err := k.named.in(c)
	if err != nil || isUUID(ident) {
		return ident, err
	}
	x, err := k.kept.Get(c.Context(), ident)
	return k.uuid(&x), err
}

// show answers a GET of one record.
func (k *records[T, F]) show(find func(c *call) (T, error)) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, err := c.query("fields")
		if err != nil {
			return err
		}
		fields, err := fieldsAsked(c, q, k.name, k.columns)
		if err != nil {
			return err
		}
		x, err := find(c)
		if err == nil {
			err = k.damaged(&x)
		}
		if err != nil {
			return err
		}
		k.answer(w, c, http.StatusOK, x, fields)
		return nil
	}
}

func (k *records[T, F]) damaged(x *T) error {
	if k.damage != nil {
		return k.damage(x)
	}
	return k.head(x).unreadable.Damage(k.noun, k.uuid(x))
}

func (k *records[T, F]) post(w http.ResponseWriter, c *call) error {
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	x, err := k.read(c, body)
	if err == nil && k.complete != nil {
		err = k.complete(c, &x, body)
	}
	if err != nil {
		return err
	}
	if k.create != nil {
		x, err = k.create(c.Context(), x)
	} else {
		err = k.kept.Create(c.Context(), &x)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", c.href(k.below(&x)...))
	k.answer(w, c, http.StatusCreated, x, nil)
	return nil
}

func (k *records[T, F]) patch(w http.ResponseWriter, c *call) error {
	if c.version < k.changes {
		return aborted(http.StatusMethodNotAllowed, "")
	}
	change, err := k.change(c)
	if err != nil {
		return err
	}
	uuid, err := k.toPatch(c)
	if err != nil {
		return err
	}
	update := k.updateStored
	if k.update != nil {
		update = k.update
	}
	x, err := update(c.Context(), uuid, change)
	if err != nil {
		return err
	}
	k.answer(w, c, http.StatusOK, x, nil)
	return nil
}

func (k *records[T, F]) updateStored(ctx context.Context, uuid string, change func(*T) error) (T, error) {
	x, err := k.kept.Get(ctx, uuid)
	if err == nil {
		err = change(&x)
	}
	if err == nil {
		err = k.kept.Save(ctx, &x)
	}
	return x, err
}

func (k *records[T, F]) del(which func(c *call) (string, error)) handler {
	remove := k.remove
	if remove == nil {
		remove = k.kept.Delete
	}
	return func(w http.ResponseWriter, c *call) error {
		uuid, err := which(c)
		if err != nil {
			return err
		}
		if err := remove(c.Context(), uuid); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// naming is how a path names a record.
type naming struct {
	variable string // of the pattern
	in       func(c *call) (string, error)
}

var (
	byName = naming{"ident", (*call).ident} // or UUID
	byUUID = naming{"uuid", func(c *call) (string, error) { return uuidIn(c.PathValue("uuid")) }}
)

func uuidIn(ident string) (string, error) {
	if !isUUID(ident) {
		return "", invalid("Expected a UUID but received %q.", ident)
	}
	return canonicalUUID(ident), nil
}
