package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	connectTime  = 10 * time.Second // longest wait for the database at Open and at each reconnect
	claimTime    = 3 * time.Second  // longest wait for the server to notice that our predecessor died
	pingInterval = 15 * time.Second // how often the claim's connection is tried
	poolSize     = 20
	wakeChannel  = "billet_wake"
)

// pgClaim is the one connection on which this process holds its host name (a session-level
// advisory lock) and listens for wake-ups. Until listen runs, Open owns conn; then listen does.
type pgClaim struct {
	store *Store
	cfg   *pgx.ConnConfig
	conn  *pgx.Conn
}

func (s *Store) openPostgres(ctx, owned context.Context, cfg Config) error {
	pc, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return fmt.Errorf("database URL: %w", err) // pgx leaves the password out
	}
	pc.ConnectTimeout = min(pc.ConnectTimeout, connectTime)
	pc.RuntimeParams["application_name"] = "billet " + cfg.Host
	c := &pgClaim{store: s, cfg: pc.Copy()}
	// When this machine dies without a word, the server lets go of its host name within 25 s.
	for name, value := range map[string]string{"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"} {
		c.cfg.RuntimeParams[name] = value
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime+claimTime+time.Minute) // the minute is for migrations
	defer cancel()
	if err := c.take(ctx); err != nil {
		return err
	}
	s.claim = c
	s.write = stdlib.OpenDB(*pc)
	s.write.SetMaxOpenConns(poolSize)
	s.write.SetMaxIdleConns(poolSize / 2)
	s.read = s.write
	s.notify = func(ctx context.Context, uuid string) error {
		_, err := exec(ctx, s.write, `SELECT pg_notify($1, $2)`, wakeChannel, uuid)
		return err
	}
	if err := c.prepare(ctx, cfg); err != nil {
		return fmt.Errorf("database %s at %s: %w", pc.Database, pc.Host, err)
	}
	s.owned.Go(func() { c.listen(owned) })
	return nil
}

// prepare migrates and unlocks the key while no other process does.
func (c *pgClaim) prepare(ctx context.Context, cfg Config) error {
	turn := advisoryKey("billet start")
	if _, err := c.conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, turn); err != nil {
		return fmt.Errorf("wait for other processes that start: %w", err)
	}
	defer func() { _, _ = c.conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, turn) }()
	if err := migrate(ctx, goose.DialectPostgres, c.store.write); err != nil {
		return err
	}
	return c.store.unlockKey(ctx, cfg)
}

// take connects, claims the host name and starts to listen. A predecessor that was killed a
// moment ago may still be on the server's books, so it tries for claimTime.
func (c *pgClaim) take(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(dialing, c.cfg)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err) // pgx leaves the password out
	}
	claiming, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	key, got := advisoryKey("billet host "+c.store.host), false
	for !got && err == nil {
		if err = conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, key).Scan(&got); err == nil && !got {
			err = pause(claiming, 200*time.Millisecond)
		}
	}
	switch {
	case !got && claiming.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("host %s is already served by another process on this database; set another --host", c.store.host)
	case err == nil:
		_, err = conn.Exec(ctx, `LISTEN `+wakeChannel)
	}
	if err != nil {
		return errors.Join(err, closeConn(conn))
	}
	c.conn = conn
	return nil
}

// listen is the store's listener goroutine: it hands on wake-ups, and when the connection is lost
// it takes the claim anew. Meanwhile nothing is unsafe: another process that takes the host name
// breaks our leases, and our writes are then refused.
func (c *pgClaim) listen(ctx context.Context) {
	wait := time.Second
	for ctx.Err() == nil {
		err := c.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		c.store.log.Warn("lost the connection that claims this host", "host", c.store.host, "error", err)
		_ = closeConn(c.conn)
		for {
			if err = c.take(ctx); err == nil {
				wait = time.Second
				c.store.log.Info("claimed this host again", "host", c.store.host)
				break
			}
			if ctx.Err() != nil {
				return
			}
			c.store.log.Error("this host is not claimed", "host", c.store.host, "error", err)
			if pause(ctx, wait) != nil {
				return
			}
			wait = min(2*wait, 30*time.Second)
		}
	}
}

// hear publishes notifications until the connection fails.
func (c *pgClaim) hear(ctx context.Context) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, pingInterval)
		n, err := c.conn.WaitForNotification(waiting)
		silent := waiting.Err() != nil
		cancel()
		switch {
		case err == nil:
			c.store.wakes.publish(n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case !silent:
			return err
		default:
			pinging, cancel := context.WithTimeout(ctx, connectTime)
			err := c.conn.Ping(pinging)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// Close lets go of the host name. The listener has ended.
func (c *pgClaim) Close() error { return closeConn(c.conn) }

func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return conn.Close(ctx)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// advisoryKey is a PostgreSQL advisory lock's number for a name.
func advisoryKey(name string) int64 {
	sum := sha256.Sum256([]byte(name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}
