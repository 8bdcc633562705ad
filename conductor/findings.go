package conductor

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// What a machine's report changes: the node's inspect interface reads it, rules of people change what was found, and
// nothing is stored yet. An error refuses the report, unless the database is to blame: then the machine reports again.

// storeError is one that has nothing to do with what a machine reported.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

func isStores(ctx context.Context, err error) bool {
	_, ok := err.(storeError)
	return ok || ctx.Err() != nil
}

// readReport gives a report to the node's inspect interface, and what that finds to the inspection rules. The findings
// have each port that is added, with a UUID, or changed. An error has changed nothing.
func (c *reports) readReport(ctx context.Context, t *driver.Task, data node.InspectionData) (node.Findings, error) {
	var found node.Findings
	reader, ok := t.Hardware.Inspect.(driver.InspectionResult)
	if !ok {
		return found, storeError{node.Errorf(node.Invalid, "The %s inspect interface of node %s takes no reports.", t.Hardware.Inspect.Name(),
			t.Node.UUID)}
	}
	before := t.Node.Clone()
	last, err := c.notes.Inventory(ctx, t.Node.UUID)
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
func (c *reports) applyRules(ctx context.Context, t *driver.Task, found *node.Findings) error {
	list, err := c.rules.List(ctx, node.InspectionRuleFilter{Phase: node.MainPhase}, node.Page{})
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
	m := rules.Machine{
		Node: t.Node, Get: c.cfg.RuleCalls,
		Log: func(ctx context.Context, level slog.Level, text string) {
			c.log.Log(ctx, level, "an inspection rule says", "node", t.Node.UUID, "text", scrub(t.Node, text))
		},
	}
	before := t.Node.Clone()
	applied, err := inspection.Apply(ctx, list, m, t.Ports, found)
	if err != nil {
		return err
	}
	if err := c.fits(ctx, before, t.Node); err != nil {
		if isStores(ctx, err) {
			return err
		}
		return rules.Unusable(list, applied, err.Error())
	}
	c.log.Info("inspection rules applied", "node", t.Node.UUID, "rules", applied)
	if len(applied) > 0 && t.Node.ID != 0 {
		c.note(ctx, t.Node, string(node.FlowInspect), infoSeverity, "Inspection rules that applied: "+strings.Join(applied, ", ")+".")
	}
	return nil
}

// fits checks what rules alone cannot know of a node that they have changed, and fills in the interfaces
// of a new driver: those that it has too are kept.
func (c *reports) fits(ctx context.Context, before, after *node.Node) error {
	if after.Name != before.Name && after.Name != "" {
		other, err := c.nodes.Node(ctx, after.Name)
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

// dropForeign leaves out of the findings what is a port of another node.
func (c *reports) dropForeign(ctx context.Context, t *driver.Task, found *node.Findings) error {
	owners := map[string]string{}
	for _, p := range found.Ports {
		if p.ID != 0 {
			continue
		}
		other, err := c.ports.Get(ctx, p.Address)
		if err != nil && node.KindOf(err) != node.NotFound {
			return storeError{err}
		}
		if err == nil && other.Address == p.Address {
			owners[p.Address] = other.NodeUUID
		}
	}
	return inspection.Foreign(t.Node, found, owners)
}
