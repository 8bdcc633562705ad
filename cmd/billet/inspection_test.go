package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/billet-metal/billet/driver/agent"
	"github.com/billet-metal/billet/inspection"
)

func TestInspectionOptions(t *testing.T) {
	c, err := load(t, "inspection_hooks: [ramdisk-error, validate-interfaces, ports, memory]\ninspection_keep_ports: present\n",
		[]string{"BILLET_INSPECTION_ADD_PORTS=all"}, []string{
			"--inspection-update-pxe-enabled=false", "--inspection-power-off=false",
			"--inspection-extra-kernel-params", "ipa-inspection-benchmarks=cpu,mem  a=b=c",
			"--inspection-cpu-capabilities", "fpu:has_fpu", "--inspection-pci-device-alias", "10DE:1EB8:tesla_t4, 8086:1572:x710",
			"--inspection-physical-network-cidr-map", "10.1.2.3/16:racks,2001:db8::/32:six"})
	if err != nil {
		t.Fatal(err)
	}
	var got *agent.Inspect
	for _, ty := range hardwareTypes(c, parts{machineURL: "http://10.0.0.1:6386"}) {
		for _, i := range ty.Inspect {
			if a, ok := i.(*agent.Inspect); ok {
				got = a
			}
		}
	}
	want := &agent.Inspect{
		APIURL: "http://10.0.0.1:6386", BootTimeout: c.InspectTimeout, After: agent.StayOn,
		Params: map[string]string{"ipa-inspection-benchmarks": "cpu,mem", "a": "b=c"},
		Settings: inspection.Settings{
			Hooks:    []string{"ramdisk-error", "validate-interfaces", "ports", "memory"},
			AddPorts: inspection.AddAll, KeepPorts: inspection.KeepPresent, PXEPorts: inspection.KeepPXEPorts,
			CPUCapabilities:  map[string]string{"fpu": "has_fpu"},
			PCIAliases:       map[string]string{"10de:1eb8": "tesla_t4", "8086:1572": "x710"},
			PhysicalNetworks: map[netip.Prefix]string{netip.MustParsePrefix("10.1.0.0/16"): "racks", netip.MustParsePrefix("2001:db8::/32"): "six"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestInspectionDefaults(t *testing.T) {
	c, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.InspectionHooks, inspection.DefaultHooks) || c.InspectionAddPorts != "pxe" || c.InspectionKeepPorts != "all" ||
		!c.InspectionPXEPorts || !c.InspectionPowerOff {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff(inspection.DefaultCPUCapabilities, c.CPUCapabilities); diff != "" {
		t.Error(diff)
	}
}

func TestInspectionOptionsThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--inspection-hooks=ports", "flag --inspection-hooks: inspection_hooks: the hook ports needs validate-interfaces before it"},
		{"--inspection-hooks=memory,hardware", `flag --inspection-hooks: inspection_hooks: there is no hook "hardware"; there are `},
		{"--inspection-add-ports=some",
			`flag --inspection-add-ports: inspection_add_ports: "some" is not allowed; use one of pxe, active, all, disabled`},
		{"--inspection-keep-ports=none",
			`flag --inspection-keep-ports: inspection_keep_ports: "none" is not allowed; use one of all, present, added`},
		{"--inspection-extra-kernel-params=debug",
			`flag --inspection-extra-kernel-params: inspection_extra_kernel_params: "debug" is not like key=value`},
		{"--inspection-cpu-capabilities=vmx",
			`flag --inspection-cpu-capabilities: inspection_cpu_capabilities: "vmx" is not like flag:capability`},
		{"--inspection-pci-device-alias=10de:t4",
			`flag --inspection-pci-device-alias: inspection_pci_device_alias: "10de:t4" is not like 10de:1eb8:tesla_t4`},
		{"--inspection-pci-device-alias=t4",
			`flag --inspection-pci-device-alias: inspection_pci_device_alias: "t4" is not like 10de:1eb8:tesla_t4`},
		{"--inspection-physical-network-cidr-map=10.1.0.0:racks",
			`flag --inspection-physical-network-cidr-map: ` +
				`inspection_physical_network_cidr_map: "10.1.0.0:racks" does not begin with a network such as 10.1.0.0/16`},
		{"--discovery=true --inspection-add-ports=disabled",
			"discovery: without ports a machine is not known again; it needs the hook ports and inspection_add_ports other than disabled"},
		{"--discovery=true --inspection-hooks=memory",
			"discovery: without ports a machine is not known again; it needs the hook ports and inspection_add_ports other than disabled"},
	} {
		if _, err := load(t, "", nil, strings.Fields(tt.args)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s:\n got %v\nwant %s", tt.args, err, tt.want)
		}
	}
}
