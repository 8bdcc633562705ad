package boot

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Addresses is what is known of the addresses that machines have.
type Addresses interface {
	// LentAddresses are the addresses that DHCP has lent to any of the MACs and that have not run out.
	LentAddresses(ctx context.Context, macs []string) ([]string, error)
	// AskedFirst keeps the address as the one that asks for the script of the boot with this secret for a MAC, if none
	// has asked before, and returns the one that was the first; "" when there is no place to keep it.
	AskedFirst(ctx context.Context, secret, mac, address string) (first string, err error)
}

// Keeper decides who may read the script of a machine's boot, which shows what its ramdisk is known by. Anybody can ask
// with any MAC address; the machine alone has the address that DHCP lent to it, or that the network knows it by. A
// machine behind a router with somebody else's DHCP server has neither: there the first that asks is believed, and
// nobody else.
type Keeper struct {
	Addresses Addresses
	MACOf     MACOf // nil: Neighbour
	Loose     bool  // nobody is refused: the addresses of machines change on their way here
}

// Verdict is what the keeper says of who asks. Refused is for people; "" lets it pass.
type Verdict struct {
	Proof   node.BootProof
	Refused string
	Note    string // for people, of one that is let pass without proof
}

// Ask judges who asks from an address for what the machine with this MAC boots. r nil boots its own disk, which is no
// secret.
func (g *Keeper) Ask(ctx context.Context, mac string, r *Record, from netip.Addr) (Verdict, error) {
	from = from.Unmap().WithZone("")
	lent, err := g.Addresses.LentAddresses(ctx, []string{mac})
	if err != nil {
		return Verdict{}, fmt.Errorf("asking for the address of %s: %w", mac, err)
	}
	if slices.Contains(lent, from.String()) {
		return Verdict{Proof: node.ProofLease}, nil
	}
	of := g.macOf(from)
	switch {
	case of == mac:
		return Verdict{Proof: node.ProofNeighbour}, nil
	case r == nil || r.NodeUUID == "" || g.Loose:
		return Verdict{}, nil
	case of != "":
		return Verdict{Refused: fmt.Sprintf("the machine at %s is %s, not %s", from, of, mac)}, nil
	case len(lent) > 0:
		return Verdict{Refused: fmt.Sprintf("%s is not the address that DHCP lent to %s", from, mac)}, nil
	}
	return g.first(ctx, mac, r, from)
}

// first lets the first address pass. What an instance boots has no key of an agent in it: a machine that got another
// address since may have it too.
func (g *Keeper) first(ctx context.Context, mac string, r *Record, from netip.Addr) (Verdict, error) {
	if r.Key == "" || !strings.Contains(r.CommandLine, r.Key) {
		return Verdict{}, nil
	}
	first, err := g.Addresses.AskedFirst(ctx, r.Secret, mac, from.String())
	if err != nil {
		return Verdict{}, err
	}
	if first != from.String() {
		return Verdict{Refused: fmt.Sprintf("%s asked for this boot before, and %s is another address", first, from)}, nil
	}
	return Verdict{Note: fmt.Sprintf("nothing but its MAC address says that %s is the machine: "+
		"it is behind a router, and another DHCP server gives the addresses", from)}, nil
}

func (g *Keeper) macOf(ip netip.Addr) string {
	if g.MACOf != nil {
		if mac := g.MACOf(ip); mac != "" {
			return mac
		}
	}
	return Neighbour(ip)
}
