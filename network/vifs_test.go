package network

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const (
	nodeA  = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	portA  = "d2b30520-907d-46c8-bfee-c5586e6fb3a1"
	portB  = "d2b30520-907d-46c8-bfee-c5586e6fb3a2"
	groupA = "6eb02b44-18a3-4659-8c0b-8d2802581ae1"
	groupB = "6eb02b44-18a3-4659-8c0b-8d2802581ae2"
)

func taskOf(ports []node.Port, groups []node.Portgroup) *driver.Task {
	return &driver.Task{Node: &node.Node{UUID: nodeA}, Ports: ports, Portgroups: groups}
}

// Where a virtual interface goes: portgroups first, those that boot first, and never to cables that another one uses.
func TestWhereAVirtualInterfaceGoes(t *testing.T) {
	vif := node.Document{node.VIFKey: "taken"}
	type ports = []node.Port
	type groups = []node.Portgroup
	whole := node.Portgroup{UUID: groupA}
	loose := node.Portgroup{UUID: groupA, StandalonePortsSupported: true}
	takenWhole, takenLoose := whole, loose
	takenWhole.InternalInfo, takenLoose.InternalInfo = vif, vif
	in := func(uuid, group string, pxe, taken bool) node.Port {
		p := node.Port{UUID: uuid, PortgroupUUID: group, PXEEnabled: pxe}
		if taken {
			p.InternalInfo = vif
		}
		return p
	}
	for _, tt := range []struct {
		name string
		ports
		groups
		want string
	}{
		{"nothing", nil, nil, ""},
		{"the one port", ports{in(portA, "", false, false)}, nil, "A"},
		{"a port that boots", ports{in(portA, "", false, false), in(portB, "", true, false)}, nil, "B A"},
		{"the oldest of equals", ports{in(portA, "", true, false), in(portB, "", true, false)}, nil, "A B"},
		{"a portgroup before a port that boots",
			ports{in(portA, "", true, false), in(portB, groupA, false, false)}, groups{loose}, "gA A B"},
		{"a portgroup without ports", ports{in(portA, "", true, false)}, groups{loose}, "A"},
		{"a portgroup that boots",
			ports{in(portA, groupB, false, false), in(portB, groupA, true, false)}, groups{{UUID: groupB}, loose}, "gA gB B"},
		{"ports of a portgroup that is whole", ports{in(portA, groupA, true, false), in(portB, "", false, false)}, groups{whole}, "gA B"},
		{"a portgroup that is taken", ports{in(portA, groupA, true, false)}, groups{takenLoose}, ""},
		{"a whole portgroup that is taken", ports{in(portA, groupA, true, false), in(portB, "", false, false)}, groups{takenWhole}, "B"},
		{"a portgroup of which a port is taken", ports{in(portA, groupA, true, true), in(portB, groupA, false, false)}, groups{loose}, "B"},
		{"a whole portgroup of which a port is taken", ports{in(portA, groupA, true, true), in(portB, groupA, false, false)}, groups{whole}, ""},
		{"a port of a portgroup that is gone", ports{in(portA, groupB, true, false)}, nil, "A"},
	} {
		var got []string
		for _, x := range free(taskOf(tt.ports, tt.groups)) {
			got = append(got, map[string]string{portA: "A", portB: "B", groupA: "gA", groupB: "gB"}[x.uuid])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

// Whatever ports, portgroups and attachments a node has: no cable gets two virtual interfaces, what is offered can be chosen,
// attaching as long as there is something free ends, and each interface is listed once.
func FuzzVirtualInterfaces(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x01\x82\x43", "\x11\x22\x33\x44\x55\x66\x77\x88\x99", "\xff\xfe\xfd\xfc\xfb"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := taskOf(nil, nil)
		for i, b := range data[:min(len(data), 40)] {
			info := node.Document{}
			if b&0x40 != 0 {
				info[node.VIFKey] = fmt.Sprint("old-", i)
			}
			if b&0x80 != 0 {
				p.Portgroups = append(p.Portgroups, node.Portgroup{UUID: fmt.Sprint("g", b&7), StandalonePortsSupported: b&8 != 0, InternalInfo: info})
				continue
			}
			port := node.Port{UUID: fmt.Sprint("p", i), PXEEnabled: b&8 != 0, InternalInfo: info}
			if b&0x20 != 0 {
				port.PortgroupUUID = fmt.Sprint("g", b&7)
			}
			p.Ports = append(p.Ports, port)
		}
		// Portgroups of one UUID are one.
		slices.SortFunc(p.Portgroups, func(a, b node.Portgroup) int { return strings.Compare(a.UUID, b.UUID) })
		p.Portgroups = slices.CompactFunc(p.Portgroups, func(a, b node.Portgroup) bool { return a.UUID == b.UUID })
		before := conflicts(p)
		for i := 0; ; i++ {
			have := free(p)
			if i > len(data)+1 {
				t.Fatalf("attached %d to %d records, and %v are free still", i, len(data), have)
			}
			id := fmt.Sprint("new-", i)
			at, err := choose(p, id, place{}, "")
			if (err == nil) != (len(have) > 0) || err == nil && at != have[0] {
				t.Fatalf("%v are free, chosen is %v: %v", have, at, err)
			}
			if err != nil {
				break
			}
			for _, x := range have {
				if got, err := choose(p, "another", x, ""); err != nil || got != x {
					t.Fatalf("%v is free and can not be chosen: %v, %v", x, got, err)
				}
			}
			if err := (Flat{}).AttachVIF(t.Context(), p, node.VIF{ID: id}); err != nil || taken(p)[id] != at {
				t.Fatalf("%s is to go to %v and is at %v: %v", id, at, taken(p)[id], err)
			}
			if err := (Flat{}).AttachVIF(t.Context(), p, node.VIF{ID: id}); node.KindOf(err) != node.Conflict {
				t.Fatalf("attached twice: %v", err)
			}
		}
		if after := conflicts(p); after != before {
			t.Errorf("%d cables had two virtual interfaces, now %d have", before, after)
		}
	})
}

// conflicts counts ports with a virtual interface whose portgroup has one too.
func conflicts(p *driver.Task) (count int) {
	attached := map[string]bool{}
	for _, g := range p.Portgroups {
		attached[g.UUID] = g.InternalInfo.String(node.VIFKey) != ""
	}
	for _, port := range p.Ports {
		if port.InternalInfo.String(node.VIFKey) != "" && attached[port.PortgroupUUID] {
			count++
		}
	}
	return count
}

// Detaching takes what is there, from ports and portgroups, and leaves the rest of their notes; noop accepts everything
// that can be meant.
func TestAttachingAndDetaching(t *testing.T) {
	ask := func(n driver.Network, p *driver.Task, vif node.VIF) string {
		if err := n.AttachVIF(t.Context(), p, vif); err != nil {
			return err.Error()
		}
		return ""
	}
	keep := node.Document{"keep": "this"}
	p := taskOf([]node.Port{{UUID: portA, InternalInfo: keep}, {UUID: portB, PortgroupUUID: groupA}}, []node.Portgroup{{UUID: groupA}})
	for _, vif := range []node.VIF{{ID: "a"}, {ID: "b", PortUUID: portA}} {
		if refused := ask(Flat{}, p, vif); refused != "" {
			t.Error(refused)
		}
	}
	if got := node.VIFs(p.Ports, p.Portgroups); !slices.Equal(got, []string{"b", "a"}) || len(keep) != 1 {
		t.Errorf("attached are %v; %v", got, keep)
	}
	for _, n := range []driver.Network{Flat{}, Noop{}} {
		for want, vif := range map[string]node.VIF{
			"Port " + groupA + " is not a port of node " + nodeA + ".":          {ID: "x", PortUUID: groupA},
			"Portgroup " + portA + " is not a portgroup of node " + nodeA + ".": {ID: "x", PortgroupUUID: portA},
		} {
			if got := ask(n, p, vif); got != want {
				t.Errorf("%s: %s", n.Name(), got)
			}
		}
	}
	if refused := ask(Noop{}, p, node.VIF{ID: "a"}); refused != "" || len(node.VIFs(p.Ports, p.Portgroups)) != 2 {
		t.Errorf("noop: %s", refused)
	}
	if err := (Noop{}).DetachVIF(t.Context(), p, "a"); err != nil || !slices.Equal(node.VIFs(p.Ports, p.Portgroups), []string{"b"}) {
		t.Errorf("noop leaves %v: %v", node.VIFs(p.Ports, p.Portgroups), err)
	}
	err := (Flat{}).DetachVIF(t.Context(), p, "b")
	if left := p.Ports[0].InternalInfo; err != nil || left["keep"] != "this" || len(left) != 1 {
		t.Errorf("%v: %v", left, err)
	}
	for n, want := range map[driver.Network]string{Flat{}: "VIF b is not attached to node " + nodeA, Noop{}: ""} {
		if err := n.DetachVIF(t.Context(), p, "b"); fmt.Sprint(err) != cmp.Or(want, "<nil>") {
			t.Errorf("%s: %v", n.Name(), err)
		}
	}
}
