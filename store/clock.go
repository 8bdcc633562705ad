package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/billet-metal/billet/node"
)

// SharedTime asks the database for its clock, which every process on it goes by. shared is false for SQLite, which has
// one process and no clock of its own.
func (s *Store) SharedTime(ctx context.Context) (now time.Time, shared bool, err error) {
	if s.read != s.write {
		return time.Time{}, false, nil
	}
	best := time.Hour
	for range 3 { // the quickest answer says most
		var at int64
		asked := time.Now()
		if err := queryRow(ctx, s.read, `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`).Scan(&at); err != nil {
			return time.Time{}, true, fmt.Errorf("ask the database for its clock: %w", err)
		}
		now = now.Add(time.Since(asked)) // an earlier answer has grown older
		if took := time.Since(asked); took < best {
			best, now = took, time.UnixMicro(at).Add(took/2)
		}
	}
	return now, true, nil
}

// TimeMark returns what an earlier process left of its time; zero when there was none.
func (s *Store) TimeMark(ctx context.Context) (m node.TimeMark, err error) {
	var uptime, ahead int64
	err = queryRow(ctx, s.read, `SELECT host_boot, uptime, reached, ahead FROM service_clock WHERE id = 1`).
		Scan(&m.Boot, &uptime, micros{&m.At}, &ahead)
	if errors.Is(err, sql.ErrNoRows) {
		return node.TimeMark{}, nil
	}
	if err != nil {
		return node.TimeMark{}, fmt.Errorf("read the service's clock: %w", err)
	}
	m.Uptime, m.Ahead = time.Duration(uptime)*time.Microsecond, time.Duration(ahead)*time.Microsecond
	return m, nil
}

// SaveTimeMark leaves it for the next process.
func (s *Store) SaveTimeMark(ctx context.Context, m node.TimeMark) error {
	_, err := exec(ctx, s.write, `INSERT INTO service_clock (id, host_boot, uptime, reached, ahead) VALUES (1, $1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET host_boot = excluded.host_boot, uptime = excluded.uptime,
			reached = excluded.reached, ahead = excluded.ahead`,
		m.Boot, m.Uptime.Microseconds(), m.At, m.Ahead.Microseconds())
	if err != nil {
		return fmt.Errorf("save the service's clock: %w", err)
	}
	return nil
}

// underWay counts the nodes that are in the middle of something.
var underWay = `SELECT COUNT(*) FROM nodes WHERE ` + busy + ` OR ` + waiting + ` OR ` + held + ` OR target_power_state <> ''`

// MoveTime moves every stored moment that is compared with now by d: ends of boot records and address leases, heartbeats.
// Plans hold moments too, so it does nothing and returns false while a flow is under way. Only a process that is alone
// with the database, and has not begun its work, may call it.
func (s *Store) MoveTime(ctx context.Context, d time.Duration) (moved bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var count int
		if err := queryRow(ctx, tx, underWay).Scan(&count); err != nil || count > 0 {
			return err
		}
		for _, c := range []struct{ table, column string }{
			{"boot_records", "valid_until"}, {"boot_records", "created_at"},
			{"addresses", "held_until"}, {"addresses", "lent_until"}, {"dhcp_servers", "seen_at"},
			{"node_agent", "last_heartbeat"}, {"node_agent", "token_given_at"}, {"node_agent", "refused_at"},
		} {
			query := fmt.Sprintf(`UPDATE %s SET %s = %s + $1 WHERE %s > 0`, c.table, c.column, c.column, c.column)
			if _, err := exec(ctx, tx, query, d.Microseconds()); err != nil {
				return err
			}
		}
		moved = true
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("move the stored times by %s: %w", d, err)
	}
	return moved, nil
}
