package conductor

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

// Abort in every state whose table row has it: where the node ends, in whose words, and what is left behind:
// no plan, no agent, no lease, no maintenance, and a machine that was tidied up once.
func TestAbortInEveryStateThatAllowsIt(t *testing.T) {
	hold := ask(node.Power, "hold", 90)
	flash, cmos := ask(node.Deploy, "flash", 0), ask(node.Deploy, "erase_cmos", 0)
	for _, tt := range []struct {
		in   node.State
		from node.State
		req  node.ProvisionRequest
		call bool // the agent calls on the way
		want node.State
		says string
		tidy string
	}{
		{node.DeployWait, node.Available, node.ProvisionRequest{Event: node.EventDeploy}, false,
			node.DeployFailed, "The deploy was aborted by request.", "tidy_up"},
		{node.DeployHold, node.Available, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{hold}}, true,
			node.DeployFailed, "The deploy was aborted by request.", "tidy_up"},
		{node.CleanWait, node.Manageable, node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{cmos}}, false,
			node.CleanFailed, "The cleaning was aborted by request.", "tidy_up"},
		{node.CleanHold, node.Manageable, node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{hold, cmos}}, true,
			node.CleanFailed, "The cleaning was aborted by request.", "tidy_up"},
		{node.InspectWait, node.Manageable, node.ProvisionRequest{Event: node.EventInspect}, false,
			node.InspectFailed, "The inspection was aborted by request.", "tidy_up"},
		{node.RescueWait, node.Active, node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"}, false,
			node.RescueFailed, "The rescue was aborted by request.", "tidy_rescue"},
		{node.ServiceWait, node.Active, node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{flash}}, false,
			node.ServiceFailed, "The service was aborted by request.", "tidy_up"},
		{node.ServiceHold, node.Active, node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{hold, flash}}, true,
			node.ServiceFailed, "The service was aborted by request.", "tidy_up"},
	} {
		t.Run(string(tt.in), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				c, _ := w.start(w.cfg)
				w.provision(c, tt.req)
				if tt.call {
					w.reach(waitStateOf(tt.in))
					w.heartbeat(c)
				}
				w.reach(tt.in)
				time.Sleep(time.Second)
				w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
				n := w.reach(tt.want)
				if n.LastError != tt.says || n.Maintenance || n.Fault != node.NoFault {
					t.Errorf("last_error %q, maintenance %t, fault %q", n.LastError, n.Maintenance, n.Fault)
				}
				if n.Plan != nil || n.InstanceInfo["hashed_rescue_password"] != nil {
					t.Errorf("left: %+v, instance_info %v", n.Plan, n.InstanceInfo)
				}
				if tidied := w.m.count(tt.tidy); tidied != 1 {
					t.Errorf("%s was done %d times, among %q", tt.tidy, tidied, w.m.done())
				}
				for _, never := range []string{"erase_cmos", "flash", "let_in", "boot_instance"} {
					if w.m.count(never) > 0 {
						t.Errorf("%s was done after the abort", never)
					}
				}
				if ev := w.events(); !slices.ContainsFunc(ev, func(e string) bool {
					return e == "ERROR "+string(flowTo(busyStateOf(tt.in)).name)+": "+tt.says
				}) {
					t.Errorf("the history does not say it: %q", ev)
				}
			})
		})
	}
}

// waitStateOf and busyStateOf are the siblings of a hold or wait state.
func waitStateOf(s node.State) node.State {
	return map[node.State]node.State{node.DeployHold: node.DeployWait, node.CleanHold: node.CleanWait, node.ServiceHold: node.ServiceWait}[s]
}

func busyStateOf(s node.State) node.State {
	return map[node.State]node.State{
		node.DeployHold: node.Deploying, node.DeployWait: node.Deploying, node.CleanHold: node.Cleaning, node.CleanWait: node.Cleaning,
		node.ServiceHold: node.Servicing, node.ServiceWait: node.Servicing, node.InspectWait: node.Inspecting, node.RescueWait: node.Rescuing,
	}[s]
}

// A hold has no end but a person's: a day passes, heartbeats come, and no deadline fails the node. After unhold the
// flow goes on where it was.
func TestNoDeadlinePassesWhileANodeIsHeld(t *testing.T) {
	hold := ask(node.Power, "hold", 90)
	for _, tt := range []struct {
		held, from, end node.State
		req             node.ProvisionRequest
		did             string
	}{
		{node.DeployHold, node.Available, node.Active, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{hold}},
			"write_image"},
		{node.CleanHold, node.Manageable, node.Manageable,
			node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{hold, ask(node.Deploy, "erase_cmos", 0)}}, "erase_cmos"},
		{node.ServiceHold, node.Active, node.Active,
			node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{hold, ask(node.Deploy, "flash", 0)}}, "flash"},
	} {
		t.Run(string(tt.held), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.m.within = 2 * time.Minute
				w.enroll("test", tt.from)
				c, _ := w.start(w.cfg)
				w.provision(c, tt.req)
				w.reach(waitStateOf(tt.held))
				w.heartbeat(c)
				w.reach(tt.held)
				for range 3 {
					time.Sleep(8 * time.Hour)
					synctest.Wait()
					n := w.node()
					w.wantState(n, tt.held)
					if n.LastError != "" || w.m.count(tt.did) != 0 {
						t.Fatalf("while held: last_error %q, done %q", n.LastError, w.m.done())
					}
				}
				w.provision(c, node.ProvisionRequest{Event: node.EventUnhold})
				n := w.settle()
				w.wantState(n, tt.end)
				if n.LastError != "" || w.m.count(tt.did) != 1 {
					t.Errorf("after unhold: last_error %q, done %q", n.LastError, w.m.done())
				}
			})
		})
	}
}

// A held node's abort that was taken down but not carried out, because the process ended or never runs flows, is carried out by
// another process that was there all along: it must not need a start of anybody.
func TestAnAbortInAHoldIsNeverLost(t *testing.T) {
	hold := ask(node.Power, "hold", 90)
	for what, abort := range map[string]func(*world) error{
		"by a process that died at once": func(w *world) error {
			dying := w.cfg
			dying.Host = "host-2"
			dying.Store = newProcess(2).to(inMemory(w.store)) // its lease and the abort
			c, _ := w.start(dying)
			return c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventAbort})
		},
		"by a process without the role": func(w *world) error {
			api := w.cfg
			api.Host = "host-2"
			return New(api).Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventAbort})
		},
	} {
		for _, tt := range []struct {
			from, held, end node.State
			req             node.ProvisionRequest
		}{
			{node.Available, node.DeployHold, node.DeployFailed,
				node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{hold}}},
			{node.Manageable, node.CleanHold, node.CleanFailed,
				node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{hold, ask(node.Deploy, "erase_cmos", 0)}}},
			{node.Active, node.ServiceHold, node.ServiceFailed,
				node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{hold, ask(node.Deploy, "flash", 0)}}},
		} {
			t.Run(what+", "+string(tt.held), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.enroll("test", tt.from)
					c, _ := w.start(w.cfg)
					w.provision(c, tt.req)
					w.reach(waitStateOf(tt.held))
					w.heartbeat(c)
					w.reach(tt.held)
					if err := abort(w); err != nil {
						t.Fatal(err)
					}
					asked := time.Now()
					n := w.reach(tt.end)
					if n.LastError == "" || n.Plan != nil {
						t.Errorf("last_error %q, plan %+v", n.LastError, n.Plan)
					}
					if took := time.Since(asked); took > 2*w.cfg.LeaseTTL+time.Minute {
						t.Errorf("it took %s", took)
					}
				})
			})
		}
	}
}
