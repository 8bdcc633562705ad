package driver

import (
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Type is a hardware type: for each interface the implementations it supports, the default first.
// It is written as one literal.
type Type struct {
	Name       string
	Power      []Power
	Management []Management
	Boot       []Boot
	Deploy     []Deploy
	Inspect    []Inspect
	Network    []Network
	// Other holds the interfaces that the conductor knows by what they implement besides Implementation, not by a type of
	// their own: bios, console, firmware, raid (see RAID), rescue (see Stepper and Tidier), storage, vendor.
	Other map[node.Interface][]Implementation
}

// Hardware is a node's own choice of implementations.
type Hardware struct {
	Type       string
	Power      Power
	Management Management
	Boot       Boot
	Deploy     Deploy
	Inspect    Inspect
	Network    Network
	Other      map[node.Interface]Implementation
}

// Types are the hardware types of this service.
type Types []Type

// Resolve picks the implementations a node names; an interface the node leaves empty gets its
// default. An unknown hardware type or implementation is Invalid, with what is allowed.
func (ts Types) Resolve(n *node.Node) (*Hardware, error) {
	ty, err := ts.find(n.Driver)
	if err != nil {
		return nil, err
	}
	h := &Hardware{Type: ty.Name, Other: map[node.Interface]Implementation{}}
	pickers := []func() error{
		func() (err error) { h.Power, err = pick(ty, n, node.Power, ty.Power); return },
		func() (err error) { h.Management, err = pick(ty, n, node.Management, ty.Management); return },
		func() (err error) { h.Boot, err = pick(ty, n, node.Boot, ty.Boot); return },
		func() (err error) { h.Deploy, err = pick(ty, n, node.Deploy, ty.Deploy); return },
		func() (err error) { h.Inspect, err = pick(ty, n, node.Inspect, ty.Inspect); return },
		func() (err error) { h.Network, err = pick(ty, n, node.Network, ty.Network); return },
	}
	for _, p := range pickers {
		if err := p(); err != nil {
			return nil, err
		}
	}
	have := ty.all()
	for _, iface := range node.Interfaces {
		if impls, has := ty.Other[iface]; has {
			h.Other[iface], err = pick(ty, n, iface, impls)
		} else if named := n.Interfaces[iface]; named != "" && have[iface] == nil {
			err = node.Errorf(node.Invalid, "The hardware type %s has no %s interface, so %s_interface can not be %q.", ty.Name, iface, iface, named)
		}
		if err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Implementations returns h's choice for every interface.
func (h *Hardware) Implementations() map[node.Interface]Implementation {
	all := map[node.Interface]Implementation{
		node.Power: h.Power, node.Management: h.Management, node.Boot: h.Boot,
		node.Deploy: h.Deploy, node.Inspect: h.Inspect, node.Network: h.Network,
	}
	for iface, impl := range h.Other {
		all[iface] = impl
	}
	return all
}

// Names returns the chosen implementation's name for every interface.
func (h *Hardware) Names() map[node.Interface]string {
	names := map[node.Interface]string{}
	for iface, impl := range h.Implementations() {
		names[iface] = impl.Name()
	}
	return names
}

// Describe tells the API about a hardware type.
func (ts Types) Describe(name string) (node.DriverInfo, error) {
	ty, err := ts.find(name)
	if err != nil {
		return node.DriverInfo{}, err
	}
	d := node.DriverInfo{
		Name: ty.Name, Type: "dynamic",
		Default: map[node.Interface]string{}, Enabled: map[node.Interface][]string{}, Properties: map[string]string{},
	}
	for iface, impls := range ty.all() {
		for i, impl := range impls {
			if i == 0 {
				d.Default[iface] = impl.Name()
			}
			d.Enabled[iface] = append(d.Enabled[iface], impl.Name())
			for k, help := range impl.Properties() {
				d.Properties[k] = help
			}
		}
	}
	return d, nil
}

// LogicalDiskProperties describes what a logical disk of a hardware type may say: that of its first
// raid interface that can be told what to build. NotFound when it has none.
func (ts Types) LogicalDiskProperties(name string) (map[string]string, error) {
	ty, err := ts.find(name)
	if err != nil {
		return nil, err
	}
	for _, impl := range ty.Other[node.RAID] {
		if r, ok := impl.(RAID); ok {
			return r.LogicalDiskProperties(), nil
		}
	}
	e := node.Unsupported(name, string(node.RAID))
	e.Kind = node.NotFound // as Ironic answers
	return nil, e
}

func (ty *Type) all() map[node.Interface][]Implementation {
	all := map[node.Interface][]Implementation{
		node.Power: widen(ty.Power), node.Management: widen(ty.Management), node.Boot: widen(ty.Boot),
		node.Deploy: widen(ty.Deploy), node.Inspect: widen(ty.Inspect), node.Network: widen(ty.Network),
	}
	for iface, impls := range ty.Other {
		all[iface] = impls
	}
	return all
}

func (ts Types) find(name string) (*Type, error) {
	i := slices.IndexFunc(ts, func(ty Type) bool { return ty.Name == name })
	if i < 0 {
		return nil, node.Errorf(node.NotFound, "Could not find the following driver(s) or hardware type(s): %s.", name)
	}
	return &ts[i], nil
}

func pick[T Implementation](ty *Type, n *node.Node, iface node.Interface, impls []T) (T, error) {
	var none T
	want := n.Interfaces[iface]
	var names []string
	for _, impl := range impls {
		if want == "" || impl.Name() == want {
			return impl, nil
		}
		names = append(names, impl.Name())
	}
	if want == "" {
		return none, node.Errorf(node.Invalid, "The hardware type %s has no %s interface.", ty.Name, iface)
	}
	return none, node.Errorf(node.Invalid, "Could not find the following interface in the hardware type %s: %s_interface %q. "+
		"Valid interfaces are: %s.",
		ty.Name, iface, want, strings.Join(names, ", "))
}

func widen[T Implementation](impls []T) []Implementation {
	wide := make([]Implementation, len(impls))
	for i, impl := range impls {
		wide[i] = impl
	}
	return wide
}
