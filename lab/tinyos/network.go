package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// configureNetwork brings up every network card, as the config drive says or else by DHCP, and
// tells what came of it, one line a card.
func configureNetwork(want networkData) []string {
	links, err := netlink.LinkList()
	if err != nil {
		return []string{"listing cards: " + err.Error()}
	}
	var lines []string
	for _, link := range links {
		name := link.Attrs().Name
		if link.Attrs().Flags&net.FlagLoopback != 0 {
			_ = netlink.LinkSetUp(link)
			continue
		}
		result, err := configureLink(link, want)
		if err != nil {
			result = err.Error()
		}
		lines = append(lines, name+" "+result)
	}
	return lines
}

func configureLink(link netlink.Link, want networkData) (string, error) {
	mac := link.Attrs().HardwareAddr.String()
	if want.Given && !want.names(mac) {
		return "is down: the config drive gives it no network", nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return "", fmt.Errorf("not brought up: %w", err)
	}
	prefix, gateway, ok := static(want, mac)
	if !ok {
		return byDHCP(link)
	}
	return prefix.String() + " (config drive)", apply(link, prefix, gateway)
}

// names reports whether a card has a network of IPv4, fixed or by DHCP.
func (n networkData) names(mac string) bool {
	for _, l := range n.Links {
		for _, net := range n.Networks {
			if strings.EqualFold(l.MAC, mac) && net.Link == l.ID && (net.Type == "ipv4" || net.Type == "ipv4_dhcp") {
				return true
			}
		}
	}
	return false
}

// static finds the first fixed IPv4 address of the card with the given MAC.
func static(want networkData, mac string) (netip.Prefix, netip.Addr, bool) {
	id := ""
	for _, l := range want.Links {
		if strings.EqualFold(l.MAC, mac) {
			id = l.ID
		}
	}
	for _, n := range want.Networks {
		if n.Type != "ipv4" || n.Link != id || id == "" {
			continue
		}
		gateway, _ := netip.ParseAddr(n.Gateway) // none: no default route
		for _, r := range n.Routes {
			if r.Network == "0.0.0.0" && (r.Netmask == "0.0.0.0" || r.Netmask == "") {
				gateway, _ = netip.ParseAddr(r.Gateway)
			}
		}
		if !gateway.Is4() {
			gateway = netip.Addr{}
		}
		if p, err := netip.ParsePrefix(n.Address); err == nil && p.Addr().Is4() {
			return p, gateway, true
		}
		addr, err := netip.ParseAddr(n.Address)
		ones, bits := net.IPMask(net.ParseIP(n.Netmask).To4()).Size()
		if err == nil && addr.Is4() && bits == 32 {
			return netip.PrefixFrom(addr, ones), gateway, true
		}
	}
	return netip.Prefix{}, netip.Addr{}, false
}

func byDHCP(link netlink.Link) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	client, err := nclient4.New(link.Attrs().Name, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(5))
	if err != nil {
		return "", fmt.Errorf("no DHCP: %w", err)
	}
	defer client.Close()
	lease, err := client.Request(ctx)
	if err != nil {
		return "", fmt.Errorf("no DHCP answer: %w", err)
	}
	addr, ok := netip.AddrFromSlice(lease.ACK.YourIPAddr.To4())
	ones, _ := lease.ACK.SubnetMask().Size()
	if !ok || ones == 0 {
		return "", fmt.Errorf("the DHCP answer has no usable address")
	}
	var gateway netip.Addr
	if r := lease.ACK.Router(); len(r) > 0 {
		gateway, _ = netip.AddrFromSlice(r[0].To4())
	}
	prefix := netip.PrefixFrom(addr, ones)
	return prefix.String() + " (DHCP)", apply(link, prefix, gateway)
}

func apply(link netlink.Link, prefix netip.Prefix, gateway netip.Addr) error {
	ip := &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ip}); err != nil {
		return fmt.Errorf("setting the address %s: %w", prefix, err)
	}
	if !gateway.IsValid() {
		return nil
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
		return fmt.Errorf("setting the gateway %s: %w", gateway, err)
	}
	return nil
}

// reach gives the first card one more address, such as 10.0.0.9/24, which makes its network a neighbour of this machine whatever wire it
// is on, and connects to a TCP port there. "yes" or why not; a port that refuses is reached, for somebody refused.
func reach(address, to string) string {
	err := addAddress(address)
	if err != nil {
		return "no: " + err.Error()
	}
	conn, err := net.DialTimeout("tcp4", to, 10*time.Second)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return "yes"
	case err != nil:
		return "no: " + err.Error()
	}
	conn.Close()
	return "yes"
}

func addAddress(address string) error {
	prefix, err := netip.ParsePrefix(address)
	if err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback == 0 {
			return apply(link, prefix, netip.Addr{})
		}
	}
	return errors.New("there is no card")
}
