package door

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Gate bounds how many requests do something dear at the same time, and how many of those one source may do or wait
// for, so that one sender does not keep the others out. What does not fit is refused at once and at no cost.
type Gate struct {
	slots     chan struct{}
	perSource int           // at work and waiting, of one source
	waiting   int           // at work and waiting, of all
	patience  time.Duration // of one that waits

	mu      sync.Mutex
	sources map[string]int
	all     int
}

// NewGate lets slots requests work at the same time. perSource are those of one source and waiting those of all, the waiting ones
// included; one waits no longer than patience.
func NewGate(slots, perSource, waiting int, patience time.Duration) *Gate {
	return &Gate{slots: make(chan struct{}, slots), perSource: perSource, waiting: waiting, patience: patience, sources: map[string]int{}}
}

// Enter waits for a place; ok says that there is one, and then leave gives it back.
func (g *Gate) Enter(ctx context.Context, source string) (leave func(), ok bool) {
	if !g.queue(source) {
		return nil, false
	}
	late := time.NewTimer(g.patience)
	defer late.Stop()
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots; g.unqueue(source) }, true
	case <-late.C:
	case <-ctx.Done():
	}
	g.unqueue(source)
	return nil, false
}

func (g *Gate) queue(source string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= g.waiting || g.sources[source] >= g.perSource {
		return false
	}
	g.all++
	g.sources[source]++
	return true
}

func (g *Gate) unqueue(source string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.sources[source]--; g.sources[source] == 0 {
		delete(g.sources, source)
	}
}

// Busy says how many are at work and how many wait for a place.
func (g *Gate) Busy() (working, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	working = len(g.slots)
	return working, max(0, g.all-working)
}

// SourceOf is whom a request comes from: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
func SourceOf(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, _ := ip.Prefix(64) // of an IPv6 address, which has them
	return p.String()
}
