package conductor

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

func TestAgentLines(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		token := w.node().Agent.Token
		w.reach(node.Active)
		send := func(token string, lines ...node.Line) error {
			return c.AgentLines(w.t.Context(), uuid1, token, lines)
		}
		kept := func() string {
			l, err := w.store.Lines(w.t.Context(), uuid1, node.AgentLog)
			if err != nil {
				t.Fatal(err)
			}
			return texts(l.Lines)
		}
		if err := send(token, node.Line{Text: "after the end"}); err != nil || kept() != "" {
			t.Errorf("after the flow has ended: %v, %q", err, kept())
		}
		w.edit(func(n *node.Node) {
			n.State, n.Plan = node.DeployWait, &node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{{Interface: node.Power, Step: "hold"}}}
			n.Maintenance, n.Agent.Token = true, "right"
		})
		for _, bad := range []string{"", "wrong"} {
			if err := send(bad, node.Line{Text: "x"}); node.KindOf(err) != node.Invalid {
				t.Errorf("token %q: %v", bad, err)
			}
		}
		if err := c.AgentLines(w.t.Context(), "nobody", "right", nil); node.KindOf(err) != node.NotFound {
			t.Errorf("no such node: %v", err)
		}
		lines := []node.Line{{Text: "starts"}, {Text: "uses hunter2-secret and agent_token=right"}, {Text: "\x1b[1m\x00"},
			{Text: strings.Repeat("x", 600)}}
		if err := send("right", lines...); err != nil {
			t.Fatal(err)
		}
		if want := "starts|uses ****** and agent_token=******|·[1m·|" + strings.Repeat("x", diagnosis.LineLimit) + "…"; kept() != want {
			t.Errorf("kept %q", kept())
		}
		many := make([]node.Line, 300)
		for i := range many {
			many[i].Text = strings.Repeat("i", i%7+1)
		}
		if err := send("right", many...); err != nil || strings.Count(kept(), "|") != node.LinesKept-1 {
			t.Errorf("%v, %d kept", err, strings.Count(kept(), "|")+1)
		}
	})
}

// What is asked while a flow runs says how far it is; after it failed, what was known then, for as long as nothing
// else fails.
func TestWhy(t *testing.T) {
	hearing(t, func(w *world, line *wire) {
		w.m.fail = map[string]error{"write_image": errors.New("disk full")}
		w.cfg.LogDir = filepath.Join(w.t.TempDir(), "deploy-logs")
		c, _ := w.start(w.cfg)
		why := func() (running, failed *node.Evidence) {
			running, failed, err := c.Why(w.t.Context(), "blade")
			if err != nil {
				t.Fatal(err)
			}
			return running, failed
		}
		if running, failed := why(); running != nil || failed != nil {
			t.Errorf("of a new node: %+v, %+v", running, failed)
		}
		if _, _, err := c.Why(w.t.Context(), "nobody"); node.KindOf(err) != node.NotFound {
			t.Errorf("of nobody: %v", err)
		}
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		began := time.Now()
		time.Sleep(5 * time.Second)
		running, _ := why()
		const start = "The deploy has run for 5.0 s; step deploy.boot_deploy has waited 5.0 s for the agent's first heartbeat, and will for " +
			"1795 s more at most."
		if want := start + " DHCP, TFTP and HTTP have seen nothing of it yet."; running.Sentence != want {
			t.Errorf("got  %s\nwant %s", running.Sentence, want)
		}
		w.store.Saw(node.BootEvent{MAC: mac1, Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware,
			What: "DISCOVER from x86-64 BIOS (arch 0): 10.0.0.9", At: node.Now()})
		line.says("iPXE initialising devices...")
		running, failed := why()
		if want := start + ` It has come as far as DHCP (0.0 s ago: DISCOVER from x86-64 BIOS (arch 0): 10.0.0.9). The last line on its ` +
			`console, 0.0 s ago: "iPXE initialising devices...".`; running.Sentence != want || failed != nil {
			t.Errorf("got  %s\nwant %s\nfailed %+v", running.Sentence, want, failed)
		}
		if running.Flow != node.FlowDeploy || running.Step != "deploy.boot_deploy" || !running.FailedAt.IsZero() || len(running.Phases) != 1 ||
			running.Phases[0].Name != "dhcp" ||
			texts(running.Serial.Lines) != "iPXE initialising devices..." || len(running.Steps) < 3 || len(running.BootEvents) != 1 ||
			!running.Deadline.After(began) {
			t.Errorf("%+v", running)
		}
		w.heartbeat(c)
		if err := c.AgentLines(w.t.Context(), uuid1, w.node().Agent.Token,
			[]node.Line{{At: node.Now(), Text: "level=ERROR msg=\"disk full\""}}); err != nil {
			t.Fatal(err)
		}
		n := w.reach(node.DeployFailed)
		check := func(when string) {
			t.Helper()
			running, failed := why()
			if running != nil || failed == nil || failed.Sentence != "The deploy failed at step deploy.write_image: disk full" ||
				failed.Step != "deploy.write_image" ||
				failed.FailedAt.IsZero() || failed.AgentURL != "https://10.0.0.5:9999" || len(failed.Files) != 2 || len(failed.Phases) != 2 ||
				failed.Phases[1].Name != "heartbeat" ||
				texts(failed.AgentLog.Lines) != `level=ERROR msg="disk full"` || len(failed.BootEvents) != 1 {
				t.Errorf("%s: %+v, %+v", when, running, failed)
			}
		}
		check("just failed")
		if failed, _ := w.store.Failure(w.t.Context(), uuid1); failed.Sentence != n.LastError {
			t.Errorf("last_error %s", n.LastError)
		}
		w.m.fail = nil
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		w.reach(node.CleanWait)
		synctest.Wait()
		if running, failed := why(); running == nil || running.Flow != node.FlowClean || texts(running.Serial.Lines) != "" || failed == nil {
			t.Errorf("while it is cleaned: %+v, %+v", running, failed)
		}
		w.heartbeat(c)
		w.reach(node.Available)
		check("available again")
	})
}

// What people abort is no failure, and leaves no evidence.
func TestNoEvidenceOfAnAbort(t *testing.T) {
	hearing(t, func(w *world, line *wire) {
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		line.says("hello\n")
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		w.reach(node.CleanWait)
		w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
		w.reach(node.CleanFailed)
		if _, failed, err := c.Why(w.t.Context(), uuid1); failed != nil && failed.Flow == node.FlowClean || err != nil {
			t.Errorf("%+v, %v", failed, err)
		}
		synctest.Wait()
		if _, now := line.listening(); now != 0 {
			t.Errorf("%d still listen", now)
		}
	})
}

// A step that lost its machine says what was heard of the machine last.
func TestTheLastWordsOfALostMachine(t *testing.T) {
	for _, tt := range []struct{ name, serial, agent, want string }{
		{"nothing", "", "", ". Did the machine lose its power or its network?"},
		{"its console", "[ 9.0] tg3 0000:01:00.0 eth0: Link is down", "",
			`. The last line on its console, 0.0 s ago: "tg3 0000:01:00.0 eth0: Link is down".`},
		{"its agent", "", "level=INFO msg=writing", `. The agent's last log line, 0.0 s ago: "level=INFO msg=writing".`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hearing(t, func(w *world, line *wire) {
				w.m.onDo = func(what string, n *node.Node) {
					if what != "write_image" {
						return
					}
					if tt.serial != "" {
						line.says(tt.serial + "\n")
					}
					if tt.agent != "" {
						w.store.SaveLines(w.t.Context(), node.MachineLines{NodeUUID: uuid1, Source: node.AgentLog,
							Lines: []node.Line{{At: node.Now(), Text: tt.agent}}})
					}
				}
				w.m.fail = map[string]error{"write_image": fmt.Errorf("nobody listens%w", driver.ErrMachineLost)}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				w.heartbeat(c)
				n := w.reach(node.DeployFailed)
				if want := "The deploy failed at step deploy.write_image: nobody listens" + tt.want; n.LastError != want {
					t.Errorf("got  %s\nwant %s", n.LastError, want)
				}
			})
		})
	}
}
