package conductor

import (
	"slices"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// With fast track a machine whose ramdisk runs already is not booted for the next flow: inspection and
// cleaning leave it running, and its agent may look its node up and call while nothing is under way.

// idleLookupStates are those in which, with fast track, a ramdisk may ask for its node too.
var idleLookupStates = []node.State{node.Enroll, node.Manageable, node.Available, node.Servicing, node.ServiceHold}

// fastTrack is how long ago the node's agent may have called to be taken for alive; 0: fast track is off.
func (c *core) fastTrack(n *node.Node) (time.Duration, error) {
	on, err := driver.FastTrackOf(n, c.cfg.FastTrack)
	if err != nil || !on || c.moves(n) {
		return 0, err
	}
	return c.cfg.FastTrackTimeout, nil
}

// moves reports whether the node's machine is taken off its network between flows.
func (c *core) moves(n *node.Node) bool {
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return false
	}
	m, ok := h.Network.(driver.Mover)
	return ok && m.Moves()
}

// expectsAgent reports whether a ramdisk may ask for the node in the state it is in.
func (c *core) expectsAgent(n *node.Node) bool {
	if slices.Contains(lookupStates, n.State) {
		return true
	}
	within, err := c.fastTrack(n)
	return err == nil && within > 0 && slices.Contains(idleLookupStates, n.State)
}

// lostAgent reports whether the agent that got the node's token has fallen silent while nothing was under
// way, or never called: its machine was switched off or rebooted by hand, and whoever asks now is its next ramdisk.
func (c *core) lostAgent(n *node.Node) bool {
	within, err := c.fastTrack(n)
	idle := slices.Contains(idleLookupStates, n.State) && n.Plan == nil
	if err != nil || within == 0 || !idle {
		return false
	}
	if n.Agent.LastHeartbeat.IsZero() {
		return !n.Agent.TokenGivenAt.IsZero() && node.Since(n.Agent.TokenGivenAt) >= within
	}
	return !n.AgentAlive(within)
}
