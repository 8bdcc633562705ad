package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// stepsImpl is an implementation of any interface with the given steps.
type stepsImpl struct{ steps []driver.Step }

func (stepsImpl) Name() string                                 { return "steps" }
func (stepsImpl) Properties() map[string]string                { return nil }
func (stepsImpl) Validate(context.Context, *driver.Task) error { return nil }
func (s stepsImpl) Steps() []driver.Step                       { return s.steps }
func (stepsImpl) TidyUp(context.Context, *driver.Task) error   { return nil }

// agentImpl is a deploy interface whose ramdisk runs an agent, but in some flows.
type agentImpl struct {
	stepsImpl
	not []node.Flow
}

func (a agentImpl) RunsAgent(f node.Flow) bool { return !slices.Contains(a.not, f) }
func (agentImpl) RunStep(context.Context, *driver.Task) (driver.Result, error) {
	return driver.Done(), nil
}
func (agentImpl) PollStep(context.Context, *driver.Task) (driver.Result, error) {
	return driver.Done(), nil
}
func (agentImpl) BootAgain(context.Context, *driver.Task) (driver.Result, error) {
	return driver.Done(), nil
}

func prio(p int) map[node.Flow]int             { return map[node.Flow]int{node.FlowDeploy: p, node.FlowClean: p} }
func step(name string, p int) driver.Step      { return driver.Step{Name: name, Priority: prio(p)} }
func frameStep(name string, p int) driver.Step { s := step(name, p); s.Frame = true; return s }
func ask(i node.Interface, name string, p int) node.PlannedStep {
	return node.PlannedStep{Interface: i, Step: name, Priority: p}
}
func agentStep(i node.Interface, name string, p int) node.PlannedStep {
	s := ask(i, name, p)
	s.Agent = true
	return s
}

func planHardware() *driver.Hardware {
	return &driver.Hardware{
		Power: fake.NewPower(), Management: fake.NewManagement(), Boot: fake.NewBoot(), Inspect: fake.NewInspect(), Network: fake.NewNetwork(),
		Deploy: agentImpl{stepsImpl: stepsImpl{[]driver.Step{frameStep("begin", 1000), step("write", 80), step("same", 50), step("on_request", 0),
			frameStep("end", -1)}}},
		Other: map[node.Interface]driver.Implementation{
			node.RAID: stepsImpl{[]driver.Step{step("same", 50), step("build", 90)}}, node.BIOS: stepsImpl{[]driver.Step{step("same", 50)}},
			node.Vendor: stepsImpl{[]driver.Step{step("same", 50)}}, node.Firmware: stepsImpl{[]driver.Step{step("same", 50)}},
		},
	}
}

func names(steps []node.PlannedStep) []string {
	var all []string
	for _, s := range steps {
		agent := ""
		if s.Agent {
			agent = " (agent)"
		}
		all = append(all, fmt.Sprintf("%s %d%s", name(&s), s.Priority, agent))
	}
	return all
}

func TestPlanFlow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		flow   node.Flow
		asked  []node.PlannedStep
		manual bool
		want   []string
	}{
		{"priority, then interface", node.FlowDeploy, nil, false, []string{"deploy.begin 1000", "raid.build 90", "deploy.write 80",
			"vendor.same 50", "firmware.same 50", "deploy.same 50", "bios.same 50", "raid.same 50", "deploy.end -1"}},
		{"asked for", node.FlowDeploy, []node.PlannedStep{ask(node.RAID, "build", 0), ask(node.Deploy, "write", 60),
			ask(node.Deploy, "on_request", 55), ask(node.Power, "reboot", 50), ask(node.BIOS, "agents", 85)}, false,
			[]string{"deploy.begin 1000", "bios.agents 85 (agent)", "deploy.write 60", "deploy.on_request 55",
				"vendor.same 50", "power.reboot 50", "firmware.same 50", "deploy.same 50", "bios.same 50", "raid.same 50", "deploy.end -1"}},
		{"manual", node.FlowClean, []node.PlannedStep{ask(node.RAID, "same", 0), ask(node.Deploy, "erase", 99), ask(node.RAID, "build", 5)}, true,
			[]string{"deploy.begin 1000", "raid.same 0", "deploy.erase 99 (agent)", "raid.build 5", "deploy.end -1"}},
		{"verify", node.FlowVerify, nil, false, []string{"power.verify_power 1000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planFlow(planHardware(), flowNamed(tt.flow), tt.asked, tt.manual, false)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "plan", names(got), tt.want)
		})
	}
}

// A step that would start the instance between its readying and its start is refused, whoever asks for it.
func TestPlanRefusesToStartTheInstanceEarly(t *testing.T) {
	readies, starts := step("prepare", 60), step("boot", 20)
	readies.Readies, starts.Starts = true, true
	early := func(step string, priority int) string {
		return fmt.Sprintf("Step power.%s with priority %d would start the instance before deploy.boot does, when the deploy is not complete: "+
			"give it a priority above 60 or below 20.", step, priority)
	}
	for _, tt := range []struct {
		step     string
		priority int
		want     string
	}{
		{"reboot", 61, ""}, {"reboot", 60, ""}, {"reboot", 59, early("reboot", 59)}, {"power_on", 41, early("power_on", 41)},
		{"reboot", 20, early("reboot", 20)}, {"reboot", 19, ""}, {"power_off", 50, ""}, {"hold", 50, ""}, {"reboot", 0, ""},
	} {
		h := planHardware()
		h.Deploy = agentImpl{stepsImpl: stepsImpl{[]driver.Step{frameStep("begin", 100), readies, starts}}}
		_, err := planFlow(h, flowNamed(node.FlowDeploy), []node.PlannedStep{ask(node.Power, tt.step, tt.priority)}, false, false)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid) {
			t.Errorf("%s at %d: %v, want %q", tt.step, tt.priority, err, tt.want)
		}
	}
}

// A step that only an agent has is refused where none runs, or where it would run while none does.
func TestPlanRefusesWhatNoAgentCanDo(t *testing.T) {
	ends := step("tear_down_agent", 40)
	ends.EndsAgent = true
	writes := step("write", 80)
	writes.NeedsAgent = true
	builds := step("build", 0)
	builds.NeedsAgent = true
	steps := stepsImpl{[]driver.Step{frameStep("begin", 100), writes, ends, step("on_request", 0)}}
	const others = " Other steps that can be asked for: power.hold, power.power_on, power.power_off, power.reboot, power.wait, " +
		"deploy.tear_down_agent, deploy.on_request."
	no := func(step, flow, from string) string {
		return "Step " + step + " cannot run: the hardware does not have it by itself, and with the deploy interface steps no agent runs in " +
			flow +
			" that could. Leave it out of " + from + ", or use a deploy interface whose ramdisk runs one, such as direct." + others
	}
	const templates = "the request, and of the deploy templates of the instance's traits"
	for _, tt := range []struct {
		name              string
		deploy            driver.Deploy
		flow              node.Flow
		asked             []node.PlannedStep
		manual, noRamdisk bool
		want              string // "" when it can run
	}{
		{"no agent ever", steps, node.FlowDeploy, []node.PlannedStep{ask(node.Power, "hold", 90), ask(node.Deploy, "erase", 95)}, false, false,
			no("deploy.erase", "the deploy", templates)},
		{"no agent in a deploy", agentImpl{steps, []node.Flow{node.FlowDeploy}}, node.FlowDeploy, []node.PlannedStep{ask(node.BIOS, "flash", 50)},
			false, false, no("bios.flash", "the deploy", templates)},
		{"but in a cleaning", agentImpl{steps, []node.Flow{node.FlowDeploy}}, node.FlowClean, []node.PlannedStep{ask(node.Deploy, "erase", 0)},
			true, false, ""},
		{"a step of the hardware's by the agent", agentImpl{steps, []node.Flow{node.FlowDeploy}}, node.FlowDeploy,
			[]node.PlannedStep{ask(node.RAID, "build", 90)}, false, false, no("raid.build", "the deploy", templates)},
		{"switched off", steps, node.FlowDeploy, []node.PlannedStep{ask(node.Deploy, "erase", 0), ask(node.Deploy, "write", 0)}, false, false,
			""},
		{"priority 0 in a cleaning is no switch", steps, node.FlowClean, []node.PlannedStep{ask(node.Deploy, "erase", 0)}, true, false,
			no("deploy.erase", "the cleaning", "the request")},
		{"nothing of an agent's", steps, node.FlowDeploy, []node.PlannedStep{ask(node.Deploy, "on_request", 50), ask(node.Power, "reboot", 20)},
			false, false, ""},
		{"without the ramdisk", agentImpl{stepsImpl: steps}, node.FlowClean,
			[]node.PlannedStep{ask(node.Deploy, "on_request", 0), ask(node.RAID, "build", 0)}, true, true,
			"Step raid.build cannot run: the hardware does not have it by itself, and with disable_ramdisk no agent runs that could. Leave it out " +
				"of the request, or leave disable_ramdisk out." + others},
		{"right after the boot and right before the end", agentImpl{stepsImpl: steps}, node.FlowDeploy,
			[]node.PlannedStep{ask(node.Deploy, "erase", 99), ask(node.RAID, "build", 41), ask(node.Power, "reboot", 200),
				ask(node.Power, "hold", 1)}, false, false, ""},
		{"before the boot", agentImpl{stepsImpl: steps}, node.FlowDeploy, []node.PlannedStep{ask(node.Deploy, "erase", 101)}, false, false,
			"Step deploy.erase with priority 101 would run before the ramdisk is booted, whose agent carries it out: give it a priority below 100."},
		{"at the boot's priority, of an earlier interface", agentImpl{stepsImpl: steps}, node.FlowDeploy,
			[]node.PlannedStep{ask(node.Firmware, "flash", 100)}, false, false,
			"Step firmware.flash with priority 100 would run before the ramdisk is booted, whose agent carries it out: give it a priority below " +
				"100."},
		{"at the boot's priority, of a later interface", agentImpl{stepsImpl: steps}, node.FlowDeploy,
			[]node.PlannedStep{ask(node.BIOS, "flash", 100)}, false, false, ""},
		{"after the agent's end", agentImpl{stepsImpl: steps}, node.FlowDeploy, []node.PlannedStep{ask(node.Deploy, "inject", 40)}, false, false,
			"Step deploy.inject with priority 40 would run after deploy.tear_down_agent, which ends the ramdisk whose agent carries it out: give " +
				"it a priority above 40."},
		{"the hardware's own, moved", agentImpl{stepsImpl: steps}, node.FlowDeploy, []node.PlannedStep{ask(node.Deploy, "write", 30)}, false,
			false,
			"Step deploy.write with priority 30 would run after deploy.tear_down_agent, which ends the ramdisk whose agent " +
				"carries it out: give it a priority above 40."},
		{"the end moved before it", agentImpl{stepsImpl: steps}, node.FlowDeploy, []node.PlannedStep{ask(node.Deploy, "tear_down_agent", 85)},
			false, false,
			"Step deploy.write with priority 80 would run after deploy.tear_down_agent, which ends the ramdisk whose agent " +
				"carries it out: give it a priority above 85."},
		{"no end", agentImpl{stepsImpl: steps}, node.FlowDeploy,
			[]node.PlannedStep{ask(node.Deploy, "tear_down_agent", 0), ask(node.Deploy, "erase", 1)}, false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := planHardware()
			h.Deploy = tt.deploy
			h.Other = map[node.Interface]driver.Implementation{node.RAID: stepsImpl{[]driver.Step{builds}}}
			got, err := planFlow(h, flowNamed(tt.flow), tt.asked, tt.manual, tt.noRamdisk)
			switch {
			case tt.want != "" && (err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid):
				t.Errorf("got %q, %v (kind %v)\nwant %s", names(got), err, node.KindOf(err), tt.want)
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want == "":
				for _, s := range tt.asked {
					if planned := slices.ContainsFunc(got, func(p node.PlannedStep) bool {
						return name(&p) == name(&s)
					}); planned != (s.Priority > 0 || tt.manual) {
						t.Errorf("%s planned: %v, in %q", name(&s), planned, strings.Join(names(got), ", "))
					}
				}
			}
		})
	}
}

// After a reboot the ramdisk must run again when a step to come is its agent's, of whatever interface it is.
func TestAgentNeeded(t *testing.T) {
	builds := step("build", 0)
	builds.NeedsAgent = true
	h := planHardware()
	h.Other[node.RAID] = stepsImpl{[]driver.Step{builds, step("out_of_band", 0)}}
	reboot := ask(node.Power, "reboot", 0)
	for _, tt := range []struct {
		steps []node.PlannedStep
		want  bool
	}{
		{[]node.PlannedStep{reboot}, false},
		{[]node.PlannedStep{reboot, ask(node.RAID, "out_of_band", 0), ask(node.Deploy, "write", 0)}, false},
		{[]node.PlannedStep{reboot, ask(node.RAID, "build", 0)}, true},
		{[]node.PlannedStep{reboot, ask(node.RAID, "gone", 0)}, false},
		{[]node.PlannedStep{reboot, ask(node.Power, "wait", 0), agentStep(node.BIOS, "flash", 0)}, true},
	} {
		n := &node.Node{Plan: &node.Plan{Flow: node.FlowClean, Steps: tt.steps}}
		if got := agentNeeded(&driver.Task{Node: n, Hardware: h}); got != tt.want {
			t.Errorf("%q: %v", names(tt.steps), got)
		}
	}
}

func TestMerge(t *testing.T) {
	found := []node.PlannedStep{
		{Interface: node.Deploy, Step: "erase", Priority: 99, Abortable: true, Reboot: true},
		{Interface: node.RAID, Step: "agent_raid", Priority: 50},
		{Interface: node.Deploy, Step: "burnin", Priority: 0},
		{Interface: node.Deploy, Step: "write", Priority: 80},
	}
	for _, tt := range []struct {
		name    string
		plan    node.Plan
		unknown []string
		want    []string
	}{
		{"into what is left", node.Plan{Flow: node.FlowClean, Index: 0,
			Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), ask(node.Deploy, "same", 60), ask(node.Deploy, "end", -1)}}, nil,
			[]string{"deploy.begin 1000", "deploy.erase 99 (agent)", "deploy.same 60", "raid.agent_raid 50 (agent)", "deploy.end -1"}},
		{"asked for with another priority", node.Plan{Flow: node.FlowDeploy,
			Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), agentStep(node.Deploy, "erase", 10), agentStep(node.Deploy, "burnin", 5),
				ask(node.Deploy, "end", -1)}}, nil,
			[]string{"deploy.begin 1000", "raid.agent_raid 50 (agent)", "deploy.erase 10 (agent)", "deploy.burnin 5 (agent)", "deploy.end -1"}},
		{"manual runs nothing unasked", node.Plan{Flow: node.FlowClean, Manual: true,
			Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), agentStep(node.Deploy, "burnin", 0), agentStep(node.Deploy, "erase", 0),
				ask(node.Deploy, "end", -1)}}, nil,
			[]string{"deploy.begin 1000", "deploy.burnin 0 (agent)", "deploy.erase 0 (agent)", "deploy.end -1"}},
		{"unknown ones go", node.Plan{Flow: node.FlowClean, Manual: true,
			Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), agentStep(node.Deploy, "fly", 0), ask(node.Deploy, "end", -1)}},
			[]string{"deploy.fly"},
			[]string{"deploy.begin 1000", "deploy.end -1"}},
		{"once only", node.Plan{Flow: node.FlowClean, InBand: true, Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000)}}, nil,
			[]string{"deploy.begin 1000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.plan.Clone()
			unknown, wrong := merge(planHardware(), p, found)
			same(t, "unknown", unknown, tt.unknown)
			same(t, "wrong", wrong, nil)
			same(t, "plan", names(p.Steps), tt.want)
			if !p.InBand {
				t.Error("not marked as merged")
			}
			for _, s := range p.Steps {
				if s.Step == "erase" && (!s.Abortable || !s.Reboot) {
					t.Errorf("what the agent says of its step is lost: %+v", s)
				}
			}
			same(t, "the plan it was copied from", names(tt.plan.Steps), names(tt.plan.Clone().Steps))
		})
	}
}
