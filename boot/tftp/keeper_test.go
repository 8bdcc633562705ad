package tftp

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// nobody has an address from us.
type nobody struct{}

func (nobody) LentAddresses(context.Context, []string) ([]string, error) { return nil, nil }
func (nobody) AskedFirst(_ context.Context, _, _, address string) (string, error) {
	return address, nil
}

// events keeps what is told.
type events chan node.BootEvent

func (e events) Saw(ev node.BootEvent) { e <- ev }

// A menu has the parameters of the machine's kernel in it: who names another's MAC address in a file's name gets none, and
// what is told of it is no sign of the machine.
func TestAMenuIsItsMachinesAlone(t *testing.T) {
	s, addr, _ := start(t, 0)
	s.Lookup.(fakeLookup).records[secret].CommandLine = "the-key-of-the-boot"
	stranger := true
	s.MACOf = func(netip.Addr) string {
		if stranger {
			return "52:54:00:00:00:02"
		}
		return ourMAC
	}
	told := make(events, 100)
	s.Trace = told
	s.Keeper = &boot.Keeper{Addresses: nobody{}, MACOf: s.MACOf}
	for _, name := range []string{
		"pxelinux.cfg/01-52-54-00-00-00-01", "grub/machine/52:54:00:00:00:01", "grub/grub.cfg-01-52-54-00-00-00-01",
	} {
		stranger = true
		c := dial(t)
		c.ask(addr, name)
		if p := c.read(); len(p) < 4 || p[1] != 5 || strings.Contains(string(p), "the-key") {
			t.Errorf("%s: a stranger got %q", name, p)
		}
		if ev := <-told; ev.Kind != node.NotItsOwn || ev.MAC != ourMAC || ev.Bound() || ev.File != node.MenuFile ||
			!strings.Contains(ev.What, "the machine at 127.0.0.1 is 52:54:00:00:00:02") {
			t.Errorf("%s: %+v", name, ev)
		}
		stranger = false
		c = dial(t)
		c.ask(addr, name)
		if got := string(c.get(512, 1)); !strings.Contains(got, "the-key-of-the-boot") {
			t.Errorf("%s: the machine got %q", name, got)
		}
		if ev := <-told; ev.Kind != node.FileSent || ev.Proof != node.ProofNeighbour {
			t.Errorf("%s: %+v", name, ev)
		}
	}
}

// A request alone, whose sender may be forged, is no sign of the machine at that address; only an answer to what was
// sent there is.
func TestARequestThatIsNeverAcknowledgedProvesNothing(t *testing.T) {
	s, addr, _ := start(t, 1_000_000)
	s.Tries = 1
	told := make(events, 100)
	s.Trace = told
	c := dial(t)
	c.ask(addr, "one-block")
	if ev := <-told; ev.Kind != node.FileBroken || ev.Bound() {
		t.Errorf("%+v", ev)
	}
	c = dial(t)
	c.ask(addr, "one-block")
	c.get(512, 1)
	if ev := <-told; ev.Kind != node.FileSent || !ev.Bound() {
		t.Errorf("%+v", ev)
	}
}
