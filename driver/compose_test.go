package driver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// impl is an implementation of any interface by any name.
type impl struct {
	fake.Power
	fake.Boot
	name  string
	props map[string]string
}

func (i impl) Name() string                                                        { return i.name }
func (i impl) Properties() map[string]string                                       { return i.props }
func (impl) Validate(context.Context, *driver.Task) error                          { return nil }
func (impl) BootDevices() []string                                                 { return nil }
func (impl) Steps() []driver.Step                                                  { return nil }
func (impl) TidyUp(context.Context, *driver.Task) error                            { return nil }
func (impl) Connect(context.Context, *driver.Task, driver.NetworkPurpose) error    { return nil }
func (impl) Disconnect(context.Context, *driver.Task, driver.NetworkPurpose) error { return nil }
func (impl) AttachVIF(context.Context, *driver.Task, node.VIF) error               { return nil }
func (impl) DetachVIF(context.Context, *driver.Task, string) error                 { return nil }
func (impl) BootDevice(context.Context, *driver.Task) (node.BootDevice, error) {
	return node.BootDevice{}, nil
}
func (impl) SetBootDevice(context.Context, *driver.Task, node.BootDevice) error { return nil }

// fullType has two implementations of every interface, the first the default.
func fullType() driver.Type {
	one := func(i node.Interface) impl {
		return impl{name: "first-" + string(i), props: map[string]string{string(i) + "_key": "Of the first.", "shared": "From " + string(i) +
			"."}}
	}
	two := func(i node.Interface) impl {
		return impl{name: "second-" + string(i), props: map[string]string{string(i) + "_more": "Of the second."}}
	}
	ty := driver.Type{
		Name:       "full",
		Power:      []driver.Power{one(node.Power), two(node.Power)},
		Management: []driver.Management{one(node.Management), two(node.Management)},
		Boot:       []driver.Boot{one(node.Boot), two(node.Boot)},
		Deploy:     []driver.Deploy{one(node.Deploy), two(node.Deploy)},
		Inspect:    []driver.Inspect{one(node.Inspect), two(node.Inspect)},
		Network:    []driver.Network{one(node.Network), two(node.Network)},
		Other:      map[node.Interface][]driver.Implementation{},
	}
	for _, i := range []node.Interface{node.BIOS, node.Console, node.Firmware, node.RAID, node.RescueIf, node.Storage, node.Vendor} {
		ty.Other[i] = []driver.Implementation{one(i), two(i)}
	}
	return ty
}

// Of every interface a node gets the type's first, the one it names, or an error that says which there are; what it names for one
// interface changes no other.
func TestEveryInterfaceIsChosen(t *testing.T) {
	types := driver.Types{fullType()}
	for _, iface := range node.Interfaces {
		for _, tt := range []struct{ named, want string }{
			{"", "first-" + string(iface)},
			{"first-" + string(iface), "first-" + string(iface)},
			{"second-" + string(iface), "second-" + string(iface)},
		} {
			h, err := types.Resolve(&node.Node{Driver: "full", Interfaces: map[node.Interface]string{iface: tt.named}})
			if err != nil {
				t.Errorf("%s %q: %v", iface, tt.named, err)
				continue
			}
			names := h.Names()
			if names[iface] != tt.want || h.Implementations()[iface].Name() != tt.want {
				t.Errorf("%s %q: %s, want %s", iface, tt.named, names[iface], tt.want)
			}
			for _, other := range node.Interfaces {
				if other != iface && names[other] != "first-"+string(other) {
					t.Errorf("%s %q changed %s to %s", iface, tt.named, other, names[other])
				}
			}
			if len(names) != len(node.Interfaces) {
				t.Errorf("%d interfaces, want %d", len(names), len(node.Interfaces))
			}
		}
		for _, wrong := range []string{"third", "First-" + string(iface), "first-" + string(iface) + " ", "first-other"} {
			_, err := types.Resolve(&node.Node{Driver: "full", Interfaces: map[node.Interface]string{iface: wrong}})
			want := fmt.Sprintf("Could not find the following interface in the hardware type full: %s_interface %q. Valid interfaces are: "+
				"first-%s, second-%s.", iface, wrong, iface, iface)
			if err == nil || err.Error() != want || node.KindOf(err) != node.Invalid {
				t.Errorf("%s %q: %v, want %s", iface, wrong, err, want)
			}
		}
	}
}

// Several wrong names are told one at a time, and always the same one first.
func TestTheFirstOfSeveralWrongNames(t *testing.T) {
	types := driver.Types{fullType()}
	wrong := map[node.Interface]string{}
	for _, iface := range node.Interfaces {
		wrong[iface] = "odd"
	}
	n := &node.Node{Driver: "full", Interfaces: wrong}
	var said []string
	for len(wrong) > 0 {
		_, err := types.Resolve(n)
		if err == nil {
			t.Fatal("wrong names were taken")
		}
		for range 10 {
			if _, again := types.Resolve(n); again == nil || again.Error() != err.Error() {
				t.Fatalf("%v, then %v", err, again)
			}
		}
		_, rest, _ := strings.Cut(err.Error(), "full: ")
		iface, _, _ := strings.Cut(rest, "_interface")
		said = append(said, iface)
		delete(wrong, node.Interface(iface))
	}
	slices.Sort(said)
	var all []string
	for _, i := range node.Interfaces {
		all = append(all, string(i))
	}
	slices.Sort(all)
	if !slices.Equal(said, all) {
		t.Errorf("told were %v, want %v", said, all)
	}
}

// A type that lacks an interface that every machine needs is no use, and says which it lacks; one that lacks another serves nodes that do
// not ask for it.
func TestTypesThatLackAnInterface(t *testing.T) {
	for _, iface := range node.Interfaces {
		ty := fullType()
		needed := true
		switch iface {
		case node.Power:
			ty.Power = nil
		case node.Management:
			ty.Management = nil
		case node.Boot:
			ty.Boot = nil
		case node.Deploy:
			ty.Deploy = nil
		case node.Inspect:
			ty.Inspect = nil
		case node.Network:
			ty.Network = nil
		default:
			needed = false
			delete(ty.Other, iface)
		}
		types := driver.Types{ty}
		h, err := types.Resolve(&node.Node{Driver: "full"})
		if needed {
			if want := fmt.Sprintf("The hardware type full has no %s interface.", iface); err == nil || err.Error() != want ||
				node.KindOf(err) != node.Invalid {
				t.Errorf("without %s: %v, want %s", iface, err, want)
			}
			continue
		}
		if err != nil || h.Names()[iface] != "" || h.Implementations()[iface] != nil {
			t.Errorf("without %s: %v, %v", iface, err, h)
		}
		_, err = types.Resolve(&node.Node{Driver: "full", Interfaces: map[node.Interface]string{iface: "first-" + string(iface)}})
		if want := fmt.Sprintf("The hardware type full has no %s interface, so %s_interface can not be %q.", iface, iface,
			"first-"+string(iface)); err == nil || err.Error() != want || node.KindOf(err) != node.Invalid {
			t.Errorf("named without %s: %v, want %s", iface, err, want)
		}
	}
}

// What the API tells of a type: the default and all of every interface in the type's order, and the help of every key of driver_info.
func TestATypesDescription(t *testing.T) {
	d, err := driver.Types{fullType(), {Name: "hollow"}}.Describe("full")
	if err != nil {
		t.Fatal(err)
	}
	for _, iface := range node.Interfaces {
		first, second := "first-"+string(iface), "second-"+string(iface)
		if d.Default[iface] != first || !slices.Equal(d.Enabled[iface], []string{first, second}) {
			t.Errorf("%s: default %q, enabled %v", iface, d.Default[iface], d.Enabled[iface])
		}
		if d.Properties[string(iface)+"_key"] == "" || d.Properties[string(iface)+"_more"] == "" {
			t.Errorf("no help for the keys of %s: %v", iface, d.Properties)
		}
	}
	if len(d.Default) != len(node.Interfaces) || len(d.Properties) != 2*len(node.Interfaces)+1 {
		t.Errorf("%d defaults and %d keys", len(d.Default), len(d.Properties))
	}
	hollow, err := driver.Types{fullType(), {Name: "hollow"}}.Describe("hollow")
	if err != nil || len(hollow.Default) != 0 || hollow.Properties == nil || hollow.Name != "hollow" {
		t.Errorf("%+v, %v", hollow, err)
	}
	for _, name := range []string{"", "Full", "full ", "none"} {
		_, err := driver.Types{fullType()}.Describe(name)
		if want := "Could not find the following driver(s) or hardware type(s): " + name + "."; err == nil || err.Error() != want ||
			node.KindOf(err) != node.NotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}
