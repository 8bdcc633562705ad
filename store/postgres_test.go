package store_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/seal"
	"github.com/billet-metal/billet/store/storetest"
)

func TestPostgres(t *testing.T) {
	pg := postgres(t)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		db := pg.Database(t)
		at, err := url.Parse(db)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.SQL(openClosed(t, store.Config{URL: db, DataDir: t.TempDir(), Host: "here"}), func(t *testing.T, statement string) {
			if err := pg.Exec(t.Context(), strings.TrimPrefix(at.Path, "/"), statement); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func addNode(t *testing.T, s *store.Store, name string) *node.Node {
	t.Helper()
	n := &node.Node{Name: name, State: node.Enroll}
	if err := s.CreateNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Several processes share a database, each under its own host name.
func TestSharedPostgres(t *testing.T) {
	cfg := store.Config{URL: postgres(t).Database(t), DataDir: t.TempDir(), Host: "one"}
	one := open(t, cfg)
	second := cfg
	second.Host = "two"
	two := openClosed(t, second)

	n := addNode(t, one, "shared")
	held, err := one.Reserve(t.Context(), n.UUID, "one", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = two.Reserve(t.Context(), n.UUID, "two", time.Minute)
	if want := "Node " + n.UUID + " is locked by host one, please retry after the current operation is completed."; err == nil ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	heard := two.Wakeups(t.Context())
	if err := one.Wake(t.Context(), n.UUID); err != nil {
		t.Fatal(err)
	}
	wokenWith(t, heard, n.UUID)

	// A second process of a name in use is kept off, and breaks nobody's lease.
	notOpened(t, cfg, "host one is already served by another process on this database; set another --host")
	if err := one.Save(t.Context(), held); err != nil {
		t.Errorf("the first was harmed: %v", err)
	}
	shut(t, one)
	if n, err := two.Node(t.Context(), n.UUID); err != nil || n.Lease.Holder != "one" {
		t.Errorf("lease %+v, %v", n.Lease, err)
	}
	one = openClosed(t, cfg) // the name is free again, and its leases are dropped
	if n, err := one.Node(t.Context(), n.UUID); err != nil || n.Lease.Holder != "" {
		t.Errorf("lease %+v, %v", n.Lease, err)
	}
}

func wokenWith(t *testing.T, c <-chan string, want string) {
	t.Helper()
	select {
	case got := <-c:
		if got != want {
			t.Errorf("woken for %s, want %s", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Error("no wake-up within 20 s")
	}
}

// Two processes that start on an empty database at the same time both come up.
func TestFirstStartTogether(t *testing.T) {
	url, key := postgres(t).Database(t), make([]byte, seal.KeySize)
	errs := make(chan error)
	for i := range 4 {
		go func() {
			s, err := store.Open(t.Context(), store.Config{URL: url, Key: key, Host: fmt.Sprint("host-", i)})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// When the server cuts every connection, the store takes its claim again and hears again.
func TestConnectionLost(t *testing.T) {
	pg := postgres(t)
	cfg := store.Config{URL: pg.Database(t), DataDir: t.TempDir(), Host: "one"}
	s := openClosed(t, cfg)
	heard := s.Wakeups(t.Context())
	if err := pg.Exec(t.Context(), "postgres",
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'billet one'`); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for woken := false; !woken; {
		if time.Now().After(deadline) {
			t.Fatal("no wake-up for 30 s after the connections were cut")
		}
		_ = s.Wake(t.Context(), "again") // its own connection was cut, too
		select {
		case <-heard:
			woken = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	notOpened(t, cfg, "host one is already served by another process on this database; set another --host")
	addNode(t, s, "after")
}

func TestUnreachablePostgres(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, tt := range map[string]struct{ url, want string }{
		"nobody listens": {"postgres://billet:hunter2@" + closed.Addr().String() + "/billet", "connect to PostgreSQL: "},
		"nobody answers": {"postgres://billet:hunter2@" + silent.Addr().String() + "/billet?connect_timeout=1", "connect to PostgreSQL: "},
		"no such base":   {"postgres://postgres:hunter2@/nowhere?host=" + postgres(t).Dir, "connect to PostgreSQL: "},
		"bad option":     {"postgres://billet:hunter2@h/billet?sslmode=maybe", "database URL: "},
	} {
		start := time.Now()
		s, err := store.Open(t.Context(), store.Config{URL: tt.url, DataDir: t.TempDir(), Host: "one"})
		if err == nil {
			shut(t, s)
			t.Fatalf("%s: opened", name)
		}
		if !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", name, err)
		}
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

func TestNewerPostgres(t *testing.T) {
	pg := postgres(t)
	cfg := store.Config{URL: pg.Database(t), DataDir: t.TempDir(), Host: "one"}
	shut(t, open(t, cfg))
	database := strings.TrimPrefix(strings.Split(cfg.URL, "?")[0], "postgres://postgres@/")
	if err := pg.Exec(t.Context(), database, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)`); err != nil {
		t.Fatal(err)
	}
	notOpened(t, cfg, "database "+database+" at "+pg.Dir+": its schema is version 99999 and this billet knows versions up to "+newestSchema(t)+
		"; run the newer billet that wrote it")
}

// The second process needs the first one's key; it does not make one of its own.
func TestPostgresNeedsTheSharedKey(t *testing.T) {
	cfg := store.Config{URL: postgres(t).Database(t), DataDir: t.TempDir(), Host: "one"}
	openClosed(t, cfg)
	database := strings.TrimPrefix(strings.Split(cfg.URL, "?")[0], "postgres://postgres@/")
	second := store.Config{URL: cfg.URL, DataDir: t.TempDir(), Host: "two"}
	where := "database " + database + " at " + postgres(t).Dir + ": "
	notOpened(t, second, where+"key file DIR/secret.key is missing, and this database holds values sealed with it; restore the file "+
		"(processes that share a database share its key)")
	if _, err := os.Stat(filepath.Join(second.DataDir, "secret.key")); err == nil {
		t.Error("a key was made")
	}
	notOpened(t, store.Config{URL: cfg.URL, Host: "two"},
		where+"the sealing key is kept outside the database: no data directory is set; it holds the database billet.db and the secret key")
	second.KeyFile = filepath.Join(cfg.DataDir, "secret.key")
	openClosed(t, second)
}
