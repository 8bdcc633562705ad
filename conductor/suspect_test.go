package conductor

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const noRoute = "but the agent never called: does the ramdisk have an agent, and is there a route from there to the " +
	"API? Its console says more."

// saw has a boot service see the machine now.
func (w *world) saw(ev node.BootEvent) {
	ev.Proof = node.ProofNeighbour
	ev.MAC, ev.At = mac1, node.Now()
	w.store.Saw(ev)
}

func (w *world) said(part string) int {
	return len(slices.DeleteFunc(w.events(), func(e string) bool { return !strings.Contains(e, part) }))
}

// The likely cause is in history, log and `why` within two minutes, once a phase, also across a restart of the service;
// a sign of life takes it back; the flow fails no earlier than it did.
func TestAQuietMachineIsNamedEarly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
		c, stop := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.saw(node.BootEvent{Service: "http", Kind: node.FileSent, File: node.RamdiskFile, What: "ramdisk: complete, 9 bytes in 1s"})
		cut := time.Now()
		sentence := func() string {
			running, _, err := c.Why(t.Context(), uuid1)
			if err != nil || running == nil {
				t.Fatal(running, err)
			}
			return running.Sentence
		}
		time.Sleep(80 * time.Second)
		if s := sentence(); strings.Contains(s, "Most likely") || w.said("Most likely") != 0 {
			t.Fatalf("suspected after 80 s: %s", s)
		}
		time.Sleep(25 * time.Second)
		if s := sentence(); !strings.Contains(s, "since "+cut.UTC().Format("15:04:05 UTC")+
			" (whole ramdisk). Most likely: kernel and ramdisk were fetched") {
			t.Errorf("after 105 s: %s", s)
		}
		if n := w.said("INFO deploy: The machine has shown nothing for "); n != 1 {
			t.Errorf("%d times in the history: %q", n, w.events())
		}

		stop()
		c, _ = w.start(w.cfg)
		time.Sleep(30 * time.Second)
		if s := sentence(); !strings.Contains(s, "Most likely") {
			t.Errorf("after a restart: %s", s)
		}
		if n := w.said("has shown nothing"); n != 1 || w.said("goes on") != 0 {
			t.Errorf("after a restart: %d times: %q", n, w.events())
		}

		w.saw(node.BootEvent{Service: "dhcp", Kind: node.DHCPAcked, Who: node.AskedSystem, What: "REQUEST from an operating system: 10.0.0.9"})
		time.Sleep(15 * time.Second)
		if s := sentence(); strings.Contains(s, "Most likely") ||
			w.said("INFO deploy: The machine that was quiet (whole ramdisk) goes on.") != 1 {
			t.Errorf("not taken back: %s %q", s, w.events())
		}
		quiet := time.Now()
		n := w.reach(node.DeployFailed)
		if took := time.Since(quiet); took < 310*time.Second || took > 330*time.Second {
			t.Errorf("failed after %s", took)
		}
		if w.said("has shown nothing") != 2 || !strings.Contains(n.LastError, noRoute) {
			t.Errorf("%s %q", n.LastError, w.events())
		}
	})
}

// A machine that shows itself now and then in one phase is in the history once, not each time.
func TestSuspicionDoesNotSpam(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		for range 8 {
			w.saw(node.BootEvent{Service: "http", Kind: node.FileSent, File: node.KernelFile, What: "kernel: complete, 9 bytes in 1s"})
			time.Sleep(105 * time.Second)
		}
		w.wantState(w.node(), node.DeployWait)
		if told, back := w.said("has shown nothing"), w.said("goes on"); told != 1 || back != 1 {
			t.Errorf("told %d times, taken back %d times", told, back)
		}
		w.heartbeat(c)
		w.wantState(w.settle(), node.Active)
	})
}

// Nobody is suspected in maintenance, when somebody looks at the machine.
func TestNoSuspicionInMaintenance(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.edit(func(n *node.Node) { n.Maintenance = true })
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		running, _, err := c.Why(t.Context(), uuid1)
		if err != nil || strings.Contains(running.Sentence, "Most likely") || w.said("has shown nothing") != 0 {
			t.Errorf("%v %v %q", running, err, w.events())
		}
	})
}

// quitter is a deploy interface whose agent answers no polls and is lost, once, and which starts it again.
type quitter struct {
	testDeploy
	silent func(at time.Duration) (string, string) // why it does not answer, how it was lost
	fails  error
}

func (quitter) Name() string { return "quitter" }

func (q quitter) Steps() []driver.Step {
	return []driver.Step{{Name: "deploy", Priority: map[node.Flow]int{node.FlowDeploy: 100},
		Run: func(context.Context, *driver.Task) (driver.Result, error) {
			return driver.Result{WaitFor: finishing("erase"), Within: time.Hour, PollEvery: 10 * time.Second}, nil
		},
		Poll: func(_ context.Context, t *driver.Task) (driver.Result, error) {
			why, lost := q.silent(time.Since(t.Step().StartedAt))
			if why == "end" {
				return driver.Done(), q.fails
			}
			return driver.Result{WaitFor: finishing("erase"), PollEvery: 10 * time.Second, Silent: why, Lost: lost,
				GivesUp: t.Step().StartedAt.Add(80 * time.Second)}, nil
		}}}
}

// An agent that hangs takes connections and answers nothing: one poll takes a minute, and then it is named at once.
func TestAHangingAgentIsNamedAfterOnePoll(t *testing.T) {
	inWorld(t, func(w *world) {
		ty := &w.cfg.Types[1]
		ty.Deploy = append(ty.Deploy, quitter{testDeploy{w.m, ""}, func(at time.Duration) (string, string) {
			if at < 15*time.Second {
				time.Sleep(time.Minute)
				return "Client.Timeout exceeded while awaiting headers", ""
			}
			return map[bool]string{true: "end"}[at > 4*time.Minute], ""
		}, nil})
		c, _ := w.start(w.cfg)
		w.enroll("test", node.Available)
		w.edit(func(n *node.Node) { n.Interfaces = map[node.Interface]string{node.Deploy: "quitter"} })
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		time.Sleep(72 * time.Second)
		if n := w.said(
			"Most likely: it lost its power or its network, or its agent hangs (Client.Timeout exceeded while awaiting headers)."); n != 1 {
			t.Errorf("named %d times: %q", n, w.events())
		}
		time.Sleep(20 * time.Second)
		if n := w.said("The machine that was quiet (work) goes on."); n != 1 {
			t.Errorf("taken back %d times: %q", n, w.events())
		}
	})
}

func TestAWorkingMachineFallsSilent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent func(at time.Duration) (string, string)
		fails  error
		told   int
		back   int
		want   []string // in last_error, in this order; none: the deploy ends well
	}{
		{"one poll", func(at time.Duration) (string, string) {
			if at < 15*time.Second {
				return "no route", ""
			}
			return map[bool]string{true: "end"}[at > time.Minute], ""
		}, nil, 0, 0, nil},
		{"for a minute", func(at time.Duration) (string, string) {
			if at < 65*time.Second {
				return "no route", ""
			}
			return map[bool]string{true: "end"}[at > 2*time.Minute], ""
		}, nil, 1, 1, nil},
		{"until the end", func(at time.Duration) (string, string) {
			return map[bool]string{true: "end", false: "no route"}[at > 85*time.Second], ""
		}, node.Errorf(node.Internal, "nobody has listened"), 1, -1, []string{"nobody has listened"}},
		{"lost and started again", func(at time.Duration) (string, string) {
			switch {
			case at < 85*time.Second:
				return "no route", ""
			case at < 95*time.Second:
				return "", "nobody has listened at the agent's address"
			}
			return map[bool]string{true: "end"}[at > 3*time.Minute], ""
		}, node.Errorf(node.Internal, "no DHCP request was seen"), 1, 0,
			[]string{"The machine was lost first at ", "in step deploy.deploy, 90 s after", "it has not answered since ", "nobody has listened",
				"Under way, as last told: /dev/vda overwriting (40 %)", "started again, and then: ", "no DHCP request was seen"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ty := &w.cfg.Types[1]
				ty.Deploy = append(ty.Deploy, quitter{testDeploy{w.m, ""}, tt.silent, tt.fails})
				c, _ := w.start(w.cfg)
				w.enroll("test", node.Available)
				w.edit(func(n *node.Node) { n.Interfaces = map[node.Interface]string{node.Deploy: "quitter"} })
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				err := w.store.SaveProgress(t.Context(), node.Progress{NodeUUID: uuid1, Flow: node.FlowDeploy, Step: "deploy", At: node.Now(),
					Disks: []node.DiskProgress{{Name: "/dev/vda", What: "overwriting", Done: 40, Total: 100}}})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(55 * time.Second)
				running, _, err := c.Why(t.Context(), uuid1)
				if err != nil || strings.Contains(running.Sentence,
					"Most likely: it lost its power or its network, or its agent hangs (no route).") != (tt.told > 0) {
					t.Errorf("after 55 s: %v %s", err, running.Sentence)
				}
				n := w.settle()
				for n.State == node.DeployWait {
					time.Sleep(10 * time.Second)
					n = w.settle()
				}
				if (n.State == node.Active) != (tt.want == nil) {
					t.Fatalf("%q: %s", n.State, n.LastError)
				}
				rest := n.LastError
				for _, part := range tt.want {
					_, after, ok := strings.Cut(rest, part)
					if !ok {
						t.Errorf("no %q in order in %s", part, n.LastError)
					}
					rest = after
				}
				if told := w.said("has shown nothing"); told != tt.told {
					t.Errorf("told %d times", told)
				}
				if back := w.said("goes on"); tt.back >= 0 && back != tt.back {
					t.Errorf("taken back %d times: %q", back, w.events())
				}
			})
		})
	}
}
