package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
)

// moveLeases takes over what an earlier version of this program lent.
func (s *Boots) moveLeases(ctx context.Context) error {
	var one int
	err := queryRow(ctx, s.read, `SELECT 1 FROM address_leases LIMIT 1`).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) { // nothing is written at a start for which nothing is to be
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for earlier address leases: %w", err)
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		var old []asker
		var at []netip.Addr
		err := collect(ctx, tx, `SELECT mac, ip, lent_until FROM address_leases`, nil, func(r *sql.Rows) error {
			var a asker
			var ip string
			if err := r.Scan(&a.mac, &ip, micros{&a.lent}); err != nil {
				return err
			}
			if addr, err := netip.ParseAddr(ip); err == nil && addr.Is4() {
				old, at = append(old, a), append(at, addr)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the earlier address leases: %w", err)
		}
		for i, a := range old {
			const insert = `INSERT INTO addresses (number, mac, network, held_until, lent_until) VALUES ($1, $2, '', $3, $3) ON CONFLICT DO NOTHING`
			if _, err := exec(ctx, tx, insert, numberOf(at[i]), a.mac, a.lent); err != nil {
				return fmt.Errorf("move the earlier address leases: %w", err)
			}
		}
		if _, err := exec(ctx, tx, `DELETE FROM address_leases`); err != nil {
			return fmt.Errorf("drop the earlier address leases: %w", err)
		}
		return nil
	})
}
