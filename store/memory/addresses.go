package memory

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// serverSeen is how long a process that answers DHCP is known after it said so last.
const serverSeen = 3 * time.Minute

// address is who has an address, and until when.
type address struct {
	ip      netip.Addr
	mac     string // "": nobody
	network netip.Prefix
	held    time.Time // until then it is nobody else's
	lent    time.Time // until then it is lent; zero of an offer
}

// asker is who asks for an address of which range.
type asker struct {
	boot.AddressRange
	*data
	mac  string
	now  time.Time
	held time.Time
	lent time.Time
}

// inOrder lists addresses by what comes first; then by number.
func (s *data) inOrder(first func(a, b *address) int) []*address {
	return slices.SortedFunc(maps.Values(s.addresses), func(a, b *address) int { return cmp.Or(first(a, b), a.ip.Compare(b.ip)) })
}

// OfferAddress is described on boot.AddressLeases.
func (s lender) OfferAddress(ctx context.Context, r boot.AddressRange, mac string,
	wish netip.Addr, hold time.Duration) (netip.Addr, error) {
	if err := s.enter(ctx); err != nil {
		return netip.Addr{}, err
	}
	defer s.mu.Unlock()
	now := node.Now()
	a := asker{AddressRange: r, data: s.data, mac: strings.ToLower(mac), now: now, held: micros(now.Add(hold))}
	if own := a.own(); own != nil {
		own.network = r.Network
		if a.held.After(own.held) {
			own.held = a.held
		}
		return own.ip, nil
	}
	a.forget()
	if r.Holds(wish) && a.take(wish) {
		return wish, nil
	}
	if ip := a.free(); ip.IsValid() && a.take(ip) {
		return ip, nil
	}
	return netip.Addr{}, nil
}

// own is the address that the machine has or had, of those it may still have.
func (a asker) own() *address {
	for _, x := range a.inOrder(func(a, b *address) int { return b.held.Compare(a.held) }) {
		if x.mac == a.mac && a.Holds(x.ip) {
			return x
		}
	}
	return nil
}

// forget drops what the machine was offered in this network, and what it cannot have any more.
func (a asker) forget() {
	maps.DeleteFunc(a.addresses, func(ip netip.Addr, x *address) bool {
		return x.mac == a.mac && x.network == a.Network && (!x.lent.After(a.now) || !a.Holds(ip))
	})
}

// take makes an address the machine's if it is nobody's now.
func (a asker) take(ip netip.Addr) bool {
	if x := a.addresses[ip]; x != nil && x.held.After(a.now) {
		return false
	}
	a.addresses[ip] = &address{ip: ip, mac: a.mac, network: a.Network, held: a.held, lent: a.lent}
	return true
}

// free is the lowest address that was never lent, or else the one that is free for the longest time.
func (a asker) free() netip.Addr {
	for ip := a.First; ip.IsValid() && !a.Last.Less(ip); ip = ip.Next() {
		if a.Holds(ip) && a.addresses[ip] == nil {
			return ip
		}
	}
	for _, x := range a.inOrder(func(a, b *address) int { return a.held.Compare(b.held) }) {
		if a.Holds(x.ip) && !x.held.After(a.now) {
			return x.ip
		}
	}
	return netip.Addr{}
}

// LendAddress is described on boot.AddressLeases.
func (s lender) LendAddress(ctx context.Context, r boot.AddressRange, mac string, ip netip.Addr,
	life time.Duration) (until time.Time, is bool, err error) {
	if err := s.enter(ctx); err != nil || !r.Holds(ip) {
		if err == nil {
			s.mu.Unlock()
		}
		return time.Time{}, false, err
	}
	defer s.mu.Unlock()
	now := node.Now()
	end := micros(now.Add(life + life/2))
	a := asker{AddressRange: r, data: s.data, mac: strings.ToLower(mac), now: now, held: end, lent: end}
	if x := s.addresses[ip]; x != nil && x.mac == a.mac {
		if x.lent.Before(now.Add(life)) {
			x.held, x.lent, x.network = end, end, r.Network
		}
		return x.lent, true, nil
	}
	a.forget()
	for _, x := range s.addresses {
		if x.mac == a.mac && x.network == r.Network { // it has another one, which it may use
			return end, false, nil
		}
	}
	return end, a.take(ip), nil
}

// ReleaseAddress is described on boot.AddressLeases.
func (s lender) ReleaseAddress(ctx context.Context, mac string, ip netip.Addr) error {
	return s.endLease(ctx, mac, ip, node.Now(), strings.ToLower(mac))
}

// DeclineAddress is described on boot.AddressLeases.
func (s lender) DeclineAddress(ctx context.Context, mac string, ip netip.Addr, hold time.Duration) error {
	return s.endLease(ctx, mac, ip, micros(node.Now().Add(hold)), "")
}

func (s lender) endLease(ctx context.Context, mac string, ip netip.Addr, until time.Time, owner string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if x := s.addresses[ip]; x != nil && x.mac == strings.ToLower(mac) {
		x.mac, x.held, x.lent = owner, until, time.Time{}
	}
	return nil
}

// AddressLeases lists the addresses that were lent, ended leases too.
func (s lender) AddressLeases(ctx context.Context) ([]boot.AddressLease, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var leases []boot.AddressLease
	for _, x := range s.inOrder(func(a, b *address) int { return 0 }) {
		if !x.lent.IsZero() {
			leases = append(leases, boot.AddressLease{MAC: x.mac, IP: x.ip.String(), Until: x.lent})
		}
	}
	return leases, nil
}

// LentTo returns the MAC that has an address now; "" when it is lent to nobody.
func (s lender) LentTo(ctx context.Context, ip netip.Addr) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.mu.Unlock()
	if x := s.addresses[ip.Unmap()]; x != nil && x.lent.After(node.Now()) {
		return x.mac, nil
	}
	return "", nil
}

// Addresses lists what is lent now to ports and portgroups of nodes.
func (s lender) Addresses(ctx context.Context) (lent []node.Address, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	of := map[string][]string{}
	for _, p := range s.Ports.rows {
		of[p.Address] = append(of[p.Address], p.NodeUUID)
	}
	for _, g := range s.Portgroups.rows {
		if g.Address != "" && !slices.Contains(of[g.Address], g.NodeUUID) {
			of[g.Address] = append(of[g.Address], g.NodeUUID)
		}
	}
	for _, x := range s.inOrder(func(a, b *address) int { return a.ip.Compare(b.ip) }) {
		if !x.lent.After(node.Now()) {
			continue
		}
		for _, uuid := range slices.Sorted(slices.Values(of[x.mac])) {
			lent = append(lent, node.Address{NodeUUID: uuid, MAC: x.mac, IP: x.ip.String(), Until: x.lent})
		}
	}
	return lent, nil
}

// LentAddresses are the addresses that DHCP has lent to any of the MACs and that have not run out.
func (s lender) LentAddresses(ctx context.Context, macs []string) (lent []string, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, x := range s.inOrder(func(a, b *address) int { return 0 }) {
		if slices.Contains(lower(macs), x.mac) && x.lent.After(node.Now()) {
			lent = append(lent, x.ip.String())
		}
	}
	return lent, nil
}

// AnswersDHCP is described on boot.AddressLeases.
func (s lender) AnswersDHCP(ctx context.Context, ip netip.Addr) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.servers[ip] = node.Now()
	return nil
}

// IsOurs is described on boot.AddressLeases.
func (s lender) IsOurs(ctx context.Context, ip netip.Addr) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	seen, is := s.servers[ip]
	return is && node.Since(seen) < serverSeen, nil
}
