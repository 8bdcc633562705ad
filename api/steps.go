package api

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Steps that people ask for are checked by form here. Whether a node's interfaces have them is the conductor's to say.

// stepInterfaces are the interfaces whose steps people may ask for.
var stepInterfaces = []string{"vendor", "power", "management", "firmware", "deploy", "bios", "raid"}

// disallowedSteps may not be asked for over the API: they hand raw bytes to a BMC.
var disallowedSteps = map[string]bool{"vendor.send_raw": true}

type orderedStep struct {
	node.PlannedStep
	order float64
}

// ofDeploy says whether steps are a deploy's: those of a request, or a deploy template's.
func ofDeploy(key string) bool { return key == "deploy_steps" || key == "steps" }

// readSteps reads deploy_steps, clean_steps, service_steps or the steps of a deploy template. Clean and service steps run in the
// list's order, or by "order" where given; deploy steps need a priority, and each may be given once.
func readSteps(key string, v any) ([]node.PlannedStep, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, invalid("%q must be a list of steps, not %s.", key, payload.KindOf(v))
	}
	var steps []orderedStep
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, invalid("%s[%d] must be an object, not %s.", key, i, payload.KindOf(e))
		}
		s, err := readStep(key, i, m)
		if err != nil {
			return nil, err
		}
		same := func(o orderedStep) bool { return o.Interface == s.Interface && o.Step == s.Step }
		if ofDeploy(key) && slices.ContainsFunc(steps, same) {
			return nil, invalid("%s names the step %s of the interface %s twice.", key, s.Step, s.Interface)
		}
		steps = append(steps, s)
	}
	slices.SortStableFunc(steps, func(a, b orderedStep) int { return cmp.Compare(a.order, b.order) })
	var out []node.PlannedStep
	for _, s := range steps {
		out = append(out, s.PlannedStep)
	}
	return out, nil
}

func readStep(key string, i int, m map[string]any) (orderedStep, error) {
	var s orderedStep
	for k := range m {
		if !slices.Contains([]string{"interface", "step", "args", "priority", "order"}, k) || k == "order" && ofDeploy(key) {
			return s, invalid("%s[%d] has an unknown key %q. Allowed are: interface, step, args, priority.", key, i, k)
		}
	}
	iface, _ := m["interface"].(string)
	if !slices.Contains(stepInterfaces, iface) {
		return s, invalid("%s[%d] needs \"interface\" to be one of: %s.", key, i, strings.Join(stepInterfaces, ", "))
	}
	name, _ := m["step"].(string)
	if name == "" {
		return s, invalid("%s[%d] needs \"step\": the name of a step.", key, i)
	}
	if disallowedSteps[iface+"."+name] {
		return s, invalid("The step %s of the interface %s is not allowed over the API.", name, iface)
	}
	args, err := payload.Object(key+" args", m["args"])
	if err != nil {
		return s, err
	}
	s.PlannedStep = node.PlannedStep{Interface: node.Interface(iface), Step: name, Args: args}
	err = readNumbers(key, i, m, &s)
	return s, err
}

func readNumbers(key string, i int, m map[string]any, s *orderedStep) error {
	priority, given := m["priority"]
	if ofDeploy(key) && !given {
		return invalid("%s[%d] needs \"priority\": a whole number of at least 0; 0 leaves the step out.", key, i)
	}
	if given {
		p, ok := wholeNumber(priority)
		if !ok {
			return invalid("%s[%d] has a priority of %v; it must be a whole number of at least 0.", key, i, priority)
		}
		s.Priority = p
	}
	if order, given := m["order"]; given {
		o, ok := wholeNumber(order)
		if !ok {
			return invalid("%s[%d] has an order of %v; it must be a whole number of at least 0.", key, i, order)
		}
		s.order = float64(o)
	}
	return nil
}

func wholeNumber(v any) (int, bool) {
	f, ok := v.(float64)
	if !ok || f != math.Trunc(f) || f < 0 || f > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }
