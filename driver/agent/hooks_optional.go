package agent

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

const gib = 1 << 30

// setCPUs is the hook cpus.
func setCPUs(_ *Inspect, r *reading) error {
	if r.inventory.CPU.Count > 0 {
		r.setProperty("cpus", float64(r.inventory.CPU.Count))
	}
	return nil
}

// setMemory is the hook memory.
func setMemory(_ *Inspect, r *reading) error {
	memory := r.inventory.Memory.PhysicalMB
	if memory == 0 {
		memory = r.inventory.Memory.Total >> 20
	}
	if memory <= 0 {
		return node.Errorf(node.Invalid, "The inventory does not say how much memory the machine has.")
	}
	r.setProperty("memory_mb", float64(memory))
	return nil
}

// setBootMode is the hook boot-mode: the capability. The node's boot_mode is known without it.
func setBootMode(_ *Inspect, r *reading) error {
	if mode := bootMode(r.inventory.Boot); mode != "" {
		r.setCapability("boot_mode", mode)
	}
	return nil
}

// DefaultCPUCapabilities are the capabilities that flags of processors stand for.
var DefaultCPUCapabilities = map[string]string{
	"vmx": "cpu_vt", "svm": "cpu_vt", "aes": "cpu_aes", "pse": "cpu_hugepages", "pdpe1gb": "cpu_hugepages_1g", "smx": "cpu_txt",
}

// setCPUCapabilities is the hook cpu-capabilities.
func setCPUCapabilities(i *Inspect, r *reading) error {
	names := i.CPUCapabilities
	if names == nil {
		names = DefaultCPUCapabilities
	}
	for _, flag := range slices.Sorted(maps.Keys(names)) {
		if slices.Contains(r.inventory.CPU.Flags, flag) {
			r.setCapability(names[flag], "true")
		}
	}
	return nil
}

// pciDevice is what two hooks want of a PCI device.
type pciDevice struct{ vendor, product, class, bus string }

func (d pciDevice) id() string { return d.vendor + ":" + d.product }

func (r *reading) pciDevices() []pciDevice {
	list, _ := r.plugin["pci_devices"].([]any)
	var out []pciDevice
	for _, v := range list {
		m, _ := v.(map[string]any)
		d := node.Document(m)
		out = append(out, pciDevice{strings.ToLower(d.String("vendor_id")), strings.ToLower(d.String("product_id")), d.String("class"), d.String("bus")})
	}
	return out
}

// countPCIDevices is the hook pci-devices: a capability with the number of devices for each alias.
func countPCIDevices(i *Inspect, r *reading) error {
	counts := map[string]int{}
	for _, d := range r.pciDevices() {
		if alias := i.PCIAliases[d.id()]; alias != "" {
			counts[alias]++
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(counts)) {
		r.setCapability(alias, strconv.Itoa(counts[alias]))
	}
	return nil
}

// Accelerator classes of the PCI code and ID assignment specification, by their first digits.
var acceleratorClasses = map[string]string{"0302": "GPU", "1200": "accelerator"}

// knownAccelerators are names of devices that people ask for.
var knownAccelerators = map[string]string{
	"10de:1db4": "NVIDIA Corporation Tesla V100 PCIe 16GB", "10de:1db6": "NVIDIA Corporation Tesla V100 PCIe 32GB", "10de:1eb8": "NVIDIA Corporation Tesla T4",
	"10de:20b5": "NVIDIA Corporation A100 PCIe 80GB", "10de:20f1": "NVIDIA Corporation A100 PCIe 40GB", "10de:2235": "NVIDIA Corporation A40", "10de:2236": "NVIDIA Corporation A10",
	"10de:2331": "NVIDIA Corporation H100 PCIe", "10de:26b5": "NVIDIA Corporation L40", "10de:26b9": "NVIDIA Corporation L40S", "10de:27b8": "NVIDIA Corporation L4",
	"1002:740c": "AMD Instinct MI250X", "1002:74a1": "AMD Instinct MI300X",
}

// setAccelerators is the hook accelerators: display controllers without a display (GPUs) and processing
// accelerators, by their PCI class.
func setAccelerators(_ *Inspect, r *reading) error {
	devices := r.pciDevices()
	if len(devices) == 0 {
		return nil
	}
	found := []any{}
	for _, d := range devices {
		kind := acceleratorClasses[d.class[:min(4, len(d.class))]]
		if kind == "" {
			continue
		}
		info := cmp.Or(knownAccelerators[d.id()], "PCI device "+d.id())
		found = append(found, map[string]any{"vendor_id": d.vendor, "device_id": d.product, "type": kind, "device_info": info, "pci_address": d.bus})
	}
	r.setProperty("accelerators", found)
	return nil
}

// nestExtraHardware is the hook extra-hardware: "data", a list of [a, b, c, value], becomes "extra", objects
// in objects. Records of another form are left out.
func nestExtraHardware(_ *Inspect, r *reading) error {
	list, ok := r.plugin["data"].([]any)
	if !ok {
		return nil
	}
	extra := map[string]any{}
	for _, v := range list {
		record, _ := v.([]any)
		if len(record) != 4 {
			continue
		}
		value := record[3]
		if text, ok := value.(string); ok {
			if n, err := strconv.ParseInt(text, 10, 53); err == nil {
				value = float64(n)
			}
		}
		outer := within(extra, fmt.Sprint(record[0]))
		within(outer, fmt.Sprint(record[1]))[fmt.Sprint(record[2])] = value
	}
	r.plugin["extra"] = extra
	delete(r.plugin, "data")
	return nil
}

// within is the object under a key, made when it is not there.
func within(m map[string]any, key string) map[string]any {
	inner, ok := m[key].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[key] = inner
	}
	return inner
}

// parseLLDP is the hook parse-lldp.
func parseLLDP(_ *Inspect, r *reading) error {
	parsed := map[string]any{}
	for name, n := range neighbours(r.inventory.Interfaces) {
		parsed[name] = n.said
	}
	if len(parsed) > 0 {
		r.plugin["parsed_lldp"] = parsed
	}
	return nil
}

// linkPorts is the hook local-link-connection: which port of which switch a port is plugged into.
func linkPorts(_ *Inspect, r *reading) error {
	heard := neighbours(r.inventory.Interfaces)
	for i := range r.ports {
		for _, n := range r.nics {
			if n.mac == strings.ToLower(r.ports[i].Address) {
				heard[n.name].linked(&r.ports[i])
			}
		}
	}
	return nil
}

// setPhysicalNetworks is the hook physical-network: by the network an interface's address is in, the
// narrowest first.
func setPhysicalNetworks(i *Inspect, r *reading) error {
	for k := range r.ports {
		for _, n := range r.nics {
			if n.mac != strings.ToLower(r.ports[k].Address) {
				continue
			}
			for _, key := range []string{"ipv4_address", "ipv6_address"} {
				text, _ := n.raw[key].(string)
				text, _, _ = strings.Cut(text, "%")
				address, err := netip.ParseAddr(text)
				if name := narrowest(i.PhysicalNetworks, address); err == nil && name != "" {
					r.ports[k].PhysicalNetwork = name
					break
				}
			}
		}
	}
	return nil
}

func narrowest(networks map[netip.Prefix]string, a netip.Addr) string {
	best, name := -1, ""
	for prefix, n := range networks {
		if prefix.Contains(a) && prefix.Bits() > best {
			best, name = prefix.Bits(), n
		}
	}
	return name
}

// setRootDevice is the hook root-device: the disk that the node's hints choose, and its size.
func setRootDevice(_ *Inspect, r *reading) error {
	hints, _ := r.node.Properties["root_device"].(map[string]any)
	root, _ := r.plugin["root_disk"].(map[string]any) // what the machine would choose without hints
	if len(hints) > 0 || root == nil {
		chosen, err := disk.Select(r.inventory.Disks, hints)
		if err != nil && len(hints) > 0 {
			return node.Errorf(node.Invalid, "The root device hints of node %s choose no disk of the inventory: %v.", r.node.UUID, err)
		}
		if err == nil {
			root = r.rawDisk(chosen)
			r.plugin["root_disk"] = root
		}
	}
	size, _ := root["size"].(float64)
	// One GiB less than the disk has, for partition tables and the config drive.
	local := float64(max(int64(size)/gib-1, 0))
	r.plugin["local_gb"] = local
	r.setProperty("local_gb", local)
	return nil
}

// rawDisk is a disk as it was reported.
func (r *reading) rawDisk(d wire.Disk) map[string]any {
	list, _ := r.data.Inventory["disks"].([]any)
	for _, v := range list {
		if m, _ := v.(map[string]any); m["name"] == d.Name {
			return m
		}
	}
	return map[string]any{"name": d.Name, "size": float64(d.Size)}
}

// findRAIDDevice is the hook raid-device: the one disk that was not there at the inspection before is the
// root device of a node that has no hint yet.
func findRAIDDevice(_ *Inspect, r *reading) error {
	if r.node.Properties["root_device"] != nil || r.data.Previous == nil {
		return nil
	}
	before := serials(r.data.Previous)
	fresh := slices.DeleteFunc(serials(r.data.Inventory), func(s string) bool { return slices.Contains(before, s) })
	if len(before) > 0 && len(fresh) == 1 {
		r.setProperty("root_device", map[string]any{"serial": fresh[0]})
	}
	return nil
}

func serials(inventory node.Document) []string {
	list, _ := inventory["disks"].([]any)
	var out []string
	for _, v := range list {
		m, _ := v.(map[string]any)
		if s := node.Document(m).String("serial"); s != "" {
			out = append(out, s)
		}
	}
	return out
}
