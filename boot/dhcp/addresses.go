package dhcp

import (
	"context"
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
	answersEvery = time.Minute      // how often this process lets the others know that it answers
)

// lendable is what the store may lend of a pool: without the network's own addresses, ours and the routers'.
func (s *Server) lendable(p Pool) boot.AddressRange {
	r := boot.AddressRange{Network: p.Prefix.Masked(), First: p.First, Last: p.Last, Never: []netip.Addr{s.Config.ServerIP}}
	if p.Router.IsValid() {
		r.Never = append(r.Never, p.Router)
	}
	if p.Prefix.Bits() < 31 { // the first and the last address of a network belong to no machine
		r.Never = append(r.Never, p.Prefix.Masked().Addr(), addrOf(broadcastOf(p.Prefix)))
	}
	return r
}

func (s *Server) offer(ctx context.Context, mac string, wish netip.Addr, p Pool) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Leases.OfferAddress(ctx, s.lendable(p), mac, wish, offerHold)
}

// lend lends the address once the store has it; life is how long, 0 when it is not the client's to have.
func (s *Server) lend(ctx context.Context, mac string, ip netip.Addr, p Pool) (life time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	life = s.Config.lease(p)
	until, ok, err := s.Leases.LendAddress(ctx, s.lendable(p), mac, ip, life)
	if err != nil || !ok {
		return 0, err
	}
	s.kept.note(mac, ip, until)
	return life, nil
}

// renewal is for how long a client that renews may keep its address while the store is away: no longer than the store
// keeps the address for it, so nobody else can have been lent it.
func (s *Server) renewal(mac string, ip netip.Addr, p Pool) time.Duration {
	until := s.kept.until(mac, ip)
	left := until.Sub(node.Now())
	if left < time.Minute {
		return 0
	}
	return min(left, s.Config.lease(p))
}

// maxKept bounds the memory of what was lent; ranges are smaller.
const maxKept = 1 << 16

// kept is what this process lent, for the moments in which the store is away.
type kept struct {
	mu    sync.Mutex
	lines map[string]keptLine
}

type keptLine struct {
	ip    netip.Addr
	until time.Time // what the store has
}

func (k *kept) note(mac string, ip netip.Addr, until time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lines == nil || len(k.lines) >= maxKept {
		k.lines = map[string]keptLine{}
	}
	k.lines[mac] = keptLine{ip, until}
}

func (k *kept) until(mac string, ip netip.Addr) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := k.lines[mac]; l.ip == ip {
		return l.until
	}
	return time.Time{}
}

func (k *kept) forget(mac string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.lines, mac)
}

// sayWeAnswer tells the other processes, until ctx ends, that a client that takes this server's offer took one of ours.
func (s *Server) sayWeAnswer(ctx context.Context) {
	tick := time.NewTicker(answersEvery)
	defer tick.Stop()
	for {
		if err := s.Leases.AnswersDHCP(ctx, s.Config.ServerIP); err != nil && ctx.Err() == nil {
			s.Log.Warn("the other processes were not told that this one answers DHCP", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
