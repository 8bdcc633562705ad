package boot_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"github.com/billet-metal/billet/boot/dhcp"
)

const routerEnv = "BILLET_TEST_ASK_ROUTER" // set: this process asks for routers on that interface

// askRouter does what iPXE does before it goes on: it asks for routers until one answers, and
// writes the answer in hex.
func askRouter(nic string, out io.Writer) error {
	conn, err := icmp.ListenPacket("ip6:ipv6-icmp", "::%"+nic)
	if err != nil {
		return err
	}
	defer conn.Close()
	p := conn.IPv6PacketConn()
	if err := p.SetMulticastHopLimit(255); err != nil {
		return err
	}
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for range 40 { // the kernel first makes sure of its own address
		_, _ = p.WriteTo([]byte{133, 0, 0, 0, 0, 0, 0, 0}, &ipv6.ControlMessage{IfIndex: ifi.Index, HopLimit: 255},
			&net.IPAddr{IP: net.ParseIP("ff02::2"), Zone: nic})
		if err := conn.SetReadDeadline(time.Now().Add(250 * time.Millisecond)); err != nil {
			return err
		}
		for {
			n, _, _, err := p.ReadFrom(buf)
			if err != nil {
				break
			}
			if n > 4 && buf[0] == 134 {
				_, err := fmt.Fprintf(out, "router says %x\n", buf[4:n])
				return err
			}
		}
	}
	return fmt.Errorf("no router answered on %s", nic)
}

// TestRouterAdvertisement: without an answer iPXE loses 13 to 16 seconds at every boot.
func TestRouterAdvertisement(t *testing.T) {
	n := newNetwork(t)
	n.serve(services{Mode: dhcp.Full})
	client := n.start(n.far, []string{routerEnv + "=eth0"}, n.self())
	client.until(func(string) bool { return false }, 30*time.Second) // until it ends
	mac := n.macOf("br0")
	if want := fmt.Sprintf("router says 400000000000000000000000%s%x\n", "0101", []byte(mac)); client.text() != want {
		t.Errorf("got %q, want %q: hop limit 64, no flags, lifetime 0, our link address", client.text(), want)
	}
}
