package conductor

import (
	"context"
	"crypto/subtle"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// What a machine says decides only when it is bound to the machine: anybody on the provisioning network may claim a
// MAC address or a UUID, but the key of a boot is read by the ramdisk of that boot alone.

// proof is how a call is bound to the node that it is about.
type proof int

const (
	refuted  proof = iota // it lacks the key of the boot, or has that of another
	unproven              // no key was given to the node's ramdisk: it came by other ways than this service's boot
	proven                // it has the key
)

// prove says how the caller is bound to the node.
func (c *core) prove(ctx context.Context, n *node.Node, from node.Caller) (proof, error) {
	key, boots, err := c.boots.BootKey(ctx, n.UUID)
	if err != nil {
		return refuted, err
	}
	switch {
	case from.BootKey != "" && (sameText(from.BootKey, key) || sameText(from.BootKey, n.Agent.BootKey)):
		return proven, nil
	case from.BootKey != "", key != "", n.Agent.BootKey != "":
		return refuted, nil
	case !boots && c.givesKey(n):
		return refuted, nil // nothing of ours boots there that could call
	}
	return unproven, nil
}

// givesKey reports whether ramdisks of the node get a key by its boot interface.
func (c *core) givesKey(n *node.Node) bool {
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return false
	}
	keyed, ok := h.Boot.(driver.Keyed)
	return ok && keyed.GivesKey(n, h)
}

// sameText compares secrets; an empty one is nobody's.
func sameText(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// ofAgent reports whether a call comes from the boot whose agent has the node's token.
func ofAgent(n *node.Node, from node.Caller) bool {
	return n.Agent.BootKey == "" || sameText(from.BootKey, n.Agent.BootKey)
}

// callable says why this service does not connect to an address that a machine gives as its own; nil when it does.
// What asks is the machine's own call, so only the address it comes from, or one that DHCP has lent to the node, is
// believed, unless agent_networks has it.
func (c *callers) callable(ctx context.Context, n *node.Node, from node.Caller, host string, port uint16) error {
	at, err := netip.ParseAddr(host)
	if err != nil {
		return node.Errorf(node.Invalid, "%q is not an IP address: a machine is called at an address, never by a name.", host)
	}
	at = at.Unmap().WithZone("")
	if at.IsUnspecified() || at.IsMulticast() {
		return node.Errorf(node.Invalid, "%s is the address of no machine.", host)
	}
	for _, own := range c.cfg.Listeners {
		if own.Port() == port && port != 0 && (own.Addr() == at || own.Addr().IsUnspecified() && at == from.Address) {
			return node.Errorf(node.Invalid, "%s is this service's own listener, not a machine.", netip.AddrPortFrom(at, port))
		}
	}
	for _, network := range c.cfg.AgentNetworks {
		if network.Contains(at) {
			return nil
		}
	}
	if at.IsLoopback() || at.IsLinkLocalUnicast() {
		return node.Errorf(node.Invalid,
			"%s is a loopback or link-local address, which this service does not call (agent_networks allows more).", host)
	}
	if !from.Address.IsValid() || at == from.Address {
		return nil
	}
	lent, err := c.lentTo(ctx, n)
	if err != nil {
		return err
	}
	for _, ip := range lent {
		if ip == at.String() {
			return nil
		}
	}
	return node.Errorf(node.Invalid, "%s is neither the address that the machine calls from, %s, "+
		"nor one that DHCP has lent to it (agent_networks allows more).", host, from.Address)
}

// lentTo are the addresses that DHCP has lent to the node's ports.
func (c *callers) lentTo(ctx context.Context, n *node.Node) ([]string, error) {
	ports, err := c.ports.List(ctx, node.PortFilter{NodeUUID: n.UUID}, node.Page{})
	if err != nil {
		return nil, err
	}
	var macs []string
	for _, p := range ports {
		macs = append(macs, p.Address)
	}
	return c.boots.LentAddresses(ctx, macs)
}

// callableURL is callable for a URL.
func (c *callers) callableURL(ctx context.Context, n *node.Node, from node.Caller, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return node.Errorf(node.Invalid, "callback_url %q cannot be read; https://address:port is allowed.", text)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil && u.Port() != "" {
		return node.Errorf(node.Invalid, "callback_url %q has no port from 1 to 65535.", text)
	}
	if port == 0 {
		port = map[string]uint64{"http": 80, "https": 443}[u.Scheme]
	}
	return c.callable(ctx, n, from, u.Hostname(), uint16(port))
}
