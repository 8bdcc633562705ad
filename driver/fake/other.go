package fake

import (
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Other is a fake implementation of any interface that only has a name and steps.
type Other struct{ part }

// NewOther returns the fake implementation of iface.
func NewOther(iface node.Interface) Other { return Other{part{iface}} }

// Steps lists what people may ask of a fake RAID controller or BIOS, where nothing runs unasked, and
// the one step of each fake rescue flow.
func (o Other) Steps() []driver.Step {
	if o.iface == node.RescueIf {
		rescue := o.step("rescue", at(node.FlowRescue, 100), power(node.Rebooting))
		unrescue := o.step("unrescue", at(node.FlowUnrescue, 100), power(node.Rebooting))
		rescue.Frame, unrescue.Frame = true, true
		return []driver.Step{rescue, unrescue}
	}
	names := map[node.Interface][]string{
		node.RAID: {"create_configuration", "delete_configuration"},
		node.BIOS: {"factory_reset", "apply_configuration"},
	}
	steps := make([]driver.Step, 0, len(names[o.iface]))
	for _, n := range names[o.iface] {
		s := o.step(n, map[node.Flow]int{node.FlowClean: 0, node.FlowDeploy: 0, node.FlowService: 0}, nil)
		s.Args = map[string]string{"settings": "A list of settings; the fake machine takes any."}
		steps = append(steps, s)
	}
	return steps
}
