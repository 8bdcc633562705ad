package conductor

import (
	"context"
	"fmt"
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
func prio(p int) map[node.Flow]int                             { return map[node.Flow]int{node.FlowDeploy: p, node.FlowClean: p} }
func step(name string, p int) driver.Step                      { return driver.Step{Name: name, Priority: prio(p)} }
func frameStep(name string, p int) driver.Step                 { s := step(name, p); s.Frame = true; return s }
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
		Deploy: stepsImpl{[]driver.Step{frameStep("begin", 1000), step("write", 80), step("same", 50), step("on_request", 0), frameStep("end", -1)}},
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
		{"asked for", node.FlowDeploy, []node.PlannedStep{ask(node.RAID, "build", 0), ask(node.Deploy, "write", 60), ask(node.Deploy, "on_request", 55), ask(node.Power, "reboot", 50), ask(node.BIOS, "agents", 85)}, false,
			[]string{"deploy.begin 1000", "bios.agents 85 (agent)", "deploy.write 60", "deploy.on_request 55",
				"vendor.same 50", "power.reboot 50", "firmware.same 50", "deploy.same 50", "bios.same 50", "raid.same 50", "deploy.end -1"}},
		{"manual", node.FlowClean, []node.PlannedStep{ask(node.RAID, "same", 0), ask(node.Deploy, "erase", 99), ask(node.RAID, "build", 5)}, true,
			[]string{"deploy.begin 1000", "raid.same 0", "deploy.erase 99 (agent)", "raid.build 5", "deploy.end -1"}},
		{"verify", node.FlowVerify, nil, false, []string{"power.verify_power 1000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planFlow(planHardware(), tt.flow, tt.asked, tt.manual)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "plan", names(got), tt.want)
		})
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
		{"into what is left", node.Plan{Flow: node.FlowClean, Index: 0, Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), ask(node.Deploy, "same", 60), ask(node.Deploy, "end", -1)}}, nil,
			[]string{"deploy.begin 1000", "deploy.erase 99 (agent)", "deploy.same 60", "raid.agent_raid 50 (agent)", "deploy.end -1"}},
		{"asked for with another priority", node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), agentStep(node.Deploy, "erase", 10), agentStep(node.Deploy, "burnin", 5), ask(node.Deploy, "end", -1)}}, nil,
			[]string{"deploy.begin 1000", "raid.agent_raid 50 (agent)", "deploy.erase 10 (agent)", "deploy.burnin 5 (agent)", "deploy.end -1"}},
		{"manual runs nothing unasked", node.Plan{Flow: node.FlowClean, Manual: true, Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), agentStep(node.Deploy, "burnin", 0), agentStep(node.Deploy, "erase", 0), ask(node.Deploy, "end", -1)}}, nil,
			[]string{"deploy.begin 1000", "deploy.burnin 0 (agent)", "deploy.erase 0 (agent)", "deploy.end -1"}},
		{"unknown ones go", node.Plan{Flow: node.FlowClean, Manual: true, Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000), agentStep(node.Deploy, "fly", 0), ask(node.Deploy, "end", -1)}}, []string{"deploy.fly"},
			[]string{"deploy.begin 1000", "deploy.end -1"}},
		{"once only", node.Plan{Flow: node.FlowClean, InBand: true, Steps: []node.PlannedStep{ask(node.Deploy, "begin", 1000)}}, nil, []string{"deploy.begin 1000"}},
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
