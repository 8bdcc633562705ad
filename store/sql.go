package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/billet-metal/billet/node"
)

// conn is a pool or a transaction.
type conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func exec(ctx context.Context, c conn, query string, args ...any) (sql.Result, error) {
	res, err := c.ExecContext(ctx, query, bind(args)...)
	return res, asStoreAway(err)
}

func queryRow(ctx context.Context, c conn, query string, args ...any) oneRow {
	return oneRow{c.QueryRowContext(ctx, query, bind(args)...)}
}

// oneRow is the answer to a query for one row.
type oneRow struct{ row *sql.Row }

func (r oneRow) Scan(dest ...any) error { return asStoreAway(r.row.Scan(dest...)) }

// collectAll returns what query finds, read by scan; what names it in an error. It is never nil.
func collectAll[T any](ctx context.Context, c conn, what, query string, args []any, scan func(scanner) (T, error)) ([]T, error) {
	all := []T{}
	err := collect(ctx, c, query, args, func(r *sql.Rows) error {
		one, err := scan(r)
		all = append(all, one)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	return all, nil
}

// collect runs query and calls scan for each row.
func collect(ctx context.Context, c conn, query string, args []any, scan func(r *sql.Rows) error) error {
	rows, err := c.QueryContext(ctx, query, bind(args)...)
	if err != nil {
		return asStoreAway(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return asStoreAway(rows.Err())
}

// changedOne runs query and reports whether it changed a row.
func changedOne(ctx context.Context, c conn, query string, args ...any) (bool, error) {
	res, err := exec(ctx, c, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// bind makes arguments that both drivers take: pointers to their values, times to microseconds,
// and texts that PostgreSQL would refuse (NUL, invalid UTF-8: machines report such things) clean.
func bind(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = bindOne(a)
	}
	return out
}

func bindOne(a any) any {
	switch a := a.(type) {
	case nil, driver.Valuer, []byte, int64, bool:
		return a
	case string:
		return cleanText(a)
	case time.Time:
		return toMicros(a)
	}
	v := reflect.ValueOf(a)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return bindOne(v.Elem().Interface())
	case reflect.String:
		return cleanText(v.String())
	case reflect.Int:
		return v.Int()
	}
	return a
}

func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// toMicros is how times are kept: microseconds since 1970, 0 for the zero time.
func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// micros scans a kept time.
type micros struct{ to *time.Time }

func (m micros) Value() (driver.Value, error) { return toMicros(*m.to), nil }

func (m micros) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m.to = time.Time{}
	case int64:
		*m.to = time.Time{}
		if v != 0 {
			*m.to = time.UnixMicro(v).UTC()
		}
	default:
		return fmt.Errorf("time kept as %T", src)
	}
	return nil
}

// placeholders returns "$from,…" for count arguments.
func placeholders(from, count int) string {
	var b strings.Builder
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}

func insertSQL(table string, columns []string) string {
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (" + placeholders(1, len(columns)) + ")"
}

// updateSQL returns "UPDATE table SET …" with $1… for the columns; the caller adds the WHERE.
func updateSQL(table string, columns []string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = fmt.Sprintf("%s = $%d", c, i+1)
	}
	return "UPDATE " + table + " SET " + strings.Join(sets, ", ")
}

// asStoreAway makes the error of a database that is away for now a node.ErrStoreAway, which callers far from here know; other errors
// stay as they are.
func asStoreAway(err error) error {
	if err == nil || errors.Is(err, node.ErrStoreAway) || !away(err) {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case 8: // SQLITE_READONLY, as after lookAfterCrash
			return node.StoreReadOnly("it may not be written, or it is damaged (see the service's log)", err)
		case 13: // SQLITE_FULL
			return node.StoreReadOnly("its disk is full", err)
		}
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "53100" { // disk_full
		return node.StoreReadOnly("its disk is full", err)
	}
	return node.StoreAway(err)
}

// readOnly reports that err is of a database that can be read and not written: damaged, or on a full disk.
func readOnly(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == 8 || e.Code()&0xff == 13)
}

func away(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) { // the caller's own time was up
		return false
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // SQLITE_BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN
		case 5, 6, 8, 10, 13, 14:
			return true
		}
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "57P01", "57P02", "57P03", "25006", "40001", "40P01": // shutdown, crash, starting up; a standby; lost a race
			return true
		}
		return strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "08") // out of something; connection
	}
	_, refused := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	return refused || network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, sql.ErrConnDone) || pgconn.SafeToRetry(err)
}

// duplicate returns which unique index err violates, such as "nodes_name"; "" for other errors.
func duplicate(err error) string {
	const sqliteUnique = 2067 // SQLITE_CONSTRAINT_UNIQUE; its message ends in "UNIQUE constraint failed: nodes.name (2067)"
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == sqliteUnique {
		_, what, _ := strings.Cut(e.Error(), "constraint failed: UNIQUE constraint failed: ")
		what, _, _ = strings.Cut(what, " ")
		return strings.ReplaceAll(strings.TrimSuffix(what, ","), ".", "_") // an index of several columns has the first one's name
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23505" { // unique_violation
		return e.ConstraintName
	}
	return ""
}

// named returns the condition, with one argument, that finds the row an ident names: its UUID or
// its name. prefix is "n." or "". The name's condition is its index's.
func named(prefix, ident string) (cond, arg string) {
	if isUUID(ident) {
		return prefix + "uuid = $1", strings.ToLower(ident)
	}
	return prefix + "name = $1 AND " + prefix + "name <> ''", ident
}

// nodeID returns the row number of a node.
func nodeID(ctx context.Context, c conn, uuid string) (int64, error) {
	var id int64
	err := queryRow(ctx, c, `SELECT id FROM nodes WHERE uuid = $1`, strings.ToLower(uuid)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, node.NodeNotFound(uuid)
	}
	if err != nil {
		return 0, fmt.Errorf("find node %s: %w", uuid, err)
	}
	return id, nil
}
