package conductor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

// fakeTrip is a flow of a fake machine: where it begins, what is asked for, where it ends well and where badly.
type fakeTrip struct {
	flow      node.Flow
	noun      string // in sentences
	from      node.State
	req       node.ProvisionRequest
	good, bad node.State
	again     node.Event // the way back: what is asked of the failed node once the fault is mended
	end       node.State // where that leads
	waits     bool       // the flow has a wait state
	tidied    bool       // a failure switches the machine off
}

var fakeTrips = []fakeTrip{
	{flow: node.FlowInspect, noun: "inspection", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventInspect},
		good: node.Manageable,
		bad:  node.InspectFailed, again: node.EventInspect, end: node.Manageable, waits: true, tidied: true},
	{flow: node.FlowClean, noun: "cleaning", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventProvide}, good: node.Available,
		bad: node.CleanFailed, again: node.EventManage, end: node.Manageable, waits: true, tidied: true},
	{flow: node.FlowDeploy, noun: "deploy", from: node.Available, req: node.ProvisionRequest{Event: node.EventDeploy}, good: node.Active,
		bad: node.DeployFailed, again: node.EventRebuild, end: node.Active, waits: true, tidied: true},
	{flow: node.FlowDelete, noun: "tear-down", from: node.Active, req: node.ProvisionRequest{Event: node.EventDelete}, good: node.Available,
		bad: node.Error, again: node.EventDelete, end: node.Available},
	{flow: node.FlowAdopt, noun: "adoption", from: node.Manageable, req: node.ProvisionRequest{Event: node.EventAdopt}, good: node.Active,
		bad: node.AdoptFailed, again: node.EventAdopt, end: node.Active},
	{flow: node.FlowRescue, noun: "rescue", from: node.Active,
		req: node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"}, good: node.Rescue,
		bad: node.RescueFailed, again: node.EventRescue, end: node.Rescue, waits: true, tidied: true},
	{flow: node.FlowUnrescue, noun: "end of the rescue", from: node.Rescue, req: node.ProvisionRequest{Event: node.EventUnrescue},
		good: node.Active,
		bad:  node.UnrescueFailed, again: node.EventUnrescue, end: node.Active},
}

// stepsOfTrip are the steps that the trip's flow runs on fake hardware, but for the conductor's own.
func stepsOfTrip(t *testing.T, tr fakeTrip) []node.PlannedStep {
	t.Helper()
	h, err := testTypes(newMachine()).Resolve(&node.Node{Driver: "fake-hardware"})
	if err != nil {
		t.Fatal(err)
	}
	steps, err := planFlow(h, flowNamed(tr.flow), flowNamed(tr.flow).stepsAsked(tr.req), false, false)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(steps, func(s node.PlannedStep) bool { return s.Step == "verify_power" })
}

// Each step of each flow fails once: the node ends in the flow's failed state with one sentence that names the step and the reason, in
// last_error and in its history; nothing of the flow is left, no later step ran, and the way back leads out of it.
func TestAFailureAtEveryStepOfEveryFlow(t *testing.T) {
	for _, tr := range fakeTrips {
		steps := stepsOfTrip(t, tr)
		if len(steps) == 0 {
			t.Errorf("%s has no steps", tr.flow)
		}
		for at, step := range steps {
			t.Run(fmt.Sprintf("%s/%s", tr.flow, step.Step), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.enroll("fake-hardware", tr.from)
					key := "fake_" + step.Step + "_fail"
					w.edit(func(n *node.Node) { n.DriverInfo[key], n.Power = "worn out", node.PowerOn })
					c, _ := w.start(w.cfg)
					req := tr.req
					w.provision(c, req)
					n := w.settle()
					w.wantState(n, tr.bad)
					want := fmt.Sprintf("The %s failed at step %s: worn out", tr.noun, name(&step))
					if n.LastError != want || n.Plan != nil || n.TargetState != node.State("") && n.TargetState != tr.good && tr.flow != node.FlowDelete {
						t.Errorf("last_error %q, want %q; plan %+v, target %q", n.LastError, want, n.Plan, n.TargetState)
					}
					flow := flowNamed(tr.flow)
					if n.Maintenance != (flow.fault != node.NoFault) || n.Fault != flow.fault {
						t.Errorf("maintenance %v, fault %q, want %q", n.Maintenance, n.Fault, flow.fault)
					}
					if tr.tidied && n.Power != node.PowerOff {
						t.Errorf("the machine was not tidied up: %q", n.Power)
					}
					events := w.events()
					if slices.Index(events, "ERROR "+string(tr.flow)+": "+want) < 0 {
						t.Errorf("the history does not say it: %q", events)
					}
					for _, later := range steps[at+1:] {
						if slices.ContainsFunc(events, func(e string) bool { return strings.Contains(e, "Step "+name(&later)+" started") }) {
							t.Errorf("%s ran after the failure", name(&later))
						}
					}
					for _, earlier := range steps[:at] {
						if !earlier.Hidden && !slices.ContainsFunc(events, func(e string) bool {
							return strings.Contains(e, "Step "+name(&earlier)+" finished")
						}) {
							t.Errorf("%s did not run before it", name(&earlier))
						}
					}
					// Mended, the node goes on.
					w.edit(func(n *node.Node) { delete(n.DriverInfo, key); n.Maintenance = false })
					w.provision(c, node.ProvisionRequest{Event: tr.again, RescuePassword: req.RescuePassword})
					n = w.settle()
					w.wantState(n, tr.end)
					if tr.again != node.EventManage && n.LastError != "" {
						t.Errorf("last_error of the way back: %q", n.LastError)
					}
				})
			})
		}
	}
}

// The interfaces a step uses fail under it: the switch, the network. The reason is theirs, the step is named.
func TestAFailureOfAnInterfaceUnderAStep(t *testing.T) {
	for _, tt := range []struct {
		flow  node.Flow
		key   string
		step  string
		state node.State
	}{
		{node.FlowDeploy, "fake_power_fail", "deploy.deploy", node.DeployFailed},
		{node.FlowDeploy, "fake_boot_fail", "deploy.prepare_instance_boot", node.DeployFailed},
		{node.FlowDeploy, "fake_network_fail", "deploy.switch_to_tenant_network", node.DeployFailed},
		{node.FlowClean, "fake_power_fail", "deploy.prepare_cleaning", node.CleanFailed},
		{node.FlowDelete, "fake_power_fail", "deploy.tear_down", node.Error},
		{node.FlowRescue, "fake_power_fail", "rescue.rescue", node.RescueFailed},
		{node.FlowUnrescue, "fake_power_fail", "rescue.unrescue", node.UnrescueFailed},
		{node.FlowAdopt, "fake_power_fail", "power.verify_power", node.AdoptFailed},
	} {
		t.Run(string(tt.flow)+" "+tt.key, func(t *testing.T) {
			inWorld(t, func(w *world) {
				i := slices.IndexFunc(fakeTrips, func(tr fakeTrip) bool { return tr.flow == tt.flow })
				tr := fakeTrips[i]
				w.enroll("fake-hardware", tr.from)
				w.edit(func(n *node.Node) { n.DriverInfo[tt.key] = "no current" })
				c, _ := w.start(w.cfg)
				w.provision(c, tr.req)
				n := w.settle()
				w.wantState(n, tt.state)
				if want := fmt.Sprintf("The %s failed at step %s: no current", tr.noun, tt.step); n.LastError != want {
					t.Errorf("last_error %q, want %q", n.LastError, want)
				}
				// What could not be tidied up is told beside the reason, and does not replace it.
				if tr.tidied && tt.key == "fake_power_fail" && !slices.ContainsFunc(w.events(), func(e string) bool {
					return strings.HasPrefix(e, "ERROR ") && strings.HasSuffix(e, "Tidying up after the "+tr.noun+": no current")
				}) {
					t.Errorf("the history does not say that tidying up failed: %q", w.events())
				}
			})
		})
	}
}

// Each step of each flow takes its time: the node shows for what it waits, a process that dies in the wait is replaced by another, and
// the flow ends as if nothing had been.
func TestADeathWhileEachStepWaits(t *testing.T) {
	for _, tr := range fakeTrips {
		for _, step := range stepsOfTrip(t, tr) {
			t.Run(fmt.Sprintf("%s/%s", tr.flow, step.Step), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.enroll("fake-hardware", tr.from)
					w.edit(func(n *node.Node) { n.DriverInfo["fake_"+step.Step+"_delay"] = 20.0 })
					dying := newProcess(immortal)
					first := w.cfg
					first.Store = dying.to(inMemory(w.store))
					c, stop := w.start(first)
					w.provision(c, tr.req)
					synctest.Wait()
					waiting := func(n *node.Node) bool {
						return n.Plan != nil && n.Plan.Current() != nil && n.Plan.Current().Step == step.Step && n.Plan.WaitingFor != ""
					}
					if tr.waits {
						for range 5 {
							if waiting(w.node()) {
								break
							}
							time.Sleep(time.Second)
							synctest.Wait()
						}
						n := w.node()
						if !waiting(n) || n.State.Class() != node.Waiting || n.Lease.Holder != "" {
							t.Fatalf("state %q, lease %+v, plan %+v", n.State, n.Lease, n.Plan)
						}
						if want := "the fake machine's " + step.Step; n.Plan.WaitingFor != want {
							t.Errorf("waits for %q, want %q", n.Plan.WaitingFor, want)
						}
					} else {
						time.Sleep(5 * time.Second) // it waits under its lease
					}
					dying.mu.Lock()
					dying.left = 0
					dying.mu.Unlock()
					time.Sleep(time.Second)
					stop()
					second := w.cfg
					second.Host = "host-2"
					w.start(second)
					n := w.settle()
					w.wantState(n, tr.good)
					if n.LastError != "" || n.Plan != nil {
						t.Errorf("last_error %q, plan %+v", n.LastError, n.Plan)
					}
				})
			})
		}
	}
}

// Each step that waits waits no longer than its flow's deadline; then the flow fails, and says for what it waited how long.
func TestADeadlineAtEveryStepThatWaits(t *testing.T) {
	for _, tr := range fakeTrips {
		for _, step := range stepsOfTrip(t, tr) {
			t.Run(fmt.Sprintf("%s/%s", tr.flow, step.Step), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.enroll("fake-hardware", tr.from)
					w.edit(func(n *node.Node) { n.DriverInfo["fake_"+step.Step+"_delay"] = "23h" })
					cfg := w.cfg
					cfg.DeployTimeout, cfg.CleanTimeout, cfg.InspectTimeout = 10*time.Minute, 10*time.Minute, 10*time.Minute
					cfg.RescueTimeout, cfg.PowerTimeout = 10*time.Minute, 10*time.Minute
					c, _ := w.start(cfg)
					began := time.Now()
					w.provision(c, tr.req)
					n := w.settle()
					w.wantState(n, tr.bad)
					if took := time.Since(began); took < 10*time.Minute || took > 12*time.Minute {
						t.Errorf("failed after %s", took)
					}
					if want := "Timed out after 600 s waiting for the fake machine's " + step.Step; !strings.HasPrefix(n.LastError, want) {
						t.Errorf("last_error %q, want %q", n.LastError, want)
					}
				})
			})
		}
	}
}

// Many who abort at one time: the flow ends once, in one sentence, tidied up once. Those who came too late are told that there is
// nothing to abort, or that the node is just held.
func TestARaceOfAborts(t *testing.T) {
	for _, tt := range []struct {
		req  node.ProvisionRequest
		from node.State
		in   node.State
		want node.State
	}{
		{node.ProvisionRequest{Event: node.EventDeploy}, node.Available, node.DeployWait, node.DeployFailed},
		{node.ProvisionRequest{Event: node.EventProvide}, node.Manageable, node.CleanWait, node.CleanFailed},
		{node.ProvisionRequest{Event: node.EventInspect}, node.Manageable, node.InspectWait, node.InspectFailed},
		{node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"}, node.Active, node.RescueWait, node.RescueFailed},
	} {
		t.Run(string(tt.in), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				c, _ := w.start(w.cfg)
				second := w.cfg
				second.Host = "host-2"
				d, _ := w.start(second)
				w.provision(c, tt.req)
				w.reach(tt.in)
				var taken atomic.Int32
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						by := c
						if i%2 == 1 {
							by = d
						}
						err := by.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventAbort})
						switch kind := node.KindOf(err); {
						case err == nil:
							taken.Add(1)
						case kind != node.Conflict && kind != node.Invalid:
							t.Errorf("abort: %v", err)
						}
					})
				}
				wg.Wait()
				n := w.settle()
				w.wantState(n, tt.want)
				if taken.Load() < 1 || !strings.HasSuffix(n.LastError, " was aborted by request.") || n.Plan != nil || n.Lease.Holder != "" {
					t.Errorf("%d were taken; last_error %q, plan %+v, lease %+v", taken.Load(), n.LastError, n.Plan, n.Lease)
				}
				if tidied := w.m.count("tidy_up") + w.m.count("tidy_rescue"); tidied != 1 {
					t.Errorf("tidied up %d times", tidied)
				}
				ended := 0
				for _, e := range w.events() {
					if strings.Contains(e, "was aborted by request") {
						ended++
					}
				}
				if ended != 1 {
					t.Errorf("the history says %d times that it was aborted: %q", ended, w.events())
				}
			})
		})
	}
}

// An abort, an undeploy, a heartbeat, a power change and an edit that come at one time: the node rests in the end, in a state that one of
// them leads to, held by nobody, without a plan; what was answered yes has been done.
func TestEverybodyAtOnce(t *testing.T) {
	for round := range 12 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				_, token, err := c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true})
				if err != nil {
					t.Fatal(err)
				}
				calls := []func() error{
					func() error {
						return c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventAbort})
					},
					func() error {
						return c.Heartbeat(w.t.Context(), uuid1,
							node.Heartbeat{CallbackURL: "https://10.0.0.5:9999", AgentToken: token, AgentVersion: "1", VerifyCA: "pem"})
					},
					func() error {
						return c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventDelete})
					},
					func() error {
						_, err := c.UpdateNode(w.t.Context(), uuid1, node.UpdateOptions{AnyState: true}, func(n *node.Node) error {
							n.Description = "edited"
							return nil
						})
						return err
					},
				}
				answers := make([]error, len(calls))
				var wg sync.WaitGroup
				for i := range calls {
					wg.Go(func() {
						time.Sleep(time.Duration((i*7+round*5)%11) * time.Millisecond) // another order each round
						answers[i] = calls[i]()
					})
				}
				wg.Wait()
				for range 600 { // the machine goes on calling while anything waits
					synctest.Wait()
					n := w.node()
					if n.State.Class() != node.Busy && n.State.Class() != node.Waiting && !n.Lease.Held(time.Now()) {
						break
					}
					if n.State.Class() == node.Waiting {
						w.call(trip{}, c)
					}
					time.Sleep(time.Second)
				}
				n := w.settle()
				switch n.State {
				case node.Active: // the heartbeat was first and nobody stopped it
					if answers[0] == nil && answers[2] == nil {
						t.Errorf("active although an abort and an undeploy were accepted")
					}
				case node.DeployFailed:
					if answers[2] == nil {
						t.Errorf("an accepted undeploy ended in %q: %s", n.State, n.LastError)
					}
				case node.Available:
				case node.CleanFailed: // the abort came when the undeploy was cleaning already
					if answers[0] != nil || answers[2] != nil {
						t.Errorf("a cleaning that nobody asked for was aborted: %v, %v", answers[0], answers[2])
					}
				default:
					t.Errorf("ended in %q", n.State)
				}
				if answers[3] == nil && n.Description != "edited" {
					t.Error("an accepted edit is lost")
				}
				if n.Plan != nil || n.Lease.Holder != "" || n.TargetPower != "" {
					t.Errorf("left: plan %+v, lease %+v, target power %q", n.Plan, n.Lease, n.TargetPower)
				}
				for i, err := range answers {
					if err != nil && node.KindOf(err) != node.Conflict && node.KindOf(err) != node.Invalid && node.KindOf(err) != node.NotFound {
						t.Errorf("call %d: %v", i, err)
					}
				}
			})
		})
	}
}

// A BMC's error that quotes what it was given shows no secret to who asked, whatever was asked.
func TestErrorsOfTheManagementInterfaceShowNoSecret(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.edit(func(n *node.Node) { n.DriverInfo["fake_management_fail"] = "login admin/hunter2-secret refused" })
		c := New(w.cfg)
		_, read := c.BootDevice(w.t.Context(), uuid1)
		set := c.SetBootDevice(w.t.Context(), uuid1, node.BootDevice{Device: "disk"})
		for what, err := range map[string]error{"reading": read, "setting": set} {
			if err == nil || err.Error() != "login admin/****** refused" {
				t.Errorf("%s the boot device: %v", what, err)
			}
		}
		if w.node().Lease.Holder != "" {
			t.Error("the node is still held")
		}
	})
}

// What the store says while a verb is being accepted is the verb's answer, and the node is as it was.
func TestAVerbThatCannotBeSaved(t *testing.T) {
	for _, tr := range fakeTrips {
		t.Run(string(tr.flow), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("fake-hardware", tr.from)
				before := w.node()
				dying := newProcess(1) // the lease is granted, the new state is not saved
				cfg := w.cfg
				cfg.Store = dying.to(inMemory(w.store))
				c := New(cfg)
				if err := c.Provision(w.t.Context(), uuid1, tr.req); !errors.Is(err, errDead) {
					t.Errorf("answered %v", err)
				}
				n := w.node()
				if n.State != before.State || n.Plan != nil || n.LastError != "" || n.TargetState != "" {
					t.Errorf("the node is %q, target %q, plan %+v", n.State, n.TargetState, n.Plan)
				}
				// Another process takes the verb once the lease has run out.
				second := w.cfg
				second.Host = "host-2"
				d, _ := w.start(second)
				time.Sleep(d.cfg.LeaseTTL + time.Second)
				w.provision(d, tr.req)
				w.wantState(w.settle(), tr.good)
			})
		})
	}
}
