package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// smallDisk runs the rest of a test as a child with mounts of its own, in which the directory it returns is a file system of
// 16 MiB. The namespace ends with the child, and the file system with it.
func smallDisk(t *testing.T) (dir string, inside bool) {
	t.Helper()
	if dir = os.Getenv("SMALL_DISK_OF_" + t.Name()); dir != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=16m,mode=700"); err != nil {
			t.Fatal(err)
		}
		return dir, true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "SMALL_DISK_OF_"+t.Name()+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 { // a namespace of users lets anybody mount
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
	return "", false
}

// useUp takes all the room that a disk has and returns how to give it back.
func useUp(t *testing.T, dir string) (giveBack func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "everything-else"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("the disk does not fill: ", err)
	}
	return func() {
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A service that starts on a full disk reads: after a stop in order, and after one without. What is refused says why. With
// room again all goes on, in the same process.
func TestAFullDiskAtStart(t *testing.T) {
	dir, inside := smallDisk(t)
	if !inside {
		return
	}
	cfg := store.Config{DataDir: dir, Host: "here"}
	s := open(t, cfg)
	n := addNode(t, s, "one")
	if _, err := s.Reserve(t.Context(), n.UUID, "here", 1<<40); err != nil { // a lease that the next start drops
		t.Fatal(err)
	}
	for _, inOrder := range []bool{true, false} {
		shut(t, s)
		if !inOrder {
			if err := os.WriteFile(filepath.Join(dir, "billet.lock"), []byte("4711\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		giveBack := useUp(t, dir)
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		var err error
		if s, err = store.Open(t.Context(), cfg); err != nil {
			t.Fatalf("in order %v: %v", inOrder, err)
		}
		if got, err := s.Node(t.Context(), n.UUID); err != nil || got.Name != "one" {
			t.Errorf("read: %v", err)
		}
		for i := 0; ; i++ { // there may be room for some
			err := s.CreateNode(t.Context(), &node.Node{ConfigDrive: strings.Repeat("x", 1<<20)})
			if err == nil && i < 20 {
				continue
			}
			if !errors.Is(err, node.ErrStoreAway) || node.KindOf(err) != node.Unavailable ||
				!strings.Contains(err.Error(), "The service can only read its database at the moment: its disk is full. Nothing was changed.") {
				t.Errorf("a write: %v", err)
			}
			break
		}
		if inOrder && !strings.Contains(log.String(), "the database cannot be written: reads are served") {
			t.Errorf("the log does not say it: %s", log.String())
		}
		giveBack()
		if err := s.CreateNode(t.Context(), &node.Node{}); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
	shut(t, s)
}

// A database that must be brought up to date first cannot be, on a full disk: that is said with what to do, nothing is left half
// done, and with room the next start does it.
func TestAFullDiskWithMigrationsPending(t *testing.T) {
	dir, inside := smallDisk(t)
	if !inside {
		return
	}
	cfg := store.Config{DataDir: dir, Host: "here"}
	s := open(t, cfg)
	n := addNode(t, s, "one")
	shut(t, s)
	rawSQLite(t, dir, `DROP TABLE chassis`)
	rawSQLite(t, dir, `DELETE FROM goose_db_version WHERE version_id = 72`)
	rawSQLite(t, dir, `PRAGMA wal_checkpoint(TRUNCATE)`)
	rawSQLite(t, dir, `VACUUM`) // no free pages that a new table fits in
	giveBack := useUp(t, dir)
	s, err := store.Open(t.Context(), cfg)
	if err == nil {
		shut(t, s)
	}
	if err == nil || !strings.HasSuffix(err.Error(), "; the disk of "+dir+" is full: free 4 MB") ||
		!strings.Contains(err.Error(), "bring the schema from version") {
		t.Errorf("got %v", err)
	}
	giveBack()
	s = open(t, cfg)
	if got, err := s.Node(t.Context(), n.UUID); err != nil || got.Name != "one" {
		t.Errorf("read: %v", err)
	}
	if err := s.Chassis.Create(t.Context(), &node.Chassis{}); err != nil {
		t.Error(err)
	}
	shut(t, s)
}

// flip changes one bit in the middle of some pages of a database file.
func flip(t *testing.T, dir string, pages ...int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "billet.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		head := make([]byte, 8)
		if _, err := f.ReadAt(head, page*4096); err != nil {
			t.Fatal(err)
		}
		head[3] ^= 0x40 // the number of cells of a b-tree page, section 1.6 of SQLite's file format
		if _, err := f.WriteAt(head, page*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Bits that flipped are found when the last process did not end in order, and when somebody asks. The database is then only read:
// no lease is granted, so that no flow goes on.
func TestFlippedBits(t *testing.T) {
	cfg := twoNodes(t)
	if faults, err := store.Check(t.Context(), cfg); err != nil || len(faults) > 0 {
		t.Fatalf("a sound database: %q, %v", faults, err)
	}
	pages := pagesOf(t, cfg.DataDir, "volume_targets", "history_node_id")
	flip(t, cfg.DataDir, pages...)
	faults, err := store.Check(t.Context(), cfg)
	if err != nil || len(faults) == 0 {
		t.Errorf("asked: %q, %v", faults, err)
	}
	shut(t, open(t, cfg)) // after a stop in order nobody looks
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "billet.lock"), []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, cfg)
	if s.Damage() == "" || !strings.Contains(log.String(), "the database is damaged and is only read") {
		t.Errorf("damage %q, log %s", s.Damage(), log.String())
	}
	if n, err := s.Node(t.Context(), soundNode); err != nil || n.ConfigDrive != "drive" {
		t.Errorf("read: %v", err)
	}
	s.Saw(node.BootEvent{MAC: "52:54:00:00:00:09", What: "lost"})
	if _, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:08"}, time.Time{}); err != nil &&
		!strings.Contains(err.Error(), "malformed") {
		t.Errorf("boot events: %v", err)
	}
	for what, write := range map[string]func(context.Context) error{
		"lease":  func(ctx context.Context) error { _, err := s.Reserve(ctx, soundNode, "here", 1<<40); return err },
		"create": func(ctx context.Context) error { return s.CreateNode(ctx, &node.Node{}) },
	} {
		if err := write(t.Context()); !errors.Is(err, node.ErrStoreAway) ||
			!strings.Contains(err.Error(), "or it is damaged (see the service's log)") {
			t.Errorf("%s: %v", what, err)
		}
	}
	shut(t, s)
}

// pagesOf are the numbers, from 0, of the first pages of tables and indexes.
func pagesOf(t *testing.T, dir string, names ...string) (pages []int64) {
	t.Helper()
	for _, name := range names {
		root := rawSQLiteValue(t, dir, `SELECT CAST(rootpage - 1 AS TEXT) FROM sqlite_schema WHERE name = '`+name+`'`)
		var page int64
		for _, digit := range root {
			page = page*10 + int64(digit-'0')
		}
		pages = append(pages, page)
	}
	return pages
}

// Check tells of every value that cannot be read and of a key that is not the database's, and changes nothing.
func TestCheckReadsEveryValue(t *testing.T) {
	cfg := twoNodes(t)
	rawSQLite(t, cfg.DataDir, "UPDATE node_documents SET driver_info = X'00', extra = '{' WHERE node_id = 1")
	faults, err := store.Check(t.Context(), cfg)
	want := "node " + hurtNode + ": driver_info cannot be read: sealed value of " + hurtNode + " driver_info is damaged\n" +
		"node " + hurtNode + ": extra cannot be read: read a document: unexpected EOF"
	if err != nil || strings.Join(faults, "\n") != want {
		t.Errorf("got %s, %v", strings.Join(faults, "\n"), err)
	}
	s := openClosed(t, cfg) // beside the service too
	if again, err := store.Check(t.Context(), cfg); err != nil || strings.Join(again, "\n") != want {
		t.Errorf("beside the service: %q, %v", again, err)
	}
	addNode(t, s, "three")
	other := cfg
	other.Key = sum("another")
	if faults, err := store.Check(t.Context(), other); err != nil || len(faults) != 1 ||
		!strings.Contains(faults[0], "is not the key this database was sealed with; restore that key") {
		t.Errorf("another key: %q, %v", faults, err)
	}
	if _, err := store.Check(t.Context(), store.Config{DataDir: t.TempDir()}); err == nil ||
		!strings.Contains(err.Error(), "find the database: ") {
		t.Errorf("no database: %v", err)
	}
}
