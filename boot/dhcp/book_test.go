package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/boot"
)

func openTestBook(t *testing.T, store *fakeStore) *book {
	t.Helper()
	c := Config{ServerIP: netip.MustParseAddr("10.99.0.21"), Pools: []Pool{testPool()}}
	b, err := openBook(context.Background(), c, store)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mac(i int) string { return fmt.Sprintf("52:54:00:00:01:%02x", i) }

// lend does what DISCOVER and REQUEST do; "" when there is no address.
func lend(t *testing.T, b *book, who string) string {
	t.Helper()
	ip, err := b.offer(who, netip.Addr{}, testPool())
	if err != nil {
		return ""
	}
	ok, err := b.promise(context.Background(), who, ip, testPool(), time.Hour)
	if err != nil || !ok {
		t.Fatalf("%s was offered %s and cannot have it: %v", who, ip, err)
	}
	return ip.String()
}

func TestBookSkipsReservedAndEnds(t *testing.T) {
	b := openTestBook(t, &fakeStore{leases: map[string]boot.AddressLease{}})
	want := []string{
		"10.99.0.20", "10.99.0.22", "10.99.0.23", "10.99.0.24", "10.99.0.25", // .21 is ours
		"10.99.0.26", "10.99.0.27", "10.99.0.28", "10.99.0.29", "",
	}
	for i, ip := range want {
		if got := lend(t, b, mac(i)); got != ip {
			t.Errorf("machine %d gets %q, want %q", i, got, ip)
		}
	}
	if l := b.byIP[netip.MustParseAddr("10.99.0.22")]; l == nil || l.mac != mac(1) {
		t.Errorf("10.99.0.22 is lent to %+v, want %q", l, mac(1))
	}
}

func TestBookOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{leases: map[string]boot.AddressLease{}}
		b := openTestBook(t, store)
		for i := range 3 {
			lend(t, b, mac(i))
		}
		time.Sleep(100 * time.Hour) // all leases have ended
		b = openTestBook(t, store)
		for i, want := range []string{"10.99.0.20", "10.99.0.22", "10.99.0.23"} {
			if got := lend(t, b, mac(i)); got != want {
				t.Errorf("machine %d gets %q after the restart, want %q", i, got, want)
			}
		}
		if got := lend(t, b, mac(3)); got != "10.99.0.24" {
			t.Errorf("a new machine gets %q, want an address never lent", got)
		}
	})
}

func TestBookReusesTheLongestFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{leases: map[string]boot.AddressLease{}}
		b := openTestBook(t, store)
		for i := range 9 {
			lend(t, b, mac(i))
			time.Sleep(time.Minute)
		}
		if got := lend(t, b, mac(20)); got != "" {
			t.Errorf("a full range still lends %s", got)
		}
		time.Sleep(10 * time.Hour)
		if got := lend(t, b, mac(0)); got != "10.99.0.20" { // the first comes back in time
			t.Errorf("the first machine gets %q", got)
		}
		if got := lend(t, b, mac(20)); got != "10.99.0.22" {
			t.Errorf("a new machine gets %q, want what is free for the longest time", got)
		}
		if got := lend(t, b, mac(1)); got != "10.99.0.23" {
			t.Errorf("the second machine, which came too late, gets %q", got)
		}
	})
}

func TestBookHoldsOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openTestBook(t, &fakeStore{leases: map[string]boot.AddressLease{}})
		wish := netip.MustParseAddr("10.99.0.25")
		for _, tt := range []struct {
			who  string
			want string
		}{{mac(1), "10.99.0.25"}, {mac(2), "10.99.0.20"}, {mac(1), "10.99.0.25"}} {
			if ip, err := b.offer(tt.who, wish, testPool()); err != nil || ip.String() != tt.want {
				t.Errorf("%s is offered %s, %v; want %s", tt.who, ip, err, tt.want)
			}
		}
		if ok, _ := b.promise(t.Context(), mac(3), wish, testPool(), time.Hour); ok {
			t.Error("an address on offer was lent to another")
		}
		time.Sleep(2 * offerHold)
		if ok, _ := b.promise(t.Context(), mac(3), wish, testPool(), time.Hour); !ok {
			t.Error("an offer nobody took still holds the address")
		}
		if ok, _ := b.promise(t.Context(), mac(1), wish, testPool(), time.Hour); ok {
			t.Error("the offer that has ended was lent all the same")
		}
	})
}

func TestBookDeclinedAddressesComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{leases: map[string]boot.AddressLease{}}
		b := openTestBook(t, store)
		lend(t, b, mac(1))
		ip := netip.MustParseAddr("10.99.0.20")
		if err := b.decline(t.Context(), mac(1), ip); err != nil {
			t.Fatal(err)
		}
		if ok, _ := b.promise(t.Context(), mac(2), ip, testPool(), time.Hour); ok {
			t.Error("a declined address was lent")
		}
		time.Sleep(declinedHold + time.Second)
		if ok, _ := b.promise(t.Context(), mac(2), ip, testPool(), time.Hour); !ok {
			t.Error("a declined address never comes back")
		}
	})
}

// One network boot asks three times for the same address; the store is written once.
func TestBookWritesOncePerBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{leases: map[string]boot.AddressLease{}}
		b := openTestBook(t, store)
		for range 3 {
			lend(t, b, mac(1))
			time.Sleep(5 * time.Second)
		}
		if store.writes != 1 {
			t.Errorf("%d writes, want 1", store.writes)
		}
		time.Sleep(31 * time.Minute)
		lend(t, b, mac(1))
		if store.writes != 2 {
			t.Errorf("%d writes after half a lease, want 2", store.writes)
		}
		if until := store.leases[mac(1)].Until; time.Until(until) < time.Hour {
			t.Errorf("the store keeps the lease until %s, less than what was promised", until)
		}
	})
}

func TestBookReadsConflicts(t *testing.T) {
	now := time.Now()
	b := openTestBook(t, &fakeStore{leases: map[string]boot.AddressLease{
		mac(1): {MAC: mac(1), IP: "10.99.0.25", Until: now.Add(time.Hour)},
		mac(2): {MAC: mac(2), IP: "10.99.0.25", Until: now.Add(-time.Hour)},
		mac(3): {MAC: mac(3), IP: "10.99.0.21", Until: now.Add(time.Hour)}, // ours now
		mac(4): {MAC: mac(4), IP: "nonsense", Until: now.Add(time.Hour)},
		mac(5): {MAC: mac(5), IP: "10.98.0.5", Until: now.Add(time.Hour)}, // the range has moved
	}})
	for who, want := range map[string]string{mac(1): "10.99.0.25"} {
		if got := lend(t, b, who); got != want {
			t.Errorf("%s gets %s, want %s", who, got, want)
		}
	}
	for _, who := range []string{mac(2), mac(3), mac(4), mac(5)} {
		if got := lend(t, b, who); got == "10.99.0.25" || got == "10.99.0.21" || got == "10.98.0.5" || got == "" {
			t.Errorf("%s gets %q", who, got)
		}
	}
}

// However many ask together, no address is lent twice.
func TestBookNeverLendsTwice(t *testing.T) {
	b := openTestBook(t, &fakeStore{leases: map[string]boot.AddressLease{}})
	var wg sync.WaitGroup
	got := make([]string, 30)
	for i := range got {
		wg.Go(func() {
			ip, err := b.offer(mac(i), netip.MustParseAddr("10.99.0.22"), testPool())
			if err != nil {
				return
			}
			if ok, err := b.promise(context.Background(), mac(i), ip, testPool(), time.Hour); ok && err == nil {
				got[i] = ip.String()
			}
		})
	}
	wg.Wait()
	owner := map[string]int{}
	for i, ip := range got {
		if ip == "" {
			continue
		}
		if other, taken := owner[ip]; taken {
			t.Errorf("%s was lent to %d and %d", ip, other, i)
		}
		owner[ip] = i
	}
	if len(owner) != 9 {
		t.Errorf("%d addresses were lent, want all 9", len(owner))
	}
}

func BenchmarkLeases(bench *testing.B) {
	s, _, _ := newServer(bench, Full)
	s.Config.Pools[0] = Pool{Prefix: netip.MustParsePrefix("10.99.0.0/16"), First: netip.MustParseAddr("10.99.1.0"), Last: netip.MustParseAddr("10.99.200.0")}
	reopen(bench, s)
	for bench.Loop() {
		for _, kind := range []byte{1, 3} {
			req := from(bench, ipxeMAC, 0, with(biosPXE, option(53, string(kind)), wish("10.99.1.0"))...)
			if resp, _ := ask(bench, s, req); resp == nil {
				bench.Fatal("no answer")
			}
		}
	}
}
