package ipmi

import (
	"slices"
	"testing"

	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

func TestBootModeDecidesTheEFIFlag(t *testing.T) {
	for _, tt := range []struct {
		name string
		node node.Node
		want bool
	}{
		{"unknown", node.Node{}, true},
		{"seen in BIOS mode", node.Node{BootMode: "bios"}, false},
		{"seen in UEFI mode", node.Node{BootMode: "uefi"}, true},
		{"asked for by capability", node.Node{BootMode: "bios", Properties: node.Document{"capabilities": "boot_mode:uefi"}}, true},
		{"in capitals", node.Node{Properties: node.Document{"capabilities": "boot_mode:BIOS"}}, false},
		{"for Secure Boot", node.Node{BootMode: "bios", InstanceInfo: node.Document{"capabilities": "secure_boot:true"}}, true},
		{"a mode that is none", node.Node{BootMode: "uefi", Properties: node.Document{"capabilities": "boot_mode:efi"}}, true},
		{"BIOS by capability", node.Node{Properties: node.Document{"capabilities": "cpu_vt:true,boot_mode:bios"}}, false},
	} {
		m := &machine{}
		task := task(start(t, &bmc.Server{Machine: m}))
		task.Node.BootMode, task.Node.Properties, task.Node.InstanceInfo = tt.node.BootMode, tt.node.Properties, tt.node.InstanceInfo
		_, management := New(quick)
		if err := management.SetBootDevice(t.Context(), task, node.BootDevice{Device: "pxe"}); err != nil {
			t.Fatal(err)
		}
		if got, want := m.BootDevice(), (bmc.BootDevice{Device: "pxe", UEFI: tt.want}); got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

func TestNoOverrideIsNoDevice(t *testing.T) {
	_, management := New(quick)
	d, err := management.BootDevice(t.Context(), task(start(t, &bmc.Server{})))
	if err != nil || d != (node.BootDevice{}) {
		t.Errorf("%+v, %v, want none", d, err)
	}
}

func TestUnknownBootDevice(t *testing.T) {
	_, management := New(quick)
	err := management.SetBootDevice(t.Context(), task(start(t, &bmc.Server{})), node.BootDevice{Device: "floppy"})
	const want = `Invalid boot device "floppy"; allowed: bios, cdrom, disk, pxe, safe.`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// With ipmi_force_boot_device a BMC that forgets is told again at each start, but never over a
// device for one boot.
func TestForceBootDevice(t *testing.T) {
	m := &machine{}
	task := task(with(start(t, &bmc.Server{Machine: m}), "ipmi_force_boot_device", true))
	power, management := New(quick)
	task.Node.BootMode = "bios"
	set := func(d node.BootDevice) {
		t.Helper()
		if err := management.SetBootDevice(t.Context(), task, d); err != nil {
			t.Fatal(err)
		}
	}
	forget := func() { m.SetBootDevice(bmc.BootDevice{}) }
	reboot := func() {
		t.Helper()
		if err := power.SetPowerState(t.Context(), task, node.Rebooting); err != nil {
			t.Fatal(err)
		}
	}
	set(node.BootDevice{Device: "disk", Persistent: true})
	forget()
	reboot()
	set(node.BootDevice{Device: "pxe"})
	if d, err := management.BootDevice(t.Context(), task); err != nil || d != (node.BootDevice{Device: "pxe"}) {
		t.Errorf("boot device %+v, %v", d, err)
	}
	reboot()
	forget()
	reboot()
	disk := bmc.BootDevice{Device: "disk", Persistent: true}
	if want := []bmc.BootDevice{disk, {Device: "pxe"}, disk}; !slices.Equal(m.bootedFrom(), want) {
		t.Errorf("started from %+v, want %+v", m.bootedFrom(), want)
	}
	forget()
	if d, err := management.BootDevice(t.Context(), task); err != nil || d != (node.BootDevice{Device: "disk", Persistent: true}) {
		t.Errorf("boot device %+v, %v, want what will be set", d, err)
	}
}

func TestWithoutForceNothingIsRemembered(t *testing.T) {
	task := task(start(t, &bmc.Server{}))
	_, management := New(quick)
	if err := management.SetBootDevice(t.Context(), task, node.BootDevice{Device: "disk", Persistent: true}); err != nil {
		t.Fatal(err)
	}
	if len(task.Node.DriverInternalInfo) != 0 {
		t.Errorf("driver_internal_info %v", task.Node.DriverInternalInfo)
	}
}

// A running machine is interrupted and stays on; one that is off is not, and a BMC that is dead says so.
func TestInjectNMI(t *testing.T) {
	m := &machine{on: true}
	server := &bmc.Server{Machine: m}
	task := task(start(t, server))
	_, management := New(quick)
	if err := management.InjectNMI(t.Context(), task); err != nil || !slices.Equal(m.actions, []bmc.Action{bmc.NMI}) || !m.PoweredOn() {
		t.Errorf("%v, the machine got %v", err, m.actions)
	}
	m.on = false
	if err := management.InjectNMI(t.Context(), task); err == nil || len(m.actions) != 1 {
		t.Errorf("a machine that is off: %v, it got %v", err, m.actions)
	}
	server.SetFaults(bmc.Faults{Dead: true})
	if err := management.InjectNMI(t.Context(), task); err == nil {
		t.Error("a dead BMC: no error")
	}
	task.Node.DriverInfo = node.Document{}
	if err := management.InjectNMI(t.Context(), task); node.KindOf(err) != node.Invalid {
		t.Errorf("without an address: %v", err)
	}
}
