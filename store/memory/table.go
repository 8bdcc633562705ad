package memory

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// Table keeps the records of one kind T; F is what a list of them is filtered by.
type Table[T, F any] struct {
	kind[T, F]
	store *data
	rows  map[string]*T // by UUID
}

// kind is what a table needs to know of its records.
type kind[T, F any] struct {
	noun     string // "A port", of an existing one
	notFound func(ident string) *node.Err
	of       func(x *T) *string            // the UUID of the node whose it is; nil: it belongs to none
	named    func(x *T, ident string) bool // whether an ident that is no UUID names it
	fits     func(s *data, x *T, f F) bool
	clash    func(x, other *T) string // what a record is told that has what may be there once; "" when it has not
	tidy     func(x *T)               // before it is kept
	changes  func(old, x *T)          // takes into old what Save writes; nil: all
	read     func(s *data, x *T)      // what others' rows say of it
	needed   func(s *data, uuid string) error
}

// head are the fields that all records have.
type head struct {
	id               *int64
	uuid             *string
	created, updated *time.Time
}

func headOf[T any](x *T) head {
	v := reflect.ValueOf(x).Elem()
	at := func(name string) any { return v.FieldByName(name).Addr().Interface() }
	return head{at("ID").(*int64), at("UUID").(*string), at("CreatedAt").(*time.Time), at("UpdatedAt").(*time.Time)}
}

// Get returns the record that ident names: by its UUID, or what else the kind is known by.
func (t *Table[T, F]) Get(ctx context.Context, ident string) (T, error) {
	if err := t.store.enter(ctx); err != nil {
		return *new(T), err
	}
	defer t.store.mu.Unlock()
	if x := t.rows[strings.ToLower(ident)]; x != nil {
		return *t.load(x), nil
	}
	if t.named != nil && ident != "" && !isUUID(ident) {
		for _, x := range t.rows {
			if t.named(x, ident) {
				return *t.load(x), nil
			}
		}
	}
	return *new(T), t.notFound(ident)
}

// load is a row as it is read.
func (t *Table[T, F]) load(x *T) *T {
	c := kept(*x)
	spoiled(reflect.ValueOf(&c).Elem(), t.store.damage[uuidOf(x)])
	if t.read != nil {
		t.read(t.store, &c)
	}
	return &c
}

// List returns a page of records.
func (t *Table[T, F]) List(ctx context.Context, f F, p node.Page) ([]T, error) {
	if err := t.store.enter(ctx); err != nil {
		return nil, err
	}
	defer t.store.mu.Unlock()
	all := make([]*T, 0, len(t.rows))
	for _, x := range t.rows {
		all = append(all, t.load(x))
	}
	slices.SortFunc(all, func(a, b *T) int { return int(idOf(a) - idOf(b)) })
	some, err := page(all, func(x *T) bool { return t.fits == nil || t.fits(t.store, x, f) }, p, t.notFound)
	out := make([]T, len(some))
	for i, x := range some {
		out[i] = *x
	}
	return out, err
}

// Create adds x and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (t *Table[T, F]) Create(ctx context.Context, x *T) error {
	if err := t.store.enter(ctx); err != nil {
		return err
	}
	defer t.store.mu.Unlock()
	return t.create(x)
}

func (t *Table[T, F]) create(x *T) error {
	h := headOf(x)
	if err := fresh(h.uuid, h.created, h.updated); err != nil {
		return err
	}
	if err := t.check(x); err != nil {
		return err
	}
	if t.rows[*h.uuid] != nil {
		return duplicate("%s with UUID %s already exists.", t.noun, *h.uuid)
	}
	t.store.lastID++
	*h.id = t.store.lastID
	c := kept(*x)
	t.rows[*h.uuid] = &c
	return nil
}

// check refuses a record of no node, and one that has what another one has.
func (t *Table[T, F]) check(x *T) error {
	if t.tidy != nil {
		t.tidy(x)
	}
	if t.of != nil {
		if owner := *t.of(x); t.store.machines[strings.ToLower(owner)] == nil {
			return node.NodeNotFound(owner)
		}
	}
	if t.clash == nil {
		return nil
	}
	c := kept(*x)
	for uuid, other := range t.rows {
		if uuid == uuidOf(x) {
			continue
		}
		if text := t.clash(&c, other); text != "" {
			return duplicate("%s", text)
		}
	}
	return nil
}

// Save writes all of x that may change, which is neither its UUID nor CreatedAt, and sets its UpdatedAt.
func (t *Table[T, F]) Save(ctx context.Context, x *T) error {
	if err := t.store.enter(ctx); err != nil {
		return err
	}
	defer t.store.mu.Unlock()
	h := headOf(x)
	*h.updated = node.Now()
	uuid := strings.ToLower(*h.uuid)
	if err := t.check(x); err != nil {
		return err
	}
	old := t.rows[uuid]
	if old == nil {
		return t.notFound(*h.uuid)
	}
	c := kept(*x)
	if t.changes != nil {
		c = kept(*old)
		t.changes(&c, x)
		c = kept(c)
	}
	was, is := headOf(old), headOf(&c)
	*is.id, *is.uuid, *is.created, *is.updated = *was.id, uuid, *was.created, *h.updated
	mend(reflect.ValueOf(old).Elem(), reflect.ValueOf(&c).Elem(), reflect.ValueOf(x).Elem(), t.store.damage[uuid])
	t.rows[uuid] = &c
	return nil
}

// Delete removes a record that nothing needs.
func (t *Table[T, F]) Delete(ctx context.Context, uuid string) error {
	if err := t.store.enter(ctx); err != nil {
		return err
	}
	defer t.store.mu.Unlock()
	low := strings.ToLower(uuid)
	if t.rows[low] == nil {
		return t.notFound(uuid)
	}
	if t.needed != nil {
		if err := t.needed(t.store, low); err != nil {
			return err
		}
	}
	delete(t.rows, low)
	delete(t.store.damage, low)
	return nil
}

// DeleteAll removes all records.
func (t *Table[T, F]) DeleteAll(ctx context.Context) error {
	return t.deleteThose(ctx, func(*T) bool { return true })
}

// DeleteOf removes all records of a node.
func (t *Table[T, F]) DeleteOf(ctx context.Context, nodeUUID string) error {
	return t.deleteThose(ctx, func(x *T) bool { return *t.of(x) == strings.ToLower(nodeUUID) })
}

func (t *Table[T, F]) deleteThose(ctx context.Context, which func(*T) bool) error {
	if err := t.store.enter(ctx); err != nil {
		return err
	}
	defer t.store.mu.Unlock()
	maps.DeleteFunc(t.rows, func(_ string, x *T) bool { return which(x) })
	return nil
}

// dropOf removes what belongs to a node that is being deleted.
func (t *Table[T, F]) dropOf(nodeUUID string) {
	if t.of != nil {
		maps.DeleteFunc(t.rows, func(_ string, x *T) bool { return *t.of(x) == nodeUUID })
	}
}
