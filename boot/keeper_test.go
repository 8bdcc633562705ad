package boot

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// known are addresses lent, by MAC, and who asked first for a boot.
type known struct {
	lent  map[string]string
	first map[string]string
	fails error
}

func (k known) LentAddresses(_ context.Context, macs []string) ([]string, error) {
	if ip := k.lent[macs[0]]; ip != "" {
		return []string{ip}, k.fails
	}
	return nil, k.fails
}

func (k known) AskedFirst(_ context.Context, secret, mac, address string) (string, error) {
	if k.first[secret+mac] == "" {
		k.first[secret+mac] = address
	}
	return k.first[secret+mac], nil
}

// Anybody may name a machine's MAC address; who reads its script must be where the machine is.
func TestOnlyTheMachineReadsItsScript(t *testing.T) {
	const machine, other, stranger = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:66"
	r := NewRecord("n1")
	r.Kernel, r.CommandLine = "/k", "ipa-api-url="+node.WithBootKey("http://10.0.0.1:6386", r.Key)
	instance := NewRecord("n1")
	instance.Kernel, instance.CommandLine = "/k", "root=UUID=1"
	old := r
	old.Key = ""
	neighbours := map[string]string{"10.0.0.5": machine, "10.0.0.66": stranger, "10.0.0.7": other}
	lentHere := map[string]string{machine: "10.0.0.5", other: "10.0.0.9"}
	for _, tt := range []struct {
		name   string
		record *Record
		loose  bool
		lent   map[string]string
		asks   []string // one after the other; the last is judged
		proof  node.BootProof
		says   string // of a refusal, or after "note: "
	}{
		{"from the address lent to it", &r, false, lentHere, []string{"10.0.0.5"}, node.ProofLease, ""},
		{"by IPv4 in IPv6", &r, false, lentHere, []string{"::ffff:10.0.0.5"}, node.ProofLease, ""},
		{"a neighbour that is another machine", &r, false, lentHere, []string{"10.0.0.66"}, "", "the machine at 10.0.0.66 is " + stranger},
		{"a neighbour, before the machine has an address", &r, false, nil, []string{"10.0.0.66"}, "", "the machine at 10.0.0.66 is " + stranger},
		{"somebody behind a router, while the machine has an address", &r, false, lentHere, []string{"192.0.2.66"}, "",
			"192.0.2.66 is not the address that DHCP lent to"},
		{"another DHCP server, on the same network", &r, false, nil, []string{"10.0.0.5"}, node.ProofNeighbour, ""},
		{"an address of its own beside the lent one", &r, false, map[string]string{machine: "10.0.0.8"},
			[]string{"10.0.0.5"}, node.ProofNeighbour, ""},
		{"the first behind a router", &r, false, nil, []string{"192.0.2.5", "192.0.2.5"}, "",
			"note: nothing but its MAC address says that 192.0.2.5 is the machine"},
		{"the second behind a router", &r, false, nil, []string{"192.0.2.5", "192.0.2.66"}, "",
			"192.0.2.5 asked for this boot before, and 192.0.2.66 is another address"},
		{"a neighbour is refused before it is first", &r, false, nil, []string{"10.0.0.66", "192.0.2.5"}, "", "note: nothing but"},
		{"an instance that comes back with another address", &instance, false, nil, []string{"192.0.2.5", "192.0.2.6"}, "", ""},
		{"an instance's arguments are its own too", &instance, false, nil, []string{"10.0.0.66"}, "", "the machine at 10.0.0.66 is " + stranger},
		{"a record from before there were keys", &old, false, nil, []string{"192.0.2.5", "192.0.2.6"}, "", ""},
		{"nothing to boot", nil, false, lentHere, []string{"10.0.0.66"}, "", ""},
		{"nothing to boot, itself", nil, false, lentHere, []string{"10.0.0.5"}, node.ProofLease, ""},
		{"discovery", &Record{Kernel: "/k", Secret: r.Secret}, false, nil, []string{"10.0.0.66"}, "", ""},
		{"addresses that change on the way", &r, true, lentHere, []string{"10.0.0.66"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := Keeper{Addresses: known{lent: tt.lent, first: map[string]string{}}, Loose: tt.loose,
				MACOf: func(ip netip.Addr) string { return neighbours[ip.String()] }}
			var v Verdict
			for _, ip := range tt.asks {
				var err error
				if v, err = g.Ask(t.Context(), machine, tt.record, netip.MustParseAddr(ip)); err != nil {
					t.Fatal(err)
				}
			}
			said := v.Refused
			if v.Note != "" {
				said = "note: " + v.Note
			}
			if v.Proof != tt.proof || (said == "") != (tt.says == "") || !strings.HasPrefix(said, tt.says) {
				t.Errorf("%+v, want proof %q and %q", v, tt.proof, tt.says)
			}
		})
	}
	g := Keeper{Addresses: known{fails: errors.New("away")}, MACOf: func(netip.Addr) string { return "" }}
	if _, err := g.Ask(t.Context(), machine, &r, netip.MustParseAddr("10.0.0.5")); err == nil {
		t.Error("a database that is away lets everybody read")
	}
}
