package conductor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// template is a deploy template with the given steps.
func template(name string, steps ...node.PlannedStep) node.DeployTemplate {
	return node.DeployTemplate{UUID: id(strings.TrimPrefix(name, "CUSTOM_")), Name: name, Steps: steps}
}

// Which steps a deploy gets from templates, in the order in which they run, and what wins over what.
func TestDeployTemplatesAddTheirSteps(t *testing.T) {
	wait := ask(node.Power, "wait", 90)
	wait.Args = map[string]any{"seconds": 3.0}
	templates := []node.DeployTemplate{
		template("CUSTOM_SLOW", wait, ask(node.Power, "power_off", 10)),
		template("CUSTOM_OPTION", ask(node.Deploy, "optional", 70)),
		template("CUSTOM_LATER", ask(node.Deploy, "optional", 95)),
		template("CUSTOM_NO_IMAGE", ask(node.Deploy, "write_image", 0)),
		template("CUSTOM_OTHER", ask(node.Power, "reboot", 99)),
	}
	for _, tt := range []struct {
		name   string
		traits any
		asked  []node.PlannedStep
		event  node.Event
		from   node.State
		want   []string
	}{
		{"no traits", nil, nil, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.write_image 80", "deploy.boot_instance 20"}},
		{"empty traits", []any{}, nil, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.write_image 80", "deploy.boot_instance 20"}},
		{"a trait without a template", []any{"HW_CPU_X86_VMX"}, nil, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.write_image 80", "deploy.boot_instance 20"}},
		{"one template", []any{"CUSTOM_SLOW"}, nil, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "power.wait 90", "deploy.write_image 80", "deploy.boot_instance 20", "power.power_off 10"}},
		{"two templates, and a rebuild", []any{"CUSTOM_OPTION", "HW_CPU_X86_VMX", "CUSTOM_SLOW"}, nil, node.EventRebuild, node.Active,
			[]string{"deploy.boot_deploy 1000", "power.wait 90", "deploy.write_image 80", "deploy.optional 70", "deploy.boot_instance 20",
				"power.power_off 10"}},
		{"the later made template wins", []any{"CUSTOM_LATER", "CUSTOM_OPTION"}, nil, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.optional 95", "deploy.write_image 80", "deploy.boot_instance 20"}},
		{"a template switches off", []any{"CUSTOM_NO_IMAGE"}, nil, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.boot_instance 20"}},
		{"the request wins", []any{"CUSTOM_LATER", "CUSTOM_SLOW"},
			[]node.PlannedStep{ask(node.Deploy, "optional", 30), ask(node.Power, "wait", 0)}, node.EventDeploy, node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.write_image 80", "deploy.optional 30", "deploy.boot_instance 20", "power.power_off 10"}},
		{"the request brings back", []any{"CUSTOM_NO_IMAGE"}, []node.PlannedStep{ask(node.Deploy, "write_image", 85)}, node.EventDeploy,
			node.Available,
			[]string{"deploy.boot_deploy 1000", "deploy.write_image 85", "deploy.boot_instance 20"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				w.templates(templates...)
				w.edit(func(n *node.Node) {
					n.Traits = []string{"CUSTOM_LATER", "CUSTOM_NO_IMAGE", "CUSTOM_OPTION", "CUSTOM_OTHER", "CUSTOM_SLOW", "HW_CPU_X86_VMX"}
					if tt.traits != nil {
						n.InstanceInfo["traits"] = tt.traits
					}
				})
				w.provision(New(w.cfg), node.ProvisionRequest{Event: tt.event, DeploySteps: tt.asked})
				same(t, "planned", names(w.node().Plan.Steps), tt.want)
			})
		})
	}
}

// The steps of a template really run, in order, and the history shows it.
func TestADeployWithATemplateRunsItsSteps(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.templates(template("CUSTOM_TUNED", ask(node.Deploy, "optional", 90), ask(node.RAID, "agents_own", 85)))
		w.edit(func(n *node.Node) {
			n.Traits, n.InstanceInfo["traits"] = []string{"CUSTOM_TUNED"}, []any{"CUSTOM_TUNED"}
		})
		w.m.offers = []node.PlannedStep{{Interface: node.RAID, Step: "agents_own"}}
		w.m.agentOK["agents_own"] = true
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		for range 100 {
			if n := w.node(); n.State == node.DeployWait && n.Plan.Current().Step == "agents_own" {
				break
			}
			w.heartbeat(c)
		}
		w.heartbeat(c)
		w.wantState(w.settle(), node.Active)
		var ran []string
		for _, e := range w.events() {
			if _, step, ok := strings.Cut(e, "Step "); ok && strings.HasSuffix(e, " started.") {
				ran = append(ran, strings.TrimSuffix(step, " started."))
			}
		}
		same(t, "ran", ran, []string{"deploy.optional", "raid.agents_own", "deploy.write_image", "deploy.boot_instance"})
	})
}

// What of templates and traits is wrong is said before anything has changed.
func TestDeployTemplateRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		traits any
		lost   error
		kind   node.Kind
		want   string
	}{
		{"a trait the node lacks", []any{"CUSTOM_FAST", "CUSTOM_A", "CUSTOM_B"}, nil, node.Invalid,
			"Cannot specify instance traits that are not also set on the node. Node " + uuid1 + " is missing traits CUSTOM_A, CUSTOM_B."},
		{"no list", "CUSTOM_FAST", nil, node.Invalid,
			"Error parsing traits from node " + uuid1 + " instance_info field. A list of strings is expected."},
		{"no strings", []any{"CUSTOM_FAST", 7.0}, nil, node.Invalid,
			"Error parsing traits from node " + uuid1 + " instance_info field. A list of strings is expected."},
		{"a core step", []any{"CUSTOM_CORE"}, nil, node.Invalid,
			"Step deploy.boot_deploy is a core step of the deploy flow: it always runs and cannot be asked for."},
		{"an argument that is not taken", []any{"CUSTOM_ARGS"}, nil, node.Invalid,
			`Step deploy.write_image does not take the argument "fast"; it takes none.`},
		{"a lost store", []any{"CUSTOM_FAST"}, errors.New("connection refused"), node.Internal, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				bad := ask(node.Deploy, "write_image", 90)
				bad.Args = map[string]any{"fast": true}
				w.templates(template("CUSTOM_CORE", ask(node.Deploy, "boot_deploy", 5)), template("CUSTOM_ARGS", bad))
				w.way.fails(tt.lost, "DeployTemplates.List")
				w.edit(func(n *node.Node) {
					n.Traits, n.InstanceInfo["traits"] = []string{"CUSTOM_ARGS", "CUSTOM_CORE", "CUSTOM_FAST"}, tt.traits
				})
				c, _ := w.start(w.cfg)
				err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventDeploy})
				if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
					t.Errorf("got %v (kind %v)\nwant %s (kind %v)", err, node.KindOf(err), tt.want, tt.kind)
				}
				if n := w.node(); n.State != node.Available || n.Plan != nil || n.Lease.Holder != "" {
					t.Errorf("something changed: %q %+v %+v", n.State, n.Plan, n.Lease)
				}
			})
		})
	}
}

// Traits and templates are a deploy's business: other flows do not even look.
func TestOtherFlowsTakeNoTemplates(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.way.fails(errors.New("asked for templates"), "InspectionRules.List", "DeployTemplates.List")
		w.edit(func(n *node.Node) { n.InstanceInfo["traits"] = []any{"CUSTOM_MISSING"} })
		w.provision(New(w.cfg), node.ProvisionRequest{Event: node.EventDelete})
		if n := w.node(); n.State != node.Deleting || len(n.Plan.Off) > 0 {
			t.Errorf("%q, %+v", n.State, n.Plan)
		}
	})
}

// Priority 0 in a request switches off what the agent would run by itself too; without it the agent's step runs.
func TestPriorityZeroSwitchesOffTheAgentsSteps(t *testing.T) {
	found := []node.PlannedStep{agentStep(node.Deploy, "tune", 75), agentStep(node.Deploy, "burn", 70)}
	for _, tt := range []struct {
		asked []node.PlannedStep
		off   []string
		want  []string
	}{
		{nil, nil, []string{"deploy.begin 1000", "raid.build 90", "deploy.write 80", "deploy.tune 75 (agent)", "deploy.burn 70 (agent)",
			"deploy.end -1"}},
		{[]node.PlannedStep{ask(node.Deploy, "tune", 0), ask(node.Deploy, "write", 50)}, []string{"deploy.tune"},
			[]string{"deploy.begin 1000", "raid.build 90", "deploy.burn 70 (agent)", "deploy.write 50", "deploy.end -1"}},
	} {
		steps, err := planFlow(planHardware(), flowNamed(node.FlowDeploy), tt.asked, false, false)
		if err != nil {
			t.Fatal(err)
		}
		steps = slices.DeleteFunc(steps, func(s node.PlannedStep) bool { return s.Step == "same" })
		p := &node.Plan{Flow: node.FlowDeploy, Steps: steps, Off: switchedOff(tt.asked)}
		same(t, "off", p.Off, tt.off)
		if unknown, wrong := merge(planHardware(), p, found); len(unknown)+len(wrong) > 0 {
			t.Errorf("unknown: %q", unknown)
		}
		same(t, "merged", names(p.Steps), tt.want)
		if c := p.Clone(); len(c.Off) > 0 {
			c.Off[0] = "changed"
			same(t, "off of the original", p.Off, tt.off)
		}
	}
}
