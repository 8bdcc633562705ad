package api

import (
	"slices"

	"github.com/billet-metal/billet/node"
)

// stepPrefix is how driver_internal_info names the steps of a flow: "<prefix>_steps" and
// "<prefix>_step_index".
var stepPrefix = map[node.Flow]string{
	node.FlowDeploy: "deploy", node.FlowClean: "clean", node.FlowDelete: "clean", node.FlowService: "service",
}

// step is the step under way when the node's plan is of one of the flows; otherwise {}.
func (n *nodeView) step(flows ...node.Flow) any {
	s := n.Plan.Current()
	if s == nil || s.Hidden || !slices.Contains(flows, n.Plan.Flow) {
		return map[string]any{}
	}
	return stepJSON(n.Plan.Flow, *s)
}

func stepJSON(flow node.Flow, s node.PlannedStep) map[string]any {
	m := map[string]any{"interface": string(s.Interface), "step": s.Step, "priority": s.Priority, "args": stepArgs(s)}
	if flow != node.FlowDeploy {
		m["abortable"] = s.Abortable
		m["reboot_requested"] = s.Reboot
	}
	return m
}

func stepArgs(s node.PlannedStep) any {
	if s.Args == nil {
		return nil
	}
	return node.MaskedDocument(s.Args)
}

// addSteps adds the steps people may see and which of them is under way.
func (n *nodeView) addSteps(d map[string]any) {
	if n.Plan == nil || stepPrefix[n.Plan.Flow] == "" {
		return
	}
	steps, index := []map[string]any{}, any(nil)
	for i, s := range n.Plan.Steps {
		if s.Hidden {
			continue
		}
		if i == n.Plan.Index {
			index = len(steps)
		}
		steps = append(steps, stepJSON(n.Plan.Flow, s))
	}
	prefix := stepPrefix[n.Plan.Flow]
	d[prefix+"_steps"], d[prefix+"_step_index"] = steps, index
}
