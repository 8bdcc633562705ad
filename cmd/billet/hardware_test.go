package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

func allTypes(t *testing.T, enabled ...string) driver.Types {
	t.Helper()
	return hardwareTypes(&Config{HardwareTypes: enabled, ImageDir: t.TempDir(), DeployTimeout: time.Minute},
		parts{machineURL: "http://192.0.2.1:6386"})
}

// What each hardware type is made of: for every interface the implementations by Ironic's names, the default first.
func TestWhatHardwareTypesAreMadeOf(t *testing.T) {
	want := map[string]map[node.Interface]string{
		"ipmi": {
			node.Power: "ipmitool", node.Management: "ipmitool", node.Boot: "ipxe pxe http-ipxe", node.Deploy: "direct ramdisk custom-agent iscsi",
			node.Inspect: "agent", node.Network: "noop flat", node.BIOS: "no-bios", node.Console: "no-console", node.Firmware: "no-firmware",
			node.RAID: "no-raid agent", node.RescueIf: "agent no-rescue", node.Storage: "noop", node.Vendor: "no-vendor",
		},
		"fake-hardware": {
			node.Power: "fake", node.Management: "fake", node.Boot: "fake ipxe pxe http-ipxe", node.Deploy: "fake direct ramdisk custom-agent iscsi",
			node.Inspect: "fake agent", node.Network: "noop flat fake", node.BIOS: "fake no-bios", node.Console: "fake no-console",
			node.Firmware: "fake no-firmware", node.RAID: "fake agent no-raid", node.RescueIf: "fake agent no-rescue", node.Storage: "noop",
			node.Vendor: "fake no-vendor",
		},
	}
	types := allTypes(t, "ipmi", "fake-hardware")
	for name, interfaces := range want {
		d, err := types.Describe(name)
		if err != nil {
			t.Fatal(err)
		}
		for iface, list := range interfaces {
			if got := strings.Join(d.Enabled[iface], " "); got != list {
				t.Errorf("%s %s: %s, want %s", name, iface, got, list)
			}
			if first, _, _ := strings.Cut(list, " "); d.Default[iface] != first {
				t.Errorf("%s %s: the default is %s, want %s", name, iface, d.Default[iface], first)
			}
		}
		if len(d.Enabled) != len(node.Interfaces) {
			t.Errorf("%s has the interfaces %v", name, d.Enabled)
		}
		for key, help := range d.Properties {
			if !strings.HasSuffix(help, ".") {
				t.Errorf("%s: the help of %s is no sentence: %q", name, key, help)
			}
		}
	}
	ipmi, err := types.Describe("ipmi")
	if err != nil || !strings.Contains(ipmi.Properties["ipmi_address"], "Required.") {
		t.Errorf("ipmi_address: %q, %v", ipmi.Properties["ipmi_address"], err)
	}
}

// Only the types that are enabled are there; the order is the table's, not the operator's.
func TestEnabledHardwareTypes(t *testing.T) {
	for _, tt := range []struct{ enabled, want string }{
		{"ipmi,fake-hardware", "ipmi fake-hardware"}, {"fake-hardware,ipmi", "ipmi fake-hardware"}, {"ipmi", "ipmi"},
		{"fake-hardware", "fake-hardware"}, {"none", ""},
	} {
		var names []string
		for _, ty := range allTypes(t, strings.Split(tt.enabled, ",")...) {
			names = append(names, ty.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.enabled, got, tt.want)
		}
	}
}

// Every pair of implementations of one type makes a node that resolves, and every step of every flow of theirs is named once for each
// interface: two steps of one name could not be told apart in a plan.
func TestEveryImplementationResolves(t *testing.T) {
	types := allTypes(t, "ipmi", "fake-hardware")
	for _, ty := range types {
		d, err := types.Describe(ty.Name)
		if err != nil {
			t.Fatal(err)
		}
		for iface, names := range d.Enabled {
			if !slices.Equal(names, slices.Compact(slices.Sorted(slices.Values(names)))) &&
				len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
				t.Errorf("%s %s has an implementation twice: %v", ty.Name, iface, names)
			}
			for _, name := range names {
				h, err := types.Resolve(&node.Node{Driver: ty.Name, Interfaces: map[node.Interface]string{iface: name}})
				if err != nil {
					t.Errorf("%s %s %s: %v", ty.Name, iface, name, err)
					continue
				}
				stepper, ok := h.Implementations()[iface].(driver.Stepper)
				if !ok {
					continue
				}
				seen := map[string]bool{}
				for _, s := range stepper.Steps() {
					for flow, priority := range s.Priority {
						key := string(flow) + " " + s.Name
						if seen[key] {
							t.Errorf("%s %s %s has the step %s twice", ty.Name, iface, name, key)
						}
						seen[key] = true
						if s.Frame && priority == 0 {
							t.Errorf("%s %s %s: the frame step %s would never run", ty.Name, iface, name, key)
						}
						if s.Frame && len(s.Args) > 0 {
							t.Errorf("%s %s %s: the frame step %s takes arguments that nobody can give", ty.Name, iface, name, key)
						}
					}
					if s.Run == nil {
						t.Errorf("%s %s %s: the step %s runs nothing", ty.Name, iface, name, s.Name)
					}
				}
			}
		}
	}
}

// An interface that a type does not have says so when it is asked, but for storage, where having none is how a node boots its own disk.
func TestAbsentInterfaces(t *testing.T) {
	for _, i := range node.Interfaces {
		a := absent{i}
		name, err := a.Name(), a.Validate(t.Context(), &driver.Task{Node: &node.Node{Driver: "ipmi"}})
		if i == node.Storage {
			if name != "noop" || err != nil {
				t.Errorf("storage is %s, %v", name, err)
			}
			continue
		}
		want := node.Unsupported("ipmi", string(i)).Error()
		if name != "no-"+string(i) || err == nil || err.Error() != want || node.KindOf(err) != node.Invalid || len(a.Properties()) != 0 {
			t.Errorf("%s is %s, %v", i, name, err)
		}
	}
}

// Software RAID is there for who asks, with what it can be asked for described.
func TestLogicalDiskProperties(t *testing.T) {
	types := allTypes(t, "ipmi", "fake-hardware")
	for _, ty := range types {
		if p, err := types.LogicalDiskProperties(ty.Name); err != nil || p["size_gb"] == "" {
			t.Errorf("%s: %v, %v", ty.Name, p, err)
		}
	}
}

// Every interface that a hardware type may do without has one implementation that is not there, no more.
func TestAbsentImplementations(t *testing.T) {
	for _, ty := range allTypes(t, "ipmi", "fake-hardware") {
		for iface, impls := range ty.Other {
			absent := 0
			for _, impl := range impls {
				if strings.HasPrefix(impl.Name(), "no-") || impl.Name() == "noop" {
					absent++
				}
			}
			if absent != 1 {
				t.Errorf("%s has %d implementations of %s that are not there", ty.Name, absent, iface)
			}
		}
	}
}

// An instance without an image whose first volume is elsewhere is refused with the volume's name; every other one boots from its disk.
func TestStorageBootsFromDisksOnly(t *testing.T) {
	volume := func(index int) node.VolumeTarget {
		return node.VolumeTarget{UUID: "t1", VolumeID: "vol-1", BootIndex: index}
	}
	for _, tt := range []struct {
		info    node.Document
		volumes []node.VolumeTarget
		refused bool
	}{
		{nil, nil, false},
		{nil, []node.VolumeTarget{volume(0)}, true},
		{nil, []node.VolumeTarget{volume(1), volume(0)}, true},
		{nil, []node.VolumeTarget{volume(1), volume(-1)}, false},
		{node.Document{"image_source": "http://images/x"}, []node.VolumeTarget{volume(0)}, false},
		{node.Document{"root_gb": "10"}, []node.VolumeTarget{volume(0)}, true},
	} {
		for _, ty := range allTypes(t, "ipmi", "fake-hardware", "manual-management") {
			storage := ty.Other[node.Storage][0]
			err := storage.Validate(t.Context(), &driver.Task{Node: &node.Node{UUID: "n", Driver: ty.Name, InstanceInfo: tt.info},
				VolumeTargets: tt.volumes})
			const want = "The instance of node n is to boot from volume vol-1: volume target t1 has boot index 0, and instance_info has no " +
				"image_source. The storage interface noop can not boot from volumes; name an image, or delete the volume target."
			if (err != nil) != tt.refused || err != nil && (err.Error() != want || node.KindOf(err) != node.Invalid) {
				t.Errorf("%s, %v with %v: %v", ty.Name, tt.info, tt.volumes, err)
			}
		}
	}
}
