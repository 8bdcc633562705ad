package pid1

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// carrierWait is how long slow hardware may take to report a link: e1000e needs 3 s, switches with
// spanning tree more, for which DHCP's own retries are there.
const carrierWait = 10 * time.Second

// Network brings the machine onto its network.
type Network struct {
	BootMAC    string // the interface the machine booted from, lower case with colons; "" unknown
	ResolvConf string // "/etc/resolv.conf"
	Log        *slog.Logger

	Hardware func(name string) bool // tells hardware from tunnels and bridges; nil: by /sys
}

// Up raises every Ethernet interface, waits for a carrier, and asks for an address on the boot
// interface first, then on the others, until one answers or ctx ends. The lease it returns must be
// kept by Keep.
func (n *Network) Up(ctx context.Context) (*Lease, error) {
	if err := n.raiseLoopback(); err != nil {
		n.Log.Warn("the loopback interface stays down", "error", err)
	}
	for attempt := 0; ; attempt++ {
		links, err := n.raiseAll(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			lease, err := n.ask(ctx, l, patience(attempt))
			if err == nil {
				return lease, nil
			}
			n.Log.Warn("no address", "interface", l.Attrs().Name, "mac", l.Attrs().HardwareAddr.String(), "error", err)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("getting an address by DHCP; %s: %w", names(links), context.Cause(ctx))
		}
		if err := sleep(ctx, time.Duration(min(attempt, 5))*time.Second); err != nil {
			return nil, err
		}
	}
}

// patience grows with the attempts: a fast server answers in milliseconds, a storm needs time.
func patience(attempt int) time.Duration {
	return min(time.Duration(2+2*attempt), 15) * time.Second
}

func (n *Network) raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback interface: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// raiseAll raises all interfaces and waits until the boot interface has a carrier, or, when it is
// unknown, any; then it returns those with a carrier, the boot interface first.
func (n *Network) raiseAll(ctx context.Context) ([]netlink.Link, error) {
	deadline := time.Now().Add(carrierWait)
	for {
		links, err := n.ethernet()
		if err != nil {
			return nil, err
		}
		var up []netlink.Link
		complete := n.BootMAC == ""
		for _, l := range links {
			if err := netlink.LinkSetUp(l); err != nil {
				n.Log.Warn("an interface stays down", "interface", l.Attrs().Name, "error", err)
			}
			if l.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
				continue
			}
			if n.isBoot(l) {
				up, complete = append([]netlink.Link{l}, up...), true
			} else {
				up = append(up, l)
			}
		}
		if complete && len(up) > 0 {
			return up, nil
		}
		if time.Now().After(deadline) {
			n.Log.Warn("an interface has no link", "boot_mac", n.BootMAC, "machine", names(links), "with_link", len(up))
			return up, nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for a network link; %s: %w", names(links), err)
		}
	}
}

func (n *Network) isBoot(l netlink.Link) bool {
	return strings.EqualFold(l.Attrs().HardwareAddr.String(), n.BootMAC)
}

// hasDevice reports whether an interface has a device behind it.
func hasDevice(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name + "/device")
	return err == nil
}

// ethernet lists the Ethernet interfaces that are hardware.
func (n *Network) ethernet() ([]netlink.Link, error) {
	isHardware := n.Hardware
	if isHardware == nil {
		isHardware = hasDevice
	}
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	var links []netlink.Link
	for _, l := range all {
		if isHardware(l.Attrs().Name) && len(l.Attrs().HardwareAddr) == 6 {
			links = append(links, l)
		}
	}
	return links, nil
}

// names says which interfaces there are.
func names(links []netlink.Link) string {
	var out []string
	for _, l := range links {
		out = append(out, l.Attrs().Name+" ("+l.Attrs().HardwareAddr.String()+")")
	}
	if len(out) == 0 {
		return "no Ethernet interface; is its driver in the ramdisk?"
	}
	return "interfaces " + strings.Join(out, ", ")
}

// resolvConf is the text of resolv.conf for the servers and domain a lease names.
func resolvConf(servers []net.IP, domain string) string {
	var b strings.Builder
	if domain = strings.Trim(domain, "\x00 "); domain != "" && !strings.ContainsAny(domain, "\n\r") {
		b.WriteString("search " + domain + "\n")
	}
	for _, s := range servers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	return b.String()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
