// Package inspection owns what a machine's report changes: whose report it is, what the hooks make of it on the
// machine's node, its ports and the stored inventory, and which reports are refused. Rules of people follow the hooks
// (inspection/rules). It works on values in memory: the caller reads and writes the database, and a report that is
// refused has changed nothing. It refuses to know drivers and their keys, a database and HTTP.
package inspection

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/billet-metal/billet/node"
)

// AddPorts says which interfaces of an inspected machine become ports.
type AddPorts string

// Policies of adding ports; "" is PXE.
const (
	AddPXE    AddPorts = "pxe"      // the interface it booted from; when that is not known those with an address, else all
	AddActive AddPorts = "active"   // those with an address
	AddAll    AddPorts = "all"      // every one with a MAC address
	AddNone   AddPorts = "disabled" // none
)

// KeepPorts says which ports that a node has stay after an inspection.
type KeepPorts string

// Policies of keeping ports; "" is all.
const (
	KeepAll     KeepPorts = "all"
	KeepPresent KeepPorts = "present" // those of interfaces that the machine has
	KeepAdded   KeepPorts = "added"   // those of interfaces that ports are added for
)

// PXEPorts says what an inspection does to pxe_enabled of ports that a node has.
type PXEPorts int

// It becomes true for the interface the machine booted from, and false for the others, unless it is kept.
const (
	UpdatePXEPorts PXEPorts = iota
	KeepPXEPorts
)

// Listening says whether the ramdisk listens for what switches say of themselves.
type Listening int

// Listening takes up to half a minute of an inspection, because switches send so seldom.
const (
	NoLLDP Listening = iota
	LLDP
)

// Settings are the choices of whoever runs the service. Zero values are the defaults.
type Settings struct {
	Hooks     []string // see CheckHooks; nil: DefaultHooks
	AddPorts  AddPorts
	KeepPorts KeepPorts
	PXEPorts  PXEPorts
	LLDP      Listening

	CPUCapabilities  map[string]string       // processor flag → capability; nil: DefaultCPUCapabilities
	PCIAliases       map[string]string       // "vendor:product", hexadecimal in lower case → capability
	PhysicalNetworks map[netip.Prefix]string // network → physical_network of ports with an address in it
}

// Read runs the hooks on a report, in their order. It changes n and returns what else is to be stored. An error has
// changed nothing.
func (s *Settings) Read(n *node.Node, ports []node.Port, data node.InspectionData) (node.Findings, error) {
	r, err := newReading(n, ports, data)
	if err != nil {
		return node.Findings{}, err
	}
	for _, call := range s.calls() {
		if err := call(s, r); err != nil {
			return node.Findings{}, err
		}
	}
	Booted(r.node, r.inventory.Boot)
	*n = *r.node
	return node.Findings{
		Inventory: node.Inventory{Inventory: data.Inventory, PluginData: r.plugin},
		Ports:     Changed(ports, r.ports), Gone: r.gone, Notes: r.notes,
	}, nil
}

// Changed are those of all ports that are not as the old ones are: new ports, and old ones that an inspection changed.
func Changed(old, all []node.Port) []node.Port {
	return slices.DeleteFunc(slices.Clone(all), func(p node.Port) bool {
		return slices.ContainsFunc(old, func(o node.Port) bool { return reflect.DeepEqual(settled(o), settled(p)) })
	})
}

// settled is a port whose empty documents are not nil.
func settled(p node.Port) node.Port {
	p.LocalLinkConnection, p.Extra, p.InternalInfo = p.LocalLinkConnection.Clone(), p.Extra.Clone(), p.InternalInfo.Clone()
	return p
}
