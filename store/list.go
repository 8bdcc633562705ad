package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// query collects conditions and their arguments; condition texts say $? where the next
// argument goes.
type query struct {
	where []string
	args  []any
}

// and adds a condition. Each $? in cond takes the next of args.
func (q *query) and(cond string, args ...any) {
	for _, a := range args {
		q.args = append(q.args, a)
		cond = strings.Replace(cond, "$?", fmt.Sprintf("$%d", len(q.args)), 1)
	}
	q.where = append(q.where, cond)
}

// in adds a condition that column is one of values.
func (q *query) in(column string, values []any) {
	q.where = append(q.where, column+" IN ("+placeholders(len(q.args)+1, len(values))+")")
	q.args = append(q.args, values...)
}

// is adds a condition that column has value; "" asks for nothing.
func (q *query) is(column, value string) {
	if value != "" {
		q.and(column+" = $?", value)
	}
}

// oneOf adds a condition that column has one of values; none ask for nothing.
func (q *query) oneOf(column string, values []string) {
	if len(values) > 0 {
		q.in(column, anys(values))
	}
}

// listing is one kind of list. Rows have the columns id and uuid.
type listing struct {
	table    string            // "nodes"
	alias    string            // "n"
	sortKeys map[string]string // API field → column
	notFound func(ident string) *node.Err
}

// page finishes q for one page: keyset paging, so that page 1,000 costs what page 1 does. Ties
// are broken by id in the same direction. It returns the rest of the statement.
func (d *database) page(ctx context.Context, l listing, q *query, p node.Page) (string, error) {
	column, known := "id", p.SortKey == "" || p.SortKey == "id"
	if !known {
		column, known = l.sortKeys[p.SortKey]
	}
	if !known {
		return "", node.Errorf(node.Invalid, "The sort_key value %q is an invalid field for sorting", p.SortKey)
	}
	if p.Marker != "" {
		if err := d.after(ctx, l, q, column, p); err != nil {
			return "", err
		}
	}
	direction := " ASC"
	if p.SortDesc {
		direction = " DESC"
	}
	var tail strings.Builder
	if len(q.where) > 0 {
		tail.WriteString(" WHERE " + strings.Join(q.where, " AND "))
	}
	tail.WriteString(" ORDER BY ")
	if column != "id" {
		tail.WriteString(d.sortExpr(l.alias, column) + direction + ", ")
	}
	tail.WriteString(l.alias + ".id" + direction)
	if p.Limit > 0 {
		q.args = append(q.args, p.Limit)
		fmt.Fprintf(&tail, " LIMIT $%d", len(q.args))
	}
	return tail.String(), nil
}

// after narrows q to what follows the marker.
func (d *database) after(ctx context.Context, l listing, q *query, column string, p node.Page) error {
	var key any
	var id int64
	err := queryRow(ctx, d.read, "SELECT "+d.sortExpr(l.alias,
		column)+", "+l.alias+".id FROM "+l.table+" "+l.alias+" WHERE "+l.alias+".uuid = $1",
		strings.ToLower(p.Marker)).Scan(&key, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return l.notFound(p.Marker)
	}
	if err != nil {
		return fmt.Errorf("find the marker %s: %w", p.Marker, err)
	}
	compare := " > "
	if p.SortDesc {
		compare = " < "
	}
	if column == "id" {
		q.and(l.alias+".id"+compare+"$?", id)
		return nil
	}
	q.and("("+d.sortExpr(l.alias, column)+", "+l.alias+".id)"+compare+"($?, $?)", key, id)
	return nil
}

// interfacePrefix marks, in place of a column, an entry of a node's interfaces.
const interfacePrefix = "interfaces."

// sortExpr is what a list sorts by: a column; of the two that may be NULL a place in the order (none, false, true); or
// an entry of a node's interfaces, "" when it has none.
func (d *database) sortExpr(alias, column string) string {
	if name, ok := strings.CutPrefix(column, interfacePrefix); ok {
		entry := "CASE WHEN json_valid(i.interfaces) THEN i.interfaces ->> '" + name + "' END"
		if d.read == d.write { // PostgreSQL
			entry = "(i.interfaces::json ->> '" + name + "') COLLATE \"C\""
		}
		return "COALESCE((SELECT " + entry + " FROM node_documents i WHERE i.node_id = " + alias + ".id), '')"
	}
	switch c := alias + "." + column; column {
	case "secure_boot", "automated_clean":
		return "CASE WHEN " + c + " IS NULL THEN 0 WHEN " + c + " THEN 2 ELSE 1 END"
	default:
		return c
	}
}

// like is a LIKE pattern for texts that contain s, whatever the case of ASCII letters.
func like(s string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(asciiLower(s)) + "%"
}

// asciiLower is LOWER of both databases: SQLite, and PostgreSQL with the collation "C".
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}
