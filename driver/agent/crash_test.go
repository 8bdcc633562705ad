package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// deployCalls are the calls of a deploy whose long commands take their time.
var deployCalls = []string{
	"deploy run", "deploy poll", "write_image run", "write_image poll", "prepare_instance_boot run", "prepare_instance_boot poll",
	"tear_down_agent run", "tear_down_agent poll", "switch_to_tenant_network run", "boot_instance run",
}

// TestKilledAnywhere kills the service after each call of a deploy in turn, before what the call
// returned is saved. The deploy must end the same, with the image written once.
func TestKilledAnywhere(t *testing.T) {
	for _, quick := range []bool{false, true} {
		for _, victim := range append([]string{"every call"}, deployCalls...) {
			t.Run(fmt.Sprintf("%s, quick agent %v", victim, quick), func(t *testing.T) {
				w := newWorld(t)
				w.agent.unfinished = !quick
				w.plan(node.FlowDeploy, w.direct.Steps())
				killed := map[string]bool{}
				r := &runner{world: w, dies: func(call string) bool {
					if killed[call] || victim != "every call" && victim != call {
						return false
					}
					killed[call] = true
					return true
				}}
				if err := r.carry(); err != nil {
					t.Fatal(err)
				}
				for command, most := range map[string]int{"deploy.execute_deploy_step": 1, "image.install_bootloader": 1} {
					if n := w.agent.count(command); n != most {
						t.Errorf("%s was sent %d times", command, n)
					}
				}
				var got []string // what repeats harmlessly is folded
				for _, what := range w.log {
					if what != "PrepareInstance" && what != "forget agent" || got == nil || got[len(got)-1] != what {
						got = append(got, what)
					}
				}
				if diff := cmp.Diff(theDeploy, foldRepeats(got)); diff != "" {
					t.Errorf("at the machine (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// foldRepeats drops what repeats the entry before it.
func foldRepeats(list []string) []string { return slices.Compact(list) }

// TestKilledBeforeTheCheckpoint: the machine was switched on, but that was not saved.
func TestKilledBeforeTheCheckpoint(t *testing.T) {
	once := []string{"power off", "connect provisioning", "forget agent", "PrepareRamdisk", "power on"}
	tests := []struct {
		name   string
		called bool // the agent, before the service was back
		want   []string
	}{
		{"agent has called", true, once},
		{"agent has not called", false, slices.Concat(once, once)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.plan(node.FlowDeploy, w.direct.Steps())
			w.stored.Plan.Steps[0].StartedAt = node.Now().Add(-time.Second)
			task := w.task()
			keep := task.Save
			task.Save = func(ctx context.Context) error {
				if !bootNote.Get(task).Since.IsZero() {
					return errors.New("killed")
				}
				return keep(ctx)
			}
			if _, err := w.direct.deploy(t.Context(), task); err == nil {
				t.Fatal("not killed")
			}
			if tt.called {
				w.calls()
			}
			if _, err := w.direct.deploy(t.Context(), w.task()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, w.log); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestKilledBeforeTheMachineWasSwitchedOff: the agent of an earlier deploy still runs and calls. It is
// not the one that this deploy boots, and the image it once wrote is not this deploy's.
func TestKilledBeforeTheMachineWasSwitchedOff(t *testing.T) {
	w := newWorld(t)
	w.agent.list = []wire.CommandResult{{ID: "earlier", Name: "execute_deploy_step", Status: wire.Succeeded}}
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Steps[0].StartedAt = node.Now().Add(-time.Second)
	w.calls() // after the step began, before the service came back
	r, err := w.direct.deploy(t.Context(), w.task())
	if err != nil || r.WaitFor != firstCall {
		t.Fatalf("%+v, %v", r, err)
	}
	want := []string{"power off", "connect provisioning", "forget agent", "PrepareRamdisk", "power on"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Error(diff)
	}
}

// TestAgentForgets: a list without the command means that the agent was started anew; the command is
// sent again, but not for ever.
func TestAgentForgets(t *testing.T) {
	w := newWorld(t)
	w.agent.unfinished = true
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Index = 1
	w.calls()
	task := w.task()
	if r, err := w.direct.writing().run(t.Context(), task); err != nil || !r.Waiting() {
		t.Fatal(r, err)
	}
	for i := range maxRestarts {
		w.agent.reboot()
		r, err := w.direct.writing().poll(t.Context(), task)
		if err != nil || !r.Waiting() || r.Within == 0 {
			t.Fatalf("restart %d: %+v, %v", i+1, r, err)
		}
	}
	w.agent.reboot()
	_, err := w.direct.writing().poll(t.Context(), task)
	want := "the agent was started anew 4 times during write_image: is the machine losing power?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if n := w.agent.count("deploy.execute_deploy_step"); n != 4 {
		t.Errorf("sent %d times", n)
	}
}

// TestAgentSilent: one that calls but does not answer is waited for; one that does neither is lost.
func TestAgentSilent(t *testing.T) {
	w := newWorld(t)
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Index = 1
	w.power = node.PowerOn
	w.calls()
	w.agent.server.Close()
	task := w.task()
	r, err := w.direct.writing().poll(t.Context(), task)
	if err != nil || r.WaitFor.Text != "the agent to finish write_image" || r.Within != 0 {
		t.Errorf("while it calls: %+v, %v", r, err)
	}
	task.Node.Agent.LastHeartbeat = node.Now().Add(-6 * time.Minute)
	_, err = w.direct.writing().poll(t.Context(), task)
	host := strings.TrimPrefix(w.agent.server.URL, "https://")
	want := fmt.Sprintf("during write_image: the agent has not called for 6m0s, and the agent at %s did not answer: dial tcp %s: "+
		"connect: connection refused", host, host)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestAgentDead: an agent at whose address nobody listens is lost after eighty seconds and four polls, unless it
// calls meanwhile; one that answers slowly is not.
func TestAgentDead(t *testing.T) {
	none := agentSilence{}
	ago := func(d time.Duration, polls int) agentSilence {
		return agentSilence{Absent: node.Now().Add(-d), Polls: polls}
	}
	for _, tt := range []struct {
		name  string
		noted agentSilence  // in the polls before
		beat  time.Duration // since the agent called last
		hangs bool          // it takes the connection and says nothing
		lost  bool
		next  int // polls noted afterwards
	}{
		{"the first poll", none, 30 * time.Second, false, false, 1},
		{"not long enough", ago(79*time.Second, 9), 3 * time.Minute, false, false, 10},
		{"too few polls: this service was away", ago(4*time.Minute, 2), 270 * time.Second, false, false, 3},
		{"long enough", ago(81*time.Second, 3), 3 * time.Minute, false, true, 0},
		{"it has called since", ago(81*time.Second, 9), 20 * time.Second, false, false, 1},
		{"something listens", ago(81*time.Second, 9), 3 * time.Minute, true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.plan(node.FlowDeploy, w.direct.Steps())
			w.stored.Plan.Index = 1
			w.calls()
			w.agent.server.Close()
			host := strings.TrimPrefix(w.agent.server.URL, "https://")
			if tt.hangs {
				l, err := net.Listen("tcp", host)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				w.direct.Client.Timeout = 200 * time.Millisecond
			}
			w.power = node.PowerOn
			task := w.task()
			silenceNote.Set(task, tt.noted)
			task.Node.Agent.LastHeartbeat = node.Now().Add(-tt.beat)
			r, err := w.direct.writing().poll(t.Context(), task)
			if lost := errors.Is(err, driver.ErrMachineLost); lost != tt.lost || !lost && (err != nil || !r.Waiting()) {
				t.Fatalf("%+v, %v", r, err)
			}
			if tt.lost {
				want := fmt.Sprintf("during write_image: nobody has listened at the agent's address for 1m21s, nor called, and the agent at %s "+
					"did not answer: dial tcp %s: connect: connection refused", host, host)
				if err.Error() != want {
					t.Errorf("got  %s\nwant %s", err, want)
				}
				return
			}
			gives := task.Node.Agent.LastHeartbeat.Add(DefaultAgentLost)
			seen := silenceNote.Get(task)
			if dead := seen.Absent.Add(DefaultAgentDead); seen.Polls > 0 && dead.Before(gives) {
				gives = dead
			}
			if d := r.GivesUp.Sub(gives).Abs(); r.Silent == "" || d > time.Second {
				t.Errorf("silent %q, gives up %s, want %s", r.Silent, r.GivesUp, gives)
			}
			if seen.Polls != tt.next {
				t.Errorf("noted %d polls, want %d", seen.Polls, tt.next)
			}
		})
	}
}

// A machine that is off is lost as soon as two polls found nobody; one whose BMC does not answer is waited for.
func TestAMachineThatIsOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		power node.PowerState
		fails error
		polls int // before, that found nobody
		lost  bool
	}{
		{"off, the first poll", node.PowerOff, nil, 0, false},
		{"off", node.PowerOff, nil, 1, true},
		{"on", node.PowerOn, nil, 1, false},
		{"nobody knows", node.PowerOff, errors.New("no answer"), 1, false},
	} {
		w := newWorld(t)
		w.plan(node.FlowDeploy, w.direct.Steps())
		w.stored.Plan.Index = 1
		w.calls()
		w.agent.server.Close()
		w.power, w.fails["PowerState"] = tt.power, tt.fails
		task := w.task()
		task.Node.Agent.LastHeartbeat = node.Now().Add(-time.Minute)
		if tt.polls > 0 {
			silenceNote.Set(task, agentSilence{Absent: node.Now(), Polls: tt.polls})
		}
		_, err := w.direct.writing().poll(t.Context(), task)
		if asked := tt.polls > 0; asked != (w.patience > powerAnswer-5*time.Second && w.patience <= powerAnswer) {
			t.Errorf("%s: the BMC had %s to answer", tt.name, w.patience) // a silent BMC must not hold up what else is decided
		}
		if lost := errors.Is(err, driver.ErrMachineLost); lost != tt.lost || lost &&
			err.Error() != "during write_image: the machine is off, as its BMC says: it lost its power, or somebody switched it off" {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A poll that is answered forgets that there were others.
func TestAnAgentThatIsBack(t *testing.T) {
	w := newWorld(t)
	w.agent.unfinished = true
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Index = 1
	w.calls()
	task := w.task()
	if _, err := w.direct.writing().run(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	silenceNote.Set(task, agentSilence{Absent: time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC), Polls: 9})
	if r, err := w.direct.writing().poll(t.Context(), task); err != nil || !r.Waiting() || silenceNote.Get(task) != (agentSilence{}) {
		t.Errorf("%+v, %v, %+v", r, err, silenceNote.Get(task))
	}
}

// TestNoAnswer loses a command's answer, before and after the agent has read it: it is carried out
// once in both cases.
func TestNoAnswer(t *testing.T) {
	for _, unfinished := range []bool{true, false} {
		for name, lose := range map[string]func(a *fakeAgent){
			"never arrived": func(a *fakeAgent) { a.hangUpBefore = 2 },
			"arrived":       func(a *fakeAgent) { a.hangUpAfter = 1 },
		} {
			t.Run(fmt.Sprintf("%s, unfinished %v", name, unfinished), func(t *testing.T) {
				w := newWorld(t)
				w.agent.unfinished = unfinished
				w.agent.list = []wire.CommandResult{{ID: "earlier", Name: "execute_deploy_step", Status: wire.Succeeded}}
				w.plan(node.FlowDeploy, w.direct.Steps())
				w.stored.Plan.Index = 1
				commandNote.Set(w.atRest(), agentCommand{ID: "earlier", Done: "earlier"})
				w.calls()
				lose(w.agent)
				r, err := w.direct.writing().run(t.Context(), w.task())
				if err != nil || r.Waiting() != unfinished {
					t.Fatalf("%+v, %v", r, err)
				}
				if n := w.agent.count("deploy.execute_deploy_step"); n != 1 {
					t.Errorf("the agent read it %d times", n)
				}
			})
		}
	}
	t.Run("never answers", func(t *testing.T) {
		w := newWorld(t)
		w.agent.hangUpBefore = 100
		w.plan(node.FlowDeploy, w.direct.Steps())
		w.stored.Plan.Index = 1
		w.calls()
		_, err := w.direct.writing().run(t.Context(), w.task())
		host := strings.TrimPrefix(w.agent.server.URL, "https://")
		if want := "starting write_image: the agent at " + host + " did not answer: EOF"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if w.agent.hangUpBefore != 97 {
			t.Errorf("%d attempts", 100-w.agent.hangUpBefore)
		}
	})
}

// TestWhoAnswers: nobody but the owner of the agent's certificate is talked to, and no error shows
// the token.
func TestWhoAnswers(t *testing.T) {
	a := newFakeAgent(t)
	plain := a.row()
	edit := func(f func(r *node.Agent)) node.Agent { r := plain; f(&r); return r }
	host := strings.TrimPrefix(a.server.URL, "https://")
	tests := []struct {
		name string
		row  node.Agent
		want string
	}{
		{"none", node.Agent{}, "no agent of this machine is known: none has called since it was last switched on"},
		{"http", edit(func(r *node.Agent) { r.URL = "http://10.0.0.5:9999" }),
			"the agent's URL is http://…; only https is allowed, as the token and the image's location go over it"},
		{"no URL", edit(func(r *node.Agent) { r.URL = "::::" }), `the agent's URL "::::" cannot be read; https://host:port is allowed`},
		{"no certificate", edit(func(r *node.Agent) { r.VerifyCA = "" }),
			"the agent sent no certificate (agent_verify_ca), so nobody can tell who answers at its URL"},
		{"wrong token", edit(func(r *node.Agent) { r.Token = "nonsense" }),
			"the agent refused the command list: it does not know the token this service gave it (it may have been started anew): Token invalid."},
		{"elsewhere", edit(func(r *node.Agent) { r.URL += "/x" }),
			"the agent refused the command list with status 404: 404 page not found"},
		{"not for this host", edit(func(r *node.Agent) { r.URL = strings.Replace(r.URL, "127.0.0.1", "127.0.0.2", 1) }),
			"the agent at " + strings.Replace(host, "127.0.0.1", "127.0.0.2", 1) + " did not answer: "},
		{"another's certificate", edit(func(r *node.Agent) { r.VerifyCA = otherCertificate(t) }),
			"the agent at " + host + " did not answer: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Client{Attempts: 1}.open(tt.row)
			if err == nil {
				_, err = s.commands(t.Context())
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !strings.HasSuffix(tt.want, ": ") && err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), testToken) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// TestTimeout: an agent that takes a request and never answers it costs one timeout an attempt.
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	a := newFakeAgent(t)
	serve := a.server.Config.Handler
	a.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			serve.ServeHTTP(discard{http.Header{}}, r)
			<-release
			return
		}
		serve.ServeHTTP(w, r)
	})
	defer close(release)
	s, err := Client{Timeout: 200 * time.Millisecond, Pause: time.Millisecond}.open(a.row())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.start(t.Context(), "deploy.execute_deploy_step", nil, "")
	if err != nil || r.ID != "command-1" || a.count("deploy.execute_deploy_step") != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
