package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/billet-metal/billet/node"
)

// findings is how many faults of a database's pages are told; one is enough to stop writing to it.
const findings = 20

// integrity returns what SQLite finds wrong in the pages, indexes and references of its file; none: it is sound. It reads all.
func integrity(ctx context.Context, db *sql.DB) (faults []string, err error) {
	err = collect(ctx, db, fmt.Sprintf("PRAGMA integrity_check(%d)", findings), nil, func(r *sql.Rows) error {
		var line string
		err := r.Scan(&line)
		if line != "ok" {
			faults = append(faults, line)
		}
		return err
	})
	if err != nil { // a file too damaged to be looked at
		return append(faults, err.Error()), nil
	}
	err = collect(ctx, db, "PRAGMA foreign_key_check", nil, func(r *sql.Rows) error {
		var table, parent string
		var id, key any
		err := r.Scan(&table, &id, &parent, &key)
		if len(faults) < findings {
			faults = append(faults, fmt.Sprintf("row %v of %s belongs to a row of %s that is not there", id, table, parent))
		}
		return err
	})
	return faults, err
}

// lookAfterCrash reads the whole file when the last process did not end in order. A database that is not sound is only read
// from then on: to write on would spread the fault, and a flow that believes a wrong value may write over a wrong disk.
func (s *Store) lookAfterCrash(ctx context.Context, file string) error {
	began := time.Now()
	faults, err := integrity(ctx, s.read)
	if err != nil {
		return fmt.Errorf("check database %s: %w", file, err)
	}
	s.log.Info("the last run did not end in order: the database was checked", "file", file, "faults", len(faults),
		"took", time.Since(began).Round(time.Millisecond))
	if len(faults) == 0 {
		return nil
	}
	s.damage = faults[0]
	s.log.Error("the database is damaged and is only read: no flow goes on and nothing is written; stop the service and put back a backup",
		"file", file, "first", faults[0], "faults", len(faults))
	_ = s.write.Close() // what it held open is damaged
	if s.write, err = sql.Open("sqlite", dsn(file, "_pragma=busy_timeout(5000)", "_pragma=query_only(1)")); err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	s.write.SetMaxOpenConns(1)
	return nil
}

// Damage says what is wrong with a database that is only read because of it; "" when nothing is known to be.
func (s *Store) Damage() string { return s.damage }

// Check reads every page and every value of a database, also beside the process that serves it, and changes nothing. It
// returns what is wrong, a line each.
func Check(ctx context.Context, cfg Config) (faults []string, err error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := newStore(cfg)
	dialect := goose.DialectSQLite3
	if cfg.URL == "" {
		if faults, err = s.checkFile(ctx, cfg); err != nil || len(faults) > 0 {
			return faults, err
		}
	} else {
		dialect = goose.DialectPostgres
		pc, err := pgx.ParseConfig(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("database URL: %w", err) // pgx leaves the password out
		}
		pc.ConnectTimeout = min(pc.ConnectTimeout, connectTime)
		pc.RuntimeParams["default_transaction_read_only"] = "on"
		s.read = stdlib.OpenDB(*pc)
		s.write = s.read
	}
	defer s.read.Close()
	if err := current(ctx, dialect, s.read); err != nil {
		return nil, err
	}
	if err := s.unlockKey(ctx, cfg); err != nil {
		return []string{err.Error()}, nil
	}
	return s.unreadable(ctx)
}

// checkFile opens the SQLite file to be read and looks at its pages.
func (s *Store) checkFile(ctx context.Context, cfg Config) ([]string, error) {
	dir, err := usableDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "billet.db")
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	keepFiles()
	if s.read, err = sql.Open("sqlite", dsn(file, "_pragma=busy_timeout(5000)", "_pragma=query_only(1)")); err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	s.write = s.read
	return integrity(ctx, s.read)
}

// needsRoom adds to an error of opening a database what a person can do when its disk is full.
func needsRoom(dir string, err error) error {
	var fs syscall.Statfs_t
	if err == nil || syscall.Statfs(dir, &fs) != nil || fs.Bavail*uint64(fs.Bsize) >= roomToOpen {
		return err
	}
	return fmt.Errorf("%w; the disk of %s is full: free %d MB", err, dir, roomToOpen>>20)
}

// roomToOpen is enough for the index of the WAL and for the migrations of a release.
const roomToOpen = 4 << 20

// current reports a database whose tables are not of this program's version.
func current(ctx context.Context, d goose.Dialect, db *sql.DB) error {
	p, err := provider(d, db)
	if err != nil {
		return err
	}
	version, latest, err := p.GetVersions(ctx)
	if err == nil && version < latest {
		err = fmt.Errorf("its schema is version %d and this billet's is %d; start billet serve once, which brings it up to date, "+
			"or use the billet that wrote it", version, latest)
	}
	if err == nil && version > latest {
		err = tooNew(version, latest)
	}
	return err
}

// unreadable looks at every record and lists those that hold a value which cannot be read.
func (s *Store) unreadable(ctx context.Context) (faults []string, err error) {
	s.log = slog.New(slog.DiscardHandler) // what is found is the answer
	nodes, err := s.Nodes(ctx, node.NodeFilter{IncludeChildren: true}, node.Page{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		faults = append(faults, say("node", n.UUID, n.Unreadable)...)
		faults = append(faults, s.unreadableBeside(ctx, n.UUID)...)
	}
	for _, t := range s.all {
		found, err := t.unreadable(ctx)
		faults = append(faults, found...)
		if err != nil {
			return faults, err
		}
	}
	return faults, nil
}

// unreadable lists the values of the table's records that cannot be read.
func (t *Table[T, F]) unreadable(ctx context.Context) (faults []string, err error) {
	all, err := t.List(ctx, *new(F), node.Page{})
	for i := range all {
		h := t.head(&all[i])
		faults = append(faults, say(t.noun, *h.uuid, *h.unreadable)...)
	}
	return faults, err
}

// unreadableBeside reads what is kept beside a node, each in a row of its own.
func (s *Store) unreadableBeside(ctx context.Context, uuid string) (faults []string) {
	reads := []func() error{
		func() error { _, err := s.Progress(ctx, uuid); return err },
		func() error { _, err := s.Failure(ctx, uuid); return err },
		func() error {
			_, err := s.Inventory(ctx, uuid)
			if node.KindOf(err) == node.NotFound {
				err = nil
			}
			return err
		},
	}
	for _, source := range []node.LineSource{node.SerialLine, node.AgentLog} {
		reads = append(reads, func() error { _, err := s.Lines(ctx, uuid, source); return err })
	}
	for _, read := range reads {
		if err := read(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	return faults
}

func say(what, uuid string, unreadable node.Unreadable) (lines []string) {
	for _, field := range slices.Sorted(maps.Keys(unreadable)) {
		lines = append(lines, fmt.Sprintf("%s %s: %s cannot be read: %s", what, uuid, field, unreadable[field]))
	}
	return lines
}
