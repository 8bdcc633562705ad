package conductor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/billet-metal/billet/node"
)

const open = "; allowed are the states enroll, inspecting, inspect wait, manageable, available, or any in maintenance."

func TestUpdateRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  node.State
		before func(*node.Node)
		opts   node.UpdateOptions
		change func(*node.Node)
		kind   node.Kind
		want   string // "" means accepted
	}{
		{name: "a plain field", state: node.Active, change: func(n *node.Node) { n.Description = "x" }},
		{name: "on its way", state: node.CleanWait, before: func(n *node.Node) {
			n.TargetState = node.Available
		}, change: func(n *node.Node) { n.Description = "x" }, kind: node.Conflict,
			want: "Node " + uuid1 + " can not be updated while a state transition is in progress."},
		{name: "on its way, whatever runs", state: node.CleanWait, opts: node.UpdateOptions{AnyState: true},
			before: func(n *node.Node) { n.TargetState = node.Available }, change: func(n *node.Node) { n.Maintenance = true }},
		{name: "on its way, removing the instance in maintenance", state: node.CleanWait, opts: node.UpdateOptions{OnlyRemovesInstance: true},
			before: func(n *node.Node) {
				n.TargetState, n.Maintenance, n.InstanceUUID = node.Available, true, "i"
			}, change: func(n *node.Node) { n.InstanceUUID = "" }},
		{name: "failed", state: node.DeployFailed, before: func(n *node.Node) { n.TargetState = node.Active },
			change: func(n *node.Node) { n.Description = "x" }},
		{name: "inspecting, for a client that knows inspect wait", state: node.Inspecting, opts: node.UpdateOptions{KnowsInspectWait: true},
			change: func(n *node.Node) {
				n.Description = "x"
			}, kind: node.Conflict,
			want: `Cannot update node "` + uuid1 + `" in state "inspecting".`},
		{name: "inspecting, for an older client", state: node.Inspecting, change: func(n *node.Node) { n.Description = "x" }},
		{name: "driver with a console", state: node.Manageable, before: func(n *node.Node) {
			n.ConsoleEnabled = true
		}, change: func(n *node.Node) { n.Driver = "test" }, kind: node.Conflict,
			want: "Node " + uuid1 + " can not change its driver while its console is enabled; stop the console first."},
		{name: "driver of an active node", state: node.Active, change: func(n *node.Node) { n.Driver = "test" }, kind: node.Conflict,
			want: "The driver of node " + uuid1 + ` can not be changed in state "active"` + open},
		{name: "interface of an active node", state: node.Active, change: func(n *node.Node) {
			n.Interfaces[node.Deploy] = "other"
		}, kind: node.Conflict,
			want: "The interfaces of node " + uuid1 + ` can not be changed in state "active"` + open},
		{name: "resource class of an active node", state: node.Active, before: func(n *node.Node) {
			n.ResourceClass = "a"
		}, change: func(n *node.Node) { n.ResourceClass = "b" }, kind: node.Conflict,
			want: "The resource_class of node " + uuid1 + ` can not be changed in state "active"` + open},
		{name: "first resource class of an active node", state: node.Active, change: func(n *node.Node) { n.ResourceClass = "b" }},
		{name: "resource class in maintenance", state: node.Active, before: func(n *node.Node) { n.ResourceClass, n.Maintenance = "a", true },
			change: func(n *node.Node) { n.ResourceClass = "b" }},
		{name: "another instance", state: node.Available, before: func(n *node.Node) {
			n.InstanceUUID = "one"
		}, change: func(n *node.Node) { n.InstanceUUID = "two" }, kind: node.Conflict,
			want: "Node " + uuid1 + " is associated with instance one."},
		{name: "protecting what has no instance", state: node.Manageable, change: func(n *node.Node) { n.Protected = true }, kind: node.Conflict,
			want: "Node " + uuid1 + ` can not be protected in state "manageable"; allowed are the states active, rescue.`},
		{name: "a reason without protection", state: node.Active, change: func(n *node.Node) { n.ProtectedReason = "x" }, kind: node.Invalid,
			want: "protected_reason of node " + uuid1 + " needs protected to be true."},
		{name: "retiring what is offered", state: node.Available, change: func(n *node.Node) { n.Retired = true }, kind: node.Conflict,
			want: "Node " + uuid1 + ` can not be retired in state "available"; move it to manageable first.`},
		{name: "a reason without retirement", state: node.Active, change: func(n *node.Node) { n.RetiredReason = "x" }, kind: node.Invalid,
			want: "retired_reason of node " + uuid1 + " needs retired to be true."},
		{name: "unknown interface", state: node.Manageable, change: func(n *node.Node) {
			n.Interfaces[node.Deploy] = "magic"
		}, kind: node.Invalid,
			want: "Could not find the following interface in the hardware type fake-hardware: " +
				`deploy_interface "magic". Valid interfaces are: fake.`},
		{name: "unknown driver", state: node.Manageable, change: func(n *node.Node) { n.Driver = "magic" }, kind: node.Invalid,
			want: "No valid host was found. Reason: No conductor service registered which supports driver magic for conductor group ''. Available " +
				"are the drivers fake-hardware, test for conductor group ''."},
		{name: "unknown conductor group", state: node.Manageable, change: func(n *node.Node) { n.ConductorGroup = "Mars" }, kind: node.Invalid,
			want: "No valid host was found. Reason: No conductor service registered which supports driver fake-hardware for conductor group " +
				"'mars'. Available are the drivers fake-hardware, test for conductor group ''."},
		{name: "a driver that has not the old interfaces", state: node.Manageable, change: func(n *node.Node) {
			n.Driver = "test"
		}, kind: node.Invalid,
			want: `Could not find the following interface in the hardware type test: deploy_interface "fake". Valid interfaces are: direct, other.`},
		{name: "reset without a driver", state: node.Manageable, opts: node.UpdateOptions{ResetInterfaces: true}, change: func(*node.Node) {},
			kind: node.Invalid,
			want: "The reset_interfaces parameter can only be used when changing the node's driver."},
		{name: "what the conductor writes", state: node.Active,
			change: func(n *node.Node) { n.State, n.UUID, n.Plan = node.Enroll, "other", &node.Plan{} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c := w.created(tt.state, tt.before)
				got, err := c.UpdateNode(w.t.Context(), "blade", tt.opts, func(n *node.Node) error { tt.change(n); return nil })
				n := w.node()
				if n.State != tt.state || n.Lease.Holder != "" || n.Plan != nil {
					t.Errorf("state %q, lease %+v, plan %v", n.State, n.Lease, n.Plan)
				}
				if tt.want == "" {
					if err != nil || got.UUID != uuid1 {
						t.Errorf("got %v, %v", got, err)
					}
					return
				}
				if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
					t.Errorf("got %v (kind %v)\nwant %s", err, node.KindOf(err), tt.want)
				}
			})
		})
	}
}

// created makes a node of type fake-hardware through the API's door and puts it in a state.
func (w *world) created(s node.State, edit func(*node.Node)) *Conductor {
	w.t.Helper()
	c := New(w.cfg)
	if _, err := c.CreateNode(w.t.Context(), &node.Node{UUID: uuid1, Name: "blade", Driver: "fake-hardware"}); err != nil {
		w.t.Fatal(err)
	}
	w.edit(func(n *node.Node) {
		n.State = s
		if edit != nil {
			edit(n)
		}
	})
	return c
}

func TestUpdateCompletesTheChange(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.created(node.Manageable, func(n *node.Node) {
			n.Maintenance, n.MaintenanceReason, n.Fault = true, "dead fan", node.PowerFailure
			n.Protected, n.ProtectedReason, n.Retired, n.RetiredReason = true, "mine", true, "old"
		})
		n, err := c.UpdateNode(w.t.Context(), uuid1, node.UpdateOptions{}, func(n *node.Node) error {
			n.Maintenance, n.Protected, n.Retired = false, false, false
			n.InstanceInfo = node.Document{"display_name": 2026.0}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n.MaintenanceReason != "" || n.Fault != "" || n.ProtectedReason != "" || n.RetiredReason != "" || n.InstanceName != "2026" {
			t.Errorf("%q %q %q %q %q", n.MaintenanceReason, n.Fault, n.ProtectedReason, n.RetiredReason, n.InstanceName)
		}
	})
}

func TestChangingTheDriver(t *testing.T) {
	for _, tt := range []struct {
		name       string
		opts       node.UpdateOptions
		driver     string
		interfaces map[node.Interface]string
		deploy     string
	}{
		{"with reset", node.UpdateOptions{ResetInterfaces: true, Fields: []string{"driver"}}, "test", nil, "direct"},
		{"with reset but for one", node.UpdateOptions{ResetInterfaces: true, Fields: []string{"driver", "deploy_interface"}}, "test",
			map[node.Interface]string{node.Deploy: "other"}, "other"},
		{"without reset but with what it has", node.UpdateOptions{Fields: []string{"driver", "deploy_interface"}}, "test",
			map[node.Interface]string{node.Deploy: "other"}, "other"},
		{"to the same one", node.UpdateOptions{ResetInterfaces: true, Fields: []string{"driver"}}, "fake-hardware", nil, "fake"},
		{"an interface back to its default", node.UpdateOptions{Fields: []string{"deploy_interface"}}, "fake-hardware",
			map[node.Interface]string{node.Deploy: ""}, "fake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c := w.created(node.Manageable, nil)
				n, err := c.UpdateNode(w.t.Context(), uuid1, tt.opts, func(n *node.Node) error {
					n.Driver = tt.driver
					for i, name := range tt.interfaces {
						n.Interfaces[i] = name
					}
					return nil
				})
				if err != nil || n.Driver != tt.driver || n.Interfaces[node.Deploy] != tt.deploy {
					t.Errorf("%+v, %v", n, err)
				}
			})
		})
	}
}

func TestARefusedEditChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.created(node.Manageable, nil)
		_, err := c.UpdateNode(w.t.Context(), uuid1, node.UpdateOptions{}, func(n *node.Node) error {
			n.Description, n.Extra["x"] = "half", 1
			return errors.New("bad patch")
		})
		if n := w.node(); err == nil || err.Error() != "bad patch" || n.Description != "" || len(n.Extra) > 0 {
			t.Errorf("%v %q %v", err, n.Description, n.Extra)
		}
	})
}

func TestCreateNode(t *testing.T) {
	inWorld(t, func(w *world) {
		c := New(w.cfg)
		n, err := c.CreateNode(w.t.Context(), &node.Node{Driver: "test", Name: "a", Interfaces: map[node.Interface]string{node.Deploy: "other"}})
		if err != nil {
			t.Fatal(err)
		}
		want := map[node.Interface]string{node.Power: "fake", node.Management: "fake", node.Boot: "fake", node.Deploy: "other",
			node.Inspect: "fake", node.Network: "fake", node.RAID: "fake", node.RescueIf: "agent"}
		if n.State != node.Enroll || len(n.UUID) != 36 || n.ID == 0 || fmt.Sprint(n.Interfaces) != fmt.Sprint(want) {
			t.Errorf("%+v", n)
		}
		for _, bad := range []struct {
			n    node.Node
			kind node.Kind
			want string
		}{
			{node.Node{Driver: "magic"}, node.Invalid, "No valid host was found. Reason: No conductor service registered which supports driver " +
				"magic for conductor group ''. Available are the drivers fake-hardware, test for conductor group ''."},
			{node.Node{Driver: "test", Interfaces: map[node.Interface]string{node.Boot: "magic"}}, node.Invalid,
				`Could not find the following interface in the hardware type test: boot_interface "magic". Valid interfaces are: fake.`},
			{node.Node{Driver: "test", Name: "a"}, node.Conflict, ""},
		} {
			_, err := c.CreateNode(w.t.Context(), &bad.n)
			if err == nil || node.KindOf(err) != bad.kind || bad.want != "" && err.Error() != bad.want {
				t.Errorf("%+v: %v", bad.n, err)
			}
		}
	})
}

func TestDeleteNodeInEveryState(t *testing.T) {
	for _, s := range node.States {
		for _, offered := range []bool{false, true} {
			inWorld(t, func(w *world) {
				w.enroll("test", s)
				w.cfg.DeleteAvailableNodes = offered
				err := New(w.cfg).DeleteNode(w.t.Context(), "blade")
				allowed := slices.Contains([]node.State{node.Enroll, node.Manageable, node.AdoptFailed}, s) || offered && s == node.Available
				if (err == nil) != allowed || err != nil && node.KindOf(err) != node.Conflict {
					t.Errorf("%s (available: %v): %v", s, offered, err)
				}
			})
		}
	}
}

func TestDeleteNodeRules(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*node.Node)
		kind node.Kind
		want string
	}{
		{"with an instance", func(n *node.Node) { n.InstanceUUID = "i-1" }, node.Conflict, "Node " + uuid1 + " is associated with instance i-1."},
		{"with an instance in maintenance", func(n *node.Node) { n.InstanceUUID, n.Maintenance = "i-1", true }, node.Internal, ""},
		{"protected", func(n *node.Node) { n.Protected, n.Maintenance = true, true }, node.Forbidden,
			"Node " + uuid1 + " is protected and can not be undeployed, rebuilt or deleted."},
		{"active", func(n *node.Node) { n.State = node.Active }, node.Conflict,
			`Can not delete node "` + uuid1 + `" while it is in provision state "active". Valid provision states to perform deletion are: enroll, ` +
				`manageable, adopt failed, or any in maintenance.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				w.edit(tt.edit)
				err := New(w.cfg).DeleteNode(w.t.Context(), uuid1)
				if tt.want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind || w.node().Lease.Holder != "" {
					t.Errorf("got %v\nwant %s", err, tt.want)
				}
			})
		})
	}
}

func TestPorts(t *testing.T) {
	rewire := func(p *node.Port) error { p.PXEEnabled = false; return nil }
	readdress := func(p *node.Port) error { p.Address = "52:54:00:00:00:02"; return nil }
	for _, tt := range []struct {
		name string
		edit func(*node.Node)
		do   func(context.Context, *Conductor) error
		kind node.Kind
		want string
	}{
		{"create", nil, func(ctx context.Context, c *Conductor) error {
			p, err := c.CreatePort(ctx, node.Port{NodeUUID: "blade", Address: "52:54:00:00:00:03"})
			if err == nil && (p.NodeUUID != uuid1 || len(p.UUID) != 36) {
				err = fmt.Errorf("%+v", p)
			}
			return err
		}, 0, ""},
		{"create on no node", nil, func(ctx context.Context, c *Conductor) error {
			_, err := c.CreatePort(ctx, node.Port{NodeUUID: "nobody", Address: "52:54:00:00:00:03"})
			return err
		}, node.Invalid, "Node nobody could not be found."},
		{"create twice", nil, func(ctx context.Context, c *Conductor) error {
			_, err := c.CreatePort(ctx, node.Port{NodeUUID: uuid1, Address: mac1})
			return err
		}, node.Conflict, "A port with MAC address " + mac1 + " already exists."},
		{"rewire", func(n *node.Node) { n.State = node.Manageable }, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, id("p1"), rewire)
			return err
		}, 0, ""},
		{"rewire an active node", nil, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, id("p1"), rewire)
			return err
		}, node.Conflict,
			"The connection of port p1 can not be changed while node " + uuid1 +
				` is in state "active"; allowed are the states enroll, inspecting, inspect wait, manageable, or any in maintenance.`},
		{"rewire in maintenance", func(n *node.Node) { n.Maintenance = true }, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, id("p1"), rewire)
			return err
		}, 0, ""},
		{"readdress an active node", nil, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, id("p1"), readdress)
			return err
		}, node.Conflict,
			"The address of port p1 can not be changed while node " + uuid1 + " has an instance, unless the node is in maintenance."},
		{"rename an active node's", nil, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, id("p1"), func(p *node.Port) error { p.Name = "eth0"; return nil })
			return err
		}, 0, ""},
		{"update an unknown one", nil, func(ctx context.Context, c *Conductor) error {
			_, err := c.UpdatePort(ctx, id("p9"), rewire)
			return err
		}, node.NotFound, "Port p9 could not be found."},
		{"delete", nil, func(ctx context.Context, c *Conductor) error { return c.DeletePort(ctx, id("p1")) }, 0, ""},
		{"delete with an instance", func(n *node.Node) { n.InstanceUUID = "i-1" }, func(ctx context.Context, c *Conductor) error {
			return c.DeletePort(ctx, id("p1"))
		}, node.Conflict,
			"Port p1 can not be deleted while node " + uuid1 + " has an instance, unless the node is in maintenance."},
		{"delete with a virtual interface", func(n *node.Node) { n.Description = "vif" }, func(ctx context.Context, c *Conductor) error {
			return c.DeletePort(ctx, id("p1"))
		}, node.Conflict,
			"Port p1 has the virtual interface v-1 attached; detach it first, or put node " + uuid1 + " in maintenance."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Active)
				if tt.edit != nil {
					w.edit(tt.edit)
				}
				if w.node().Description == "vif" {
					_ = w.store.Ports.Save(w.t.Context(), &node.Port{UUID: id("p1"), NodeUUID: uuid1, Address: mac1,
						InternalInfo: node.Document{node.VIFKey: "v-1"}})
				}
				err := tt.do(w.t.Context(), New(w.cfg))
				if w.node().Lease.Holder != "" {
					t.Error("the node is still held")
				}
				if tt.want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil || short(err.Error()) != tt.want || node.KindOf(err) != tt.kind {
					t.Errorf("got %v\nwant %s", err, tt.want)
				}
			})
		})
	}
}

func TestValidate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.edit(func(n *node.Node) { n.DriverInfo["ipmi_address"] = "bad" })
		got, err := New(w.cfg).Validate(w.t.Context(), uuid1)
		if err != nil || len(got) != len(node.Interfaces) {
			t.Fatalf("%d interfaces, %v", len(got), err)
		}
		if v := got[node.Power]; v.OK == nil || *v.OK || v.Reason != "driver_info/ipmi_address is bad." {
			t.Errorf("power %+v", v)
		}
		if v := got[node.Deploy]; v.OK == nil || !*v.OK || v.Reason != "" {
			t.Errorf("deploy %+v", v)
		}
		if v := got[node.Console]; v.OK != nil || v.Reason != "not supported" {
			t.Errorf("console %+v", v)
		}
	})
}

func TestDrivers(t *testing.T) {
	inWorld(t, func(w *world) {
		c := New(w.cfg)
		all, err := c.Drivers(w.t.Context())
		if err != nil || len(all) != 2 || all[1].Name != "test" || fmt.Sprint(all[1].Hosts) != "[host-1]" ||
			fmt.Sprint(all[1].Enabled[node.Deploy]) != "[direct other]" {
			t.Errorf("%+v, %v", all, err)
		}
		if _, err := c.Driver(w.t.Context(), "magic"); node.KindOf(err) != node.NotFound {
			t.Errorf("%v", err)
		}
	})
}
