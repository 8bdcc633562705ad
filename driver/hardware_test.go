package driver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// named is a fake interface by another name.
type named struct {
	fake.Power
	name string
	err  error
	got  *node.PowerState
}

func (n named) Name() string { return n.name }
func (n named) Properties() map[string]string {
	return map[string]string{n.name + "_address": "Where. Required."}
}
func (n named) SetPowerState(_ context.Context, _ *driver.Task, target node.PowerState) error {
	*n.got = target
	return n.err
}

func types() driver.Types {
	return driver.Types{
		{Name: "one", Power: []driver.Power{named{name: "a"}, named{name: "b"}}, Management: []driver.Management{fake.NewManagement()},
			Boot: []driver.Boot{fake.NewBoot()}, Deploy: []driver.Deploy{fake.NewDeploy()}, Inspect: []driver.Inspect{fake.NewInspect()},
			Network: []driver.Network{fake.NewNetwork()},
			Other:   map[node.Interface][]driver.Implementation{node.RAID: {fake.NewOther(node.RAID)}}},
		{Name: "hollow", Power: []driver.Power{named{name: "a"}}},
	}
}

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		name   string
		node   node.Node
		power  string
		kind   node.Kind
		reason string
	}{
		{name: "defaults", node: node.Node{Driver: "one"}, power: "a"},
		{name: "its choice", node: node.Node{Driver: "one", Interfaces: map[node.Interface]string{node.Power: "b"}}, power: "b"},
		{name: "unknown type", node: node.Node{Driver: "two"}, kind: node.NotFound,
			reason: "Could not find the following driver(s) or hardware type(s): two."},
		{name: "unknown implementation", node: node.Node{Driver: "one", Interfaces: map[node.Interface]string{node.Power: "c"}},
			kind:   node.Invalid,
			reason: `Could not find the following interface in the hardware type one: power_interface "c". Valid interfaces are: a, b.`},
		{name: "unknown other implementation", node: node.Node{Driver: "one", Interfaces: map[node.Interface]string{node.RAID: "c"}},
			kind:   node.Invalid,
			reason: `Could not find the following interface in the hardware type one: raid_interface "c". Valid interfaces are: fake.`},
		{name: "an interface the type does not have", node: node.Node{Driver: "one", Interfaces: map[node.Interface]string{node.BIOS: "c"}},
			kind:   node.Invalid,
			reason: `The hardware type one has no bios interface, so bios_interface can not be "c".`},
		{name: "a type without one", node: node.Node{Driver: "hollow"}, kind: node.Invalid,
			reason: "The hardware type hollow has no management interface."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := types().Resolve(&tt.node)
			if tt.reason != "" {
				if err == nil || err.Error() != tt.reason || node.KindOf(err) != tt.kind {
					t.Errorf("got %v (kind %v)\nwant %s", err, node.KindOf(err), tt.reason)
				}
				return
			}
			if err != nil || h.Power.Name() != tt.power || h.Type != "one" {
				t.Fatalf("%+v, %v", h, err)
			}
			want := map[node.Interface]string{node.Power: tt.power, node.Management: "fake", node.Boot: "fake", node.Deploy: "fake",
				node.Inspect: "fake", node.Network: "fake", node.RAID: "fake"}
			if fmt.Sprint(h.Names()) != fmt.Sprint(want) {
				t.Errorf("names %v, want %v", h.Names(), want)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	d, err := types().Describe("one")
	if err != nil || d.Name != "one" || d.Type != "dynamic" || d.Default[node.Power] != "a" || fmt.Sprint(d.Enabled[node.Power]) != "[a b]" {
		t.Errorf("%+v, %v", d, err)
	}
	for _, key := range []string{"a_address", "b_address", "fake_deploy_delay", "fake_raid_fail"} {
		if d.Properties[key] == "" {
			t.Errorf("no help for %s", key)
		}
	}
	if _, err := types().Describe("two"); node.KindOf(err) != node.NotFound {
		t.Errorf("an unknown type: %v", err)
	}
}

func TestSetPowerKeepsThePowerState(t *testing.T) {
	for _, tt := range []struct {
		target, before, want node.PowerState
		err                  error
	}{
		{node.PowerOn, node.PowerOff, node.PowerOn, nil},
		{node.PowerOff, node.PowerOn, node.PowerOff, nil},
		{node.Rebooting, node.PowerOff, node.PowerOn, nil},
		{node.SoftRebooting, node.PowerUnknown, node.PowerOn, nil},
		{node.SoftPowerOff, node.PowerOn, node.PowerOff, nil},
		{node.PowerOff, node.PowerOn, node.PowerOn, errors.New("no")},
	} {
		var got node.PowerState
		task := &driver.Task{Node: &node.Node{Power: tt.before}, Hardware: &driver.Hardware{Power: named{err: tt.err, got: &got}}}
		if err := task.SetPower(t.Context(), tt.target); !errors.Is(err, tt.err) || got != tt.target || task.Node.Power != tt.want {
			t.Errorf("%s: %v, asked %q, power %q", tt.target, err, got, task.Node.Power)
		}
	}
}

func TestResults(t *testing.T) {
	if driver.Done().Waiting() {
		t.Error("done waits")
	}
	if r := driver.Wait(node.Await{For: node.Pause, Text: "rain"}, time.Minute); !r.Waiting() ||
		r.WaitFor.Text != "rain" || r.Within != time.Minute {
		t.Errorf("%+v", r)
	}
}
