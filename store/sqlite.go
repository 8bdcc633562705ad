package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // registers the driver "sqlite"
)

// readers is how many SQLite connections read side by side; WAL lets them run beside the writer.
const readers = 8

func (s *Store) openSQLite(ctx context.Context, cfg Config) error {
	dir, err := usableDir(cfg.DataDir)
	if err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	s.claim = lock
	file := filepath.Join(dir, "billet.db")
	if err := touchPrivate(file); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	keepFiles()
	// synchronous FULL: a committed step survives a power cut, not only a crash of the process.
	if s.write, err = sql.Open("sqlite", dsn(file, "_txlock=immediate", "_pragma=busy_timeout(5000)", "_pragma=journal_mode(WAL)",
		"_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)", "_pragma=journal_size_limit(67108864)")); err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", dsn(file, "_pragma=busy_timeout(5000)", "_pragma=query_only(1)")); err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	s.notify = func(_ context.Context, uuid string) error {
		s.wakes.publish(uuid)
		return nil
	}
	if lock.left != "" {
		if err := s.lookAfterCrash(ctx, file); err != nil {
			return err
		}
	}
	if err := migrate(ctx, goose.DialectSQLite3, s.write); err != nil && s.damage != "" {
		return fmt.Errorf("database %s is damaged (%s) and not of this billet's version; put back a backup: %w", file, s.damage, err)
	} else if err != nil {
		return needsRoom(dir, fmt.Errorf("database %s: %w", file, err))
	}
	return needsRoom(dir, s.unlockKey(ctx, cfg))
}

// keepFiles has SQLite leave the WAL and its index in place when the last connection closes. Without an index nothing can be
// read, and to make one takes room that a full disk does not have.
var keepFiles = sync.OnceFunc(func() {
	sqlite.RegisterConnectionHook(func(c sqlite.ExecQuerierContext, _ string) error {
		if files, ok := c.(sqlite.FileControl); ok {
			if _, err := files.FileControlPersistWAL("main", 1); err != nil {
				return fmt.Errorf("keep the WAL: %w", err)
			}
		}
		return nil
	})
})

func dsn(file string, options ...string) string {
	u := url.URL{Scheme: "file", Path: file, RawQuery: strings.Join(options, "&")}
	return u.String()
}

// usableDir returns dir as an absolute path, or says why it cannot be the data directory.
func usableDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no data directory is set; it holds the database billet.db and the secret key")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("data directory %s does not exist; create it or set another", dir)
	case err != nil:
		return "", fmt.Errorf("data directory: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("data directory %s is a file; set a directory", dir)
	}
	return dir, nil
}

// dirLock is the flock on a data directory. The kernel lets it go when the process dies. The file holds the process's
// number until its store is closed.
type dirLock struct {
	file *os.File
	left string // the number that a process left which did not close its store
}

func (l dirLock) Close() error { return errors.Join(l.file.Truncate(0), l.file.Close()) }

func lockDir(dir string) (dirLock, error) {
	name := filepath.Join(dir, "billet.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return dirLock{}, fmt.Errorf("data directory %s is not writable: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return dirLock{}, fmt.Errorf("lock %s: %w", name, err)
		}
		pid, _ := os.ReadFile(name)
		return dirLock{}, fmt.Errorf("another billet serve (pid %s) already uses the data directory %s; stop it or set another data directory",
			strings.TrimSpace(string(pid)), dir)
	}
	left, _ := os.ReadFile(name)
	// On a full disk there may be no room for the number; without it, the next start does not look for damage.
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintln(os.Getpid()))); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return dirLock{}, errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close())
	}
	return dirLock{f, strings.TrimSpace(string(left))}, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// touchPrivate makes the file readable by its owner alone when it does not exist; SQLite gives
// its WAL the same mode.
func touchPrivate(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
