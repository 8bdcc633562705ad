package conductor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

// lookupStates are those in which a ramdisk may ask for its node.
var lookupStates = []node.State{
	node.Deploying, node.DeployWait, node.Cleaning, node.CleanWait, node.Inspecting, node.InspectWait,
	node.Rescuing, node.RescueWait, node.ServiceWait,
}

// tokenGiven is what a second lookup gets instead of the token.
const tokenGiven = node.Mask

// callers takes what machines say, and finds out whose machine it was.
type callers struct {
	*core
	reports *reports // know whose MACs they are
}

// LookupAgent finds the node that a ramdisk runs on. A node that does not expect one is not found, in the
// same words as one that does not exist; so is one for a caller that does not have the key of its boot. It never
// waits for the node's lease.
func (c *callers) LookupAgent(ctx context.Context, l node.AgentLookup) (*node.Node, string, error) {
	n, err := c.findForAgent(ctx, l)
	if err != nil {
		return nil, "", err
	}
	if !c.expectsAgent(n) {
		return nil, "", noSuchMachine(l)
	}
	how, err := c.prove(ctx, n, l.Caller)
	if err != nil {
		return nil, "", err
	}
	if how == refuted {
		c.log.Warn("a lookup without the key of the node's boot is refused", "node", n.UUID, "from", l.Address)
		return nil, "", noSuchMachine(l)
	}
	if !l.WantToken {
		return n, "", nil
	}
	if n.Agent.TokenGiven && !c.lostAgent(n) {
		if how == unproven && l.Address.IsValid() && n.Agent.CalledFrom != l.Address.String() {
			c.log.Warn("a lookup from another address than the one that got the token", "node", n.UUID,
				"from", l.Address, "token_given_to", n.Agent.CalledFrom)
			return n, tokenGiven, nil // it may be anybody: it is no sign of the machine
		}
		return n, tokenGiven, c.refuseToken(ctx, n)
	}
	if n.Agent.TokenGiven {
		c.log.Info("a new agent follows one that has not called for long", "node", n.UUID, "last_heartbeat", n.Agent.LastHeartbeat, "token_given",
			n.Agent.TokenGivenAt)
		if err := c.agents.ForgetAgent(ctx, n.UUID); err != nil {
			return nil, "", err
		}
	}
	token := newToken()
	first, err := c.agents.GiveAgentToken(ctx, n.UUID, token, l.Caller)
	if err != nil {
		return nil, "", err
	}
	if !first {
		return n, tokenGiven, c.refuseToken(ctx, n)
	}
	c.log.Info("agent looked its node up and got its token", "node", n.UUID)
	return n, token, nil
}

// refuseToken takes down that an agent which gets no token asked for a node. It may be the agent with the token, started
// anew in the same boot, which knows the token and calls soon; or one that works: ironic-python-agent looks its node up
// again in each step.
func (c *callers) refuseToken(ctx context.Context, n *node.Node) error {
	first, err := c.agents.RefuseAgent(ctx, n.UUID, node.Now())
	if first && !n.Agent.LastHeartbeat.IsZero() {
		c.log.Info("an agent looked its node up again", "node", n.UUID, "last_heartbeat", n.Agent.LastHeartbeat)
	} else if first {
		c.log.Warn("an agent got no token: it was given before, and is given once per boot; if this is another boot, power the machine off and "+
			"on through the API",
			"node", n.UUID, "token_given", n.Agent.TokenGivenAt)
	}
	return err
}

// lookedUp is when an agent without the token first asked for a node since the agent with it called last; zero: none
// did, or none has called yet.
func lookedUp(n *node.Node) time.Time {
	if n.Agent.LastHeartbeat.IsZero() {
		return time.Time{}
	}
	return n.Agent.RefusedAt
}

// findForAgent goes by the strongest evidence there is: the key of the boot, then the node's UUID, then addresses.
func (c *callers) findForAgent(ctx context.Context, l node.AgentLookup) (n *node.Node, err error) {
	switch {
	case len(l.MACs) == 0 && l.UUID == "":
		return nil, node.Errorf(node.Invalid, "A lookup needs node_uuid, or addresses with at least one MAC address.")
	case l.BootKey != "":
		n, err = c.boots.NodeByBootKey(ctx, l.BootKey)
	case l.UUID != "":
		n, err = c.nodes.Node(ctx, l.UUID)
	default:
		n, err = c.reports.byAddresses(ctx, inspection.Claim{MACs: l.MACs})
	}
	if node.KindOf(err) == node.NotFound && err != nil {
		return nil, noSuchMachine(l)
	}
	return n, err
}

func noSuchMachine(l node.AgentLookup) error {
	if l.UUID != "" {
		return node.NodeNotFound(l.UUID)
	}
	return node.Errorf(node.NotFound, "No node that expects a ramdisk has a port with one of the addresses %s.", strings.Join(l.MACs, ", "))
}

// newToken returns 43 characters that nobody can guess.
func newToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Heartbeat takes down that a node's agent is alive and where it listens, without the node's
// lease, and has the node looked at.
func (c *callers) Heartbeat(ctx context.Context, ident string, hb node.Heartbeat) error {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	if err := c.acceptHeartbeat(ctx, n, hb); err != nil {
		c.log.Warn("heartbeat refused", "node", n.UUID, "error", err)
		return err
	}
	first := n.Agent.LastHeartbeat.IsZero()
	err = c.agents.SaveAgent(ctx, n.UUID, node.Agent{URL: hb.CallbackURL, Version: hb.AgentVersion,
		VerifyCA: hb.VerifyCA, LastHeartbeat: node.Now()})
	if err != nil {
		return err
	}
	c.log.Debug("heartbeat", "node", n.UUID, "url", hb.CallbackURL)
	if first {
		c.log.Info("agent's first heartbeat", "node", n.UUID, "url", hb.CallbackURL, "version", hb.AgentVersion)
	}
	class := n.State.Class()
	if class == node.Waiting || class == node.Busy { // a busy one may be about to wait
		c.Wake(n.UUID)
	}
	return nil
}

func (c *callers) acceptHeartbeat(ctx context.Context, n *node.Node, hb node.Heartbeat) error {
	known := n.Agent
	tls := strings.HasPrefix(hb.CallbackURL, "https://")
	switch {
	case !tokenIs(n, hb.AgentToken), !ofAgent(n, hb.Caller):
		return node.Errorf(node.Invalid, "Invalid or missing agent token received.")
	case hb.AgentVersion == "":
		return node.Errorf(node.Invalid, "A heartbeat needs agent_version.")
	case !tls && !strings.HasPrefix(hb.CallbackURL, "http://"):
		return node.Errorf(node.Invalid, "callback_url must be an http or https URL, not %q.", hb.CallbackURL)
	case !tls && c.cfg.RequireAgentTLS:
		return node.Errorf(node.Invalid, "callback_url must be an https URL, not %q: this service requires TLS of agents.", hb.CallbackURL)
	case known.URL != "" && known.URL != hb.CallbackURL:
		return node.Errorf(node.Invalid, "callback_url of node %s was %s and can not become %s without a new lookup.", n.UUID, known.URL,
			hb.CallbackURL)
	case known.VerifyCA != "" && known.VerifyCA != hb.VerifyCA:
		return node.Errorf(node.Invalid, "agent_verify_ca of node %s can not change without a new lookup.", n.UUID)
	}
	if known.URL == hb.CallbackURL {
		return nil
	}
	return c.callableURL(ctx, n, hb.Caller, hb.CallbackURL)
}

func tokenIs(n *node.Node, token string) bool {
	return n.Agent.Token != "" && subtle.ConstantTimeCompare([]byte(n.Agent.Token), []byte(token)) == 1
}

// AgentProgress keeps what the agent says of the step under way.
func (c *callers) AgentProgress(ctx context.Context, ident, token string, p node.Progress) error {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	if !tokenIs(n, token) {
		return node.Errorf(node.Invalid, "Invalid or missing agent token received.")
	}
	if n.Plan == nil {
		return nil // the flow has ended meanwhile
	}
	c.learnDrive(ctx, n)
	p.NodeUUID, p.Flow, p.At = n.UUID, n.Plan.Flow, node.Now()
	p.Step, p.Detail = mask(n, p.Step), mask(n, p.Detail)
	for i := range p.Disks {
		p.Disks[i].What = mask(n, p.Disks[i].What)
	}
	return c.notes.SaveProgress(ctx, p)
}

// AgentLines replaces the last lines of the agent's log. What may be secret in them is masked.
func (c *callers) AgentLines(ctx context.Context, ident, token string, lines []node.Line) error {
	n, err := c.nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	if !tokenIs(n, token) {
		return node.Errorf(node.Invalid, "Invalid or missing agent token received.")
	}
	if n.Plan == nil {
		return nil // the flow has ended meanwhile
	}
	c.learnDrive(ctx, n)
	kept := []node.Line{}
	for _, l := range diagnosis.LastLines(lines) {
		l.Text = mask(n, l.Text) // before it is cut: half a secret is not recognised
		if len(l.Text) > diagnosis.LineLimit {
			l.Text = l.Text[:diagnosis.LineLimit] + "…"
		}
		if l.Text = diagnosis.Plain(l.Text); l.Text != "" {
			kept = append(kept, l)
		}
	}
	return c.notes.SaveLines(ctx, node.MachineLines{NodeUUID: n.UUID, Source: node.AgentLog, Lines: kept, UpdatedAt: node.Now()})
}
