package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/billet-metal/billet/api"
	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
	"github.com/billet-metal/billet/boot/tftp"
	"github.com/billet-metal/billet/boot/web"
	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/store"
)

// Machines get a listener of their own, on the provisioning interface: what serves strangers has no path of the API for people,
// and what serves people need not listen where strangers are.

// provisioning is our place on the network that machines boot from.
type provisioning struct {
	ip     netip.Addr
	prefix netip.Prefix
	pool   dhcp.Pool
}

// findProvisioning reads our IPv4 address off the provisioning interface.
func findProvisioning(c *Config) (*provisioning, error) {
	iface, err := net.InterfaceByName(c.ProvisionInterface)
	if err != nil {
		return nil, fmt.Errorf("provision_interface: there is no network interface %q here", c.ProvisionInterface)
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return nil, fmt.Errorf("provision_interface: reading the addresses of %s: %w", iface.Name, err)
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			p := &provisioning{ip: prefix.Addr(), prefix: prefix.Masked()}
			p.pool, err = p.addresses(c)
			return p, err
		}
	}
	return nil, fmt.Errorf("provision_interface: %s has no IPv4 address; give it one first", iface.Name)
}

// addresses is the range DHCP hands out: as configured, or the upper half of the network.
func (p *provisioning) addresses(c *Config) (dhcp.Pool, error) {
	pool := dhcp.Pool{Prefix: p.prefix}
	if c.DHCPRouter != "" {
		pool.Router = netip.MustParseAddr(c.DHCPRouter)
	}
	if c.DHCPRange != "" {
		first, last, _ := strings.Cut(c.DHCPRange, "-")
		pool.First, pool.Last = netip.MustParseAddr(first), netip.MustParseAddr(last)
		if !p.prefix.Contains(pool.First) || !p.prefix.Contains(pool.Last) {
			return pool, fmt.Errorf("dhcp_range: %s does not lie in %s, the network of %s", c.DHCPRange, p.prefix, c.ProvisionInterface)
		}
		return pool, nil
	}
	if p.prefix.Bits() > 29 && c.DHCPMode == "full" {
		return pool, fmt.Errorf("dhcp_range: %s is too small to take half of it; set the key", p.prefix)
	}
	first := p.prefix.Addr().As4()
	size := uint32(1) << (32 - p.prefix.Bits())
	base := uint32(first[0])<<24 | uint32(first[1])<<16 | uint32(first[2])<<8 | uint32(first[3])
	pool.First, pool.Last = ipv4(base+size/2), ipv4(base+size-2)
	return pool, nil
}

func ipv4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// serve opens the provisioning listener, TFTP and DHCP on the provisioning interface.
func (p *provisioning) serve(g *group, c *Config, boots *store.Boots, gate *fetch.Gate, rest *api.API, log *slog.Logger) error {
	base := fmt.Sprintf("http://%s:%d", p.ip, c.ProvisionPort)
	loaders := boot.Loaders{Dirs: c.LoaderDirs}
	var lookup boot.Lookup = boots
	if c.Discovery {
		line, err := boot.CommandLine(boot.IPXE,
			fmt.Sprintf("%s ipa-inspection-callback-url=%s/v1/continue_inspection", c.KernelAppendParams, base))
		if err != nil {
			return fmt.Errorf("kernel_append_params: the kernel parameters %w", err)
		}
		lookup = boot.Discovering{Lookup: boots, Record: boot.Record{
			Loader: boot.IPXE, Kernel: c.DeployKernel, Ramdisk: c.DeployRamdisk, Secret: boot.NewSecret(), CommandLine: line,
		}}
	}
	l, err := listen(netip.AddrPortFrom(p.ip, uint16(c.ProvisionPort)).String(), "provision_port")
	if err != nil {
		return err
	}
	doors := http.NewServeMux()
	keeper := &boot.Keeper{Addresses: boots, Loose: !c.BootAddressCheck}
	doors.Handle("/boot/", rest.Pages.MachinesOnly(&web.Handler{Lookup: lookup, BaseURL: base, Loaders: loaders,
		MACOf: whoseAddress(boots, log), Gate: gate, Keeper: keeper, Trace: boots, Log: log}))
	doors.Handle("/", rest.MachineHandler())
	g.http(door.Machines(l), doors)

	files := &tftp.Server{Addr: netip.AddrPortFrom(p.ip, uint16(c.TFTPPort)), Lookup: lookup, Loaders: loaders,
		MACOf: whoseAddress(boots, log), Gate: gate, Keeper: keeper, Trace: boots, Log: log}
	g.run("TFTP", files.Serve)
	addresses := &dhcp.Server{
		Config: dhcp.Config{
			Interface: c.ProvisionInterface, ServerIP: p.ip, Mode: dhcp.Mode(c.DHCPMode), Pools: append([]dhcp.Pool{p.pool}, c.DHCPRanges...),
			LeaseTime: c.DHCPLeaseTime, BaseURL: base, Discovery: c.Discovery, Loaders: loaders,
		},
		Lookup: lookup, Leases: boots, Trace: boots, Log: log,
	}
	for _, s := range c.DHCPDNS {
		addresses.Config.DNS = append(addresses.Config.DNS, netip.MustParseAddr(s)) // its key has checked it
	}
	g.run("DHCP", addresses.Serve)
	log.Info("boot services serve", "interface", c.ProvisionInterface, "address", base, "dhcp", c.DHCPMode)
	return nil
}

// whoseAddress tells which machine has an address: of the own network by its table of neighbours, of a network behind a
// router by what DHCP lent.
func whoseAddress(boots *store.Boots, log *slog.Logger) boot.MACOf {
	return func(ip netip.Addr) string {
		if mac := boot.Neighbour(ip); mac != "" {
			return mac
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		mac, err := boots.LentTo(ctx, ip)
		if err != nil {
			log.Warn("whose address this is could not be asked", "address", ip, "error", err)
		}
		return mac
	}
}
