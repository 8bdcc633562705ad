package conductor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

func TestSetPower(t *testing.T) {
	for _, tt := range []struct {
		target, want node.PowerState
	}{
		{node.PowerOn, node.PowerOn}, {node.PowerOff, node.PowerOff}, {node.Rebooting, node.PowerOn},
		{node.SoftRebooting, node.PowerOn}, {node.SoftPowerOff, node.PowerOff},
	} {
		t.Run(string(tt.target), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Active)
				w.edit(func(n *node.Node) { n.LastError, n.Agent.Token = "old", "tok" })
				w.m.block[string(tt.target)] = make(chan struct{})
				c, _ := w.start(w.cfg)
				if err := c.SetPower(w.t.Context(), uuid1, tt.target, 0); err != nil {
					t.Fatal(err)
				}
				if n := w.node(); n.TargetPower != tt.target || n.LastError != "" || n.Lease.Holder != "host-1" {
					t.Errorf("under way: target %q, last_error %q, lease %+v", n.TargetPower, n.LastError, n.Lease)
				}
				close(w.m.block[string(tt.target)])
				n := w.settle()
				if n.Power != tt.want || n.TargetPower != "" || n.LastError != "" {
					t.Errorf("power %q, target %q, last_error %q", n.Power, n.TargetPower, n.LastError)
				}
				if gone := n.Agent.Token == ""; gone != (tt.target != node.PowerOn) {
					t.Errorf("agent forgotten: %v", gone)
				}
			})
		})
	}
}

func TestSetPowerFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.m.fail["power on"] = errors.New("the BMC at 192.0.2.7 refuses hunter2-secret")
		c, _ := w.start(w.cfg)
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOn, 0); err != nil {
			t.Fatal(err)
		}
		n := w.settle()
		if want := `Failed to change power state to "power on": the BMC at 192.0.2.7 refuses ******`; n.LastError != want ||
			n.State != node.Active {
			t.Errorf("last_error %q", n.LastError)
		}
	})
}

func TestSetPowerHasADeadline(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.m.block["power on"] = make(chan struct{})
		c, _ := w.start(w.cfg)
		began := time.Now()
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOn, 7*time.Second); err != nil {
			t.Fatal(err)
		}
		n := w.settle()
		if took := time.Since(began); took > 8*time.Second || !strings.Contains(n.LastError, "deadline exceeded") {
			t.Errorf("after %v: %q", took, n.LastError)
		}
	})
}

func TestSetPowerRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  node.State
		edit   func(*node.Node)
		target node.PowerState
		kind   node.Kind
		want   string
	}{
		{"while cleaning", node.CleanWait, nil, node.PowerOn, node.Invalid,
			"The power state of node " + uuid1 + ` can not be changed while it is in state "clean wait".`},
		{"off when that is disabled", node.Active, func(n *node.Node) { n.DisablePowerOff = true }, node.SoftPowerOff, node.Conflict,
			"Node " + uuid1 + " has disable_power_off set: it can be powered on and rebooted, not switched off."},
		{"to nowhere", node.Active, nil, "sideways", node.Invalid,
			`Power state "sideways" is unknown; allowed are power on, power off, rebooting, soft rebooting, soft power off.`},
		{"without a valid BMC", node.Active, func(n *node.Node) { n.DriverInfo["ipmi_address"] = "bad" }, node.PowerOn, node.Invalid,
			"driver_info/ipmi_address is bad."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.state)
				if tt.edit != nil {
					w.edit(tt.edit)
				}
				c := New(w.cfg)
				err := c.SetPower(w.t.Context(), uuid1, tt.target, 0)
				if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
					t.Errorf("got %v\nwant %s", err, tt.want)
				}
				if n := w.node(); n.TargetPower != "" || n.Lease.Holder != "" {
					t.Errorf("target %q, lease %+v", n.TargetPower, n.Lease)
				}
			})
		})
	}
}

// A power change that its conductor did not live to see is carried out by the next.
func TestAPowerChangeSurvivesItsConductor(t *testing.T) {
	for k := range 4 {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Active)
			dying := newProcess(k)
			first := w.cfg
			first.Store = dying.to(inMemory(w.store))
			c, stop := w.start(first)
			asked := c.SetPower(w.t.Context(), uuid1, node.PowerOn, 0) == nil
			synctest.Wait()
			if dying.dead() {
				stop()
			}
			second := w.cfg
			second.Host = "host-2"
			w.start(second)
			time.Sleep(time.Minute)
			n := w.settle()
			if asked != (n.Power == node.PowerOn) || n.TargetPower != "" {
				t.Errorf("died at write %d: asked %v, power %q, target %q", k, asked, n.Power, n.TargetPower)
			}
		})
	}
}

func TestBootDevices(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		c := New(w.cfg)
		ctx := w.t.Context()
		all, err := c.BootDevices(ctx, uuid1)
		same(t, "boot devices", all, []string{"pxe", "disk", "cdrom", "bios"})
		if err != nil {
			t.Error(err)
		}
		want := node.BootDevice{Device: "disk", Persistent: true}
		if err := c.SetBootDevice(ctx, uuid1, want); err != nil {
			t.Fatal(err)
		}
		if got, err := c.BootDevice(ctx, uuid1); got != want || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
		err = c.SetBootDevice(ctx, uuid1, node.BootDevice{Device: "tape"})
		if wantErr := `Boot device "tape" is not supported by node ` + uuid1 + "; supported are pxe, disk, cdrom, bios."; err == nil ||
			err.Error() != wantErr {
			t.Errorf("got %v", err)
		}
		if w.node().Lease.Holder != "" {
			t.Error("the node is still held")
		}
	})
}

func TestPowerSync(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.edit(func(n *node.Node) { n.Power = node.PowerOn })
		w.cfg.PowerSyncInterval = time.Minute
		w.m.fail["read_power"] = errors.New("no answer from 192.0.2.7 with hunter2-secret")
		w.start(w.cfg)
		for strike := 1; strike <= 3; strike++ {
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			n := w.node()
			if n.PowerFailures != strike || n.Maintenance != (strike == 3) {
				t.Fatalf("strike %d: failures %d, maintenance %v", strike, n.PowerFailures, n.Maintenance)
			}
		}
		n := w.node()
		want := "The power state could not be read 3 times in a row: no answer from 192.0.2.7 with ******"
		if n.Fault != node.PowerFailure || n.LastError != want || n.MaintenanceReason != want || n.Power != node.PowerError {
			t.Errorf("fault %q, last_error %q, reason %q, power %q", n.Fault, n.LastError, n.MaintenanceReason, n.Power)
		}
		time.Sleep(10 * time.Minute)
		w.m.mu.Lock()
		delete(w.m.fail, "read_power")
		w.m.mu.Unlock()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if n := w.node(); n.Maintenance || n.Fault != "" || n.MaintenanceReason != "" || n.Power == node.PowerError || n.PowerFailures != 0 {
			t.Errorf("after recovery: %v %q %q %q %d", n.Maintenance, n.Fault, n.MaintenanceReason, n.Power, n.PowerFailures)
		}
		if strings.Contains(w.log.String(), "hunter2") {
			t.Error("the log shows a secret")
		}
	})
}

// Maintenance that people set is theirs to end.
func TestPowerSyncLeavesOtherNodesAlone(t *testing.T) {
	for name, edit := range map[string]func(*node.Node){
		"in maintenance":  func(n *node.Node) { n.Maintenance = true },
		"enrolled":        func(n *node.Node) { n.State = node.Enroll },
		"waiting":         func(n *node.Node) { n.State = node.DeployWait; n.Plan = &node.Plan{} },
		"held":            func(n *node.Node) { n.Lease = node.Lease{Holder: "x", Token: 1, Until: time.Now().Add(time.Hour)} },
		"switching power": func(n *node.Node) { n.TargetPower = node.PowerOn },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Active)
				w.edit(edit)
				w.cfg.PowerSyncInterval = time.Minute
				c := New(w.cfg)
				c.syncPowerOnce(w.t.Context())
				if w.m.count("read_power") > 0 {
					t.Error("its BMC was asked")
				}
			})
		})
	}
}

// Two hundred dead BMCs do not keep a living one from being asked.
func TestDeadBMCsDoNotStarveTheOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.PowerSyncInterval = 2 * time.Minute
		add := func(i int, info node.Document) string {
			n := &node.Node{UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Driver: "fake-hardware", State: node.Active, Power: node.PowerOn,
				DriverInfo: info}
			if err := w.store.CreateNode(context.Background(), n); err != nil {
				t.Fatal(err)
			}
			return n.UUID
		}
		for i := range 200 {
			add(i, node.Document{"fake_power_delay": 3600.0})
		}
		living := add(200, node.Document{})
		w.edit1(living, func(n *node.Node) { n.Power = node.PowerUnknown })
		w.start(w.cfg)
		asked := time.Now()
		for {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n, _ := w.store.Node(context.Background(), living); n.Power == node.PowerOff {
				break
			}
			if time.Since(asked) > 30*time.Minute {
				t.Fatal("the living BMC was not asked in half an hour")
			}
		}
		// From then on the dead ones only wait for each other.
		w.edit1(living, func(n *node.Node) { n.Power = node.PowerOn; n.DriverInternalInfo = nil })
		time.Sleep(time.Hour)
		w.edit1(living, func(n *node.Node) { n.Power = node.PowerUnknown })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n, _ := w.store.Node(context.Background(), living); n.Power == node.PowerUnknown {
			t.Error("the living BMC was not asked within two rounds")
		}
	})
}

func (w *world) edit1(uuid string, change func(*node.Node)) {
	w.store.Edit(uuid, change)
}

func TestPowerThatNobodyChangedIsTakenDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Active)
		c := New(w.cfg)
		w.edit(func(n *node.Node) { n.Power = node.PowerError }) // the fake BMC says off
		c.cfg.PowerSyncInterval = time.Minute
		c.syncPowerOnce(w.t.Context())
		if n := w.node(); n.Power != node.PowerOff {
			t.Errorf("power %q", n.Power)
		}
		same(t, "history", w.events(), []string{"INFO power: The machine is now power off; it was error. Nobody asked Billet for that."})
	})
}

// A power interface that panics fails the power change, and nobody reads what it said: it may have been a password.
func TestAPowerInterfaceThatPanics(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.m.panics[string(node.PowerOn)] = true
		c, _ := w.start(w.cfg)
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOn, 0); err != nil {
			t.Fatal(err)
		}
		n := w.settle()
		if n.LastError != `Failed to change power state to "power on": a mistake in the driver (panic); the service's log has more` {
			t.Errorf("last_error %q", n.LastError)
		}
		if log := w.log.String(); strings.Contains(log, "hunter2") || !strings.Contains(log, "a driver panicked") {
			t.Errorf("the log:\n%s", log)
		}
	})
}
