package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// Table keeps the records of one kind T; F is what a list of them is filtered by.
type Table[T, F any] struct {
	*kind[T, F]
	*database
	listing listing
	query   string // "SELECT … FROM …", without conditions
	insert  string
	columns []string // of an INSERT, in the order of values
}

// Owned is a table of records that belong to a node each.
type Owned[T, F any] struct{ *Table[T, F] }

func newTable[T, F any](s *Store, k *kind[T, F]) *Table[T, F] {
	t := &Table[T, F]{kind: k, database: s.database}
	t.listing = listing{table: k.table, alias: "r", sortKeys: k.sortKeys(), notFound: k.notFound}
	t.columns = []string{"uuid", "created_at", "updated_at"}
	read := []string{"r.id", "r.uuid", "r.created_at", "r.updated_at"}
	if k.of.uuid != "" {
		read = append(read, k.of.uuid)
	}
	if k.of.kept {
		t.columns = append(t.columns, "node_id")
	}
	for _, f := range k.fields {
		t.columns = append(t.columns, f.name)
		read = append(read, f.selected())
	}
	t.query = "SELECT " + strings.Join(read, ", ") + " FROM " + k.table + " r" + k.of.join
	t.insert = insertSQL(k.table, t.columns) + " RETURNING id"
	s.all = append(s.all, t)
	return t
}

// Get returns the record that ident names: by its UUID, or what else the kind is known by.
func (t *Table[T, F]) Get(ctx context.Context, ident string) (T, error) {
	cond, arg := t.named(ident)
	x, err := t.scan(queryRow(ctx, t.read, t.query+" WHERE "+cond, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return *new(T), t.notFound(ident)
	}
	if err != nil {
		return *new(T), fmt.Errorf("read %s %s: %w", t.noun, ident, err)
	}
	return x, nil
}

// named returns the condition, with one argument, that finds the record an ident names.
func (t *Table[T, F]) named(ident string) (cond, arg string) {
	switch {
	case slices.Contains(t.knownBy, "address") && isMAC(ident):
		return "r.address = $1", strings.ToLower(ident)
	case slices.Contains(t.knownBy, "name"):
		return named("r.", ident)
	}
	return "r.uuid = $1", strings.ToLower(ident)
}

// List returns a page of records.
func (t *Table[T, F]) List(ctx context.Context, f F, p node.Page) ([]T, error) {
	q := &query{}
	if t.where != nil {
		t.where(q, f)
	}
	tail, err := t.page(ctx, t.listing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, t.read, strings.ReplaceAll(t.table, "_", " "), t.query+tail, q.args, t.scan)
}

// Create adds x and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (t *Table[T, F]) Create(ctx context.Context, x *T) error {
	return t.tx(ctx, func(tx *sql.Tx) error { return t.createIn(ctx, tx, x) })
}

func (t *Table[T, F]) createIn(ctx context.Context, tx *sql.Tx, x *T) error {
	h := t.head(x)
	if err := fillNew(h.uuid, h.created, h.updated); err != nil {
		return err
	}
	values, err := t.values(ctx, tx, x)
	if err != nil {
		return err
	}
	return t.conflict(x, queryRow(ctx, tx, t.insert, values...).Scan(h.id))
}

// Save writes all of x that may change, which is neither its UUID nor CreatedAt, and sets its UpdatedAt.
func (t *Table[T, F]) Save(ctx context.Context, x *T) error {
	h := t.head(x)
	*h.updated = node.Now()
	return t.tx(ctx, func(tx *sql.Tx) error {
		values, err := t.values(ctx, tx, x)
		if err != nil {
			return err
		}
		columns, values := written(t.changing(values))
		query := updateSQL(t.table, columns) + fmt.Sprintf(" WHERE uuid = $%d", len(columns)+1)
		saved, err := changedOne(ctx, tx, query, append(slices.Clone(values), strings.ToLower(*h.uuid))...)
		switch {
		case err != nil:
			return t.conflict(x, err)
		case !saved:
			return t.notFound(*h.uuid)
		}
		mended(values)
		return nil
	})
}

// Delete removes a record that nothing needs.
func (t *Table[T, F]) Delete(ctx context.Context, uuid string) error {
	query := `DELETE FROM ` + t.table + ` WHERE uuid = $1`
	if t.needed.by != "" {
		query += ` AND NOT EXISTS (` + t.needed.by + `)`
	}
	deleted, err := changedOne(ctx, t.write, query, strings.ToLower(uuid))
	if err != nil {
		return fmt.Errorf("delete %s %s: %w", t.noun, uuid, err)
	}
	if deleted {
		return nil
	}
	if t.needed.by != "" {
		if _, err := t.Get(ctx, uuid); err == nil {
			return t.needed.err(strings.ToLower(uuid))
		}
	}
	return t.notFound(uuid)
}

// DeleteAll removes all records.
func (t *Table[T, F]) DeleteAll(ctx context.Context) error {
	if _, err := exec(ctx, t.write, `DELETE FROM `+t.table); err != nil {
		return fmt.Errorf("delete all %s: %w", strings.ReplaceAll(t.table, "_", " "), err)
	}
	return nil
}

// DeleteOf removes all records of a node, also those that cannot be read.
func (t Owned[T, F]) DeleteOf(ctx context.Context, nodeUUID string) error {
	query := `DELETE FROM ` + t.table + ` WHERE node_id IN (SELECT id FROM nodes WHERE uuid = $1)`
	if _, err := exec(ctx, t.write, query, strings.ToLower(nodeUUID)); err != nil {
		return fmt.Errorf("delete the %s of node %s: %w", strings.ReplaceAll(t.table, "_", " "), nodeUUID, err)
	}
	return nil
}

// values are x's, in the order of t.columns.
func (t *Table[T, F]) values(ctx context.Context, tx *sql.Tx, x *T) ([]any, error) {
	if t.tidy != nil {
		t.tidy(x)
	}
	h := t.head(x)
	values := []any{h.uuid, micros{h.created}, micros{h.updated}}
	if t.of.kept {
		owner, err := nodeID(ctx, tx, *h.node)
		if err != nil {
			return nil, err
		}
		values = append(values, owner)
	}
	return append(values, t.own(x, h)...), nil
}

// own are x's own fields as they are read and written. One that cannot be read is left out of x and noted there.
func (t *Table[T, F]) own(x *T, h head) []any {
	out := make([]any, len(t.fields))
	for i, f := range t.fields {
		switch at := f.at(x); f.form {
		case asJSON:
			out[i] = forgiving{document{at}, h.unreadable, f.name}
		case underSeal:
			out[i] = forgiving{sealed{t.seal, h.uuid, t.logKey() + "." + f.name, at}, h.unreadable, f.name}
		default:
			out[i] = at
		}
	}
	return out
}

// changing are the columns that Save writes, and their values.
func (t *Table[T, F]) changing(values []any) (columns []string, changed []any) {
	columns, values = t.columns[fixedColumns:], values[fixedColumns:]
	if t.saved == nil {
		return columns, values
	}
	var some []string
	for i, c := range columns {
		if c == "updated_at" || slices.Contains(t.saved, c) {
			some, changed = append(some, c), append(changed, values[i])
		}
	}
	return some, changed
}

// scan reads a row of t.query. Documents are never nil.
func (t *Table[T, F]) scan(r scanner) (T, error) {
	var x T
	h := t.head(&x)
	into := append(make([]any, 0, len(t.fields)+5), h.id, h.uuid, micros{h.created}, micros{h.updated})
	if t.of.uuid != "" {
		into = append(into, h.node)
	}
	own := t.own(&x, h)
	for _, c := range own {
		if v, ok := c.(value); ok {
			v.empty()
		}
	}
	err := r.Scan(append(into, own...)...)
	if len(*h.unreadable) > 0 {
		t.tellDamage(t.damage(), t.logKey(), *h.uuid, *h.unreadable)
	}
	if t.complete != nil {
		t.complete(&x)
	}
	return x, err
}

// conflict makes a duplicate the API's answer; x is what was to be written.
func (t *Table[T, F]) conflict(x *T, err error) error {
	if err == nil {
		return nil
	}
	uuid := *t.head(x).uuid
	index := duplicate(err)
	if text, ok := t.unique[index]; ok {
		return node.Errorf(node.Conflict, "%s", text(x))
	}
	if index == t.table+"_uuid" {
		return node.Errorf(node.Conflict, "%s %s with UUID %s already exists.", article(t.noun, "A"), t.noun, uuid)
	}
	return fmt.Errorf("save %s %s: %w", t.noun, uuid, err)
}

// fillNew fills what every new record has: a UUID, where the caller gave none, in lower case, and its times.
func fillNew(uuid *string, created, updated *time.Time) error {
	if *uuid == "" {
		*uuid = newUUID()
	}
	if !isUUID(*uuid) {
		return node.Errorf(node.Invalid, "Expected a UUID but received %s.", *uuid)
	}
	*uuid = strings.ToLower(*uuid)
	*created = node.Now()
	*updated = *created
	return nil
}
