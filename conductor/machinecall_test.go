package conductor

import (
	"context"
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// callee is a deploy interface whose ramdisk calls.
type callee struct{ testDeploy }

// calledFrom is where the machine called from.
var calledFrom = driver.Note[string]{Key: "called"}

func (callee) Name() string { return "callee" }

func (callee) TakeCall(_ context.Context, t *driver.Task, call node.MachineCall) error {
	if call.Token != "right" {
		return node.Errorf(node.Forbidden, "Wrong token.")
	}
	calledFrom.Set(t, call.Body.String("address"))
	return nil
}

func (c callee) Steps() []driver.Step {
	return []driver.Step{{Name: "deploy", Priority: map[node.Flow]int{node.FlowDeploy: 100},
		Run: func(context.Context, *driver.Task) (driver.Result, error) {
			return driver.Wait(node.Await{For: node.LoaderInfo, Text: "the call"}, 0), nil
		},
		Poll: func(_ context.Context, t *driver.Task) (driver.Result, error) {
			address, called := calledFrom.Of(t.Node.Plan)
			if !called {
				return driver.Wait(node.Await{For: node.LoaderInfo, Text: "the call"}, 0), nil
			}
			return driver.Done(), c.do(context.Background(), t, "called from "+address)
		}}}
}

func TestMachineCall(t *testing.T) {
	for _, tt := range []struct {
		name, iface, token string
		early              bool
		kind               node.Kind
		says               string
	}{
		{name: "taken", iface: "callee", token: "right"},
		{name: "refused", iface: "callee", token: "wrong", kind: node.Forbidden, says: "Wrong token."},
		{name: "no such method", iface: "direct", token: "right", kind: node.Invalid, says: "has no method pass_deploy_info"},
		{name: "not waiting", iface: "callee", token: "right", early: true, kind: node.Conflict, says: `in state "available"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ty := &w.cfg.Types[1]
				ty.Deploy = append(ty.Deploy, callee{testDeploy{w.m, ""}})
				c, _ := w.start(w.cfg)
				w.enroll("test", node.Available)
				w.edit(func(n *node.Node) { n.Interfaces = map[node.Interface]string{node.Deploy: tt.iface} })
				if !tt.early {
					w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
					w.reach(node.DeployWait)
				}
				err := c.MachineCall(w.t.Context(), uuid1,
					node.MachineCall{Method: "pass_deploy_info", Token: tt.token, Body: node.Document{"address": "192.0.2.5"}})
				if tt.says == "" {
					if err != nil {
						t.Fatal(err)
					}
					w.wantState(w.settle(), node.Active)
					if w.m.count("called from 192.0.2.5") != 1 {
						t.Errorf("did %q", w.m.done())
					}
					return
				}
				if node.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v", err)
				}
				if n := w.node(); n.Lease.Holder != "" || !tt.early && n.State != node.DeployWait {
					t.Errorf("the node is in state %q, held by %q", n.State, n.Lease.Holder)
				}
			})
		})
	}
}
