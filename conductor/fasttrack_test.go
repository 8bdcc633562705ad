package conductor

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

func TestFastTrackSetting(t *testing.T) {
	bad := "driver_info/fast_track of node " + uuid1 + " is %v; true and false are allowed."
	for _, tt := range []struct {
		service bool
		node    any
		want    time.Duration
		err     string
	}{
		{false, nil, 0, ""}, {true, nil, 5 * time.Minute, ""},
		{false, true, 5 * time.Minute, ""}, {true, false, 0, ""},
		{false, "True", 5 * time.Minute, ""}, {false, " yes ", 5 * time.Minute, ""}, {true, "off", 0, ""}, {true, "0", 0, ""},
		{true, "maybe", 0, fmt.Sprintf(bad, "maybe")}, {true, "", 0, fmt.Sprintf(bad, "")}, {false, 1.0, 0, fmt.Sprintf(bad, 1)},
		{true, []any{}, 0, fmt.Sprintf(bad, "[]")},
	} {
		c := New(Config{FastTrack: tt.service})
		n := &node.Node{UUID: uuid1, DriverInfo: node.Document{"fast_track": tt.node}}
		got, err := c.fastTrack(n)
		if got != tt.want || (err != nil) != (tt.err != "") || err != nil && err.Error() != tt.err {
			t.Errorf("service %v, node %#v: %s, %v", tt.service, tt.node, got, err)
		}
	}
}

// A bad setting is the request's error, before anything has changed.
func TestBadFastTrackIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.edit(func(n *node.Node) { n.DriverInfo["fast_track"] = "perhaps" })
		c, _ := w.start(w.cfg)
		err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventDeploy})
		if node.KindOf(err) != node.Invalid || w.node().State != node.Available {
			t.Errorf("%v, state %q", err, w.node().State)
		}
	})
}

// With fast track, and only then, a ramdisk may look its node up while nothing is under way.
func TestFastTrackLookup(t *testing.T) {
	allowed := append(slices.Clone(lookupStates), node.Enroll, node.Manageable, node.Available, node.Servicing, node.ServiceHold)
	for _, s := range node.States {
		inWorld(t, func(w *world) {
			w.enroll("test", s)
			w.edit(func(n *node.Node) { n.DriverInfo["fast_track"] = true })
			_, token, err := New(w.cfg).LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true})
			if (err == nil) != slices.Contains(allowed, s) || err == nil && len(token) != 43 {
				t.Errorf("%s: token of %d characters, %v", s, len(token), err)
			}
		})
	}
}

// The token of an agent that has fallen silent while the node was idle goes to the machine's next ramdisk; that
// of one that lives, or that works on a flow, to nobody else.
func TestTokenOfALostAgent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state node.State
		fast  bool
		last  time.Duration // since the last heartbeat; 0: none; negative: since the token was given, without any
		again bool
	}{
		{"alive", node.Manageable, true, time.Minute, false},
		{"silent", node.Manageable, true, 6 * time.Minute, true},
		{"has not called yet", node.Manageable, true, 0, false},
		{"has not called for long", node.Manageable, true, -6 * time.Minute, true},
		{"has not called for a while", node.Available, true, -4 * time.Minute, false},
		{"has not called in a flow", node.CleanWait, true, -6 * time.Minute, false},
		{"silent in a flow", node.CleanWait, true, 6 * time.Minute, false},
		{"silent, no fast track", node.CleanWait, false, 6 * time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.state)
				w.edit(func(n *node.Node) { n.DriverInfo["fast_track"] = tt.fast })
				c := New(w.cfg)
				_, first, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true})
				if err != nil {
					t.Fatal(err)
				}
				if tt.last > 0 {
					w.heartbeat(c)
					time.Sleep(tt.last)
				}
				if tt.last < 0 {
					time.Sleep(-tt.last)
				}
				_, second, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true})
				if err != nil || second == first || (len(second) == 43) != tt.again {
					t.Errorf("a second token: %v, %v", len(second) == 43, err)
				}
				if tt.again && (w.node().Agent.Token != second || w.node().Agent.URL != "") {
					t.Errorf("agent %+v", w.node().Agent)
				}
			})
		})
	}
}

// A flow begins with the agent it finds: kept when it is alive and fast track is on, else forgotten.
func TestFlowKeepsALivingAgent(t *testing.T) {
	for _, tt := range []struct {
		fast  bool
		age   time.Duration
		keeps bool
	}{{true, time.Minute, true}, {true, 6 * time.Minute, false}, {false, time.Minute, false}} {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Available)
			w.edit(func(n *node.Node) {
				n.DriverInfo["fast_track"] = tt.fast
				n.Agent = node.Agent{URL: "https://10.0.0.5:9999", Token: "t", TokenGiven: true, LastHeartbeat: time.Now().Add(-tt.age)}
			})
			c := New(w.cfg)
			n := w.node()
			if err := c.start(w.t.Context(), n, flowNamed(node.FlowDeploy), node.ProvisionRequest{Event: node.EventDeploy}); err != nil {
				t.Fatal(err)
			}
			if kept := w.node().Agent.URL != ""; kept != tt.keeps || (n.Agent.URL != "") != tt.keeps {
				t.Errorf("%+v: agent %+v", tt, n.Agent)
			}
		})
	}
}

// byAgent is a power interface that can only reboot, and only while the agent is known.
type byAgent struct{ testPower }

func (byAgent) PowerStates() []node.PowerState {
	return []node.PowerState{node.Rebooting, node.SoftRebooting}
}

func (p byAgent) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	if t.Node.Agent.URL == "" {
		return errors.New("no agent")
	}
	return p.testPower.SetPowerState(ctx, t, target)
}

func (w *world) withoutBMC() {
	for i := range w.cfg.Types {
		if p, ok := w.cfg.Types[i].Power[0].(testPower); ok {
			w.cfg.Types[i].Power[0] = byAgent{p}
		}
	}
}

func TestLimitedPower(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withoutBMC()
		w.enroll("test", node.Manageable)
		w.edit(func(n *node.Node) { n.Agent = node.Agent{URL: "https://10.0.0.5:9999", Token: "t", TokenGiven: true} })
		c, _ := w.start(w.cfg)
		for _, target := range []node.PowerState{node.PowerOn, node.PowerOff, node.SoftPowerOff} {
			err := c.SetPower(w.t.Context(), uuid1, target, 0)
			want := fmt.Sprintf("The power interface fake of node %s does not support the power state %q.", uuid1, target)
			if node.KindOf(err) != node.Invalid || err.Error() != want {
				t.Errorf("%s: %v", target, err)
			}
		}
		if err := c.SetPower(w.t.Context(), uuid1, node.Rebooting, 0); err != nil {
			t.Fatal(err)
		}
		if n := w.settle(); n.LastError != "" || n.Power != node.PowerOn || n.Agent.URL != "" || n.Agent.TokenGiven {
			t.Errorf("last_error %q, power %q, agent %+v", n.LastError, n.Power, n.Agent)
		}
		if err := c.SetPower(w.t.Context(), uuid1, node.SoftRebooting, 0); err != nil {
			t.Fatal(err)
		}
		if n := w.settle(); n.LastError != `Failed to change power state to "soft rebooting": no agent` {
			t.Errorf("last_error %q", n.LastError)
		}
	})
}

// There is no BMC to ask, so nobody counts its silence.
func TestPowerSyncWithoutBMC(t *testing.T) {
	for _, limited := range []bool{true, false} {
		inWorld(t, func(w *world) {
			if limited {
				w.withoutBMC()
			}
			w.enroll("test", node.Manageable)
			w.m.fail["read_power"] = errors.New("nobody")
			w.cfg.PowerSyncInterval = time.Minute
			w.start(w.cfg)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := w.node(); (n.Fault == node.NoFault) != limited || (w.m.count("read_power") == 0) != limited {
				t.Errorf("limited %v: fault %q, %d questions", limited, n.Fault, w.m.count("read_power"))
			}
		})
	}
}
