package store

import (
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// kind declares one kind of record: all that its Table needs to know of it.
type kind[T, F any] struct {
	noun     string // for people and, with _, for the log and the place of what is sealed: "volume target"
	table    string // "volume_targets", which has the columns id, uuid, created_at, updated_at and those of fields
	notFound func(ident string) *node.Err
	head     func(x *T) head
	of       owner
	fields   []field[T]
	knownBy  []string // what a record is found by beside its UUID: "name", "address"

	where    func(q *query, f F)          // the conditions of a list; nil: it has all
	unique   map[string]func(x *T) string // unique index → what a record is told that has another's value; "_uuid" need not be here
	saved    []string                     // the columns that Save writes; nil: all
	needed   needed                       // what keeps a record from being deleted
	tidy     func(x *T)                   // gives what is to be written its one form; may be nil
	complete func(x *T)                   // completes what was read; may be nil
	hurt     string                       // what follows from a value that cannot be read; may be ""
}

// head is what a record of every kind has.
type head struct {
	id               *int64
	uuid             *string
	created, updated *time.Time
	unreadable       *node.Unreadable
	node             *string // UUID of the node it belongs to; nil: the kind belongs to none
}

// owner says how the records of a kind and nodes belong together.
type owner struct {
	uuid string // the expression of the node's UUID; "": the kind belongs to no node
	join string
	kept bool // the record has the node's row number, in node_id
}

var ofNode = owner{uuid: "n.uuid", join: " JOIN nodes n ON n.id = r.node_id", kept: true}

// field is a column of a kind. It has the name of the API's field.
type field[T any] struct {
	name string
	form form
	at   func(x *T) any // a pointer, which rows are scanned into and written from
	expr string         // what is read in its place; "": the column
}

// form is how a value is kept. One in JSON may be damaged, which its record survives.
type form int

const (
	plain     form = iota
	asJSON         // as text
	underSeal      // in JSON, sealed with the UUID of its record
)

func (f field[T]) selected() string {
	if f.expr != "" {
		return f.expr
	}
	return "r." + f.name
}

// needed refuses to delete a record while a SELECT, whose $1 is the record's UUID, finds something.
type needed struct {
	by  string
	err func(uuid string) error
}

// sortKeys are the plain columns, which have the names of the API's fields.
func (k *kind[T, F]) sortKeys() map[string]string {
	keys := map[string]string{"uuid": "uuid", "created_at": "created_at", "updated_at": "updated_at"}
	for _, f := range k.fields {
		if f.form == plain {
			keys[f.name] = f.name
		}
	}
	return keys
}

func (k *kind[T, F]) logKey() string { return strings.ReplaceAll(k.noun, " ", "_") }

// damage is the log's sentence about a value that cannot be read.
func (k *kind[T, F]) damage() string {
	text := "a value of " + article(k.noun, "a") + " " + k.noun + " cannot be read"
	if k.hurt != "" {
		text += "; " + k.hurt
	}
	return text
}

// article is a, "a" or "A", or that with an n.
func article(noun, a string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return a + "n"
	}
	return a
}
