package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// offers turns what an agent offers into planned steps.
type offers struct {
	client     Client
	priorities map[string]int // see Direct.Priorities
}

func (d *Direct) offers() offers { return offers{client: d.Client, priorities: d.Priorities} }

// verb is the agent's word for a flow: its commands are <verb>.get_<verb>_steps and
// <verb>.execute_<verb>_step.
func verb(flow node.Flow) string { return string(flow) }

// ask asks the agent which steps of the flow under way its hardware managers offer, and
// remembers their version, and how its machine booted.
func (o offers) ask(ctx context.Context, t *driver.Task) ([]node.PlannedStep, error) {
	s, err := o.client.open(t.Node.Agent)
	if err != nil {
		return nil, err
	}
	flow := t.Node.Plan.Flow
	var offered wire.Steps
	if err := s.ask(ctx, verb(flow)+".get_"+verb(flow)+"_steps", about(t), &offered); err != nil {
		return nil, fmt.Errorf("asking the agent for its %s steps: %w", flow, err)
	}
	versionNote.Set(t, offered.Version)
	if offered.Boot != nil {
		inspection.Booted(t.Node, *offered.Boot)
	}
	return ofInterface(t, o.plan(flow, t.Hardware.Deploy, offered)), nil
}

// ofInterface leaves out the agent's steps of the raid interface on a node with another one: what
// they build would not be recorded in raid_config.
func ofInterface(t *driver.Task, steps []node.PlannedStep) []node.PlannedStep {
	if r, ok := t.Hardware.Other[node.RAID].(*RAID); ok && r != nil {
		return steps
	}
	return slices.DeleteFunc(steps, func(s node.PlannedStep) bool { return s.Interface == node.RAID })
}

// plan turns what the agent offers into planned steps. Where several hardware managers offer a
// step, the highest priority counts, then the manager's name; what the node's deploy
// interface does itself is left out.
func (o offers) plan(flow node.Flow, of driver.Stepper, offered wire.Steps) []node.PlannedStep {
	lists := map[node.Flow]map[string][]wire.Step{
		node.FlowClean: offered.Clean, node.FlowDeploy: offered.Deploy, node.FlowService: offered.Service,
	}[flow]
	own := map[string]bool{}
	for _, s := range of.Steps() {
		if _, ok := s.Priority[flow]; ok {
			own["deploy."+s.Name] = true
		}
	}
	best := map[string]wire.Step{}
	for _, manager := range slices.Sorted(maps.Keys(lists)) {
		for _, s := range lists[manager] {
			key := s.Interface + "." + s.Step
			if b, taken := best[key]; !own[key] && (!taken || s.Priority > b.Priority) {
				best[key] = s
			}
		}
	}
	planned := []node.PlannedStep{} // never nil: an agent without steps has told so
	for _, key := range slices.Sorted(maps.Keys(best)) {
		s := best[key]
		planned = append(planned, node.PlannedStep{
			Interface: node.Interface(s.Interface), Step: s.Step, Priority: o.priority(flow, key, s.Priority),
			Args: s.Args, Agent: true, Abortable: s.Abortable, Reboot: s.RebootRequested, ArgsInfo: argsInfo(s.ArgsInfo),
		})
	}
	slices.SortStableFunc(planned, func(a, b node.PlannedStep) int { return b.Priority - a.Priority })
	return planned
}

func (o offers) priority(flow node.Flow, key string, offered int) int {
	overrides := o.priorities
	if overrides == nil {
		overrides = DefaultPriorities
	}
	if p, ok := overrides[key]; ok && flow == node.FlowClean {
		return p
	}
	return offered
}
