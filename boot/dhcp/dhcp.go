// Package dhcp owns Billet's answers to DHCP: addresses and boot files of the machines we know
// (RFC 2131, RFC 2132, RFC 4578, RFC 3004), boot files alone beside somebody else's DHCP server
// (ProxyDHCP of the Preboot Execution Environment specification, version 2.1), and the
// router advertisement iPXE waits for. It refuses to talk to machines nobody has enrolled.
package dhcp

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot"
)

// Mode says how much of DHCP is ours.
type Mode string

// The modes of the service.
const (
	Full  Mode = "full"  // the only DHCP server: addresses and boot files
	Proxy Mode = "proxy" // beside another DHCP server: boot files only
	Off   Mode = "off"
)

// Pool is the addresses of one IPv4 subnet that are ours to lend.
type Pool struct {
	Prefix      netip.Prefix  // "10.99.0.0/24"
	First, Last netip.Addr    // both lent; inside Prefix
	Router      netip.Addr    // zero: clients get none
	DNS         []netip.Addr  // nil: Config.DNS
	LeaseTime   time.Duration // 0: Config.LeaseTime
}

// Config is what the service needs to know. Pools are used in mode Full: the one whose network holds ServerIP serves our
// own network, others serve networks behind a relay. No two networks overlap.
type Config struct {
	Interface string
	ServerIP  netip.Addr // our address on Interface; also the TFTP server's
	Mode      Mode
	Pools     []Pool
	DNS       []netip.Addr
	LeaseTime time.Duration // 0: an hour
	BaseURL   string        // of boot/web as machines reach it: "http://10.99.0.1:8080"
	Discovery bool          // give addresses to machines no node knows
	Loaders   boot.Loaders
	NoRA      bool // do not answer router solicitations on Interface
}

// Server answers DHCP. All fields but Trace and Log are needed; Leases only in mode Full.
type Server struct {
	Config Config
	Lookup boot.Lookup
	Leases boot.AddressLeases
	Trace  boot.Trace
	Log    *slog.Logger

	kept  kept
	loops loopGuard
	heard heard
}

// DefaultLeaseTime is how long an address is lent when nobody says otherwise.
const DefaultLeaseTime = time.Hour

// check fills defaults and says what is wrong with a configuration.
func (c *Config) check() error {
	if c.LeaseTime <= 0 {
		c.LeaseTime = DefaultLeaseTime
	}
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	switch {
	case c.Mode != Full && c.Mode != Proxy && c.Mode != Off:
		return fmt.Errorf("dhcp mode %q is none of full, proxy, off", c.Mode)
	case c.Mode == Off:
		return nil
	case c.Interface == "":
		return fmt.Errorf("dhcp mode %s needs the interface to serve on", c.Mode)
	case !c.ServerIP.Is4():
		return fmt.Errorf("dhcp mode %s needs our own IPv4 address on %s", c.Mode, c.Interface)
	case c.BaseURL == "":
		return fmt.Errorf("dhcp mode %s needs the URL machines fetch boot scripts from", c.Mode)
	}
	if c.Mode == Full {
		return c.checkPools()
	}
	return nil
}

func (c *Config) checkPools() error {
	if len(c.Pools) == 0 {
		return fmt.Errorf("dhcp mode full needs a range of addresses to lend")
	}
	for i, p := range c.Pools {
		if err := checkPool(p, c.Pools[:i]); err != nil {
			return err
		}
	}
	return nil
}

// lease is how long addresses of the pool are lent.
func (c *Config) lease(p Pool) time.Duration { return cmp.Or(p.LeaseTime, c.LeaseTime) }

// pool finds the addresses for a client on the network of the given address.
func (c *Config) pool(on netip.Addr) (Pool, bool) {
	for _, p := range c.Pools {
		if p.Prefix.Contains(on) {
			return p, true
		}
	}
	return Pool{}, false
}

// machine asks the one question with a deadline: a client gives up after seconds anyway.
func (s *Server) machine(ctx context.Context, mac string) (boot.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Lookup.Machine(ctx, mac)
}
