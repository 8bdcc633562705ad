package storetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

func ip4(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 0, last}) }

// testRange has nine addresses: .20 to .29 without .21.
func testRange() boot.AddressRange {
	return boot.AddressRange{Network: netip.MustParsePrefix("10.99.0.0/24"), First: ip4(20), Last: ip4(29),
		Never: []netip.Addr{ip4(21), ip4(0), ip4(255)}}
}

func offered(t *testing.T, s Store, who string, wish netip.Addr, hold time.Duration) string {
	t.Helper()
	ip, err := s.OfferAddress(t.Context(), testRange(), who, wish, hold)
	ok(t, err)
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func lends(t *testing.T, s Store, who string, ip netip.Addr, life time.Duration) bool {
	t.Helper()
	until, is, err := s.LendAddress(t.Context(), testRange(), who, ip, life)
	ok(t, err)
	if is && until.Before(node.Now().Add(life-time.Second)) {
		t.Errorf("%s is lent %s, and the store keeps it until %s", who, ip, until)
	}
	return is
}

// What is lent to machines of nodes is listed, by address; what was only offered, has run out or belongs to no node is not.
func testAddressesOfNodes(t *testing.T, s Store) {
	add(t, s, 1, nil)
	addPort(t, s, 1, node.Port{NodeUUID: uid(1)})
	addPort(t, s, 2, node.Port{NodeUUID: uid(1)})
	addPort(t, s, 3, node.Port{NodeUUID: uid(1)})
	addPortgroup(t, s, 1, node.Portgroup{NodeUUID: uid(1), Address: mac(1)})
	addPortgroup(t, s, 2, node.Portgroup{NodeUUID: uid(1)})
	for i, life := range []time.Duration{0, time.Hour, 2 * time.Hour, -time.Hour, time.Hour} {
		offered(t, s, mac(i), ip4(28-byte(i)), time.Minute)
		if i > 0 && life > 0 && !lends(t, s, mac(i), ip4(28-byte(i)), life) {
			t.Fatalf("%s is not lent", mac(i))
		}
	}
	got, err := s.Addresses(t.Context())
	ok(t, err)
	if len(got) != 2 || got[0].Until.Before(node.Now().Add(time.Hour)) {
		t.Fatalf("%+v", got)
	}
	for i := range got {
		got[i].Until = time.Time{}
	}
	same(t, "addresses", got, []node.Address{{NodeUUID: uid(1), MAC: mac(2), IP: "10.99.0.26"},
		{NodeUUID: uid(1), MAC: mac(1), IP: "10.99.0.27"}})
}

// Who gets which address: its own, its wish, one never lent, what is free for the longest time.
func testAddresses(t *testing.T, s Store) {
	want := []string{"10.99.0.20", "10.99.0.22", "10.99.0.23", "10.99.0.24", "10.99.0.25",
		"10.99.0.26", "10.99.0.27", "10.99.0.28", "10.99.0.29", ""}
	lent := map[string]netip.Addr{}
	for i, ip := range want {
		wish := netip.Addr{}
		if i == 3 {
			wish = ip4(20) // another's
		}
		got := offered(t, s, mac(i), wish, time.Minute)
		if got != ip {
			t.Fatalf("machine %d is offered %q, want %q", i, got, ip)
		}
		if again := offered(t, s, strings.ToUpper(mac(i)), ip4(29), time.Minute); i < 8 && again != ip {
			t.Errorf("machine %d is offered %q and then %q", i, ip, again)
		}
		if ip == "" {
			continue
		}
		lent[mac(i)] = netip.MustParseAddr(ip)
		for _, nth := range []string{"first", "second"} {
			if !lends(t, s, mac(i), lent[mac(i)], time.Hour) {
				t.Errorf("machine %d was offered %s and cannot have it for the %s time", i, ip, nth)
			}
		}
	}
	for _, never := range []netip.Addr{
		ip4(21), ip4(0), ip4(255), ip4(19), ip4(30), netip.MustParseAddr("10.98.0.22"), netip.MustParseAddr("fe80::1"), {},
	} {
		if lends(t, s, mac(50), never, time.Hour) {
			t.Errorf("%s is lent", never)
		}
	}
	if lends(t, s, mac(50), ip4(20), time.Hour) || lends(t, s, mac(0), ip4(22), time.Hour) {
		t.Error("an address is lent twice, or two to one machine")
	}
	got, err := s.AddressLeases(t.Context())
	ok(t, err)
	if len(got) != 9 || got[0].MAC != mac(0) || got[0].IP != "10.99.0.20" || got[0].Until.Before(node.Now().Add(80*time.Minute)) {
		t.Errorf("leases: %+v", got)
	}

	// The range is full: what was given back goes to who needs it, the first given back first, and its machine has it no more.
	for _, i := range []int{4, 2} {
		ok(t, s.ReleaseAddress(t.Context(), strings.ToUpper(mac(i)), lent[mac(i)]))
		time.Sleep(2 * time.Microsecond)
	}
	ok(t, s.ReleaseAddress(t.Context(), mac(3), lent[mac(1)])) // another's
	if got := offered(t, s, mac(4), netip.Addr{}, time.Microsecond); got != "10.99.0.25" {
		t.Errorf("a machine that gave its address back is offered %q", got)
	}
	ok(t, s.ReleaseAddress(t.Context(), mac(4), lent[mac(4)]))
	if got := offered(t, s, mac(20), netip.Addr{}, time.Minute); got != "10.99.0.23" {
		t.Errorf("a new machine is offered %q, want what is free for the longest time", got)
	}
	if lends(t, s, mac(2), lent[mac(2)], time.Hour) {
		t.Error("an address that went to another is lent to its earlier machine")
	}
	if got := offered(t, s, mac(2), netip.Addr{}, time.Minute); got != "10.99.0.25" {
		t.Errorf("the machine that came too late is offered %q", got)
	}
	if got := offered(t, s, mac(4), netip.Addr{}, time.Minute); got != "" {
		t.Errorf("a full range offers %s", got)
	}
}

// What nobody took is free again, and what was declined is for a while nobody's.
func testAddressesEnd(t *testing.T, s Store) {
	if got := offered(t, s, mac(1), ip4(25), 300*time.Millisecond); got != "10.99.0.25" {
		t.Fatal(got)
	}
	if lends(t, s, mac(3), ip4(25), time.Hour) {
		t.Error("an address on offer was lent to another")
	}
	time.Sleep(310 * time.Millisecond)
	if !lends(t, s, mac(3), ip4(25), time.Hour) || lends(t, s, mac(1), ip4(25), time.Hour) {
		t.Error("an offer that has ended holds the address")
	}
	ok(t, s.DeclineAddress(t.Context(), mac(1), ip4(25), time.Hour)) // not its own
	if to, err := s.LentTo(t.Context(), ip4(25)); err != nil || to != mac(3) {
		t.Errorf("lent to %q, %v", to, err)
	}
	ok(t, s.DeclineAddress(t.Context(), mac(3), ip4(25), 300*time.Millisecond))
	if to, err := s.LentTo(t.Context(), ip4(25)); err != nil || to != "" {
		t.Errorf("a declined address is lent to %q, %v", to, err)
	}
	if got := offered(t, s, mac(3), ip4(25), time.Minute); got == "10.99.0.25" || lends(t, s, mac(2), ip4(25), time.Hour) {
		t.Errorf("a declined address is used: %q", got)
	}
	time.Sleep(310 * time.Millisecond)
	if !lends(t, s, mac(2), ip4(25), time.Hour) {
		t.Error("a declined address never comes back")
	}

	// The range has moved: the old address is left alone, the new network's is another one.
	moved := testRange()
	moved.First, moved.Last = ip4(100), ip4(101)
	if ip, err := s.OfferAddress(t.Context(), moved, mac(2), netip.Addr{}, time.Minute); err != nil || ip != ip4(100) {
		t.Errorf("%s, %v", ip, err)
	}
	rack := boot.AddressRange{Network: netip.MustParsePrefix("10.50.0.0/16"),
		First: netip.MustParseAddr("10.50.0.1"), Last: netip.MustParseAddr("10.50.0.1")}
	for _, who := range []string{mac(2), mac(2)} { // one machine in two networks
		if ip, err := s.OfferAddress(t.Context(), rack, who, netip.Addr{}, time.Minute); err != nil || ip != rack.First {
			t.Errorf("%s, %v", ip, err)
		}
	}
	if ip, err := s.OfferAddress(t.Context(), moved, mac(2), netip.Addr{}, time.Minute); err != nil || ip != ip4(100) {
		t.Errorf("after an offer in another network: %s, %v", ip, err)
	}

	ok(t, s.AnswersDHCP(t.Context(), ip4(1)))
	ok(t, s.AnswersDHCP(t.Context(), ip4(1)))
	for ip, want := range map[netip.Addr]bool{ip4(1): true, ip4(2): false} {
		if got, err := s.IsOurs(t.Context(), ip); got != want || err != nil {
			t.Errorf("%s is one of us: %v, %v", ip, got, err)
		}
	}
}

// told is what a client was told.
type told struct {
	mac   string
	until time.Time
}

// Clients of several processes do what clients do, at random and at once. While a client may use an address, nobody else may.
func testAddressRace(t *testing.T, s Store) { AddressRace(t, s) }

// AddressRace has machines ask the processes of one database for addresses, each now this one and now that.
func AddressRace(t *testing.T, processes ...Store) {
	const life = 300 * time.Millisecond // the store keeps 450 ms: ranges wrap around within the test
	var mu sync.Mutex
	known, lent, twice := map[netip.Addr]told{}, 0, 0
	var all sync.WaitGroup
	for i := range 14 { // more machines than addresses
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			who := mac(i)
			for range 30 {
				s := processes[rng.IntN(len(processes))]
				wish := ip4(byte(18 + rng.IntN(14)))
				ip, err := s.OfferAddress(t.Context(), testRange(), who, wish, 100*time.Millisecond)
				if err != nil {
					t.Error(err)
					return
				}
				if rng.IntN(5) == 0 || !ip.IsValid() {
					ip = wish // a client that asks for another than the one it was offered
				}
				asked := time.Now()
				_, is, err := processes[rng.IntN(len(processes))].LendAddress(t.Context(), testRange(), who, ip, life)
				if err != nil {
					t.Error(err)
					return
				}
				if is {
					mu.Lock()
					lent++
					if old := known[ip]; old.mac != "" && old.mac != who && old.until.After(time.Now()) {
						twice++
						t.Errorf("%s is lent to %s, and %s may use it for another %s", ip, who, old.mac, time.Until(old.until))
					}
					known[ip] = told{who, asked.Add(life)}
					mu.Unlock()
				}
				if is && rng.IntN(8) == 0 {
					mu.Lock()
					delete(known, ip)
					mu.Unlock()
					if err := s.ReleaseAddress(t.Context(), who, ip); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
			}
		})
	}
	all.Wait()
	if lent < 30 {
		t.Errorf("only %d leases: the test tests nothing", lent)
	}
	t.Logf("%d leases, %d of them twice", lent, twice)
}

// Two processes hear one DISCOVER: the machine is offered one address by both.
func testOneAddressFromAll(t *testing.T, s Store) { OneAddressFromAll(t, s, s) }

// OneAddressFromAll asks all processes at once for an address of one machine.
func OneAddressFromAll(t *testing.T, processes ...Store) {
	for i := range 8 {
		got := make([]netip.Addr, len(processes))
		var all sync.WaitGroup
		for j, s := range processes {
			all.Go(func() {
				var err error
				if got[j], err = s.OfferAddress(t.Context(), testRange(), mac(i), netip.Addr{}, time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if fmt.Sprint(got[0]) != fmt.Sprint(got[len(got)-1]) || !got[0].IsValid() {
			t.Errorf("machine %d is offered %v", i, got)
		}
	}
}
