package conductor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

// A fake machine goes through its whole life in well under a second, and always after the answer.
func TestWholeLifeOfAFakeMachine(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Enroll)
		c, _ := w.start(w.cfg)
		drive := "H4sIAAAAAAAAAwMAAAAAAAAAAAA="
		for _, step := range []struct {
			req  node.ProvisionRequest
			want node.State
		}{
			{node.ProvisionRequest{Event: node.EventManage}, node.Manageable},
			{node.ProvisionRequest{Event: node.EventInspect}, node.Manageable},
			{node.ProvisionRequest{Event: node.EventProvide}, node.Available},
			{node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive}, node.Active},
			{node.ProvisionRequest{Event: node.EventRebuild}, node.Active},
			{node.ProvisionRequest{Event: node.EventDelete}, node.Available},
			{node.ProvisionRequest{Event: node.EventManage}, node.Manageable},
			{node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{{Interface: node.RAID, Step: "create_configuration"}}},
				node.Manageable},
			{node.ProvisionRequest{Event: node.EventAdopt}, node.Active},
			{node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "let me in"}, node.Rescue},
			{node.ProvisionRequest{Event: node.EventUnrescue}, node.Active},
			{node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{{Interface: node.RAID, Step: "create_configuration"}}},
				node.Active},
		} {
			began := time.Now()
			w.provision(c, step.req)
			n := w.settle()
			w.wantState(n, step.want)
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s took %v", step.req.Event, took)
			}
			if n.Plan != nil || n.TargetState != "" || n.LastError != "" {
				t.Errorf("after %s: plan %+v, target %q, last_error %q", step.req.Event, n.Plan, n.TargetState, n.LastError)
			}
			if n.Power == node.PowerUnknown {
				t.Errorf("after %s the power state is unknown", step.req.Event)
			}
			if step.req.Event == node.EventDeploy && (n.ConfigDrive != drive || n.Power != node.PowerOn) {
				t.Errorf("after deploy: config drive %q, power %q", n.ConfigDrive, n.Power)
			}
			if step.req.Event == node.EventInspect && (n.InspectionFinishedAt.IsZero() || n.Properties["cpus"] != "1") {
				t.Errorf("after inspect: %v %v", n.InspectionFinishedAt, n.Properties)
			}
			if step.req.Event == node.EventDelete && (len(n.InstanceInfo) > 0 || n.ConfigDrive != "") {
				t.Errorf("after delete the instance is still there: %v", n.InstanceInfo)
			}
		}
	})
}

func TestDeployThroughTheAgent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.m.offers = []node.PlannedStep{
			{Interface: node.Deploy, Step: "burnin", Priority: 0},
			{Interface: node.RAID, Step: "agent_raid", Priority: 90},
			{Interface: node.Deploy, Step: "write_image", Priority: 80}, // ours wins
		}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		n := w.reach(node.DeployWait)
		if n.Plan.WaitingFor != "the agent's first heartbeat" || n.Plan.Deadline.Sub(n.Plan.WaitingSince) != 1800*time.Second {
			t.Errorf("plan %+v", n.Plan)
		}
		w.heartbeat(c)
		n = w.reach(node.DeployWait)
		if step := n.Plan.Current(); step.Step != "agent_raid" || !step.Agent {
			t.Fatalf("waits at %+v", step)
		}
		w.heartbeat(c) // still at it
		w.reach(node.DeployWait)
		w.m.mu.Lock()
		w.m.agentOK["agent_raid"] = true
		w.m.mu.Unlock()
		w.heartbeat(c)
		w.wantState(w.settle(), node.Active)
		same(t, "done", w.m.done(), []string{"boot_deploy", "agent:agent_raid", "write_image", "boot_instance", "read_power"})
		var told []string
		for _, e := range w.events() {
			told = append(told, strings.NewReplacer("0.0 s", "‹t›").Replace(e))
		}
		same(t, "history", told, []string{
			`INFO deploy: Deploy was asked for; the node is now in state "deploying".`,
			"INFO deploy: Step raid.agent_raid started.",
			"INFO deploy: Step raid.agent_raid finished after ‹t›.",
			"INFO deploy: Step deploy.write_image started.",
			"INFO deploy: Step deploy.write_image finished after ‹t›.",
			"INFO deploy: Step deploy.boot_instance started.",
			"INFO deploy: Step deploy.boot_instance finished after ‹t›.",
			"INFO deploy: The deploy has ended well after ‹t›; the node is active.",
		})
	})
}

func TestFailures(t *testing.T) {
	boom := errors.New("the BMC at 192.0.2.7 says no to hunter2-secret")
	for _, tt := range []struct {
		name        string
		from        node.State
		event       node.Event
		breaks      string
		want        node.State
		lastError   string
		fault       node.Fault
		maintenance bool
		tidies      bool
	}{
		{"verify", node.Enroll, node.EventManage, "read_power", node.Enroll,
			"The verification failed at step power.verify_power: the BMC at 192.0.2.7 says no to ******", node.NoFault, false, false},
		{"deploy", node.Available, node.EventDeploy, "boot_deploy", node.DeployFailed,
			"The deploy failed at step deploy.boot_deploy: the BMC at 192.0.2.7 says no to ******", node.NoFault, false, true},
		{"clean", node.Manageable, node.EventProvide, "boot_clean", node.CleanFailed,
			"The cleaning failed at step deploy.boot_clean: the BMC at 192.0.2.7 says no to ******", node.CleanFailure, true, true},
		{"inspect", node.Manageable, node.EventInspect, "boot_inspect", node.InspectFailed,
			"The inspection failed at step inspect.boot_inspect: the BMC at 192.0.2.7 says no to ******", node.NoFault, false, true},
		{"delete", node.Active, node.EventDelete, "tear_down", node.Error,
			"The tear-down failed at step deploy.tear_down: the BMC at 192.0.2.7 says no to ******", node.NoFault, false, false},
		{"adopt", node.Manageable, node.EventAdopt, "adopt", node.AdoptFailed,
			"The adoption failed at step deploy.adopt: the BMC at 192.0.2.7 says no to ******", node.NoFault, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				w.m.fail[tt.breaks] = boom
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: tt.event})
				n := w.settle()
				w.wantState(n, tt.want)
				if n.LastError != tt.lastError || n.Fault != tt.fault || n.Maintenance != tt.maintenance || n.Plan != nil {
					t.Errorf("last_error %q, fault %q, maintenance %v, plan %v", n.LastError, n.Fault, n.Maintenance, n.Plan)
				}
				if (w.m.count("tidy_up") == 1) != tt.tidies {
					t.Errorf("tidied up %d times", w.m.count("tidy_up"))
				}
				if last := w.events()[len(w.events())-1]; !strings.HasPrefix(last,
					"ERROR "+string(flowTo(stateOf(tt.event, tt.from)).name)+": "+tt.lastError) {
					t.Errorf("the last history event is %q", last)
				}
				if strings.Contains(w.log.String(), "hunter2") {
					t.Error("the log shows a secret")
				}
			})
		})
	}
}

func stateOf(e node.Event, from node.State) node.State { to, _ := from.Next(e); return to }

// The reason of a failed cleaning stays through manage; the next flow that starts clears it.
func TestLastErrorStaysUntilTheNextFlow(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.m.fail["boot_clean"] = errors.New("no")
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
		w.wantState(w.settle(), node.CleanFailed)
		w.provision(c, node.ProvisionRequest{Event: node.EventManage})
		n := w.settle()
		w.wantState(n, node.Manageable)
		if n.LastError == "" {
			t.Error("last_error was cleared by manage")
		}
		w.edit(func(n *node.Node) { n.Maintenance = false })
		w.provision(c, node.ProvisionRequest{Event: node.EventInspect})
		if n := w.reach(node.InspectWait); n.LastError != "" {
			t.Errorf("last_error %q after a new start", n.LastError)
		}
	})
}

func TestADriverThatPanicsFailsItsNodeOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.m.panics["boot_deploy"], w.m.panics["tidy_up"] = true, true
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		n := w.settle()
		w.wantState(n, node.DeployFailed)
		want := "The deploy failed at step deploy.boot_deploy: a mistake in the driver (panic); the service's log has more"
		if n.LastError != want {
			t.Errorf("last_error %q", n.LastError)
		}
		if strings.Contains(w.log.String(), "hunter2") {
			t.Error("the log shows a secret")
		}
	})
}

func TestDisabledCleaningGoesStraightToAvailable(t *testing.T) {
	no, yes := false, true
	for _, tt := range []struct {
		name    string
		service bool
		own     *bool
		cleans  bool
	}{
		{"service cleans", true, nil, true}, {"service does not", false, nil, false},
		{"node does not", true, &no, false}, {"node does", false, &yes, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Manageable)
				w.edit(func(n *node.Node) { n.AutomatedClean = tt.own })
				w.cfg.AutomatedClean = tt.service
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
				if tt.cleans {
					w.reach(node.CleanWait)
					return
				}
				w.wantState(w.settle(), node.Available)
				same(t, "done", w.m.done(), []string{"read_power"})
			})
		})
	}
}

func TestARetiredMachineEndsManageable(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Active)
		w.edit(func(n *node.Node) { n.Retired = true })
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		w.wantState(w.settle(), node.Manageable)
	})
}

func TestManualCleaning(t *testing.T) {
	asked := []node.PlannedStep{{Interface: node.Deploy, Step: "erase_cmos"}, {Interface: node.Deploy, Step: "burnin"}}
	t.Run("runs what was asked for in the order given", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Manageable)
			w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase", Priority: 10}, {Interface: node.Deploy, Step: "burnin"}}
			w.m.agentOK["burnin"] = true
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: asked})
			w.reach(node.CleanWait)
			w.heartbeat(c)
			w.reach(node.CleanWait)
			w.heartbeat(c)
			w.wantState(w.settle(), node.Manageable)
			same(t, "done", w.m.done(), []string{"boot_clean", "erase_cmos", "agent:burnin", "end_clean", "read_power"})
		})
	})
	t.Run("fails on a step that nobody has", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Manageable)
			w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "erase", Priority: 10}}
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: asked})
			w.reach(node.CleanWait)
			w.heartbeat(c)
			n := w.settle()
			w.wantState(n, node.CleanFailed)
			if want := "The cleaning failed: neither the hardware nor its agent has the step deploy.burnin."; n.LastError != want {
				t.Errorf("last_error %q, want %q", n.LastError, want)
			}
		})
	})
	t.Run("is refused where no agent runs that could have it", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("fake-hardware", node.Manageable)
			c, _ := w.start(w.cfg)
			w.refused(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: asked[1:]}, "Step deploy.burnin cannot run: the hardware does "+
				"not have it by itself, and with the deploy interface fake no agent runs in the cleaning that could.")
		})
	})
	t.Run("is refused without the ramdisk", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Manageable)
			c, _ := w.start(w.cfg)
			w.refused(c, node.ProvisionRequest{Event: node.EventClean, CleanSteps: asked, NoRamdisk: true}, "with disable_ramdisk no agent runs "+
				"that could. Leave it out of the request, or leave disable_ramdisk out. Other steps that can be asked for: power.hold,")
		})
	})
}

// refused sends a request that must fail with these words and change nothing.
func (w *world) refused(c *Conductor, req node.ProvisionRequest, want string) {
	w.t.Helper()
	before := w.node()
	err := c.Provision(w.t.Context(), uuid1, req)
	if node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), want) {
		w.t.Errorf("got %v (kind %v)\nwant %s", err, node.KindOf(err), want)
	}
	if n := w.settle(); n.State != before.State || n.Plan != nil || n.LastError != before.LastError {
		w.t.Errorf("the node changed: %s, plan %v, last_error %q", n.State, n.Plan, n.LastError)
	}
	if done := w.m.done(); len(done) > 0 {
		w.t.Errorf("done: %q", done)
	}
}

// An agent that has not what was asked for cannot make the machine that was asked for: its image is not even written.
func TestADeployFailsOnAStepThatItsAgentHasNot(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "burnin"}}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{
			{Interface: node.BIOS, Step: "overclock", Priority: 90}, {Interface: node.Deploy, Step: "fly", Priority: 70},
			{Interface: node.Deploy, Step: "off", Priority: 0},
		}})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		n := w.settle()
		w.wantState(n, node.DeployFailed)
		if want := "The deploy failed: neither the hardware nor its agent has the step bios.overclock, deploy.fly."; n.LastError != want {
			t.Errorf("last_error %q, want %q", n.LastError, want)
		}
		if done := w.m.done(); slices.Contains(done, "write_image") {
			t.Errorf("done: %q", done)
		}
	})
}

// A deploy whose machine runs no agent is refused a step of one, asked for or of a template, before anything has changed.
func TestADeployRefusesAStepThatNoAgentWillHave(t *testing.T) {
	const want = "Step bios.overclock cannot run: the hardware does not have it by itself, and with the deploy interface direct no agent " +
		"runs in the deploy that could. Leave it out of the request, and of the deploy templates of the instance's traits, or use a deploy " +
		"interface"
	overclock := []node.PlannedStep{ask(node.BIOS, "overclock", 90)}
	t.Run("asked for", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Available)
			w.m.without = []node.Flow{node.FlowDeploy}
			c, _ := w.start(w.cfg)
			w.refused(c, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: overclock}, want)
		})
	})
	t.Run("of a template", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("test", node.Active)
			w.m.without = []node.Flow{node.FlowDeploy}
			w.templates(template("CUSTOM_FAST", overclock...))
			w.edit(func(n *node.Node) { n.Traits, n.InstanceInfo["traits"] = []string{"CUSTOM_FAST"}, []any{"CUSTOM_FAST"} })
			c, _ := w.start(w.cfg)
			w.refused(c, node.ProvisionRequest{Event: node.EventRebuild}, want)
		})
	})
	t.Run("no agent at all", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("fake-hardware", node.Available)
			c, _ := w.start(w.cfg)
			w.refused(c, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: overclock},
				"with the deploy interface fake no agent runs in the deploy that could")
		})
	})
	t.Run("switched off", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.enroll("fake-hardware", node.Available)
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{ask(node.BIOS, "overclock", 0)}})
			w.wantState(w.settle(), node.Active)
		})
	})
}

// A plan that an earlier version made, which would have skipped the step, fails before the machine is touched.
func TestAPlanWithAStepThatNoAgentWillHaveFailsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.m.without = []node.Flow{node.FlowDeploy}
		w.provision(New(w.cfg), node.ProvisionRequest{Event: node.EventDeploy})
		w.edit(func(n *node.Node) {
			n.Plan.Steps = slices.Insert(n.Plan.Steps, 1, agentStep(node.Deploy, "burnin", 90))
			n.Lease = node.Lease{}
		})
		w.start(w.cfg)
		n := w.settle()
		w.wantState(n, node.DeployFailed)
		if want := "The deploy failed. Step deploy.burnin cannot run: the hardware does not have it by itself, and with the deploy interface " +
			"direct no agent runs in the deploy that could."; !strings.HasPrefix(n.LastError, want) {
			t.Errorf("last_error %q, want %q", n.LastError, want)
		}
		if done := w.m.done(); slices.Contains(done, "boot_deploy") || slices.Contains(done, "write_image") {
			t.Errorf("done: %q", done)
		}
	})
}

// An agent that has told that it has no steps at all has told that it lacks the one asked for; and one whose own step
// comes too late cannot carry it out.
func TestADeployFailsOnWhatItsAgentCannotDo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		offers []node.PlannedStep
		want   string
	}{
		{"no steps", []node.PlannedStep{}, "The deploy failed: neither the hardware nor its agent has the step deploy.burnin."},
		{"a step after the agent's end", []node.PlannedStep{agentStep(node.Deploy, "burnin", 0), agentStep(node.Deploy, "inject", 9)},
			"The deploy failed. Step deploy.inject with priority 9 would run after deploy.end_agent, which ends the ramdisk " +
				"whose agent carries it out: give it a priority above 10."},
		{"nothing is told", nil,
			"The deploy failed: no agent has told that it has the step deploy.burnin, and the hardware itself does not have it."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.m.offers = tt.offers
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy,
					DeploySteps: []node.PlannedStep{ask(node.Deploy, "burnin", 90), ask(node.Deploy, "end_agent", 10)}})
				w.reach(node.DeployWait)
				w.heartbeat(c)
				n := w.settle()
				w.wantState(n, node.DeployFailed)
				if n.LastError != tt.want {
					t.Errorf("last_error %q, want %q", n.LastError, tt.want)
				}
				if done := w.m.done(); slices.Contains(done, "write_image") {
					t.Errorf("done: %q", done)
				}
			})
		})
	}
}

func TestAbort(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
		w.reach(node.CleanWait)
		w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
		n := w.settle()
		w.wantState(n, node.CleanFailed)
		if n.LastError != "The cleaning was aborted by request." || n.Maintenance || w.m.count("tidy_up") != 1 {
			t.Errorf("last_error %q, maintenance %v, tidied up %d times", n.LastError, n.Maintenance, w.m.count("tidy_up"))
		}
	})
}

// A step that must not be interrupted ends first.
func TestAbortWaitsForAStepThatIsNotAbortable(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "flash", Priority: 10},
			{Interface: node.Deploy, Step: "burnin", Priority: 5}}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventProvide})
		w.reach(node.CleanWait)
		w.heartbeat(c)
		w.reach(node.CleanWait)
		w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
		synctest.Wait()
		w.wantState(w.node(), node.CleanWait)
		w.m.mu.Lock()
		w.m.agentOK["flash"] = true
		w.m.mu.Unlock()
		w.heartbeat(c)
		n := w.settle()
		w.wantState(n, node.CleanFailed)
		if w.m.count("end_clean")+w.m.count("agent:burnin") > 0 || n.LastError != "The cleaning was aborted by request." {
			t.Errorf("done %q, last_error %q", w.m.done(), n.LastError)
		}
	})
}

func TestHoldAndUnhold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{
			{Interface: node.Power, Step: "hold", Priority: 70},
			{Interface: node.Power, Step: "wait", Priority: 65, Args: map[string]any{"seconds": 5.0}},
		}})
		w.reach(node.DeployHold)
		time.Sleep(48 * time.Hour)
		w.wantState(w.node(), node.DeployHold)
		began := time.Now()
		w.provision(c, node.ProvisionRequest{Event: node.EventUnhold})
		w.wantState(w.settle(), node.Active)
		if took := time.Since(began); took < 5*time.Second || took > 8*time.Second {
			t.Errorf("the wait step took %v", took)
		}
	})
}

func TestAbortOfAHeldNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy,
			DeploySteps: []node.PlannedStep{{Interface: node.Power, Step: "hold", Priority: 70}}})
		w.reach(node.DeployHold)
		w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
		n := w.settle()
		for n.State == node.DeployHold {
			time.Sleep(time.Second)
			n = w.settle()
		}
		w.wantState(n, node.DeployFailed)
	})
}

// Rows that this service cannot make sense of fail with a reason instead of staying for ever.
func TestNodesInTheMiddleOfSomethingUnknown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  node.State
		driver string
		plan   *node.Plan
		want   node.State
		error  string
	}{
		{"no plan", node.Deploying, "test", nil, node.DeployFailed, `The node is in state "deploying" without a plan of this service.`},
		{"no plan, waiting", node.CleanWait, "test", nil, node.CleanFailed, `The node is in state "clean wait" without a plan of this service.`},
		{"no flow", node.Rescuing, "test", nil, node.RescueFailed, `The node is in state "rescuing" without a plan of this service.`},
		{"another service's flow", node.Servicing, "test", &node.Plan{Flow: "polish"}, node.ServiceFailed,
			`This service has no flow "polish", which the node is in the middle of.`},
		{"a driver that is gone", node.Cleaning, "gone", &node.Plan{Flow: node.FlowClean}, node.CleanFailed,
			"The cleaning cannot go on: Could not find the following driver(s) or hardware type(s): gone."},
		{"a step that is gone", node.Deploying, "test",
			&node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "melt"}}}, node.DeployFailed,
			"The deploy failed: the hardware no longer has the step deploy.melt"},
		{"a waiting step that is gone", node.DeployWait, "test",
			&node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "melt", StartedAt: time.Unix(1, 0)}}},
			node.DeployFailed,
			"The deploy failed: the hardware no longer has the step deploy.melt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.state)
				w.edit(func(n *node.Node) { n.Plan, n.Driver = tt.plan, tt.driver })
				w.start(w.cfg)
				n := w.settle()
				w.wantState(n, tt.want)
				if n.LastError != tt.error {
					t.Errorf("last_error %q\nwant %q", n.LastError, tt.error)
				}
			})
		})
	}
}
