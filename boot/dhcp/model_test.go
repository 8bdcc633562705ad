package dhcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/boot"
)

// A range may be as wide as its network; what is nobody's address, ours or a router's is not lent.
func TestBookLendsHostsOnly(t *testing.T) {
	tests := []struct{ prefix, first, last, router, want string }{
		{"10.7.0.0/29", "10.7.0.0", "10.7.0.7", "10.7.0.6", "[10.7.0.2 10.7.0.3 10.7.0.4 10.7.0.5]"}, // .1 is the server
		{"10.7.0.0/30", "10.7.0.0", "10.7.0.3", "", "[10.7.0.2]"},
		{"10.7.0.2/31", "10.7.0.2", "10.7.0.3", "", "[10.7.0.2 10.7.0.3]"}, // RFC 3021: both are hosts
		{"10.7.0.9/32", "10.7.0.9", "10.7.0.9", "", "[10.7.0.9]"},
		{"10.7.0.0/24", "10.7.0.254", "10.7.0.255", "", "[10.7.0.254]"},
		{"10.7.0.0/16", "10.7.0.255", "10.7.1.1", "", "[10.7.0.255 10.7.1.0 10.7.1.1]"}, // in the middle of a network they are hosts
	}
	for _, tt := range tests {
		p := Pool{Prefix: netip.MustParsePrefix(tt.prefix), First: netip.MustParseAddr(tt.first), Last: netip.MustParseAddr(tt.last)}
		if tt.router != "" {
			p.Router = netip.MustParseAddr(tt.router)
		}
		c := Config{ServerIP: netip.MustParseAddr("10.7.0.1"), Pools: []Pool{p}}
		b, err := openBook(t.Context(), c, &fakeStore{leases: map[string]boot.AddressLease{}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range 20 {
			ip, err := b.offer(mac(i), p.First, p) // each wishes the first
			if err != nil {
				if !errors.Is(err, errNoAddress) {
					t.Error(err)
				}
				break
			}
			if ok, err := b.promise(t.Context(), mac(i), ip, p, time.Hour); !ok || err != nil {
				t.Errorf("%s: %s was offered and is not lent: %v", tt.prefix, ip, err)
			}
			got = append(got, ip.String())
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s, %s to %s: lent are %v, want %s", tt.prefix, tt.first, tt.last, got, tt.want)
		}
		for _, end := range []netip.Addr{p.Prefix.Masked().Addr(), addrOf(broadcastOf(p.Prefix))} {
			if ok, err := b.promise(t.Context(), "52:54:00:00:02:00", end, p, time.Hour); ok && p.Prefix.Bits() < 31 {
				t.Errorf("%s: %s is lent to who asks for it, %v", tt.prefix, end, err)
			}
		}
	}
}

// promised is what a client was told.
type promised struct {
	mac   string
	until time.Time
}

// TestBookIsConsistent does what clients, restarts and a failing store do, at random, and holds the
// book to the one promise that counts: while a client may use an address, nobody else may.
func TestBookIsConsistent(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			store := &fakeStore{leases: map[string]boot.AddressLease{}}
			b := openTestBook(t, store)
			p := testPool()
			told := map[netip.Addr]promised{}
			somewhere := func() netip.Addr {
				ip := netip.MustParseAddr("10.99.0.18")
				for range rng.IntN(14) {
					ip = ip.Next()
				}
				return ip
			}
			for step := range 400 {
				who := mac(rng.IntN(14)) // more machines than addresses
				switch rng.IntN(10) {
				case 0:
					time.Sleep(time.Duration(rng.IntN(90)) * time.Minute)
				case 1: // a restart: what was only offered is forgotten
					if store.err == nil {
						b = openTestBook(t, store)
					}
				case 2:
					ip := somewhere()
					if err := b.release(context.Background(), who, ip); err == nil && told[ip].mac == who {
						delete(told, ip)
					}
				case 3:
					ip := somewhere()
					_ = b.decline(context.Background(), who, ip) // the store may be away; the book knows
					if told[ip].mac == who {
						delete(told, ip)
					}
				case 4:
					store.err = nil
					if rng.IntN(4) == 0 {
						store.err = errors.New("the disk is full")
					}
				default:
					ip, err := b.offer(who, somewhere(), p)
					if errors.Is(err, errNoAddress) {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if rng.IntN(5) == 0 {
						ip = somewhere() // a client that asks for another than the one it was offered
					}
					ok, err := b.promise(context.Background(), who, ip, p, time.Hour)
					if !ok || err != nil {
						continue
					}
					if ip.Less(p.First) || p.Last.Less(ip) || ip == netip.MustParseAddr("10.99.0.21") {
						t.Fatalf("seed %d, step %d: %s was lent", seed, step, ip)
					}
					if old := told[ip]; old.mac != who && old.until.After(time.Now()) {
						t.Fatalf("seed %d, step %d: %s is lent to %s, and %s may use it for another %s", seed, step, ip, who, old.mac, time.Until(old.until))
					}
					for other, old := range told { // a client that takes one address lets go of its others
						if old.mac == who && other != ip {
							delete(told, other)
						}
					}
					told[ip] = promised{who, time.Now().Add(time.Hour)}
					if l := store.leases[who]; l.IP != ip.String() || l.Until.Before(told[ip].until) {
						t.Fatalf("seed %d, step %d: %s was told %s, the store knows %+v", seed, step, who, ip, l)
					}
				}
			}
			if len(b.byMAC) != len(b.byIP) {
				t.Errorf("seed %d: %d machines have %d addresses", seed, len(b.byMAC), len(b.byIP))
			}
			for ip, l := range b.byIP {
				if l.ip != ip || b.byMAC[l.mac] != l {
					t.Errorf("seed %d: the line of %s is %+v", seed, ip, l)
				}
			}
		})
	}
}
