package conductor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

// trip is one flow to be interrupted at every write.
type trip struct {
	name    string
	from    node.State
	req     node.ProvisionRequest
	breaks  string // what fails, if anything
	report  bool   // the machine reports an inspection
	timeout bool   // the machine never calls
	want    node.State
	error   string
	done    []string
}

var trips = []trip{
	{name: "verify", from: node.Enroll, req: node.ProvisionRequest{Event: node.EventManage}, want: node.Manageable,
		done: []string{"read_power"}},
	{name: "clean", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventProvide}, want: node.Available,
		done: []string{"boot_clean", "agent:erase", "end_clean", "read_power"}},
	{name: "manual clean", from: node.Manageable, want: node.Manageable,
		req: node.ProvisionRequest{Event: node.EventClean,
			CleanSteps: []node.PlannedStep{{Interface: node.Deploy, Step: "erase_cmos"}, {Interface: node.Deploy, Step: "erase"}}},
		done: []string{"boot_clean", "erase_cmos", "agent:erase", "end_clean", "read_power"}},
	{name: "deploy", from: node.Available, req: node.ProvisionRequest{Event: node.EventDeploy}, want: node.Active,
		done: []string{"boot_deploy", "write_image", "agent:erase", "boot_instance", "read_power"}},
	{name: "delete", from: node.Active, req: node.ProvisionRequest{Event: node.EventDelete}, want: node.Available,
		done: []string{"tear_down", "read_power", "boot_clean", "agent:erase", "end_clean"}},
	{name: "inspect", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventInspect}, report: true, want: node.Manageable,
		done: []string{"boot_inspect", "read_power"}},
	{name: "adopt", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventAdopt}, want: node.Active,
		done: []string{"read_power", "adopt"}},
	{name: "deploy that fails", from: node.Available, req: node.ProvisionRequest{Event: node.EventDeploy}, breaks: "write_image",
		want:  node.DeployFailed,
		error: "The deploy failed at step deploy.write_image: disk full", done: []string{"boot_deploy", "write_image", "tidy_up", "read_power"}},
	{name: "clean that fails", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventProvide}, breaks: "agent:erase",
		want:  node.CleanFailed,
		error: "The cleaning failed at step deploy.erase: disk full", done: []string{"boot_clean", "agent:erase", "tidy_up", "read_power"}},
	{name: "delete that fails", from: node.Active, req: node.ProvisionRequest{Event: node.EventDelete}, breaks: "tear_down", want: node.Error,
		error: "The tear-down failed at step deploy.tear_down: disk full", done: []string{"tear_down"}},
	{name: "deploy that waits in vain", from: node.Available, req: node.ProvisionRequest{Event: node.EventDeploy}, timeout: true,
		want: node.DeployFailed,
		done: []string{"boot_deploy", "tidy_up", "read_power"}},
	{name: "rescue", from: node.Active, req: node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"}, want: node.Rescue,
		done: []string{"boot_rescue", "let_in", "read_power"}},
	{name: "rescue that fails", from: node.Active, req: node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"},
		breaks: "let_in", want: node.RescueFailed,
		error: "The rescue failed at step rescue.let_in: disk full", done: []string{"boot_rescue", "let_in", "tidy_rescue", "read_power"}},
	{name: "unrescue", from: node.Rescue, req: node.ProvisionRequest{Event: node.EventUnrescue}, want: node.Active,
		done: []string{"end_rescue", "start_instance", "read_power"}},
	{name: "unrescue that fails", from: node.Rescue, req: node.ProvisionRequest{Event: node.EventUnrescue}, breaks: "end_rescue",
		want:  node.UnrescueFailed,
		error: "The end of the rescue failed at step rescue.end_rescue: disk full", done: []string{"end_rescue"}},
	{name: "service", from: node.Active, want: node.Active,
		req: node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{
			{Interface: node.Deploy, Step: "polish"}, {Interface: node.Deploy, Step: "erase"}, {Interface: node.Deploy, Step: "flash"}}},
		done: []string{"boot_service", "polish", "agent:erase", "flash", "end_service", "read_power"}},
	{name: "service that fails", from: node.Active, breaks: "flash", want: node.ServiceFailed,
		req:   node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{{Interface: node.Deploy, Step: "flash"}}},
		error: "The service failed at step deploy.flash: disk full", done: []string{"boot_service", "flash", "tidy_up", "read_power"}},
}

// Kill -9 at any write of any flow: another conductor ends it in the same state, with the same
// words, having done everything that one process would have done.
func TestAConductorThatDiesAnywhereIsReplaced(t *testing.T) {
	for _, tr := range trips {
		t.Run(tr.name, func(t *testing.T) {
			writes := 0
			inWorld(t, func(w *world) { writes = w.travel(tr, 1<<30) })
			if writes < 3 {
				t.Fatalf("only %d writes", writes)
			}
			for k := range writes {
				t.Run(fmt.Sprintf("at write %d of %d", k+1, writes), func(t *testing.T) {
					inWorld(t, func(w *world) { w.travel(tr, k) })
				})
			}
		})
	}
}

// travel makes a trip with a conductor that dies after k writes, and with another one after it. It
// returns how many writes the first one made.
func (w *world) travel(tr trip, k int) int {
	w.enroll("test", tr.from)
	w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase", Priority: 50}}
	w.m.agentOK["erase"] = true
	w.m.within = 10 * time.Minute
	if tr.breaks != "" {
		w.m.fail[tr.breaks] = errors.New("disk full")
	}
	dying := newProcess(k)
	first := w.cfg
	first.Store = dying.to(inMemory(w.store))
	c, stop := w.start(first)
	err := c.Provision(w.t.Context(), uuid1, tr.req)
	alive := func() *Conductor {
		if !dying.dead() {
			return c
		}
		stop()
		if c.cfg.Host == "host-1" {
			second := w.cfg
			second.Host = "host-2"
			c, _ = w.start(second)
			if err != nil && w.node().State == tr.from { // the client tries again
				time.Sleep(w.cfg.LeaseTTL + time.Minute)
				w.provision(c, tr.req)
			}
		}
		return c
	}
	w.playMachine(tr, alive)
	n := w.settle()
	w.wantState(n, tr.want)
	if tr.error != "" && n.LastError != tr.error {
		w.t.Errorf("last_error %q, want %q", n.LastError, tr.error)
	}
	if n.Plan != nil {
		w.t.Errorf("a plan is left: %+v", n.Plan)
	}
	same(w.t, "done", w.m.done(), tr.done)
	return dying.writes
}

// playMachine calls whoever is alive until the node rests.
func (w *world) playMachine(tr trip, alive func() *Conductor) {
	for range 3600 {
		synctest.Wait()
		c := alive()
		n := w.node()
		moving := n.State.Class() == node.Busy || n.State.Class() == node.Waiting
		if !moving && !n.Lease.Held(time.Now()) {
			return
		}
		if n.State.Class() == node.Waiting && !tr.timeout {
			w.call(tr, c)
		}
		time.Sleep(time.Second)
	}
	w.t.Fatalf("the node is still in state %q after an hour", w.node().State)
}

// call is one try of the machine to reach its conductor, which may be dead or busy.
func (w *world) call(tr trip, c *Conductor) {
	ctx := context.WithoutCancel(w.t.Context())
	if tr.report {
		_, _ = c.ContinueInspection(ctx, node.InspectionData{NodeUUID: uuid1, Inventory: node.Document{"cpu": "4"}})
		return
	}
	token := w.node().Agent.Token
	if token == "" {
		_, token, _ = c.LookupAgent(ctx, node.AgentLookup{MACs: []string{mac1}, WantToken: true})
	}
	_ = c.Heartbeat(ctx, uuid1, node.Heartbeat{CallbackURL: "https://10.0.0.5:9999", AgentToken: token, AgentVersion: "1"})
}

// An orderly stop lets every node go as it stands, and the next conductor goes on at once.
func TestAnOrderlyStopHandsOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.m.block["tear_down"] = make(chan struct{})
		c, stop := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		synctest.Wait()
		stop()
		n := w.node()
		if n.State != node.Deleting || n.Lease.Holder != "" || n.LastError != "" {
			t.Fatalf("state %q, lease %+v, last_error %q", n.State, n.Lease, n.LastError)
		}
		close(w.m.block["tear_down"])
		began := time.Now()
		second := w.cfg
		second.Host = "host-2"
		w.start(second)
		w.reach(node.CleanWait)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the next conductor went on after %v", took)
		}
		if w.m.count("tear_down") != 2 {
			t.Errorf("tear_down ran %d times", w.m.count("tear_down"))
		}
	})
}

// A conductor that lost its lease in the middle of a step stops the step and writes nothing.
func TestALostLeaseStopsTheStep(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.m.block["tear_down"] = make(chan struct{})
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		synctest.Wait()
		var other node.Lease
		w.edit(func(n *node.Node) { // another process was granted the node
			n.Lease = node.Lease{Holder: "host-2", Token: n.Lease.Token + 1, Until: node.Now().Add(time.Hour)}
			n.Description = "written by host-2"
			other = n.Lease
		})
		time.Sleep(w.cfg.LeaseTTL + 15*time.Second)
		synctest.Wait()
		n := w.node()
		if n.Lease != other || n.Description != "written by host-2" || n.State != node.Deleting || n.LastError != "" {
			t.Errorf("the loser wrote: %+v %q %q %q", n.Lease, n.Description, n.State, n.LastError)
		}
		if w.m.count("tear_down") != 1 || w.m.count("boot_clean") != 0 {
			t.Errorf("the loser went on: %q", w.m.did)
		}
	})
}

// A long step keeps its lease.
func TestTheLeaseIsRenewed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.m.block["tear_down"] = make(chan struct{})
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		second := w.cfg
		second.Host = "host-2"
		w.start(second)
		time.Sleep(20 * time.Minute)
		close(w.m.block["tear_down"])
		w.reach(node.CleanWait)
		if w.m.count("tear_down") != 1 {
			t.Errorf("tear_down ran %d times", w.m.count("tear_down"))
		}
	})
}

// A database that is away for a while costs nothing but time.
func TestADatabaseThatComesBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		dying := newProcess(3)
		cfg := w.cfg
		cfg.Store = dying.to(inMemory(w.store))
		c, _ := w.start(cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		dying.lives(immortal)
		w.reach(node.DeployWait)
		w.heartbeat(c)
		w.wantState(w.settle(), node.Active)
	})
}

// Two conductors that are told of one call: one goes on, and nothing is done twice.
func TestTwoConductorsRaceForOneCall(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		second := w.cfg
		second.Host = "host-2"
		c, _ := w.start(w.cfg)
		d, _ := w.start(second)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		for range 5 {
			c.Wake(uuid1)
			d.Wake(uuid1)
		}
		w.wantState(w.settle(), node.Active)
		for _, what := range []string{"boot_deploy", "write_image", "boot_instance"} {
			if w.m.count(what) != 1 {
				t.Errorf("%s was done %d times", what, w.m.count(what))
			}
		}
	})
}

// A call that comes while the node is held is acted on as soon as it is let go.
func TestACallIsNeverLost(t *testing.T) {
	for _, holder := range []string{"the process that runs flows", "one that does not"} {
		t.Run("held by "+holder, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				c, _ := w.start(w.cfg)
				d := c
				if holder == "one that does not" {
					second := w.cfg
					second.Host = "host-2"
					second.Notify = func(_ context.Context, uuid string) error { c.Wake(uuid); return nil }
					d = New(second)
				}
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				_, err := d.UpdateNode(w.t.Context(), uuid1, node.UpdateOptions{AnyState: true}, func(*node.Node) error {
					w.heartbeat(c)
					time.Sleep(20 * time.Second) // longer than anybody tries to get the lease
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				w.wantState(w.settle(), node.Active)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("went on after %v", took)
				}
			})
		})
	}
}

// The same with a step that waits the moment the call comes in.
func TestACallDuringTheStepThatWaitsForIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, _ := w.start(w.cfg)
		called := false
		w.m.onDo = func(what string, _ *node.Node) {
			if what == "boot_deploy" && !called {
				called = true
				w.heartbeat(c) // the machine is faster than its conductor
			}
		}
		began := time.Now()
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.wantState(w.settle(), node.Active)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A server that starts again acts on calls that the one before took down but did not act on.
func TestCallsBeforeARestartAreActedOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, stop := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		stop()
		w.heartbeat(c) // taken down; nobody runs
		synctest.Wait()
		w.wantState(w.node(), node.DeployWait)
		w.start(w.cfg)
		w.wantState(w.settle(), node.Active)
	})
}

func TestAVerbWithoutARunningConductorIsLeftToOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Available)
		api := New(w.cfg) // never runs: a process with the API role only
		w.provision(api, node.ProvisionRequest{Event: node.EventDeploy})
		if n := w.node(); n.State != node.Deploying || n.Lease.Holder != "" {
			t.Fatalf("state %q, lease %+v", n.State, n.Lease)
		}
		second := w.cfg
		second.Host = "host-2"
		w.start(second)
		w.wantState(w.settle(), node.Active)
	})
}

// A step that fails only because the database was away for a moment fails nothing: it is done again, and nobody reads of it in
// last_error.
func TestADatabaseThatIsAwayFailsNoStep(t *testing.T) {
	away := fmt.Errorf("put the boot record: %w", node.StoreAway(errors.New("connection refused")))
	for _, step := range []string{"boot_deploy", "write_image", "agent:erase", "boot_instance"} {
		t.Run(step, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase", Priority: 50}}
				w.m.fail[step] = away
				times := 0
				w.m.onDo = func(what string, _ *node.Node) {
					if what != step {
						return
					}
					times++
					w.m.mu.Lock()
					defer w.m.mu.Unlock()
					if times == 3 {
						delete(w.m.fail, step)
					}
				}
				c, _ := w.start(w.cfg)
				began := time.Now()
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.m.agentOK["erase"] = true
				w.playMachine(trip{}, func() *Conductor { return c })
				n := w.settle()
				w.wantState(n, node.Active)
				if n.LastError != "" || times < 3 {
					t.Errorf("last_error %q after %d times", n.LastError, times)
				}
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("it took %s", took)
				}
				for _, e := range w.events() {
					if e[:5] == "ERROR" {
						t.Errorf("the history says %s", e)
					}
				}
			})
		})
	}
}

// So does a power change.
func TestADatabaseThatIsAwayFailsNoPowerChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.m.fail[string(node.PowerOn)] = node.StoreAway(errors.New("connection refused"))
		c, _ := w.start(w.cfg)
		if err := c.SetPower(w.t.Context(), uuid1, node.PowerOn, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.node(); n.TargetPower != node.PowerOn || n.LastError != "" {
			t.Fatalf("while the database is away: target %q, last_error %q", n.TargetPower, n.LastError)
		}
		w.m.mu.Lock()
		clear(w.m.fail)
		w.m.mu.Unlock()
		if n := w.settle(); n.Power != node.PowerOn || n.LastError != "" || n.TargetPower != node.PowerUnknown {
			t.Errorf("power %q, target %q, last_error %q", n.Power, n.TargetPower, n.LastError)
		}
	})
}

// What the database said when it was away is the log's: who asks for a validation reads that it is away.
func TestValidationWhileTheDatabaseIsAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		cfg := w.cfg
		w.way.fails(node.StoreAway(errors.New("user=billet host=10.0.0.9: connection refused")), "Ports.List")
		_, err := New(cfg).Validate(w.t.Context(), uuid1)
		e, ok := errors.AsType[*node.Err](err)
		if !ok || e.Kind != node.Unavailable || e.Msg != "The service can not use its database at the moment, please retry." {
			t.Errorf("%v", err)
		}
	})
}
