package agent

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// stored is a plan as versions before typed notes stored it, in the middle of everything.
const stored = `{"flow": "deploy", "index": 1, "started_at": "2026-11-03T12:00:00Z", "waiting_since": "2026-11-03T12:05:00Z",
	"steps": [{"interface": "deploy", "step": "deploy", "priority": 100}, {"interface": "deploy", "step": "write_image", "priority": 80}],
	"memo": {
		"deploy.booted": "2026-11-03T12:00:01.000000005Z", "deploy.fast": "yes", "deploy.forgotten": "0:deploy.deploy",
		"deploy.off": "2026-11-03T12:00:02Z",
		"deploy.command": "7", "deploy.done": "6", "deploy.restarts": "2",
		"deploy.looked_up": "2026-11-03T12:00:03Z", "deploy.absent": "2026-11-03T12:00:04Z 9",
		"deploy.version": "{\"generic\":\"1.2\"}",
		"deploy.reboot": "1:deploy.write_image", "deploy.revival": "1:deploy.x", "deploy.revived": "1:deploy.y 3", "deploy.left": "1:deploy.z",
		"deploy.kexec": "jumping", "deploy.kexec_at": "2026-11-03T12:00:06Z", "deploy.kexec_told": "yes",
		"rescue.finalizing": "2026-11-03T12:00:07Z"}}`

func storedPlan(t *testing.T) *node.Plan {
	t.Helper()
	p := &node.Plan{}
	if err := json.Unmarshal([]byte(stored), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// Every text of before is read; none is left when all notes were written anew, and they say the same.
func TestNotesOfBefore(t *testing.T) {
	at := func(second, nano int) time.Time { return time.Date(2026, 11, 3, 12, 0, second, nano, time.UTC) }
	task := &driver.Task{Node: &node.Node{Plan: storedPlan(t)}}
	check := func(when string) {
		t.Helper()
		for _, diff := range []string{
			cmp.Diff(ramdiskBoot{at(1, 5), true, "0:deploy.deploy", at(2, 0)}, bootNote.Get(task)),
			cmp.Diff(agentCommand{"7", "6", 2}, commandNote.Get(task)),
			cmp.Diff(agentSilence{at(3, 0), at(4, 0), 9}, silenceNote.Get(task)),
			cmp.Diff(reboots{"1:deploy.write_image", "1:deploy.x", "1:deploy.y", 3, "1:deploy.z"}, rebootNote.Get(task)),
			cmp.Diff(kexecStart{kexecJumping, at(6, 0), true}, kexecNote.Get(task)),
			cmp.Diff(map[string]string{"generic": "1.2"}, versionNote.Get(task)),
			cmp.Diff(at(7, 0), finalizeNote.Get(task)),
		} {
			if diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
	}
	check("as it was stored")
	bootNote.Edit(task, func(*ramdiskBoot) {})
	commandNote.Edit(task, func(*agentCommand) {})
	silenceNote.Edit(task, func(*agentSilence) {})
	rebootNote.Edit(task, func(*reboots) {})
	kexecNote.Edit(task, func(*kexecStart) {})
	versionNote.Edit(task, func(*map[string]string) {})
	finalizeNote.Edit(task, func(*time.Time) {})
	check("written anew")
	if n := len(task.Node.Plan.Memo); n != 7 {
		t.Errorf("%d keys are left: %v", n, task.Node.Plan.Memo)
	}
}

// The program is replaced while the agent writes: the command goes on, whichever text says which it is, and is not begun again.
func TestReplacedWhileTheAgentWorks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status string
		waits  bool
	}{
		{"it still works", wire.Running, true},
		{"it has finished meanwhile", wire.Succeeded, false},
	} {
		w := newWorld(t)
		w.plan(node.FlowDeploy, w.direct.Steps())
		w.stored.Plan.Index, w.stored.Plan.WaitingSince = 1, node.Now()
		w.stored.Plan.Memo = storedPlan(t).Memo
		w.agent.list = []wire.CommandResult{
			{ID: "6", Name: "execute_deploy_step", Status: wire.Succeeded}, {ID: "7", Name: "execute_deploy_step", Status: tt.status},
		}
		w.calls()
		r, err := w.direct.writing().poll(t.Context(), w.task())
		if err != nil || r.Waiting() != tt.waits {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		if n := w.agent.count("deploy.execute_deploy_step"); n != 0 {
			t.Errorf("%s: it was begun again", tt.name)
		}
	}
}
