package api

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// All kinds of record but nodes are listed, shown, made, changed and removed alike. A kind is a table of what differs; the frame
// is here and in records_list.go, records_one.go and records_write.go.

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
