package conductor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// acceptArgs refuses arguments that a step of the hardware does not take, or whose values are wrong.
func acceptArgs(o offered, args map[string]any) error {
	info := map[string]node.Argument{}
	for arg, help := range o.step.Args {
		info[arg] = node.Argument{Help: help, Required: slices.Contains(o.step.Required, arg)}
	}
	if wrong := wrongArgs(string(o.iface)+"."+o.step.Name, args, info); wrong != "" {
		return node.Errorf(node.Invalid, "%s", wrong)
	}
	if o.step.Check == nil {
		return nil
	}
	if err := o.step.Check(args); err != nil {
		return node.Errorf(node.Invalid, "Step %s.%s: %s", o.iface, o.step.Name, err)
	}
	return nil
}

// wrongArgs says what is wrong with a step's arguments, by what it takes; "" when nothing is.
func wrongArgs(step string, args map[string]any, info map[string]node.Argument) string {
	var wrong []string
	for _, arg := range slices.Sorted(maps.Keys(args)) {
		if _, ok := info[arg]; ok {
			continue
		}
		allowed := "it takes none"
		if len(info) > 0 {
			allowed = "allowed are: " + strings.Join(slices.Sorted(maps.Keys(info)), ", ")
		}
		wrong = append(wrong, fmt.Sprintf("Step %s does not take the argument %q; %s.", step, arg, allowed))
	}
	for _, arg := range slices.Sorted(maps.Keys(info)) {
		if args[arg] != nil || !info[arg].Required {
			continue
		}
		help := "."
		if info[arg].Help != "" {
			help = ": " + info[arg].Help
		}
		wrong = append(wrong, fmt.Sprintf("Step %s needs the argument %q%s", step, arg, help))
	}
	return strings.Join(wrong, " ")
}
