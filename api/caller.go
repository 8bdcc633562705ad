package api

import (
	"net/netip"

	"github.com/billet-metal/billet/node"
)

// Machines have no password. What they are known by is the key of their boot in the path and the address they call from, so
// both must be those of the connection, never of a header that anybody can write.

// caller is what the connection and the path tell of a machine that calls. It speaks of the peer of this connection:
// behind a proxy all machines have the proxy's address, which agent_networks must then allow for.
func (c *call) caller() node.Caller {
	from := node.Caller{BootKey: c.bootKey}
	if peer, err := netip.ParseAddrPort(c.RemoteAddr); err == nil {
		from.Address = peer.Addr().Unmap().WithZone("")
	}
	return from
}
