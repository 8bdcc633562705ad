package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/billet-metal/billet/node"
)

// serverSeen is how long a process that answers DHCP is known after it said so last.
const serverSeen = 3 * time.Minute

// AnswersDHCP is described on boot.AddressLeases.
func (s *Boots) AnswersDHCP(ctx context.Context, ip netip.Addr) error {
	const query = `INSERT INTO dhcp_servers (ip, seen_at) VALUES ($1, $2) ON CONFLICT (ip) DO UPDATE SET seen_at = excluded.seen_at`
	if _, err := exec(ctx, s.write, query, ip.String(), node.Now()); err != nil {
		return fmt.Errorf("note that %s answers DHCP: %w", ip, err)
	}
	return nil
}

// IsOurs is described on boot.AddressLeases.
func (s *Boots) IsOurs(ctx context.Context, ip netip.Addr) (bool, error) {
	var seen time.Time
	err := queryRow(ctx, s.read, `SELECT seen_at FROM dhcp_servers WHERE ip = $1`, ip.String()).Scan(micros{&seen})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether %s is one of us: %w", ip, err)
	}
	return node.Now().Sub(seen) < serverSeen, nil
}
