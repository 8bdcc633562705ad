package conductor

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// ContinueInspection takes a machine's inspection report: the node's inspect interface reads it, the
// inspection rules run on it, what was found is stored, and the inspection goes on. A report that cannot
// be used fails the inspection, not the call. A machine of no node is enrolled when discovery is on. It
// returns the node that reported.
func (c *Conductor) ContinueInspection(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	found, err := c.reporter(ctx, data)
	if err == nil && found != nil {
		data.Bound, err = c.boundReport(ctx, found, data)
	}
	switch {
	case err != nil:
		return nil, err
	case found == nil && c.cfg.DiscoveryDriver != "":
		return c.discover(ctx, data)
	case found == nil:
		return nil, noReporter(reportedMACs(data))
	case c.cfg.DiscoveryDriver != "" && discovered(found) && found.State == node.Enroll:
		return c.rediscover(ctx, found, data)
	case found.State != node.InspectWait:
		return nil, notInspectingYet(found)
	}
	n, err := c.reserve(ctx, found.UUID)
	if err != nil {
		return nil, err
	}
	before := n.Clone()
	if n.State != node.InspectWait || n.Plan == nil {
		return nil, c.giveUp(ctx, before, notInspecting(n.UUID))
	}
	kept, stop := c.keepLease(ctx, n)
	err = c.takeReport(kept, n, data)
	if err == nil && data.Bound { // with fast track the agent looks its node up when the inspection, and the boot's record, have ended
		err = c.store.Agents.KeepBootKey(kept, n.UUID, data.Caller.BootKey)
	}
	stop()
	if err != nil {
		return nil, c.giveUp(ctx, before, err)
	}
	n.Plan.PollAt = node.Now()
	if err := c.release(ctx, n); err != nil {
		return nil, err
	}
	c.Wake(n.UUID)
	return n, nil
}

// boundReport reports whether a report comes from the boot that the node waits for. One without the key of that boot
// is refused, in the words for a machine that nobody knows.
func (c *Conductor) boundReport(ctx context.Context, n *node.Node, data node.InspectionData) (bool, error) {
	if n.State != node.InspectWait && n.State != node.Inspecting {
		return false, nil
	}
	how, err := c.prove(ctx, n, data.Caller)
	if err == nil && how == refuted {
		c.log.Warn("an inspection report without the key of the node's boot is refused", "node", n.UUID, "from", data.Caller.Address)
		err = noReporter(reportedMACs(data))
	}
	return how == proven, err
}

// reporter finds the node of a report, in whatever state: by the key of its boot, by UUID, by the MACs, or, of those
// that wait for a report, by the BMC's address. nil when no node is known by any.
func (c *Conductor) reporter(ctx context.Context, data node.InspectionData) (*node.Node, error) {
	if data.Caller.BootKey != "" {
		n, err := c.store.Boots.NodeByBootKey(ctx, data.Caller.BootKey)
		if err != nil && node.KindOf(err) == node.NotFound {
			err = noReporter(reportedMACs(data))
		}
		return n, err
	}
	if data.NodeUUID != "" {
		return c.store.Nodes.Node(ctx, data.NodeUUID)
	}
	macs := reportedMACs(data)
	var byMAC *node.Node
	if len(macs) > 0 {
		n, err := c.byAddresses(ctx, claimOf(data))
		if err != nil && node.KindOf(err) != node.NotFound {
			return nil, err
		}
		byMAC = n
	}
	if byMAC != nil && byMAC.State != node.InspectWait {
		return byMAC, nil
	}
	waiting, err := c.withBMC(ctx, data.Inventory, node.NodeFilter{State: node.InspectWait, IncludeChildren: true})
	switch {
	case err != nil:
		return nil, err
	case len(waiting) == 0, byMAC != nil && slices.ContainsFunc(waiting, func(n *node.Node) bool { return n.UUID == byMAC.UUID }):
		return byMAC, nil
	case byMAC != nil:
		c.log.Warn("inspection report refused: the MAC addresses and the BMC's are of different nodes; a port is at the wrong node", "node", byMAC.UUID, "bmc_of", waiting[0].UUID)
		return nil, noReporter(macs)
	case len(waiting) > 1:
		c.log.Warn("inspection report refused: several nodes that wait for one have its BMC's address; ports are needed to tell them apart", "node", waiting[0].UUID, "other", waiting[1].UUID)
		return nil, noReporter(macs)
	}
	return waiting[0], nil
}

// withBMC lists the nodes of the filter that are managed through the BMC of a report. A loopback address,
// which virtual BMCs have, tells no machine from another.
func (c *Conductor) withBMC(ctx context.Context, inventory node.Document, f node.NodeFilter) ([]*node.Node, error) {
	addresses := slices.DeleteFunc(bmcAddresses(inventory), netip.Addr.IsLoopback)
	if len(addresses) == 0 {
		return nil, nil
	}
	nodes, err := c.store.Nodes.Nodes(ctx, f, node.Page{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(nodes, func(n *node.Node) bool {
		return !slices.Contains(addresses, bmcHost(n.DriverInfo.String("ipmi_address"))) && !slices.Contains(addresses, bmcHost(n.DriverInfo.String("redfish_address")))
	}), nil
}

// bmcAddresses are those that a report has of the machine's BMC; none when it has no BMC.
func bmcAddresses(inventory node.Document) []netip.Addr {
	var addresses []netip.Addr
	for _, key := range []string{"bmc_address", "bmc_v6address"} {
		a, err := netip.ParseAddr(inventory.String(key))
		if err == nil && !a.IsUnspecified() {
			addresses = append(addresses, a.Unmap())
		}
	}
	return addresses
}

// bmcHost is the address in a node's setting, which may be a URL; the zero Addr when it has a name.
func bmcHost(setting string) netip.Addr {
	host := setting
	if u, err := url.Parse(setting); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

func noReporter(macs []string) error {
	return node.Errorf(node.NotFound, "No node that waits for an inspection report has a port with one of the addresses %s, or the reported BMC address.", strings.Join(macs, ", "))
}

// notInspectingYet tells an agent that is faster than its conductor to come again.
func notInspectingYet(n *node.Node) error {
	if n.State == node.Inspecting {
		return node.Locked(n)
	}
	return notInspecting(n.UUID)
}

func notInspecting(uuid string) error {
	return node.Errorf(node.NotFound, "Node %s does not wait for an inspection report.", uuid)
}

func reportedMACs(data node.InspectionData) []string {
	var macs []string
	if data.BootInterface != "" {
		macs = append(macs, strings.ToLower(data.BootInterface))
	}
	interfaces, _ := data.Inventory["interfaces"].([]any)
	for _, i := range interfaces {
		nic, _ := i.(map[string]any)
		if mac, _ := nic["mac_address"].(string); mac != "" {
			macs = append(macs, strings.ToLower(mac))
		}
	}
	return macs
}

// takeReport has the report read and stores what it found. An error is the store's; what is wrong with the
// report, and a rule that fails, becomes the failure of the inspection.
func (c *Conductor) takeReport(ctx context.Context, n *node.Node, data node.InspectionData) error {
	task, err := c.task(ctx, n)
	if err != nil {
		return err
	}
	found, err := c.read(ctx, task, data)
	if err != nil && isStores(ctx, err) {
		return err
	}
	if err != nil {
		n.Plan.Failure = cut(scrub(n, fmt.Sprintf("The inspection failed on the machine's report: %v", err)))
		return nil
	}
	if err := c.keep(ctx, task, found); err != nil {
		return err
	}
	driver.Reported.Set(task, node.Now())
	return nil
}

// storeError is one that has nothing to do with what a machine reported.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

func isStores(ctx context.Context, err error) bool {
	_, ok := err.(storeError)
	return ok || ctx.Err() != nil
}

// read has the node's inspect interface and then the inspection rules work on a report. The findings have
// every port that they add or change, those that they add with a UUID. An error has changed nothing.
func (c *Conductor) read(ctx context.Context, t *driver.Task, data node.InspectionData) (node.Findings, error) {
	var found node.Findings
	reader, ok := t.Hardware.Inspect.(driver.InspectionResult)
	if !ok {
		return found, storeError{node.Errorf(node.Invalid, "The %s inspect interface of node %s takes no reports.", t.Hardware.Inspect.Name(), t.Node.UUID)}
	}
	before := t.Node.Clone()
	last, err := c.store.Notes.Inventory(ctx, t.Node.UUID)
	if err != nil && node.KindOf(err) != node.NotFound {
		return found, storeError{err}
	}
	data.Previous = last.Inventory
	err = guarded(c.log.With("node", t.Node.UUID), func() (err error) {
		found, err = reader.Inspected(ctx, t, data)
		return err
	})
	for i := range found.Ports {
		if found.Ports[i].UUID == "" {
			found.Ports[i].UUID = uuid.NewString()
		}
	}
	if err == nil {
		err = c.dropForeign(ctx, t, &found)
	}
	if err == nil {
		err = c.applyRules(ctx, t, &found)
	}
	if err != nil {
		*t.Node = *before
	}
	return found, err
}

// applyRules runs the inspection rules of the main phase on what an inspection found.
func (c *Conductor) applyRules(ctx context.Context, t *driver.Task, found *node.Findings) error {
	list, err := c.store.InspectionRules.List(ctx, node.InspectionRuleFilter{Phase: node.MainPhase}, node.Page{})
	if err != nil {
		return storeError{err}
	}
	for _, r := range list {
		if err := r.Damage(); err != nil {
			return err
		}
	}
	list = append(list, c.cfg.BuiltInRules...)
	if len(list) == 0 {
		return nil
	}
	m := &rules.Machine{
		Node: t.Node, Ports: afterwards(t.Ports, found), Inventory: found.Inventory.Inventory, PluginData: found.Inventory.PluginData,
		Get: c.cfg.RuleCalls,
		Log: func(ctx context.Context, level slog.Level, text string) {
			c.log.Log(ctx, level, "an inspection rule says", "node", t.Node.UUID, "text", scrub(t.Node, text))
		},
	}
	before := t.Node.Clone()
	applied, err := rules.Apply(ctx, list, m)
	if err != nil {
		return err
	}
	if err := c.fits(ctx, before, t.Node); err != nil {
		if isStores(ctx, err) {
			return err
		}
		return rules.Unusable(list, applied, err.Error())
	}
	found.Inventory.PluginData = m.PluginData
	found.Ports = slices.DeleteFunc(m.Ports, func(p node.Port) bool { // those that are as they were
		return slices.ContainsFunc(t.Ports, func(o node.Port) bool { return reflect.DeepEqual(settled(o), settled(p)) })
	})
	c.log.Info("inspection rules applied", "node", t.Node.UUID, "rules", applied)
	if len(applied) > 0 && t.Node.ID != 0 {
		c.note(ctx, t.Node, string(node.FlowInspect), infoSeverity, "Inspection rules that applied: "+strings.Join(applied, ", ")+".")
	}
	return nil
}

// afterwards are all ports that a node is going to have.
func afterwards(old []node.Port, found *node.Findings) []node.Port {
	has := func(list []node.Port, p node.Port) bool {
		return slices.ContainsFunc(list, func(o node.Port) bool { return o.UUID == p.UUID })
	}
	all := slices.DeleteFunc(slices.Clone(old), func(p node.Port) bool { return has(found.Ports, p) || has(found.Gone, p) })
	return append(all, found.Ports...)
}

// settled is a port whose empty documents are not nil.
func settled(p node.Port) node.Port {
	p.LocalLinkConnection, p.Extra, p.InternalInfo = p.LocalLinkConnection.Clone(), p.Extra.Clone(), p.InternalInfo.Clone()
	return p
}

// fits checks what rules alone cannot know of a node that they have changed, and fills in the interfaces
// of a new driver: those that it has too are kept.
func (c *Conductor) fits(ctx context.Context, before, after *node.Node) error {
	if after.Name != before.Name && after.Name != "" {
		other, err := c.store.Nodes.Node(ctx, after.Name)
		if err != nil && node.KindOf(err) != node.NotFound {
			return storeError{err}
		}
		if err == nil && other.UUID != after.UUID {
			return node.Errorf(node.Conflict, "A node with name %s already exists.", after.Name)
		}
	}
	after.ConductorGroup = strings.ToLower(after.ConductorGroup)
	if err := c.serves(after); err != nil {
		return err
	}
	if after.Driver != before.Driver {
		info, err := c.cfg.Types.Describe(after.Driver)
		if err != nil {
			return err
		}
		for iface, name := range after.Interfaces {
			if name == before.Interfaces[iface] && !slices.Contains(info.Enabled[iface], name) {
				delete(after.Interfaces, iface)
			}
		}
	}
	h, err := c.cfg.Types.Resolve(after)
	if err != nil {
		return err
	}
	after.Interfaces = h.Names()
	return nil
}

// keep stores what was found, but for the node itself.
func (c *Conductor) keep(ctx context.Context, t *driver.Task, found node.Findings) error {
	for _, text := range found.Notes {
		c.note(ctx, t.Node, string(node.FlowInspect), infoSeverity, text)
	}
	for _, p := range found.Gone {
		if err := c.store.Ports.Delete(ctx, p.UUID); err != nil && node.KindOf(err) != node.NotFound {
			return err
		}
		c.log.Info("port removed by inspection", "node", t.Node.UUID, "mac", p.Address)
	}
	for _, p := range found.Ports {
		if p.ID != 0 { // one the node has, of which more is known now
			if err := c.store.Ports.Save(ctx, &p); err != nil {
				return err
			}
			continue
		}
		p.NodeUUID = t.Node.UUID
		if err := c.store.Ports.Create(ctx, &p); err != nil && node.KindOf(err) != node.Conflict {
			return err
		} else if err != nil { // a port it has already, or that another node has: told, not fatal
			c.log.Info("port not added by inspection", "node", t.Node.UUID, "mac", p.Address, "error", err)
		}
	}
	return c.store.Notes.SaveInventory(ctx, t.Node.UUID, found.Inventory)
}
