package inspection

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// pciDevice is what two hooks want of a PCI device.
type pciDevice struct{ vendor, product, class, bus string }

func (d pciDevice) id() string { return d.vendor + ":" + d.product }

func (r *reading) pciDevices() []pciDevice {
	list, _ := r.plugin["pci_devices"].([]any)
	var out []pciDevice
	for _, v := range list {
		m, _ := v.(map[string]any)
		d := node.Document(m)
		vendor, product := strings.ToLower(d.String("vendor_id")), strings.ToLower(d.String("product_id"))
		out = append(out, pciDevice{vendor, product, d.String("class"), d.String("bus")})
	}
	return out
}

// countPCIDevices is the hook pci-devices: a capability with the number of devices for each alias.
func countPCIDevices(s *Settings, r *reading) error {
	counts := map[string]int{}
	for _, d := range r.pciDevices() {
		if alias := s.PCIAliases[d.id()]; alias != "" {
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
	"10de:1db4": "NVIDIA Corporation Tesla V100 PCIe 16GB",
	"10de:1db6": "NVIDIA Corporation Tesla V100 PCIe 32GB",
	"10de:1eb8": "NVIDIA Corporation Tesla T4",
	"10de:20b5": "NVIDIA Corporation A100 PCIe 80GB",
	"10de:20f1": "NVIDIA Corporation A100 PCIe 40GB",
	"10de:2235": "NVIDIA Corporation A40",
	"10de:2236": "NVIDIA Corporation A10",
	"10de:2331": "NVIDIA Corporation H100 PCIe",
	"10de:26b5": "NVIDIA Corporation L40",
	"10de:26b9": "NVIDIA Corporation L40S",
	"10de:27b8": "NVIDIA Corporation L4",
	"1002:740c": "AMD Instinct MI250X",
	"1002:74a1": "AMD Instinct MI300X",
}

// setAccelerators is the hook accelerators: display controllers without a display (GPUs) and processing
// accelerators, by their PCI class.
func setAccelerators(_ *Settings, r *reading) error {
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
		found = append(found, map[string]any{
			"vendor_id": d.vendor, "device_id": d.product, "type": kind, "device_info": info, "pci_address": d.bus,
		})
	}
	r.setProperty("accelerators", found)
	return nil
}
