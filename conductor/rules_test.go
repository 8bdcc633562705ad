package conductor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// rule is one without conditions; args are lists.
func rule(uuid string, actions ...[]any) node.InspectionRule {
	r := node.InspectionRule{UUID: id(uuid), Phase: node.MainPhase}
	for _, a := range actions {
		r.Actions = append(r.Actions, node.RuleOperation{Op: a[0].(string), Args: a[1:]})
	}
	return r
}

// inspected brings the node to its inspection report and returns it as it is after.
func (w *world) inspected(data node.InspectionData) *node.Node {
	w.t.Helper()
	c, stop := w.start(w.cfg)
	defer stop()
	w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
	w.reach(node.InspectWait)
	data.NodeUUID = uuid1
	if _, err := c.ContinueInspection(w.t.Context(), data); err != nil {
		w.t.Fatal(err)
	}
	return w.settle()
}

// Rules change the node, its ports (the new ones too) and the plugin data, after the hooks and in order.
func TestInspectionRulesApply(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		low := rule("low", []any{"set-attribute", "extra/order", "low last"},
			[]any{"set-port-attribute", "52:54:00:00:00:99", "physical_network", "net-{node.properties[cpus]}"})
		high := rule("high", []any{"set-attribute", "extra/order", "high last"},
			[]any{"set-attribute", "driver_info/ipmi_address", "{inventory[bmc_address]}"}, []any{"set-plugin-data", "seen", "{node.name}"},
			[]any{"add-trait", "CUSTOM_X"}, []any{"set-port-attribute", id("p1"), "extra/rack", 7.0},
			[]any{"set-attribute", "deploy_interface", "other"})
		high.Priority = 10
		skipped := rule("skipped", []any{"fail", "never"})
		skipped.Conditions = []node.RuleOperation{{Op: "is-true", Args: []any{"{plugin_data[auto_discovered]}"}}}
		late := rule("late", []any{"fail", "never"})
		late.Phase = "late"
		w.rules(low, high, skipped, late)
		w.cfg.BuiltInRules = []node.InspectionRule{rule("built in", []any{"log", "the order is {node.extra[order]}", "warning"})}
		n := w.inspected(node.InspectionData{Inventory: node.Document{"bmc_address": "192.0.2.7"}, PluginData: node.Document{"a": "b"}})
		w.wantState(n, node.Manageable)
		if n.Extra["order"] != "low last" || n.DriverInfo["ipmi_address"] != "192.0.2.7" || n.DriverInfo["ipmi_password"] != "hunter2-secret" ||
			!slices.Contains(n.Traits, "CUSTOM_X") ||
			n.Interfaces[node.Deploy] != "other" || n.Properties["cpus"] != "4" {
			t.Errorf("node %+v", n)
		}
		if d := w.inventory(uuid1).PluginData; d["seen"] != "blade" || d["a"] != "b" {
			t.Errorf("plugin data %v", d)
		}
		ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: uuid1}, node.Page{})
		if len(ports) != 2 || ports[0].Extra["rack"] != 7.0 || ports[1].PhysicalNetwork != "net-4" || ports[1].Address != "52:54:00:00:00:99" {
			t.Errorf("ports %+v", ports)
		}
		if !strings.Contains(short(strings.Join(w.events(), "\n")), "INFO inspect: Inspection rules that applied: high, low, built in.") {
			t.Errorf("history %q", w.events())
		}
		if log := w.log.String(); !strings.Contains(log, `level=WARN msg="an inspection rule says"`) ||
			!strings.Contains(log, `text="the order is low last"`) {
			t.Errorf("log %s", log)
		}
	})
}

// A rule that fails names itself in last_error, leaves the node as it was, and the node can be inspected again.
func TestAFailingInspectionRule(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule node.InspectionRule
		want string
	}{
		{"fail", rule("r1", []any{"fail", "{node.name} is too small"}),
			"Inspection rule r1, action 1 (fail): the rule refuses this machine: blade is too small."},
		{"a secret", rule("r1", []any{"fail", "the password is hunter2-secret"}),
			"Inspection rule r1, action 1 (fail): the rule refuses this machine: the password is ******."},
		{"an unknown driver", rule("r1", []any{"set-attribute", "driver", "idrac"}), "The inspection rules r1, r0 leave the node unusable: No " +
			"valid host was found. Reason: No conductor service registered which supports driver idrac for conductor group ''. Available are the " +
			"drivers fake-hardware, test for conductor group ''."},
		{"an unknown interface", rule("r1", []any{"set-attribute", "boot_interface", "floppy"}),
			`The inspection rules r1, r0 leave the node unusable: `},
		{"a name that is taken", rule("r1", []any{"set-attribute", "name", "taken"}),
			"The inspection rules r1, r0 leave the node unusable: A node with name taken already exists."},
		{"a damaged record", node.InspectionRule{UUID: id("r1"), Phase: node.MainPhase, Unreadable: node.Unreadable{"actions": "was changed"}},
			"The database's record of inspection rule r1 is damaged; unreadable are: actions (was changed). No inspection can end until that is " +
				"mended: "},
		{"another group", rule("r1", []any{"set-attribute", "conductor_group", "Rack7"}),
			"The inspection rules r1, r0 leave the node unusable: " +
				"No valid host was found. Reason: No conductor service registered which supports driver test for conductor group 'rack7'. Available " +
				"are the drivers fake-hardware, test for conductor group ''."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				if err := w.store.CreateNode(w.t.Context(), &node.Node{UUID: id("other"), Name: "taken", Driver: "test",
					State: node.Enroll}); err != nil {
					t.Fatal(err)
				}
				tt.rule.Priority = 1
				w.rules(rule("r0", []any{"set-attribute", "extra/a", 1.0}), tt.rule)
				n := w.inspected(node.InspectionData{Inventory: node.Document{"x": "y"}})
				w.wantState(n, node.InspectFailed)
				w.wantLike(short(n.LastError), "The inspection failed on the machine's report: "+tt.want)
				ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: uuid1}, node.Page{})
				if len(n.Extra) > 0 || n.Properties["cpus"] != nil || n.Driver != "test" || n.Name != "blade" || len(ports) != 1 ||
					w.inventory(uuid1).Inventory != nil {
					t.Errorf("something changed: %+v, %d ports, %v", n, len(ports), w.inventory(uuid1))
				}
				w.rules()
				w.wantState(w.inspected(node.InspectionData{Inventory: node.Document{"x": "y"}}), node.Manageable)
			})
		})
	}
}

// A rule that changes the driver keeps the interfaces that the new one has too, and takes the rest from it.
func TestARuleChangesTheDriver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.edit(func(n *node.Node) {
			h, err := w.cfg.Types.Resolve(n)
			if err != nil {
				t.Fatal(err)
			}
			n.Interfaces = h.Names()
		})
		w.rules(rule("r1", []any{"set-attribute", "/driver", "fake-hardware"}))
		n := w.inspected(node.InspectionData{Inventory: node.Document{"x": "y"}})
		if n.Driver != "fake-hardware" || n.Interfaces[node.Deploy] != "fake" || n.Interfaces[node.Power] != "fake" {
			t.Errorf("driver %s, interfaces %v, %s", n.Driver, n.Interfaces, n.LastError)
		}
	})
}

// A database that is away is the call's failure, which the agent repeats, not the inspection's.
func TestRulesThatCannotBeRead(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
		w.reach(node.InspectWait)
		w.way.fails(errors.New("connection refused"), "InspectionRules.List", "DeployTemplates.List")
		if _, err := c.ContinueInspection(w.t.Context(), node.InspectionData{NodeUUID: uuid1, Inventory: node.Document{"x": "y"}}); err == nil ||
			err.Error() != "connection refused" {
			t.Errorf("got %v", err)
		}
		w.wantState(w.node(), node.InspectWait)
		w.way.fails(nil)
		if _, err := c.ContinueInspection(w.t.Context(), node.InspectionData{NodeUUID: uuid1, Inventory: node.Document{"x": "y"}}); err != nil {
			t.Error(err)
		}
		w.wantState(w.settle(), node.Manageable)
	})
}

// slow is an inspect interface that takes longer to read a report than a lease lives, and finds a port gone.
type slow struct{ testInspect }

func (s slow) Inspected(_ context.Context, t *driver.Task, d node.InspectionData) (node.Findings, error) {
	time.Sleep(3 * time.Minute)
	return node.Findings{Inventory: node.Inventory{Inventory: d.Inventory}, Gone: t.Ports}, nil
}

func TestAReportThatTakesLong(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Types[1].Inspect = []driver.Inspect{slow{testInspect{fake.NewInspect(), w.m}}}
		w.enroll("test", node.Manageable)
		w.rules(rule("r1", []any{"set-port-attribute", mac1, "extra/a", "b"}))
		n := w.inspected(node.InspectionData{Inventory: node.Document{"x": "y"}})
		if w.wantLike(n.LastError, `the node has no such port: "`+mac1+`"`); n.State != node.InspectFailed {
			t.Errorf("state %q", n.State)
		}
		w.rules(rule("r1", []any{"log", "x"}))
		w.wantState(w.inspected(node.InspectionData{Inventory: node.Document{"x": "y"}}), node.Manageable)
		if ports, _ := w.store.Ports.List(w.t.Context(), node.PortFilter{NodeUUID: uuid1}, node.Page{}); len(ports) != 0 {
			t.Errorf("ports %+v", ports)
		}
	})
}

func (w *world) wantLike(got, part string) {
	w.t.Helper()
	if !strings.Contains(got, part) {
		w.t.Errorf("got %q, want it to say %q", got, part)
	}
}
