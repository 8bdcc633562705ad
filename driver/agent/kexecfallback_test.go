package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// untilKexec runs the deploy up to the step kexec_instance, which has not begun.
func untilKexec(t *testing.T, w *world) *runner {
	t.Helper()
	r := &runner{world: w}
	for w.stored.Plan.Current().Step != "kexec_instance" {
		if err := r.once(w.stored.Plan.Current()); err != nil {
			t.Fatal(err)
		}
		r.machineActs()
	}
	return r
}

// step runs or polls the step under way once and says whether it is still kexec_instance.
func step(t *testing.T, r *runner) bool {
	t.Helper()
	if err := r.once(r.stored.Plan.Current()); err != nil {
		t.Fatal(err)
	}
	return r.stored.Plan.Current().Step == "kexec_instance"
}

// What becomes of the order to jump.
const (
	answered = iota
	arrived  // the agent takes it and hangs up
	lost     // the agent hangs up before
)

func disturb(w *world, how int) {
	w.agent.mu.Lock()
	defer w.agent.mu.Unlock()
	switch how {
	case arrived:
		w.agent.hangUpAfter = 1
	case lost:
		w.agent.hangUpBefore = 1
	}
}

// A machine that is silent jumped only if it said that it would. Otherwise it may have lost its
// network, or its power, with the ramdisk still in memory: it is rebooted.
func TestKexecWithoutAConfirmedOrder(t *testing.T) {
	tests := []struct {
		name   string
		order  int
		silent bool // the agent answers nothing afterwards
		waited time.Duration
		ends   bool
		says   string
	}{
		{"confirmed and silent at once", answered, true, time.Second, false, ""},
		{"confirmed and silent", answered, true, kexecQuiet + time.Second, true, "It was started by kexec"},
		{"its answer is lost, but it stands in the agent's list, and then silent", arrived, true, kexecQuiet + time.Second, true,
			"It was started by kexec"},
		{"not confirmed and silent: not yet", lost, true, kexecQuiet + time.Second, false, ""},
		{"not confirmed and silent for long", lost, true, kexecWait + time.Second, true, "it is not known whether the agent started the kernel"},
		{"not confirmed, and it answers: not yet", lost, false, kexecQuiet + time.Second, false, ""},
		{"not confirmed, and it answers for long", lost, false, kexecWait + time.Second, true,
			"the agent still answers 31s after it was told to start the kernel"},
		{"confirmed, and it answers for long", answered, false, kexecWait + time.Second, true, "the agent still answers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := kexecWorld(t, 50)
			w.agent.unfinished = true // so that the order is given in a poll of its own
			r := untilKexec(t, w)
			step(t, r) // the kernel is being loaded
			if got := noted(w, kexecNote).Stage; got != "" {
				t.Fatalf("it is %q already", got)
			}
			w.agent.finish()
			disturb(w, tt.order)
			step(t, r)
			if got := noted(w, kexecNote).Stage; got != kexecJumping {
				t.Fatalf("it is %q, not jumping", got)
			}
			if confirmed := noted(w, kexecNote).Told; confirmed != (tt.order <= arrived) {
				t.Errorf("confirmed: %v", confirmed)
			}
			if tt.silent {
				w.agent.server.Close()
			}
			age(w, tt.waited)
			if stays := step(t, r); stays == tt.ends {
				t.Errorf("the step goes on: %v", stays)
			}
			if says := noted(w, driver.KexecSays); tt.ends && !strings.Contains(says, tt.says) {
				t.Errorf("the history gets %q, want %q", says, tt.says)
			}
			if n := w.agent.count("standby.kexec"); n != map[bool]int{true: 1}[tt.order <= arrived] {
				t.Errorf("the order arrived %d times", n)
			}
			if tt.ends {
				want := map[bool]kexecStage{true: kexecJumped, false: kexecFailed}[strings.HasPrefix(tt.says, "It was started by kexec")]
				if got := noted(w, kexecNote).Stage; got != want {
					t.Errorf("the memo says %q, want %q", got, want)
				}
			}
		})
	}
}

// An order that never reached the agent is no order: the agent goes on answering, and the machine
// is rebooted when the time is over. It is not told a second time.
func TestKexecOrderThatNeverArrived(t *testing.T) {
	w := kexecWorld(t, 50)
	w.agent.unfinished = true
	r := untilKexec(t, w)
	step(t, r)
	w.agent.finish()
	disturb(w, lost)
	step(t, r)
	for range 3 {
		if !step(t, r) {
			t.Fatal("it ended before its time")
		}
	}
	age(w, kexecWait+time.Second)
	if step(t, r) {
		t.Error("the step waits on")
	}
	if n := w.agent.count("standby.kexec"); n != 0 {
		t.Errorf("the order arrived %d times", n)
	}
	const why = "by an ordinary reboot, because kexec was not possible: the agent still answers"
	if says := noted(w, driver.KexecSays); !strings.Contains(says, why) {
		t.Errorf("the history gets %q", says)
	}
}

// An image may keep the agent busy for as long as it likes: after five minutes its own boot loader
// starts it, by an ordinary reboot through the BMC, as the agent takes no other command.
func TestKexecLoadsForTooLong(t *testing.T) {
	for _, waited := range []time.Duration{kexecLoadTime - time.Second, kexecLoadTime + time.Second} {
		w := kexecWorld(t, 50)
		w.agent.unfinished = true
		r := untilKexec(t, w)
		step(t, r)
		w.stored.Plan.WaitingSince = node.Now().Add(-waited)
		if waited < kexecLoadTime {
			if !step(t, r) {
				t.Errorf("after %s the step has ended: %s", waited, noted(w, driver.KexecSays))
			}
			continue
		}
		for range 50 { // the command never ends; nobody calls finish
			current := w.stored.Plan.Current()
			if current == nil {
				break
			}
			if err := r.once(current); err != nil {
				t.Fatalf("%s: %v", current.Step, err)
			}
		}
		if w.stored.Plan.Current() != nil {
			t.Fatalf("the deploy is stuck at %s", w.stored.Plan.Current().Step)
		}
		if n := w.agent.count("standby.kexec"); n != 0 {
			t.Error("the agent was told to jump")
		}
		at := slices.Index(w.log, "PrepareInstance")
		if rest := w.log[at+1:]; !slices.Contains(rest, "power off") || rest[len(rest)-1] != "power on" {
			t.Errorf("what happened to the machine: %v", rest)
		}
	}
}

// The service dies between any two lines of the step. The next one neither loads nor jumps twice,
// and ends in a machine that runs its instance.
func TestKexecSurvivesTheService(t *testing.T) {
	tests := []struct {
		name   string
		noted  kexecStart
		silent bool
		want   kexecStage
	}{
		{"jumped, before the step was done", kexecStart{Stage: kexecJumped}, true, kexecJumped},
		{"given up, before the step was done", kexecStart{Stage: kexecFailed}, false, kexecFailed},
		{"saved that it is about to jump, and died: the agent lives", kexecStart{kexecJumping, old(), false}, false, kexecFailed},
		{"saved that it is about to jump, and died: silence", kexecStart{kexecJumping, old(), false}, true, kexecFailed},
		{"told, and died: silence", kexecStart{kexecJumping, old(), true}, true, kexecJumped},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := kexecWorld(t, 50)
			r := untilKexec(t, w)
			kexecNote.Set(w.atRest(), tt.noted)
			if tt.silent {
				w.agent.server.Close()
			}
			if step(t, r) {
				t.Error("the step goes on")
			}
			if got := noted(w, kexecNote).Stage; got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
			for _, name := range []string{"standby.kexec", "standby.load_instance_kernel"} {
				if n := w.agent.count(name); n != 0 {
					t.Errorf("%s was given %d times", name, n)
				}
			}
		})
	}
	t.Run("a time that is missing is an error", func(t *testing.T) {
		w := kexecWorld(t, 50)
		r := untilKexec(t, w)
		kexecNote.Set(w.atRest(), kexecStart{Stage: kexecJumping})
		err := r.once(w.stored.Plan.Current())
		if err == nil || !strings.Contains(err.Error(), "it is not known when the machine was told to start its kernel") {
			t.Errorf("error %v", err)
		}
	})
}

func old() time.Time { return node.Now().Add(-time.Hour) }
