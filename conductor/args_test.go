package conductor

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func TestWrongArgs(t *testing.T) {
	info := map[string]node.Argument{"size": {Required: true, Help: "GiB of it."}, "kind": {Required: true}, "label": {Help: "A name."}}
	for _, tt := range []struct {
		name string
		args map[string]any
		info map[string]node.Argument
		want string
	}{
		{"none asked, none given", nil, nil, ""},
		{"all that is asked", map[string]any{"size": 1.0, "kind": "raw"}, info, ""},
		{"what may be given", map[string]any{"size": 0.0, "kind": "", "label": nil}, info, ""},
		{"one too many", map[string]any{"speed": 1.0}, nil, `Step raid.build does not take the argument "speed"; it takes none.`},
		{"null is missing", map[string]any{"size": nil, "kind": "raw"}, info, `Step raid.build needs the argument "size": GiB of it.`},
		{"everything wrong", map[string]any{"colour": "red", "speed": 1.0}, info,
			`Step raid.build does not take the argument "colour"; allowed are: kind, label, size. ` +
				`Step raid.build does not take the argument "speed"; allowed are: kind, label, size. ` +
				`Step raid.build needs the argument "kind". Step raid.build needs the argument "size": GiB of it.`},
	} {
		if got := wrongArgs("raid.build", tt.args, tt.info); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// Arguments of the agent's steps are looked at as soon as it has told what they take, before any step has begun.
func TestArgumentsOfTheAgentsSteps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event node.Event
		from  node.State
		args  map[string]any
		state node.State
		want  string
	}{
		{"cleaning, right", node.EventClean, node.Manageable, map[string]any{"speed": 3.0}, node.Manageable, ""},
		{"cleaning, unknown", node.EventClean, node.Manageable, map[string]any{"speed": 3.0, "colour": "red"}, node.CleanFailed,
			`The cleaning failed. Step deploy.burnin does not take the argument "colour"; allowed are: hours, speed.`},
		{"cleaning, missing", node.EventClean, node.Manageable, nil, node.CleanFailed,
			`The cleaning failed. Step deploy.burnin needs the argument "speed": How fast.`},
		{"service, missing", node.EventService, node.Active, map[string]any{"hours": 1.0}, node.ServiceFailed,
			`The service failed. Step deploy.burnin needs the argument "speed": How fast.`},
		{"deploy, unknown", node.EventDeploy, node.Available, map[string]any{"speed": 1.0, "x": 1.0}, node.DeployFailed,
			`The deploy failed. Step deploy.burnin does not take the argument "x"; allowed are: hours, speed.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				w.m.offers = []node.PlannedStep{
					{Interface: node.Deploy, Step: "burnin",
						ArgsInfo: map[string]node.Argument{"speed": {Required: true, Help: "How fast."}, "hours": {}}},
					{Interface: node.Deploy, Step: "list_disks"},
				}
				w.m.agentOK["burnin"], w.m.agentOK["list_disks"] = true, true
				steps := []node.PlannedStep{{Interface: node.Deploy, Step: "list_disks", Priority: 90},
					{Interface: node.Deploy, Step: "burnin", Priority: 85, Args: tt.args}}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: tt.event, CleanSteps: steps, ServiceSteps: steps, DeploySteps: steps})
				for range 4 { // the first call, then one for each step that waits
					if w.reachWaiting(); w.node().State.Class() == node.Waiting {
						w.heartbeat(c)
					}
				}
				n := w.settle()
				w.wantState(n, tt.state)
				if n.LastError != tt.want {
					t.Errorf("got  %s\nwant %s", n.LastError, tt.want)
				}
				if begun := w.m.count("agent:list_disks"); begun != map[bool]int{true: 1}[tt.want == ""] {
					t.Errorf("the step before it was begun %d times", begun)
				}
				if strings.Contains(strings.Join(w.events(), " "), "panic") {
					t.Errorf("%q", w.events())
				}
			})
		})
	}
}

// A step that the hardware itself has is refused before anything has changed; one that is switched off needs nothing.
func TestArgumentsOfTheHardwaresSteps(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		c, _ := w.start(w.cfg)
		for _, tt := range []struct {
			args map[string]any
			want string
		}{
			{nil, `Step power.wait needs the argument "seconds": How long to wait, 1 to 30.`},
			{map[string]any{"seconds": 0.0}, "Step power.wait: seconds is 0; a number from 1 to 30 is allowed (power.hold waits longer)."},
			{map[string]any{"seconds": 30.5}, "Step power.wait: seconds is 30.5; a number from 1 to 30 is allowed (power.hold waits longer)."},
			{map[string]any{"seconds": -1.0}, "Step power.wait: seconds is -1; a number from 1 to 30 is allowed (power.hold waits longer)."},
			{map[string]any{"seconds": "10"}, "Step power.wait: seconds is \"10\"; a number from 1 to 30 is allowed (power.hold waits longer)."},
			{map[string]any{"seconds": true}, "Step power.wait: seconds is true; a number from 1 to 30 is allowed (power.hold waits longer)."},
			{map[string]any{"seconds": 1.0, "minutes": 1.0}, `Step power.wait does not take the argument "minutes"; allowed are: seconds.`},
		} {
			err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: node.EventClean,
				CleanSteps: []node.PlannedStep{{Interface: node.Power, Step: "wait", Args: tt.args}}})
			if err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if n := w.node(); n.State != node.Manageable || n.Plan != nil || n.Lease.Held(node.Now()) {
				t.Errorf("the node was changed: %+v", n)
			}
		}
	})
}
