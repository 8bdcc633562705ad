package inspection

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Hooks have Ironic's names and do what Ironic's do, so that an operator's inspection_hooks and what clients read of an
// inspected node mean the same here. Each hook is one row of the table below.

// hookFunc reads the report and changes the reading. Its error refuses the whole report.
type hookFunc func(*Settings, *reading) error

// hook is one thing done with a report. prepare is called of all hooks before run is of any.
type hook struct {
	needs        string // a hook that must be in the list before it
	prepare, run hookFunc
}

const (
	ramdiskError       = "ramdisk-error"
	validateInterfaces = "validate-interfaces"
)

// hooks are all there are.
var hooks = map[string]hook{
	ramdiskError:            {prepare: failOnError},
	validateInterfaces:      {prepare: findInterfaces},
	"ports":                 {needs: validateInterfaces, run: changePorts},
	"architecture":          {run: setArchitecture},
	"accelerators":          {run: setAccelerators},
	"boot-mode":             {run: setBootMode},
	"cpu-capabilities":      {run: setCPUCapabilities},
	"cpus":                  {run: setCPUs},
	"extra-hardware":        {run: nestExtraHardware},
	"local-link-connection": {needs: validateInterfaces, run: linkPorts},
	"memory":                {run: setMemory},
	"parse-lldp":            {run: parseLLDP},
	"pci-devices":           {run: countPCIDevices},
	"physical-network":      {needs: validateInterfaces, run: setPhysicalNetworks},
	"raid-device":           {run: findRAIDDevice},
	"root-device":           {run: setRootDevice},
}

// DefaultHooks are the hooks that run when the settings name none.
var DefaultHooks = []string{ramdiskError, validateInterfaces, "ports", "architecture"}

// CheckHooks says what is wrong with a list of hooks.
func CheckHooks(names []string) error {
	for i, name := range names {
		h, known := hooks[name]
		switch {
		case !known:
			return fmt.Errorf("there is no hook %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(hooks)), ", "))
		case slices.Contains(names[:i], name):
			return fmt.Errorf("the hook %s is there twice", name)
		case h.needs != "" && !slices.Contains(names[:i], h.needs):
			return fmt.Errorf("the hook %s needs %s before it", name, h.needs)
		}
	}
	return nil
}

// hookNames are the hooks to run. When the ramdisk listens to switches, the two hooks that use what switches say run too.
func (s *Settings) hookNames() []string {
	names := s.Hooks
	if names == nil {
		names = DefaultHooks
	}
	if s.LLDP == LLDP {
		for _, name := range []string{"local-link-connection", "parse-lldp"} {
			if !slices.Contains(names, name) && (hooks[name].needs == "" || slices.Contains(names, hooks[name].needs)) {
				names = append(slices.Clone(names), name)
			}
		}
	}
	return names
}

// calls are what the hooks do, in the order in which it is done.
func (s *Settings) calls() (calls []hookFunc) {
	names := s.hookNames()
	for _, name := range names {
		calls = append(calls, hooks[name].prepare)
	}
	for _, name := range names {
		calls = append(calls, hooks[name].run)
	}
	return slices.DeleteFunc(calls, func(f hookFunc) bool { return f == nil })
}

// failOnError is the hook ramdisk-error.
func failOnError(_ *Settings, r *reading) error {
	if r.data.Error != "" {
		return node.Errorf(node.Invalid, "The machine reported a failed inspection: %s", r.data.Error)
	}
	return nil
}
