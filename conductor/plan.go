package conductor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// interfaceOrder breaks ties between steps of the same priority, first in the list first.
var interfaceOrder = []node.Interface{
	node.Network, node.Vendor, node.Power, node.Management, node.Firmware, node.Deploy, node.BIOS, node.RAID,
	node.Boot, node.Inspect, node.Storage, node.Console, node.RescueIf,
}

// offered is one step that the node's hardware has for a flow.
type offered struct {
	iface    node.Interface
	step     driver.Step
	priority int
}

func (o offered) planned() node.PlannedStep {
	return node.PlannedStep{Interface: o.iface, Step: o.step.Name, Priority: o.priority,
		Abortable: o.step.Abortable || o.step.Frame, Hidden: o.step.Frame}
}

// stepsOf lists the steps that the hardware and the conductor itself have for a flow.
func stepsOf(h *driver.Hardware, f node.Flow) []offered {
	var all []offered
	add := func(iface node.Interface, steps []driver.Step) {
		for _, s := range steps {
			if p, ok := s.Priority[f]; ok {
				all = append(all, offered{iface, s, p})
			}
		}
	}
	impls := h.Implementations()
	for _, iface := range interfaceOrder {
		add(iface, builtin[iface])
		if s, ok := impls[iface].(driver.Stepper); ok {
			add(iface, s.Steps())
		}
	}
	return all
}

// findStep returns the code of a planned step; false when the hardware has no such step.
func findStep(h *driver.Hardware, f node.Flow, p *node.PlannedStep) (driver.Step, bool) {
	for _, o := range stepsOf(h, f) {
		if o.iface == p.Interface && o.step.Name == p.Step {
			return o.step, true
		}
	}
	return driver.Step{}, false
}

// order is how unlike steps run: by priority, then by interface.
func order(a, b node.PlannedStep) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(slices.Index(interfaceOrder, a.Interface), slices.Index(interfaceOrder, b.Interface)))
}

// planFlow lists the steps of a flow. Steps that people asked for replace those of the same name; in a
// manual flow they are all there is but for the frame, in the order they were given. A step
// asked for that the hardware does not have may be the agent's: it is planned as such, and refused where
// no agent will run.
func planFlow(h *driver.Hardware, f *flow, asked []node.PlannedStep, manual, noRamdisk bool) ([]node.PlannedStep, error) {
	have := stepsOf(h, f.name)
	asked, err := accept(have, f, asked)
	if err != nil {
		return nil, err
	}
	if why := agentless(h, f, noRamdisk, asked); why != "" {
		return nil, node.Errorf(node.Invalid, "%s", why)
	}
	var steps []node.PlannedStep
	for _, o := range have {
		wanted := o.priority != 0 && !manual && !isAsked(asked, o.iface, o.step.Name)
		if o.step.Frame || wanted {
			steps = append(steps, o.planned())
		}
	}
	if !manual {
		steps = append(steps, slices.DeleteFunc(asked, func(s node.PlannedStep) bool { return s.Priority == 0 })...)
		slices.SortStableFunc(steps, order)
		if why := misplaced(h, f.name, steps); why != "" {
			return nil, node.Errorf(node.Invalid, "%s", why)
		}
		return steps, nil
	}
	slices.SortStableFunc(steps, order)
	last := slices.IndexFunc(steps, func(s node.PlannedStep) bool { return s.Priority < 0 })
	if last < 0 {
		last = len(steps)
	}
	return slices.Insert(steps, last, asked...), nil
}

func isAsked(asked []node.PlannedStep, iface node.Interface, step string) bool {
	return slices.ContainsFunc(asked, func(s node.PlannedStep) bool { return s.Interface == iface && s.Step == step })
}

// accept checks the steps people asked for against what the hardware has.
func accept(have []offered, f *flow, asked []node.PlannedStep) ([]node.PlannedStep, error) {
	accepted := make([]node.PlannedStep, 0, len(asked))
	for _, s := range asked {
		if s.Step == "" || !slices.Contains(interfaceOrder, s.Interface) {
			return nil, node.Errorf(node.Invalid, "Step %q of interface %q: a step needs a name and one of the interfaces %s.",
				s.Step, s.Interface, joined(interfaceOrder))
		}
		i := slices.IndexFunc(have, func(o offered) bool { return o.iface == s.Interface && o.step.Name == s.Step })
		p := node.PlannedStep{Interface: s.Interface, Step: s.Step, Priority: s.Priority, Args: maps.Clone(s.Args)}
		if i < 0 {
			p.Agent = true
			accepted = append(accepted, p)
			continue
		}
		if have[i].step.Frame {
			return nil, node.Errorf(node.Invalid, "Step %s.%s is a core step of the %s flow: it always runs and cannot be asked for.",
				s.Interface, s.Step, f.name)
		}
		if err := acceptArgs(have[i], s.Args); err != nil && !f.isOff(&s) {
			return nil, err
		}
		p.Abortable = have[i].step.Abortable
		accepted = append(accepted, p)
	}
	return accepted, nil
}

// agentless says that, and why, the first of these steps that is an agent's cannot run, and what to do; "" when an agent
// will run, or no step is its.
func agentless(h *driver.Hardware, f *flow, noRamdisk bool, steps []node.PlannedStep) string {
	var why, do string
	agent, ok := h.Deploy.(driver.InBand)
	switch {
	case noRamdisk:
		why, do = "with disable_ramdisk no agent runs", "leave disable_ramdisk out"
	case !ok || !agent.RunsAgent(f.name):
		why = fmt.Sprintf("with the deploy interface %s no agent runs in %s", h.Deploy.Name(), f.noun)
		do = "use a deploy interface whose ramdisk runs one, such as direct"
	default:
		return ""
	}
	i := slices.IndexFunc(steps, func(s node.PlannedStep) bool { return !f.isOff(&s) && needsAgent(h, f.name, &s) })
	if i < 0 {
		return ""
	}
	var others []string
	for _, o := range stepsOf(h, f.name) {
		if !o.step.Frame && !o.step.NeedsAgent {
			others = append(others, string(o.iface)+"."+o.step.Name)
		}
	}
	return fmt.Sprintf("Step %s cannot run: the hardware does not have it by itself, and %s that could. Leave it out of %s, or %s. "+
		"Other steps that can be asked for: %s.", name(&steps[i]), why, cmp.Or(f.sources, "the request"), do, strings.Join(others, ", "))
}

// needsAgent reports whether a planned step is carried out by the ramdisk's agent.
func needsAgent(h *driver.Hardware, f node.Flow, s *node.PlannedStep) bool {
	return s.Agent || ofHardware(h, f, s).NeedsAgent
}

// ofHardware returns the code of a planned step that is the hardware's, not the conductor's own; zero when it has none.
func ofHardware(h *driver.Hardware, f node.Flow, p *node.PlannedStep) driver.Step {
	impl, ok := h.Implementations()[p.Interface].(driver.Stepper)
	if !ok {
		return driver.Step{}
	}
	for _, s := range impl.Steps() {
		if _, has := s.Priority[f]; has && s.Name == p.Step {
			return s
		}
	}
	return driver.Step{}
}

// misplaced says which of the sorted steps of a flow would have the agent work before its ramdisk is booted, or after it
// has ended, or would start the instance before its time; "" when none would.
func misplaced(h *driver.Hardware, f node.Flow, steps []node.PlannedStep) string {
	first := func(is func(driver.Step) bool) int {
		return slices.IndexFunc(steps, func(s node.PlannedStep) bool { return is(ofHardware(h, f, &s)) })
	}
	boots := slices.IndexFunc(steps, func(s node.PlannedStep) bool { return s.Hidden && s.Interface == node.Deploy })
	ends := first(func(s driver.Step) bool { return s.EndsAgent })
	ready := first(func(s driver.Step) bool { return s.Readies })
	starts := first(func(s driver.Step) bool { return s.Starts })
	for i := range steps {
		s := &steps[i]
		switch {
		case ready >= 0 && i > ready && i < starts && switchesOn(s):
			return fmt.Sprintf("Step %s with priority %d would start the instance before %s does, when the deploy is not complete: "+
				"give it a priority above %d or below %d.",
				name(s), s.Priority, name(&steps[starts]), steps[ready].Priority, steps[starts].Priority)
		case i < boots && needsAgent(h, f, s):
			return fmt.Sprintf("Step %s with priority %d would run before the ramdisk is booted, whose agent carries it out: "+
				"give it a priority below %d.", name(s), s.Priority, steps[boots].Priority)
		case ends >= 0 && i > ends && needsAgent(h, f, s):
			return fmt.Sprintf("Step %s with priority %d would run after %s, which ends the ramdisk whose agent carries it out: "+
				"give it a priority above %d.", name(s), s.Priority, name(&steps[ends]), steps[ends].Priority)
		}
	}
	return ""
}

func switchesOn(s *node.PlannedStep) bool {
	return s.Interface == node.Power && (s.Step == powerOnStep || s.Step == rebootStep)
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}

// merge takes the steps that the machine's agent offers into what is left of the plan after the
// step under way, once a flow. A step asked for that the agent has takes over what the agent says of it; one that it has
// not is dropped. merge returns the names of the latter, and what is wrong with the arguments of the others.
func merge(h *driver.Hardware, p *node.Plan, found []node.PlannedStep) (unknown, wrong []string) {
	if p.InBand {
		return nil, nil
	}
	p.InBand = true
	rest := slices.Clone(p.Steps[p.Index+1:])
	kept := rest[:0]
	for _, s := range rest {
		i := slices.IndexFunc(found, func(f node.PlannedStep) bool { return f.Interface == s.Interface && f.Step == s.Step })
		switch {
		case !s.Agent:
		case i >= 0:
			s.Abortable, s.Reboot = found[i].Abortable, found[i].Reboot
			if text := wrongArgs(name(&s), s.Args, found[i].ArgsInfo); text != "" {
				wrong = append(wrong, text)
			}
		default:
			unknown = append(unknown, name(&s))
			continue
		}
		kept = append(kept, s)
	}
	for _, f := range found {
		_, ours := findStep(h, p.Flow, &f)
		if p.Manual || f.Priority == 0 || ours || isAsked(p.Steps, f.Interface, f.Step) || slices.Contains(p.Off, name(&f)) {
			continue
		}
		f.Agent = true
		kept = append(kept, f)
	}
	if !p.Manual {
		slices.SortStableFunc(kept, order)
	}
	p.Steps = append(p.Steps[:p.Index+1:p.Index+1], kept...)
	return unknown, wrong
}
