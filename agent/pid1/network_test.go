package pid1

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/vishvananda/netlink"
)

// inNamespace runs the rest of a test in a network namespace of its own, as a child of the test; it
// reports whether this process is that child.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("IN_NAMESPACE") == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace and must run as root")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "IN_NAMESPACE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// cable makes a pair of interfaces; the far one belongs to the network, the near one to the machine.
func cable(t *testing.T, near, mac, far string) {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = near, hw
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(far)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
}

// dhcpServer answers on one interface: it gives 192.0.2.77 to everybody.
func dhcpServer(t *testing.T, on string, more ...dhcpv4.Modifier) (asked chan string) {
	t.Helper()
	asked = make(chan string, 100)
	link, err := netlink.LinkByName(on)
	if err != nil {
		t.Fatal(err)
	}
	own := net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &own}); err != nil {
		t.Fatal(err)
	}
	s, err := server4.NewServer(on, &net.UDPAddr{IP: net.IPv4zero, Port: 67}, func(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		asked <- m.MessageType().String() + " " + m.ClientHWAddr.String()
		kind := map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer,
			dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck}[m.MessageType()]
		reply, err := dhcpv4.NewReplyFromRequest(m, append([]dhcpv4.Modifier{
			dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 77)), dhcpv4.WithServerIP(own.IP),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own.IP)), dhcpv4.WithNetmask(own.Mask), dhcpv4.WithLeaseTime(3600),
		}, more...)...)
		if err == nil {
			_, err = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve() }() // ends with an error when it is closed
	t.Cleanup(func() { s.Close(); <-done })
	return asked
}

func network(t *testing.T, bootMAC string) (*Network, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return &Network{
		BootMAC: bootMAC, ResolvConf: filepath.Join(t.TempDir(), "etc/resolv.conf"),
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
		Hardware: func(name string) bool { return strings.HasPrefix(name, "eth") },
	}, ctx
}

// shown is what the kernel has of an interface: its addresses, MTU and default route.
func shown(t *testing.T, name string) string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("mtu %d", link.Attrs().MTU)
	for _, a := range addrs {
		out += " address " + a.IPNet.String()
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Gw != nil {
			out += " via " + r.Gw.String()
		}
	}
	return out
}

func TestNetworkComesUp(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "eth0", "52:54:00:00:00:01", "net0")
	asked := dhcpServer(t, "net0", dhcpv4.WithRouter(net.IPv4(192, 0, 2, 254)), dhcpv4.WithDNS(net.IPv4(192, 0, 2, 53)),
		dhcpv4.WithOption(dhcpv4.OptDomainName("example.org")), dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0x78}))
	n, ctx := network(t, "52:54:00:00:00:01")
	lease, err := n.Up(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if lease.Interface != "eth0" || lease.IP.String() != "192.0.2.77" || lease.duration() != time.Hour {
		t.Errorf("%+v", lease)
	}
	if got := shown(t, "eth0"); got != "mtu 1400 address 192.0.2.77/24 via 192.0.2.254" {
		t.Errorf("the interface has %s", got)
	}
	text, err := os.ReadFile(n.ResolvConf)
	if err != nil || string(text) != "search example.org\nnameserver 192.0.2.53\n" {
		t.Errorf("%q, %v", text, err)
	}
	if one, two := <-asked, <-asked; one != "DISCOVER 52:54:00:00:00:01" || two != "REQUEST 52:54:00:00:00:01" {
		t.Errorf("the server saw %s, %s", one, two)
	}
	renewed, err := n.renew(ctx, lease)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "REQUEST 52:54:00:00:00:01" || !renewed.IP.Equal(lease.IP) {
		t.Errorf("the server saw %s, the address is %s", got, renewed.IP)
	}
	if got := shown(t, "eth0"); got != "mtu 1400 address 192.0.2.77/24 via 192.0.2.254" {
		t.Errorf("after the renewal the interface has %s", got)
	}
}

// The boot interface is asked first, but the machine may have been moved to another switch port.
func TestNetworkTriesOtherInterfaces(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "eth0", "52:54:00:00:00:01", "net0") // nobody answers here
	cable(t, "eth1", "52:54:00:00:00:02", "net1")
	dhcpServer(t, "net1")
	n, ctx := network(t, "52:54:00:00:00:01")
	n.ResolvConf = "/proc/cannot/be/written" // which costs names, not the network
	lease, err := n.Up(ctx)
	if err != nil || lease.Interface != "eth1" {
		t.Fatalf("%+v, %v", lease, err)
	}
	if got := shown(t, "eth0") + "; " + shown(t, "eth1"); got != "mtu 1500; mtu 1500 address 192.0.2.77/24" {
		t.Errorf("the interfaces have %s", got)
	}
}

func TestNetworkSaysWhoDidNotAnswer(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "eth0", "52:54:00:00:00:01", "net0")
	n, _ := network(t, "52:54:00:00:00:01")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, fmt.Errorf("out of patience"))
	defer cancel()
	_, err := n.Up(ctx)
	if err == nil || err.Error() != "getting an address by DHCP; interfaces eth0 (52:54:00:00:00:01): out of patience" {
		t.Error(err)
	}
}

func TestNetworkWithoutALink(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n, _ := network(t, "")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, fmt.Errorf("out of patience"))
	defer cancel()
	_, err := n.Up(ctx)
	if err == nil || err.Error() != "waiting for a network link; no Ethernet interface; is its driver in the ramdisk?: out of patience" {
		t.Error(err)
	}
}
