// Package store owns everything Billet keeps: one database, SQLite inside the process or a
// PostgreSQL shared by several, reached with the same SQL. It owns leases and their fencing,
// seals what is secret before it reaches the database, and refuses to know what nodes do: states
// are words to it, and no rule of the state machine lives here.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store/seal"
)

// Config says which database to open and how.
type Config struct {
	// URL is empty for the SQLite file billet.db in DataDir, or postgres://… .
	URL string
	// DataDir holds billet.db, its lock file and secret.key. It must exist.
	DataDir string
	// Key is the 32-byte sealing key. When nil it is read from KeyFile.
	Key []byte
	// KeyFile is made at the first start; empty means secret.key in DataDir.
	KeyFile string
	// Host is this process's name among those sharing the database; empty means the machine's name.
	Host string
	// Log may be nil.
	Log *slog.Logger
	// Keep bounds what is collected.
	Keep Keep
}

// Store is one open database. It is safe for concurrent use. Methods that find nothing return a
// *node.Err of kind NotFound, duplicates one of kind Conflict; other errors are the database's.
type Store struct {
	Tables

	*Boots // what boot services keep
	*Notes // what is kept beside a node, for people
	*database

	host   string
	claim  claim
	wakes  hub
	damage string // what is wrong with the file that is only read because of it

	stop   context.CancelFunc // ends the goroutines below
	owned  sync.WaitGroup     // the trace writer and, on PostgreSQL, the listener
	notify func(ctx context.Context, uuid string) error
}

// database is what all parts of a Store stand on.
type database struct {
	read  *sql.DB // SQLite: several read-only connections; PostgreSQL: the same pool as write
	write *sql.DB // SQLite: the one writer
	log   *slog.Logger
	seal  *seal.Sealer
	keep  Keep

	logged sync.Map // damaged values that the log has, "UUID field"
}

// Boots is what boot services ask: boot records, the keys and addresses of boots, and what was seen of them.
type Boots struct {
	*database
	trace *trace
}

// Notes is what is kept beside a node, without its lease: history, inventory, progress, a machine's last lines, why its last
// flow failed.
type Notes struct{ *database }

// newStore has its parts, and no database yet.
func newStore(cfg Config) *Store {
	s := &Store{database: &database{log: cfg.Log, keep: cfg.Keep.filled()}, host: cfg.Host}
	s.Boots = &Boots{s.database, newTrace(s.database)}
	s.Notes = &Notes{s.database}
	s.openTables()
	return s
}

// claim is what keeps a second process off: the lock file's, or the host name's on PostgreSQL.
type claim interface{ Close() error }

// Open opens the database, brings its tables up to date, checks the sealing key and breaks the
// leases that an earlier process of the same Host left behind: holding the claim on Host proves
// that it is gone. Errors say what to do; nothing was changed when the database is in use or newer
// than this program.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := newStore(cfg)
	owned, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if cfg.URL == "" {
		err = s.openSQLite(ctx, cfg)
	} else {
		err = s.openPostgres(ctx, owned, cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := s.DropLeases(ctx, s.host); errors.Is(err, node.ErrStoreAway) {
		// The leases are left as they are: they end by themselves.
		s.log.Error("the database cannot be written: reads are served, and nothing else goes on until it can", "error", err)
	} else if err != nil {
		return nil, err
	}
	if err := s.moveLeases(ctx); err != nil {
		return nil, err
	}
	s.owned.Go(func() { s.trace.run(owned) })
	s.owned.Go(func() { s.runSweeper(owned) })
	return s, nil
}

// Close stops the store's goroutines, writes what they still hold and closes the database.
func (s *Store) Close() error {
	s.stop()
	s.owned.Wait()
	s.wakes.close()
	var errs []error
	if s.write != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, s.trace.flush(ctx))
	}
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.claim != nil {
		errs = append(errs, s.claim.Close())
	}
	return errors.Join(errs...)
}

func (cfg *Config) fill() error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find this machine's name; set a host: %w", err)
		}
		cfg.Host = name
	}
	if cfg.URL == "" {
		return nil
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		// The URL may hold a password, and so may url.Parse's error.
		scheme, _, _ := strings.Cut(cfg.URL, ":")
		if !strings.Contains(cfg.URL, "://") || len(scheme) > 20 {
			scheme = "?"
		}
		return fmt.Errorf("database URL (%s://…) is not valid: leave it empty for SQLite in the data directory, or use "+
			"postgres://user:password@host:port/database", scheme)
	}
	return nil
}

// tx runs f in one write transaction. SQLite has one writer, so f waits its turn.
func (d *database) tx(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", asStoreAway(err))
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", asStoreAway(err))
	}
	return nil
}
