package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// kexecWorld is a deploy that asks for kexec_instance.
func kexecWorld(t *testing.T, priority int) *world {
	w := newWorld(t)
	w.plan(node.FlowDeploy, w.direct.Steps(), node.PlannedStep{Interface: node.Deploy, Step: "kexec_instance", Priority: priority})
	w.stored.Plan.Steps = slices.DeleteFunc(w.stored.Plan.Steps, func(s node.PlannedStep) bool { return s.Priority == 0 })
	slices.SortStableFunc(w.stored.Plan.Steps, func(a, b node.PlannedStep) int { return b.Priority - a.Priority })
	w.agent.outcome["load_instance_kernel"] = wire.CommandResult{Status: wire.Succeeded, Result: raw(map[string]string{"result": "vmlinuz"})}
	return w
}

// age moves the moment the machine was told to jump into the past.
func age(w *world, by time.Duration) {
	if !noted(w, kexecNote).At.IsZero() {
		kexecNote.Edit(w.atRest(), func(k *kexecStart) { k.At = node.Now().Add(-by) })
	}
}

func TestKexec(t *testing.T) {
	noKernel := wire.CommandResult{Status: wire.Failed, Error: &wire.CommandError{Message: "Command execution failed",
		Details: "no GRUB configuration"}}
	tests := []struct {
		name   string
		change func(w *world)
		after  func(w *world) // before each call once the machine was told to jump
		power  []string       // what happens to the machine after PrepareInstance
		says   string
	}{
		{
			name:  "the machine jumps: nobody touches its power",
			after: func(w *world) { w.agent.server.CloseClientConnections(); w.agent.server.Close(); age(w, time.Minute) },
			power: []string{"forget agent", "connect tenant"}, says: "It was started by kexec, without its firmware (vmlinuz).",
		},
		{
			name: "no kernel is found", change: func(w *world) { w.agent.outcome["load_instance_kernel"] = noKernel },
			power: []string{"forget agent", "connect tenant", "power on"},
			says:  "It was started by an ordinary reboot, because kexec was not possible: ",
		},
		{
			name: "an agent that knows no kexec", change: func(w *world) {
				w.agent.answer["load_instance_kernel"] = `{"faultcode":"Client","faultstring":"Unknown command"}`
			},
			power: []string{"forget agent", "connect tenant", "power on"}, says: "because kexec was not possible: starting load_instance_kernel: ",
		},
		{
			name: "the jump is refused", change: func(w *world) { w.agent.answer["kexec"] = `{"faultcode":"Client","faultstring":"not here"}` },
			power: []string{"forget agent", "connect tenant", "power on"}, says: "not here",
		},
		{
			name: "the machine stays", after: func(w *world) { age(w, time.Minute) },
			power: []string{"forget agent", "connect tenant", "power on"},
			says:  "the agent still answers 1m0s after it was told to start the kernel",
		},
		{
			name: "the machine went off instead", after: func(w *world) { w.agent.server.Close(); w.power = node.PowerOff; age(w, time.Minute) },
			power: []string{"forget agent", "connect tenant", "power on"}, says: "started by kexec",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := kexecWorld(t, 50)
			if tt.change != nil {
				tt.change(w)
			}
			says := ""
			r := &runner{world: w, dies: func(string) bool { return false }}
			for range 100 {
				step := w.stored.Plan.Current()
				if step == nil {
					break
				}
				if noted(w, kexecNote).Stage == kexecJumping && tt.after != nil {
					tt.after(w)
				}
				if err := r.once(step); err != nil {
					t.Fatalf("%s: %v", step.Step, err)
				}
				says = noted(w, driver.KexecSays)
				r.machineActs()
			}
			if w.stored.Plan.Current() != nil {
				t.Fatalf("the deploy does not end: it is at %s", w.stored.Plan.Current().Step)
			}
			at := slices.Index(w.log, "PrepareInstance")
			if diff := cmp.Diff(tt.power, w.log[at+1:]); at < 0 || diff != "" {
				t.Errorf("what happened to the machine (-want +got):\n%s", diff)
			}
			if !strings.Contains(says, tt.says) {
				t.Errorf("the history gets %q, want %q", says, tt.says)
			}
			if w.stored.Power != node.PowerOn {
				t.Errorf("power_state is %q", w.stored.Power)
			}
		})
	}
}

// A machine is not believed to have jumped at the first silence, nor to have stayed at the first answer.
func TestKexecIsWatched(t *testing.T) {
	w := kexecWorld(t, 50)
	r := &runner{world: w}
	for noted(w, kexecNote).Stage != kexecJumping {
		if err := r.once(w.stored.Plan.Current()); err != nil {
			t.Fatal(err)
		}
		r.machineActs()
	}
	for _, silent := range []bool{false, true} {
		if silent {
			w.agent.server.Close()
		}
		if err := r.once(w.stored.Plan.Current()); err != nil {
			t.Fatal(err)
		}
		if !w.stored.Plan.Waiting() || w.stored.Plan.Await() != untilJumped {
			t.Errorf("silent %v: it waits for %q", silent, w.stored.Plan.WaitingFor)
		}
	}
	if n := w.agent.count("standby.kexec"); n != 1 {
		t.Errorf("the machine was told %d times", n)
	}
}

// Asked for at the wrong moment, the step refuses before anything is started.
func TestKexecInOrder(t *testing.T) {
	for _, priority := range []int{70, 90, 35, 10} {
		w := kexecWorld(t, priority)
		err := (&runner{world: w}).carry()
		if err == nil || !strings.Contains(err.Error(), "ask for it with a priority from 41 to 59") {
			t.Errorf("priority %d: %v", priority, err)
		}
		if n := w.agent.count("standby.load_instance_kernel"); n != 0 {
			t.Errorf("priority %d: a kernel was loaded", priority)
		}
	}
}
