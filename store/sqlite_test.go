package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		dir := t.TempDir()
		return storetest.SQL(openClosed(t, store.Config{DataDir: dir, Host: "here"}),
			func(t *testing.T, statement string) { rawSQLite(t, dir, statement) })
	})
}

// openClosed closes the store at the end of the test.
func openClosed(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	s := open(t, cfg)
	t.Cleanup(func() { shut(t, s) })
	return s
}

// notOpened checks that Open refuses with this text. In want, DIR is the data directory.
func notOpened(t *testing.T, cfg store.Config, want string) {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	if err == nil {
		shut(t, s)
	}
	if want = strings.ReplaceAll(want, "DIR", cfg.DataDir); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSecondProcessOnOneDirectory(t *testing.T) {
	cfg := store.Config{DataDir: filepath.Join(t.TempDir(), "odd name?%41#"), Host: "here"}
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := openClosed(t, cfg)
	n := addNode(t, s, "one")
	other := cfg
	other.Host = "there" // one SQLite is one process, whatever its name
	for range 2 {
		notOpened(t, other,
			fmt.Sprintf("another billet serve (pid %d) already uses the data directory DIR; stop it or set another data directory", os.Getpid()))
	}
	if got, err := s.Node(t.Context(), n.UUID); err != nil || got.Name != "one" {
		t.Errorf("the first was harmed: %v", err)
	}
}

func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	notOpened(t, store.Config{DataDir: filepath.Join(dir, "nowhere")}, "data directory DIR does not exist; create it or set another")
	notOpened(t, store.Config{DataDir: file}, "data directory DIR is a file; set a directory")
	notOpened(t, store.Config{}, "no data directory is set; it holds the database billet.db and the secret key")
	// Not even root can make files there.
	notOpened(t, store.Config{DataDir: "/proc"}, "data directory DIR is not writable: open /proc/billet.lock: no such file or directory")
	notOpened(t, store.Config{DataDir: dir, URL: "mysql://root:secret@db/billet"},
		"database URL (mysql://…) is not valid: leave it empty for SQLite in the data directory, or use "+
			"postgres://user:password@host:port/database")
	notOpened(t, store.Config{DataDir: dir, URL: "postgres://root:sec ret%@db/billet"},
		"database URL (postgres://…) is not valid: leave it empty for SQLite in the data directory, or use "+
			"postgres://user:password@host:port/database")
	notOpened(t, store.Config{DataDir: dir, URL: "secret"},
		"database URL (?://…) is not valid: leave it empty for SQLite in the data directory, or use postgres://user:password@host:port/database")
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("refused opens left %v", left)
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	s := openClosed(t, store.Config{DataDir: dir})
	addNode(t, s, "one")
	for _, name := range []string{"billet.db", "billet.db-wal", "billet.lock", "secret.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", name, info.Mode().Perm())
		}
	}
}

func TestNewerSQLite(t *testing.T) {
	cfg := store.Config{DataDir: t.TempDir()}
	shut(t, open(t, cfg))
	rawSQLite(t, cfg.DataDir, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
	notOpened(t, cfg, "database DIR/billet.db: its schema is version 99999 and this billet knows versions up to "+newestSchema(t)+
		"; run the newer billet that wrote it")
	rawSQLite(t, cfg.DataDir, `DELETE FROM goose_db_version WHERE version_id = 99999`)
	shut(t, open(t, cfg))
}

func TestNotADatabase(t *testing.T) {
	cfg := store.Config{DataDir: t.TempDir()}
	name := filepath.Join(cfg.DataDir, "billet.db")
	text := strings.Repeat("this is somebody's letter\n", 100)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), cfg)
	if err == nil {
		shut(t, s)
		t.Fatal("opened")
	}
	if !strings.HasPrefix(err.Error(), "database "+name+": ") || !strings.Contains(err.Error(), "file is not a database") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadFile(name); err != nil || string(left) != text {
		t.Errorf("the file was changed: %v", err)
	}
}

// rawSQLite changes a closed database behind the store's back.
func rawSQLite(t *testing.T, dir, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "billet.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}
