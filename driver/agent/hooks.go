package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// reading is a machine's report on its way through the hooks. They work on copies.
type reading struct {
	node      *node.Node
	ports     []node.Port // the node's, as changed so far, and new ones with ID 0
	gone      []node.Port
	data      node.InspectionData
	inventory wire.Inventory
	plugin    node.Document // what the machine sent beside the inventory, and what hooks make of it
	nics      []nic         // that may be ports
	chosen    []nic         // that add_ports is for
	notes     []string      // for people
	booted    string        // MAC of the interface it booted from; "" when that is not known
}

// hook is one thing done with a report. prepare is called of all hooks before run is of any.
type hook struct {
	needs   string // a hook that must be in the list before it
	prepare func(*Inspect, *reading) error
	run     func(*Inspect, *reading) error
}

const (
	ramdiskError       = "ramdisk-error"
	validateInterfaces = "validate-interfaces"
)

// hooks are all there are, by Ironic's names.
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

// DefaultHooks are the hooks that run when nothing else is asked for.
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

// hookNames are the hooks to run. Listening to switches is for the two that take what they say.
func (i *Inspect) hookNames() []string {
	names := i.Hooks
	if names == nil {
		names = DefaultHooks
	}
	if i.LLDP == LLDP {
		for _, name := range []string{"local-link-connection", "parse-lldp"} {
			if !slices.Contains(names, name) && (hooks[name].needs == "" || slices.Contains(names, hooks[name].needs)) {
				names = append(slices.Clone(names), name)
			}
		}
	}
	return names
}

// newReading takes a report's inventory apart.
func newReading(t *driver.Task, data node.InspectionData) (*reading, error) {
	r := &reading{node: t.Node.Clone(), ports: slices.Clone(t.Ports), data: data, plugin: data.PluginData.Clone()}
	for i := range r.ports {
		r.ports[i].Extra, r.ports[i].LocalLinkConnection = r.ports[i].Extra.Clone(), r.ports[i].LocalLinkConnection.Clone()
	}
	text, err := json.Marshal(data.Inventory)
	if err == nil {
		err = json.Unmarshal(text, &r.inventory)
	}
	if err != nil {
		return nil, node.Errorf(node.Invalid, "The inspection's inventory cannot be read: %v.", err)
	}
	return r, nil
}

// failOnError is the hook ramdisk-error.
func failOnError(_ *Inspect, r *reading) error {
	if r.data.Error != "" {
		return node.Errorf(node.Invalid, "The machine reported a failed inspection: %s", redact(r.data.Error))
	}
	return nil
}

// nic is a network interface that may become a port.
type nic struct {
	name, mac, address string
	raw                map[string]any // as reported
}

// findInterfaces is the hook validate-interfaces: which interfaces are usable, and which of them add_ports
// is for. The plugin data has them as all_interfaces and valid_interfaces, and the latter's addresses as macs.
func findInterfaces(i *Inspect, r *reading) error {
	r.booted = bootedFrom(r.data.BootInterface, r.inventory)
	r.nics = r.withoutBMCs(usable(r.inventory.Interfaces, r.data.Inventory))
	if len(r.nics) == 0 {
		return node.Errorf(node.Invalid, "The inspection found no network interface with a MAC address among %d.", len(r.inventory.Interfaces))
	}
	if !slices.ContainsFunc(r.nics, func(n nic) bool { return n.mac == r.booted }) {
		r.booted = "" // it booted from something that it does not have
	}
	for _, n := range r.nics {
		if i.wants(n, r.booted) {
			r.chosen = append(r.chosen, n)
		}
	}
	if len(r.chosen) == 0 && r.booted == "" && cmp.Or(i.AddPorts, AddPXE) == AddPXE {
		r.chosen = r.nics // nothing is known of any: one of them it was
	}
	if len(r.chosen) == 0 {
		return node.Errorf(node.Invalid, "None of the %d network interfaces found is one that ports are added for (inspection_add_ports is %q).", len(r.nics), cmp.Or(i.AddPorts, AddPXE))
	}
	macs := []any{}
	for _, n := range r.chosen {
		macs = append(macs, n.mac)
	}
	r.plugin["all_interfaces"], r.plugin["valid_interfaces"], r.plugin["macs"] = r.described(r.nics), r.described(r.chosen), macs
	return nil
}

// described are interfaces as they were reported, by name, and whether the machine booted from each.
func (r *reading) described(nics []nic) map[string]any {
	out := map[string]any{}
	for _, n := range nics {
		d := map[string]any(node.Document(n.raw).Clone())
		d["mac_address"], d["pxe_enabled"] = n.mac, n.mac == r.booted
		if v6, ok := d["ipv6_address"].(string); ok {
			d["ipv6_address"], _, _ = strings.Cut(v6, "%")
		}
		out[n.name] = d
	}
	return out
}

// usable keeps interfaces with a MAC address of their own: no loopback, no multicast, no zeros.
func usable(all []wire.NIC, inventory node.Document) []nic {
	raw, _ := inventory["interfaces"].([]any)
	var nics []nic
	for i, n := range all {
		mac, err := net.ParseMAC(n.MACAddress)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 || n.Name == "lo" || !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 }) {
			continue
		}
		address := n.IPv4Address
		if address == "" {
			address = n.IPv6Address
		}
		one := nic{name: n.Name, mac: mac.String(), address: address}
		if i < len(raw) {
			one.raw, _ = raw[i].(map[string]any)
		}
		nics = append(nics, one)
	}
	return nics
}

// bootedFrom is the MAC address the machine booted from, "" when nobody knows. PXELINUX puts the
// hardware type before it ("01-52-54-…").
func bootedFrom(reported string, i wire.Inventory) string {
	for _, s := range []string{reported, i.Boot.PXEInterface} {
		s = strings.ReplaceAll(s, "-", ":")
		if len(s) == len("01:52:54:00:00:00:01") {
			s = strings.TrimPrefix(s, "01:")
		}
		if mac, err := net.ParseMAC(s); err == nil && len(mac) == 6 {
			return mac.String()
		}
	}
	return ""
}

// wants says whether add_ports is for an interface. When ports are not added at all, it is for every one.
func (i *Inspect) wants(n nic, booted string) bool {
	switch i.AddPorts {
	case AddAll, AddNone:
		return true
	case AddActive:
		return n.address != ""
	}
	if booted == "" {
		return n.address != ""
	}
	return n.mac == booted
}

// changePorts is the hook ports.
func changePorts(i *Inspect, r *reading) error {
	if i.AddPorts != AddNone {
		r.addPorts()
	}
	if r.decides() {
		r.removePorts(i.KeepPorts)
	}
	for k := range r.ports {
		p := &r.ports[k]
		mac := strings.ToLower(p.Address)
		if p.ID != 0 && r.booted != "" && i.PXEPorts != KeepPXEPorts && r.decides() {
			p.PXEEnabled = mac == r.booted
		}
		for _, n := range r.nics {
			if id, _ := n.raw["client_id"].(string); n.mac == mac && id != "" {
				p.Extra["client-id"] = id
			}
		}
	}
	return nil
}

// addPorts adds the ports that the node does not have yet. Only the interface the machine booted from is
// offered for network boot, when that is known.
func (r *reading) addPorts() {
	known := map[string]bool{}
	for _, p := range r.ports {
		known[strings.ToLower(p.Address)] = true
	}
	for _, n := range r.chosen {
		if !known[n.mac] {
			known[n.mac] = true
			r.ports = append(r.ports, node.Port{
				NodeUUID: r.node.UUID, Address: n.mac, PXEEnabled: (r.booted == "" || n.mac == r.booted) && r.mayBoot(),
				LocalLinkConnection: node.Document{}, Extra: node.Document{}, InternalInfo: node.Document{},
				Description: fmt.Sprintf("%s, found by inspection", n.name),
			})
		}
	}
}

// removePorts removes what keep_ports does not keep. A port that an instance's network is attached to stays.
func (r *reading) removePorts(keep KeepPorts) {
	expected := map[string]bool{}
	switch keep {
	case KeepPresent:
		for _, n := range r.inventory.Interfaces { // also of kinds that never become ports here
			expected[strings.ToLower(n.MACAddress)] = true
		}
	case KeepAdded:
		for _, n := range r.chosen {
			expected[n.mac] = true
		}
	default:
		return
	}
	var kept []node.Port
	for _, p := range r.ports {
		if expected[strings.ToLower(p.Address)] || p.InternalInfo[node.VIFKey] != nil {
			kept = append(kept, p)
		} else {
			r.gone = append(r.gone, p)
		}
	}
	r.ports = kept
}

// setProperty sets one of the node's properties.
func (r *reading) setProperty(name string, value any) { r.node.Properties[name] = value }

// setCapability sets one of the node's capabilities.
func (r *reading) setCapability(name, value string) {
	r.setProperty("capabilities", node.WithCapability(r.node.Properties["capabilities"], name, value))
}

// setArchitecture is the hook architecture.
func setArchitecture(_ *Inspect, r *reading) error {
	if r.inventory.CPU.Architecture == "" {
		return node.Errorf(node.Invalid, "The inventory does not say the architecture of the machine's processors.")
	}
	r.setProperty("cpu_arch", r.inventory.CPU.Architecture)
	return nil
}
