package pid1

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Lease is an address this machine holds.
type Lease struct {
	Interface string
	IP        net.IP
	ack       *nclient4.Lease
	link      netlink.Link
}

// ask does one DHCP exchange on a link and applies the answer.
func (n *Network) ask(ctx context.Context, l netlink.Link, within time.Duration) (*Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	client, err := nclient4.New(l.Attrs().Name, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(20))
	if err != nil {
		return nil, fmt.Errorf("opening a DHCP client on %s: %w", l.Attrs().Name, err)
	}
	defer client.Close()
	ack, err := client.Request(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("asking for an address: %w", err)
	}
	lease := &Lease{Interface: l.Attrs().Name, IP: ack.ACK.YourIPAddr, ack: ack, link: l}
	return lease, n.apply(lease)
}

// wanted asks for what the agent uses.
func wanted(d *dhcpv4.DHCPv4) {
	d.UpdateOption(dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName,
		dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute))
}

// apply puts the lease's address, routes and name servers in place. Doing it twice is harmless.
func (n *Network) apply(l *Lease) error {
	ack := l.ack.ACK
	mask := ack.SubnetMask()
	if mask == nil {
		mask = l.IP.DefaultMask()
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: l.IP, Mask: mask}}
	if err := netlink.AddrReplace(l.link, addr); err != nil {
		return fmt.Errorf("giving %s to %s: %w", addr, l.Interface, err)
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= 576 {
		if err := netlink.LinkSetMTU(l.link, int(mtu)); err != nil {
			n.Log.Warn("the MTU stays as it is", "interface", l.Interface, "mtu", mtu, "error", err)
		}
	}
	for _, r := range routes(ack, l.link.Attrs().Index) {
		if err := netlink.RouteReplace(&r); err != nil {
			n.Log.Warn("a route could not be set", "route", r.String(), "error", err)
		}
	}
	n.writeResolvConf(resolvConf(ack.DNS(), ack.DomainName()))
	n.Log.Info("address", "interface", l.Interface, "mac", l.link.Attrs().HardwareAddr.String(), "address", addr.IPNet.String(),
		"server", ack.ServerIdentifier().String(), "lease", l.duration())
	return nil
}

// writeResolvConf only warns: most services are named by address, and the machine must not be lost
// for a file.
func (n *Network) writeResolvConf(text string) {
	err := os.MkdirAll(filepath.Dir(n.ResolvConf), 0o755)
	if err == nil {
		err = os.WriteFile(n.ResolvConf, []byte(text), 0o644)
	}
	if err != nil {
		n.Log.Warn("names cannot be looked up", "error", err)
	}
}

// routes are the lease's routes on a link: classless ones win over the router option (RFC 3442).
func routes(ack *dhcpv4.DHCPv4, link int) []netlink.Route {
	var out []netlink.Route
	for _, r := range ack.ClasslessStaticRoute() {
		route := netlink.Route{LinkIndex: link, Dst: r.Dest}
		if r.Router.IsUnspecified() {
			route.Scope = netlink.SCOPE_LINK
		} else {
			route.Gw = r.Router
		}
		out = append(out, route)
	}
	if len(out) > 0 || len(ack.Router()) == 0 {
		return out
	}
	any4 := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	return []netlink.Route{{LinkIndex: link, Dst: any4, Gw: ack.Router()[0], Flags: unix.RTNH_F_ONLINK}}
}

func (l *Lease) duration() time.Duration { return l.ack.ACK.IPAddressLeaseTime(time.Hour) }

// Keep renews the lease at half its life until ctx ends: cleaning a large disk outlasts any lease.
// A server that does not answer is asked again each minute; the address stays, because losing it
// would surely lose the machine.
func (n *Network) Keep(ctx context.Context, l *Lease) {
	wait := l.duration() / 2
	for sleep(ctx, max(wait, 5*time.Second)) == nil {
		renewed, err := n.renew(ctx, l)
		if err != nil {
			n.Log.Warn("the address was not renewed", "interface", l.Interface, "error", err)
			wait = time.Minute
			continue
		}
		l = renewed
		wait = l.duration() / 2
	}
}

func (n *Network) renew(ctx context.Context, l *Lease) (*Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client, err := nclient4.New(l.Interface, nclient4.WithTimeout(4*time.Second), nclient4.WithRetry(4))
	if err != nil {
		return nil, fmt.Errorf("opening a DHCP client on %s: %w", l.Interface, err)
	}
	defer client.Close()
	ack, err := client.Renew(ctx, l.ack, wanted)
	if err != nil {
		return nil, fmt.Errorf("renewing %s: %w", l.IP, err)
	}
	if !ack.ACK.YourIPAddr.Equal(l.IP) {
		return nil, fmt.Errorf("renewing %s: the server offers %s instead", l.IP, ack.ACK.YourIPAddr)
	}
	next := *l
	next.ack = ack
	return &next, n.apply(&next)
}
