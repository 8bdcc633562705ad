package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// addressTries is how often an address is looked for anew when another process took the one that was free a moment ago.
const addressTries = 20

func numberOf(ip netip.Addr) int64 {
	b := ip.As4()
	return int64(binary.BigEndian.Uint32(b[:]))
}

func addressOf(number int64) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(number))
	return netip.AddrFrom4(b)
}

// asker is who asks for an address of which range, and until when it is to be kept.
type asker struct {
	boot.AddressRange
	mac  string
	now  time.Time
	held time.Time
	lent time.Time // zero of an offer
}

// OfferAddress is described on boot.AddressLeases.
func (s *Boots) OfferAddress(ctx context.Context, r boot.AddressRange, mac string,
	wish netip.Addr, hold time.Duration) (netip.Addr, error) {
	now := node.Now()
	a := asker{AddressRange: r, mac: strings.ToLower(mac), now: now, held: now.Add(hold)}
	ip, until, err := a.own(ctx, s.read)
	if err == nil && ip.IsValid() && !until.Before(a.held) {
		return ip, nil
	}
	err = s.addressTx(ctx, func(tx *sql.Tx) (err error) {
		ip, err = a.offer(ctx, tx, wish)
		return err
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find an address for %s: %w", mac, err)
	}
	return ip, nil
}

// addressTx tries again when another process took an address, or gave this MAC one, in the same moment.
func (s *Boots) addressTx(ctx context.Context, f func(*sql.Tx) error) error {
	for tries := 1; ; tries++ {
		err := s.tx(ctx, f)
		if name := duplicate(err); name != "addresses_mac" && name != "addresses_pkey" && name != "addresses_number" || tries == addressTries {
			return err
		}
	}
}

// own is the address that the machine has or had, of those it may still have.
func (a asker) own(ctx context.Context, c conn) (ip netip.Addr, until time.Time, err error) {
	const query = `SELECT number, held_until FROM addresses WHERE mac = $1 AND number BETWEEN $2 AND $3 ORDER BY held_until DESC, number`
	err = collect(ctx, c, query, []any{a.mac, numberOf(a.First), numberOf(a.Last)}, func(r *sql.Rows) error {
		var number int64
		var held time.Time
		if err := r.Scan(&number, micros{&held}); err != nil {
			return err
		}
		if found := addressOf(number); !ip.IsValid() && a.Holds(found) {
			ip, until = found, held
		}
		return nil
	})
	return ip, until, err
}

func (a asker) offer(ctx context.Context, tx *sql.Tx, wish netip.Addr) (netip.Addr, error) {
	ip, until, err := a.own(ctx, tx)
	if err != nil {
		return netip.Addr{}, err
	}
	if ip.IsValid() {
		const hold = `UPDATE addresses SET held_until = $1, network = $2 WHERE number = $3 AND mac = $4`
		if until.After(a.held) {
			a.held = until
		}
		still, err := changedOne(ctx, tx, hold, a.held, a.Network.String(), numberOf(ip), a.mac)
		if still || err != nil {
			return ip, err
		}
	}
	if err := a.forget(ctx, tx); err != nil {
		return netip.Addr{}, err
	}
	if a.Holds(wish) {
		if taken, err := a.take(ctx, tx, wish); taken || err != nil {
			return wish, err
		}
	}
	for range addressTries {
		ip, err := a.free(ctx, tx)
		if err != nil {
			return netip.Addr{}, err
		}
		if !ip.IsValid() { // but another process may have given the machine the last one
			ip, _, err = a.own(ctx, tx)
			return ip, err
		}
		if taken, err := a.take(ctx, tx, ip); taken || err != nil {
			return ip, err
		}
	}
	return netip.Addr{}, nil
}

// forget drops what the machine was offered in this network, and what it cannot have any more: it is to get another.
func (a asker) forget(ctx context.Context, tx *sql.Tx) error {
	query := `DELETE FROM addresses WHERE mac = $1 AND network = $2 AND (lent_until <= $3 OR number < $4 OR number > $5`
	args := []any{a.mac, a.Network.String(), a.now, numberOf(a.First), numberOf(a.Last)}
	for _, ip := range a.Never {
		if ip.Is4() {
			args = append(args, numberOf(ip))
			query += fmt.Sprintf(" OR number = $%d", len(args))
		}
	}
	_, err := exec(ctx, tx, query+")", args...)
	return err
}

// take makes an address the machine's if it is nobody's now.
func (a asker) take(ctx context.Context, tx *sql.Tx, ip netip.Addr) (bool, error) {
	const insert = `INSERT INTO addresses (number, mac, network, held_until, lent_until) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (number) DO NOTHING`
	args := []any{numberOf(ip), a.mac, a.Network.String(), a.held, a.lent}
	if taken, err := changedOne(ctx, tx, insert, args...); taken || err != nil {
		return taken, err
	}
	const update = `UPDATE addresses SET mac = $2, network = $3, held_until = $4, lent_until = $5 WHERE number = $1 AND held_until <= $6`
	return changedOne(ctx, tx, update, append(args, a.now)...)
}

// free is the lowest address that was never lent, or else the one that is free for the longest time.
func (a asker) free(ctx context.Context, tx *sql.Tx) (netip.Addr, error) {
	ip, err := a.neverLent(ctx, tx)
	if ip.IsValid() || err != nil {
		return ip, err
	}
	const query = `SELECT number FROM addresses WHERE number BETWEEN $1 AND $2 AND held_until <= $3 ORDER BY held_until, number LIMIT $4`
	args := []any{numberOf(a.First), numberOf(a.Last), a.now, len(a.Never) + 1}
	err = collect(ctx, tx, query, args, func(r *sql.Rows) error {
		var number int64
		if err := r.Scan(&number); err != nil {
			return err
		}
		if found := addressOf(number); !ip.IsValid() && a.Holds(found) {
			ip = found
		}
		return nil
	})
	return ip, err
}

// neverLent is the lowest address without a row. It comes after one that has a row, is the range's first, or comes after one
// that is never lent. One statement looks, so that no other process changes what it sees on the way.
func (a asker) neverLent(ctx context.Context, tx *sql.Tx) (ip netip.Addr, err error) {
	args := []any{numberOf(a.First), numberOf(a.Last)}
	from := `SELECT number + 1 AS number FROM addresses WHERE number BETWEEN $1 AND $2 UNION SELECT CAST($1 AS BIGINT)`
	out := ""
	for _, never := range a.Never {
		if never.Is4() {
			args = append(args, numberOf(never))
			from += fmt.Sprintf(" UNION SELECT CAST($%d AS BIGINT) + 1", len(args))
			out += fmt.Sprintf(" AND c.number <> $%d", len(args))
		}
	}
	query := `SELECT c.number FROM (` + from + `) AS c WHERE c.number BETWEEN $1 AND $2` + out +
		` AND NOT EXISTS (SELECT 1 FROM addresses n WHERE n.number = c.number) ORDER BY c.number LIMIT 1`
	var number int64
	err = queryRow(ctx, tx, query, args...).Scan(&number)
	if errors.Is(err, sql.ErrNoRows) {
		return netip.Addr{}, nil
	}
	if err != nil {
		return netip.Addr{}, err
	}
	return addressOf(number), nil
}

// LendAddress is described on boot.AddressLeases.
func (s *Boots) LendAddress(ctx context.Context, r boot.AddressRange, mac string, ip netip.Addr,
	life time.Duration) (until time.Time, ok bool, err error) {
	if !r.Holds(ip) {
		return time.Time{}, false, nil
	}
	now := node.Now()
	a := asker{AddressRange: r, mac: strings.ToLower(mac), now: now, held: now.Add(life + life/2), lent: now.Add(life + life/2)}
	const query = `SELECT lent_until FROM addresses WHERE number = $1 AND mac = $2`
	err = queryRow(ctx, s.read, query, numberOf(ip), a.mac).Scan(micros{&until})
	if err == nil && !until.Before(now.Add(life)) {
		return until, true, nil
	}
	err = s.addressTx(ctx, func(tx *sql.Tx) (err error) {
		ok, err = a.lend(ctx, tx, ip)
		return err
	})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("lend %s to %s: %w", ip, mac, err)
	}
	return a.lent, ok, nil
}

func (a asker) lend(ctx context.Context, tx *sql.Tx, ip netip.Addr) (bool, error) {
	const mine = `UPDATE addresses SET held_until = $1, lent_until = $1, network = $2 WHERE number = $3 AND mac = $4`
	if ok, err := changedOne(ctx, tx, mine, a.lent, a.Network.String(), numberOf(ip), a.mac); ok || err != nil {
		return ok, err
	}
	if err := a.forget(ctx, tx); err != nil {
		return false, err
	}
	var other int
	err := queryRow(ctx, tx, `SELECT 1 FROM addresses WHERE mac = $1 AND network = $2`, a.mac, a.Network.String()).Scan(&other)
	if !errors.Is(err, sql.ErrNoRows) { // it has another one, which it may use
		return false, err
	}
	return a.take(ctx, tx, ip)
}

// ReleaseAddress is described on boot.AddressLeases.
func (s *Boots) ReleaseAddress(ctx context.Context, mac string, ip netip.Addr) error {
	return s.endLease(ctx, "release", `mac = $1, held_until = $4`, mac, ip, node.Now(), strings.ToLower(mac))
}

// DeclineAddress is described on boot.AddressLeases.
func (s *Boots) DeclineAddress(ctx context.Context, mac string, ip netip.Addr, hold time.Duration) error {
	return s.endLease(ctx, "decline", `mac = $1, held_until = $4`, mac, ip, node.Now().Add(hold), "")
}

func (s *Boots) endLease(ctx context.Context, what, set, mac string, ip netip.Addr, until time.Time, owner string) error {
	if !ip.Is4() {
		return nil
	}
	_, err := exec(ctx, s.write, `UPDATE addresses SET lent_until = 0, `+set+` WHERE number = $2 AND mac = $3`,
		owner, numberOf(ip), strings.ToLower(mac), until)
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", what, ip, mac, err)
	}
	return nil
}

// AddressLeases lists the addresses that were lent, ended leases too: a machine likes to get its old one.
func (s *Boots) AddressLeases(ctx context.Context) ([]boot.AddressLease, error) {
	var leases []boot.AddressLease
	const query = `SELECT mac, number, lent_until FROM addresses WHERE lent_until > 0 ORDER BY number`
	err := collect(ctx, s.read, query, nil, func(r *sql.Rows) error {
		var l boot.AddressLease
		var number int64
		err := r.Scan(&l.MAC, &number, micros{&l.Until})
		l.IP = addressOf(number).String()
		leases = append(leases, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list address leases: %w", err)
	}
	return leases, nil
}

// Addresses lists what is lent now to ports and portgroups of nodes.
func (s *Boots) Addresses(ctx context.Context) ([]node.Address, error) {
	var lent []node.Address
	const query = `SELECT n.uuid, a.mac, a.number, a.lent_until FROM addresses a
		JOIN (SELECT address, node_id FROM ports UNION SELECT address, node_id FROM portgroups WHERE address <> '') p ON p.address = a.mac
		JOIN nodes n ON n.id = p.node_id WHERE a.lent_until > $1 ORDER BY a.number, n.uuid`
	err := collect(ctx, s.read, query, []any{node.Now()}, func(r *sql.Rows) error {
		var a node.Address
		var number int64
		err := r.Scan(&a.NodeUUID, &a.MAC, &number, micros{&a.Until})
		a.IP = addressOf(number).String()
		lent = append(lent, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the addresses of nodes: %w", err)
	}
	return lent, nil
}

// LentTo returns the MAC that has an address now; "" when it is lent to nobody.
func (s *Boots) LentTo(ctx context.Context, ip netip.Addr) (mac string, err error) {
	if ip = ip.Unmap(); !ip.Is4() {
		return "", nil
	}
	err = queryRow(ctx, s.read, `SELECT mac FROM addresses WHERE number = $1 AND lent_until > $2`, numberOf(ip), node.Now()).Scan(&mac)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask who has the address %s: %w", ip, err)
	}
	return mac, nil
}
