package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/billet-metal/billet/node"
)

// Which errors mean a database that is away for now, and which are answers to a question that was wrong or came too late.
func TestWhatMeansAway(t *testing.T) {
	code := func(c string) error { return &pgconn.PgError{Code: c, Message: "so it says"} }
	for _, tt := range []struct {
		err  error
		away bool
	}{
		{code("57P01"), true}, // admin_shutdown
		{code("57P02"), true}, // crash_shutdown
		{code("57P03"), true}, // cannot_connect_now
		{code("53100"), true}, // disk_full
		{code("53300"), true}, // too_many_connections
		{code("08006"), true}, // connection_failure
		{code("25006"), true}, // read_only_sql_transaction, on a standby
		{code("40001"), true}, // serialization_failure
		{code("40P01"), true}, // deadlock_detected
		{code("23505"), false},
		{code("23503"), false},
		{code("42P01"), false}, // undefined_table
		{code("22021"), false},
		{code("57014"), false}, // query_canceled
		{driver.ErrBadConn, true},
		{sql.ErrConnDone, true},
		{io.ErrUnexpectedEOF, true},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{&net.OpError{Op: "read", Err: context.DeadlineExceeded}, false},
		{sql.ErrNoRows, false},
		{node.ErrLeaseLost, false},
		{node.NodeNotFound("x"), false},
		{errors.New("no such column"), false},
	} {
		err := asStoreAway(fmt.Errorf("look for it: %w", tt.err))
		if got := errors.Is(err, node.ErrStoreAway); got != tt.away {
			t.Errorf("%v (%T): away %t, want %t", tt.err, tt.err, got, tt.away)
		}
		if tt.away && (node.KindOf(err) != node.Unavailable || !errors.Is(err, tt.err)) {
			t.Errorf("%v: kind %v, or its cause is lost", err, node.KindOf(err))
		}
		if twice := asStoreAway(err); tt.away && twice != err {
			t.Errorf("told twice: %v", twice)
		}
	}
	if asStoreAway(nil) != nil {
		t.Error("no error is one")
	}
}

// A full disk, which SQLite reports at any statement: what is refused says so, reads go on, and all goes on when there is room.
func TestAFullDisk(t *testing.T) {
	s, err := Open(t.Context(), Config{DataDir: t.TempDir(), Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := &node.Node{Name: "one", State: node.Enroll}
	if err := s.CreateNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	held, err := s.Reserve(t.Context(), n.UUID, "here", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	room := func(pages int) {
		if _, err := s.write.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	room(1) // as many as there are
	held.ConfigDrive = strings.Repeat("x", 1<<20)
	for what, err := range map[string]error{
		"save":    s.Save(t.Context(), held),
		"release": s.Release(t.Context(), held.Clone()),
	} {
		if !errors.Is(err, node.ErrStoreAway) || node.KindOf(err) != node.Unavailable || !strings.Contains(err.Error(), "full") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, err := s.Node(t.Context(), n.UUID); err != nil || got.ConfigDrive != "" || got.Lease.Token != held.Lease.Token {
		t.Errorf("read meanwhile: %v", err)
	}
	room(1 << 20)
	if err := s.Save(t.Context(), held); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got, err := s.Node(t.Context(), n.UUID); err != nil || got.ConfigDrive != held.ConfigDrive {
		t.Errorf("read after: %v", err)
	}
}

// PostgreSQL that stops, or cannot be reached: every kind of access says the same, and works again by itself afterwards.
func TestAPostgresThatIsAway(t *testing.T) {
	s, err := Open(t.Context(), Config{URL: NewPostgresDatabase(t), DataDir: t.TempDir(), Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := &node.Node{Name: "one", State: node.Enroll}
	if err := s.CreateNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	held, err := s.Reserve(t.Context(), n.UUID, "here", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	if err := queryRow(t.Context(), s.write, "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), Config{URL: NewPostgresDatabase(t), DataDir: t.TempDir(), Host: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	do := func(query string) {
		if _, err := exec(t.Context(), other.write, query); err != nil {
			t.Fatal(err)
		}
	}
	under := make(chan error, 1) // of a query that is under way when its connection is cut
	go func() {
		_, err := exec(t.Context(), s.write, "SELECT pg_sleep(120)")
		under <- err
	}()
	deadline := time.Now().Add(20 * time.Second)
	for began := 0; began == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err := queryRow(t.Context(), other.write, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active'",
			name).Scan(&began); err != nil {
			t.Fatal(err)
		}
	}
	do("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false")
	do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'")
	if err := <-under; !errors.Is(err, node.ErrStoreAway) {
		t.Errorf("the query that was cut off: %v", err)
	}
	for what, access := range map[string]func() error{
		"read":   func() error { _, err := s.Node(t.Context(), n.UUID); return err },
		"list":   func() error { _, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{Limit: 5}); return err },
		"save":   func() error { return s.Save(t.Context(), held) },
		"renew":  func() error { return s.Renew(t.Context(), held, time.Hour) },
		"work":   func() error { _, err := s.Work(t.Context(), node.Now(), 5); return err },
		"create": func() error { return s.CreateNode(t.Context(), &node.Node{Name: "two", State: node.Enroll}) },
	} {
		for range 3 { // the first may still meet a connection of before
			err := access()
			if err == nil {
				t.Errorf("%s: no error without a database", what)
				// what ALLOW_CONNECTIONS answers, not a stop
			} else if e, ok := errors.AsType[*pgconn.PgError](err); !errors.Is(err, node.ErrStoreAway) && (!ok || e.Code != "55000") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	do("ALTER DATABASE " + name + " ALLOW_CONNECTIONS true")
	for deadline = time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = s.Save(t.Context(), held); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("20 s later: %v", err)
		}
	}
}
