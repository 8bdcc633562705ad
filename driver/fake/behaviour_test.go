package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// calls are what conductors ask of each fake interface that is called directly.
var calls = map[string]struct {
	iface node.Interface
	do    func(context.Context, *driver.Task) error
}{
	"read power": {node.Power, func(ctx context.Context, t *driver.Task) error {
		_, err := NewPower().PowerState(ctx, t)
		return err
	}},
	"switch on": {node.Power, func(ctx context.Context, t *driver.Task) error { return NewPower().SetPowerState(ctx, t, node.PowerOn) }},
	"switch off softly": {node.Power, func(ctx context.Context, t *driver.Task) error {
		return NewPower().SetPowerState(ctx, t, node.SoftPowerOff)
	}},
	"read the boot device": {node.Management, func(ctx context.Context, t *driver.Task) error {
		_, err := NewManagement().BootDevice(ctx, t)
		return err
	}},
	"set the boot device": {node.Management, func(ctx context.Context, t *driver.Task) error {
		return NewManagement().SetBootDevice(ctx, t, node.BootDevice{Device: "disk"})
	}},
	"prepare the ramdisk":  {node.Boot, func(ctx context.Context, t *driver.Task) error { return NewBoot().PrepareRamdisk(ctx, t, nil) }},
	"prepare the instance": {node.Boot, func(ctx context.Context, t *driver.Task) error { return NewBoot().PrepareInstance(ctx, t) }},
	"connect": {node.Network, func(ctx context.Context, t *driver.Task) error {
		return NewNetwork().Connect(ctx, t, driver.TenantNetwork)
	}},
}

// Each call takes as long as driver_info says, fails with what it says, and ends when its caller's time is up; another interface's keys
// are nothing to it.
func TestEveryCallIsSlowOrBrokenOnRequest(t *testing.T) {
	for what, c := range calls {
		delayKey, failKey := "fake_"+string(c.iface)+"_delay", "fake_"+string(c.iface)+"_fail"
		other := "fake_deploy"
		for _, tt := range []struct {
			info  node.Document
			limit time.Duration
			took  time.Duration
			want  string
		}{
			{node.Document{}, time.Minute, 0, ""},
			{node.Document{delayKey: 5.0}, time.Minute, 5 * time.Second, ""},
			{node.Document{delayKey: "1500ms"}, time.Minute, 1500 * time.Millisecond, ""},
			{node.Document{delayKey: "24h"}, time.Minute, time.Minute, "the fake " + string(c.iface) +
				" interface was still busy when its time was up: context deadline exceeded"},
			{node.Document{delayKey: "soon"}, time.Minute, 0, "driver_info/" + delayKey +
				` must be seconds from 0 to 86400, or a text such as "250ms".`},
			{node.Document{failKey: "worn out"}, time.Minute, 0, "worn out"},
			{node.Document{failKey: "worn out", delayKey: 5.0}, time.Minute, 0, "worn out"},
			{node.Document{failKey: ""}, time.Minute, 0, ""},
			{node.Document{failKey: true}, time.Minute, 0, ""}, // no text, no failure
			{node.Document{other + "_fail": "not mine", other + "_delay": 5.0}, time.Minute, 0, ""},
		} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				began, tk := time.Now(), task(tt.info)
				err := c.do(ctx, tk)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tt.want || time.Since(began) != tt.took {
					t.Errorf("%s with %v: %q after %s, want %q after %s", what, tt.info, got, time.Since(began), tt.want, tt.took)
				}
				if _, ok := errors.AsType[*node.Err](err); err != nil && !ok {
					t.Errorf("%s: %T is no error for people", what, err)
				}
				if err != nil && (tk.Node.Power != "" || len(tk.Node.DriverInternalInfo) > 0) {
					t.Errorf("%s failed and did it all the same: power %q, %v", what, tk.Node.Power, tk.Node.DriverInternalInfo)
				}
			})
		}
	}
}

// Every key that a node can set is told with its help, and every interface checks its own.
func TestKeysOfEveryInterface(t *testing.T) {
	impls := map[node.Interface]driver.Implementation{
		node.Power: NewPower(), node.Management: NewManagement(), node.Boot: NewBoot(), node.Deploy: NewDeploy(), node.Inspect: NewInspect(),
		node.Network: NewNetwork(),
	}
	for _, i := range []node.Interface{node.BIOS, node.Console, node.Firmware, node.RAID, node.RescueIf, node.Storage, node.Vendor} {
		impls[i] = NewOther(i)
	}
	if len(impls) != len(node.Interfaces) {
		t.Errorf("%d interfaces are tried, there are %d", len(impls), len(node.Interfaces))
	}
	for iface, impl := range impls {
		delayKey := "fake_" + string(iface) + "_delay"
		if impl.Name() != "fake" || len(impl.Properties()) != 2 || impl.Properties()[delayKey] == "" ||
			impl.Properties()["fake_"+string(iface)+"_fail"] == "" {
			t.Errorf("%s: %s %v", iface, impl.Name(), impl.Properties())
		}
		for _, tt := range []struct {
			key string
			bad bool
		}{
			{delayKey, true}, {"fake_other_delay", iface == node.Deploy}, {"other_delay", false}, {"fake_" + string(iface) + "_fail", false},
		} {
			err := impl.Validate(t.Context(), task(node.Document{tt.key: "soon"}))
			if (err != nil) != tt.bad || err != nil && node.KindOf(err) != node.Invalid {
				t.Errorf("%s with %s: %v", iface, tt.key, err)
			}
		}
	}
}

// The power state over every target from every state: what the machine then says it is.
func TestPowerFromEveryState(t *testing.T) {
	for _, before := range []node.PowerState{node.PowerUnknown, node.PowerOn, node.PowerOff, node.PowerError} {
		for target, want := range map[node.PowerState]node.PowerState{
			node.PowerOn: node.PowerOn, node.PowerOff: node.PowerOff, node.Rebooting: node.PowerOn, node.SoftRebooting: node.PowerOn,
			node.SoftPowerOff: node.PowerOff,
		} {
			tk := task(node.Document{})
			tk.Node.Power = before
			if err := NewPower().SetPowerState(t.Context(), tk, target); err != nil || tk.Node.Power != want {
				t.Errorf("%q from %q: %q, %v", target, before, tk.Node.Power, err)
			}
			if got, err := NewPower().PowerState(t.Context(), tk); err != nil || got != want {
				t.Errorf("read after %q: %q, %v", target, got, err)
			}
		}
		for _, odd := range []node.PowerState{"", "sideways", "error", "POWER ON"} {
			tk := task(node.Document{"fake_power_delay": "1h"}) // refused before it takes its time
			tk.Node.Power = before
			err := NewPower().SetPowerState(t.Context(), tk, odd)
			want := fmt.Sprintf("the fake power interface cannot go to %q; it knows power on, power off, rebooting, soft power off and soft "+
				"rebooting.", odd)
			if err == nil || err.Error() != want || tk.Node.Power != before {
				t.Errorf("%q: %v, power %q", odd, err, tk.Node.Power)
			}
		}
	}
}

// The steps have the names and the order of a real deploy interface's, so that plans and tests of one fit the other.
func TestTheStepsAreThoseOfARealInterface(t *testing.T) {
	want := map[node.Flow][]string{
		node.FlowDeploy: {"deploy 100", "write_image 80", "prepare_instance_boot 60", "tear_down_agent 40", "switch_to_tenant_network 30",
			"boot_instance 20"},
		node.FlowClean: {"prepare_cleaning 1000", "erase_devices_metadata 99", "erase_devices 10", "erase_devices_express 0",
			"tear_down_cleaning -1000"},
		node.FlowDelete:  {"tear_down 100"},
		node.FlowAdopt:   {"adopt 100"},
		node.FlowService: {"prepare_service 1000", "tear_down_service -1000"},
	}
	got := map[node.Flow][]string{}
	for _, s := range NewDeploy().Steps() {
		if len(s.Priority) != 1 || s.Run == nil || s.Poll == nil {
			t.Errorf("%s: priorities %v, or nothing to run or to ask", s.Name, s.Priority)
		}
		for flow, p := range s.Priority {
			got[flow] = append(got[flow], fmt.Sprint(s.Name, " ", p))
		}
	}
	for flow, steps := range want {
		if !slices.Equal(got[flow], steps) {
			t.Errorf("%s: %q, want %q", flow, got[flow], steps)
		}
	}
	if len(got) != len(want) {
		t.Errorf("steps of the flows %v", got)
	}
}

// A machine that reports itself to the fake inspection: its inventory is kept as it is, its own error fails.
func TestInspectedTakesAReport(t *testing.T) {
	found, err := NewInspect().Inspected(t.Context(), task(node.Document{}), node.InspectionData{Inventory: node.Document{"cpu": "4"},
		PluginData: node.Document{"root_disk": "vda"}})
	if err != nil || len(found.Ports) != 0 || len(found.Gone) != 0 || found.Inventory.Inventory["cpu"] != "4" ||
		found.Inventory.PluginData["root_disk"] != "vda" {
		t.Errorf("%+v, %v", found, err)
	}
	_, err = NewInspect().Inspected(t.Context(), task(node.Document{}), node.InspectionData{Error: "no disks"})
	if err == nil || err.Error() != "the machine reported: no disks" || node.KindOf(err) != node.Invalid {
		t.Errorf("%v", err)
	}
}
