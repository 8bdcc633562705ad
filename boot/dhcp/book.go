package dhcp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

const (
	storeTimeout = 5 * time.Second
	offerHold    = time.Minute      // an offered address stays the client's that long
	declinedHold = 10 * time.Minute // somebody else answers at a declined address
)

var errNoAddress = errors.New("every address of the range is lent")

// book is who has which address. The store holds what was promised; the book also holds what was
// only offered. One MAC has at most one address, one address at most one MAC.
type book struct {
	store    boot.AddressLeases
	reserved map[netip.Addr]bool // never lent: our own address, routers, the ends of a network

	mu       sync.Mutex
	byMAC    map[string]*lease
	byIP     map[netip.Addr]*lease
	declined map[netip.Addr]time.Time
	next     map[netip.Prefix]netip.Addr // where the search for a never lent address goes on
}

// lease is one line of the book. Its fields are guarded by book.mu.
type lease struct {
	mac    string
	ip     netip.Addr
	until  time.Time // offered or promised until
	stored time.Time // what the store says; zero: only offered
}

// openBook reads what was lent before a restart.
func openBook(ctx context.Context, c Config, store boot.AddressLeases) (*book, error) {
	b := &book{
		store: store, reserved: map[netip.Addr]bool{c.ServerIP: true},
		byMAC: map[string]*lease{}, byIP: map[netip.Addr]*lease{},
		declined: map[netip.Addr]time.Time{}, next: map[netip.Prefix]netip.Addr{},
	}
	for _, p := range c.Pools {
		b.reserved[p.Router] = true
		if p.Prefix.Bits() < 31 { // the first and last address of a network are nobody's
			b.reserved[p.Prefix.Masked().Addr()] = true
			b.reserved[addrOf(broadcastOf(p.Prefix))] = true
		}
	}
	old, err := store.AddressLeases(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the address leases: %w", err)
	}
	for _, l := range old {
		ip, err := netip.ParseAddr(l.IP)
		if err != nil || b.reserved[ip] || b.byIP[ip] != nil && b.byIP[ip].until.After(l.Until) {
			continue
		}
		b.put(&lease{mac: l.MAC, ip: ip, until: l.Until, stored: l.Until})
	}
	return b, nil
}

// offer picks the client's address: the one it has or had, the one it wishes, one never lent,
// or the one that has been free for the longest time.
func (b *book) offer(mac string, wish netip.Addr, p Pool) (netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := node.Now()
	if l := b.byMAC[mac]; l != nil && b.usable(l.ip, p, now) {
		l.hold(now)
		return l.ip, nil
	}
	ip := wish
	if !b.free(wish, p, now) {
		if ip = b.neverLent(p, now); !ip.IsValid() {
			ip = b.longestFree(p, now)
		}
	}
	if !ip.IsValid() {
		return netip.Addr{}, errNoAddress
	}
	b.put(&lease{mac: mac, ip: ip, until: now.Add(offerHold)})
	return ip, nil
}

// hold keeps an address for its client while it makes up its mind.
func (l *lease) hold(now time.Time) {
	if until := now.Add(offerHold); l.until.Before(until) {
		l.until = until
	}
}

// promise lends the address to the client and returns once the store has it. It is false when
// the address is not the client's to have. The store is told half a lease more than the
// client, so that the three rounds of one network boot write once.
func (b *book) promise(ctx context.Context, mac string, ip netip.Addr, p Pool, life time.Duration) (bool, error) {
	b.mu.Lock()
	now := node.Now()
	l := b.byMAC[mac]
	if l == nil || l.ip != ip {
		if !b.free(ip, p, now) || l != nil && l.until.After(now) && !l.stored.IsZero() {
			b.mu.Unlock()
			return false, nil
		}
		l = &lease{mac: mac, ip: ip}
		b.put(l)
	}
	if !b.usable(ip, p, now) {
		b.mu.Unlock()
		return false, nil
	}
	until := now.Add(life)
	l.until = until
	if !l.stored.Before(until) {
		b.mu.Unlock()
		return true, nil
	}
	until = until.Add(life / 2)
	l.until = until
	b.mu.Unlock()
	if err := b.write(ctx, boot.AddressLease{MAC: mac, IP: ip.String(), Until: until}); err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l.stored = until
	return true, nil
}

// release ends the client's lease but keeps the line: it gets the same address again.
func (b *book) release(ctx context.Context, mac string, ip netip.Addr) error {
	b.mu.Lock()
	l := b.byMAC[mac]
	if l == nil || l.ip != ip {
		b.mu.Unlock()
		return nil
	}
	l.until, l.stored = node.Now(), time.Time{}
	line := boot.AddressLease{MAC: mac, IP: ip.String(), Until: l.until}
	b.mu.Unlock()
	return b.write(ctx, line)
}

// decline takes an address out of use for a while: the client found somebody else there.
func (b *book) decline(ctx context.Context, mac string, ip netip.Addr) error {
	b.mu.Lock()
	l := b.byMAC[mac]
	if l == nil || l.ip != ip {
		b.mu.Unlock()
		return nil
	}
	b.drop(l)
	b.declined[ip] = node.Now().Add(declinedHold)
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.store.DropAddressLease(ctx, mac); err != nil {
		return fmt.Errorf("dropping the declined lease of %s: %w", mac, err)
	}
	return nil
}

func (b *book) write(ctx context.Context, l boot.AddressLease) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.store.PutAddressLease(ctx, l); err != nil {
		return fmt.Errorf("storing the lease of %s for %s: %w", l.IP, l.MAC, err)
	}
	return nil
}

// put makes l the only line of its MAC and of its address. Caller holds mu.
func (b *book) put(l *lease) {
	if old := b.byMAC[l.mac]; old != nil {
		b.drop(old)
	}
	if old := b.byIP[l.ip]; old != nil {
		b.drop(old)
	}
	b.byMAC[l.mac], b.byIP[l.ip] = l, l
}

func (b *book) drop(l *lease) {
	delete(b.byMAC, l.mac)
	delete(b.byIP, l.ip)
}

// usable reports whether the address may be lent to somebody at all. Caller holds mu.
func (b *book) usable(ip netip.Addr, p Pool, now time.Time) bool {
	if !ip.IsValid() || b.reserved[ip] || ip.Less(p.First) || p.Last.Less(ip) {
		return false
	}
	if until, declined := b.declined[ip]; declined {
		if now.Before(until) {
			return false
		}
		delete(b.declined, ip)
	}
	return true
}

// free reports whether the address may be lent to a new client. Caller holds mu.
func (b *book) free(ip netip.Addr, p Pool, now time.Time) bool {
	l := b.byIP[ip]
	return b.usable(ip, p, now) && (l == nil || !now.Before(l.until))
}

// neverLent walks the pool once, from where the last walk ended. Caller holds mu.
func (b *book) neverLent(p Pool, now time.Time) netip.Addr {
	start := b.next[p.Prefix]
	if !start.IsValid() {
		start = p.First
	}
	for ip, first := start, true; first || ip != start; first = false {
		after := ip.Next()
		if p.Last.Less(after) {
			after = p.First
		}
		if b.byIP[ip] == nil && b.usable(ip, p, now) {
			b.next[p.Prefix] = after
			return ip
		}
		ip = after
	}
	return netip.Addr{}
}

// longestFree finds the ended lease that ended first. Caller holds mu.
func (b *book) longestFree(p Pool, now time.Time) netip.Addr {
	var best *lease
	for l := range maps.Values(b.byIP) {
		if b.free(l.ip, p, now) && (best == nil || l.until.Before(best.until)) {
			best = l
		}
	}
	if best == nil {
		return netip.Addr{}
	}
	return best.ip
}
