package inspection

import (
	"maps"
	"slices"

	"github.com/billet-metal/billet/node"
)

// What the node's properties say of its machine is what schedulers choose by: a hook that finds no value leaves the old
// one, and refuses the report only where a machine without the value cannot be.

// setArchitecture is the hook architecture.
func setArchitecture(_ *Settings, r *reading) error {
	if r.inventory.CPU.Architecture == "" {
		return node.Errorf(node.Invalid, "The inventory does not say the architecture of the machine's processors.")
	}
	r.setProperty("cpu_arch", r.inventory.CPU.Architecture)
	return nil
}

// setCPUs is the hook cpus.
func setCPUs(_ *Settings, r *reading) error {
	if r.inventory.CPU.Count > 0 {
		r.setProperty("cpus", float64(r.inventory.CPU.Count))
	}
	return nil
}

// setMemory is the hook memory.
func setMemory(_ *Settings, r *reading) error {
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
func setBootMode(_ *Settings, r *reading) error {
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
func setCPUCapabilities(s *Settings, r *reading) error {
	names := s.CPUCapabilities
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
