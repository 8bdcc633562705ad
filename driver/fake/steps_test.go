package fake

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/node"
)

func task(info node.Document) *driver.Task {
	t := drivertest.NewTask("fake-hardware", info)
	t.Hardware.Power, t.Hardware.Boot, t.Hardware.Network = NewPower(), NewBoot(), NewNetwork()
	return t
}

func find(t *testing.T, s driver.Stepper, name string) driver.Step {
	t.Helper()
	for _, step := range s.Steps() {
		if step.Name == name {
			return step
		}
	}
	t.Fatalf("there is no step %s", name)
	return driver.Step{}
}

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  time.Duration
		bad   bool
	}{
		{nil, 0, false}, {2.0, 2 * time.Second, false}, {0.25, 250 * time.Millisecond, false}, {3, 3 * time.Second, false},
		{"250ms", 250 * time.Millisecond, false}, {"1.5", 1500 * time.Millisecond, false}, {"2m", 2 * time.Minute, false},
		{"soon", 0, true}, {-1.0, 0, true}, {90000.0, 0, true}, {true, 0, true},
	} {
		info := node.Document{}
		if tt.value != nil {
			info["fake_power_delay"] = tt.value
		}
		got, err := delay(&node.Node{DriverInfo: info}, "fake_power_delay")
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%v: %v, %v", tt.value, got, err)
		}
		if want := `driver_info/fake_power_delay must be seconds from 0 to 86400, or a text such as "250ms".`; tt.bad && err.Error() != want {
			t.Errorf("%v: %v", tt.value, err)
		}
	}
}

// Without a delay a step ends at once; with one it waits, polls, and ends when the time is over.
func TestASlowStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := task(node.Document{"fake_boot_instance_delay": 3.0})
		s := find(t, NewDeploy(), "boot_instance")
		r, err := s.Run(t.Context(), slow)
		want := driver.Result{WaitFor: node.Await{For: node.Pause, Text: "the fake machine's boot_instance"}, PollEvery: 3 * time.Second}
		if err != nil || r.WaitFor != want.WaitFor || r.PollEvery != want.PollEvery || slow.Node.Power == node.PowerOn {
			t.Fatalf("run: %+v, %v, power %q", r, err, slow.Node.Power)
		}
		slow.Node.Plan.WaitingSince = time.Now()
		time.Sleep(time.Second)
		if r, err := s.Poll(t.Context(), slow); err != nil || r.PollEvery != 2*time.Second {
			t.Errorf("after a second: %+v, %v", r, err)
		}
		time.Sleep(2 * time.Second)
		if r, err := s.Poll(t.Context(), slow); err != nil || r.Waiting() || slow.Node.Power != node.PowerOn {
			t.Errorf("after three: %+v, %v, power %q", r, err, slow.Node.Power)
		}
		quick := task(node.Document{})
		if r, err := s.Run(t.Context(), quick); err != nil || r.Waiting() || quick.Node.Power != node.PowerOn {
			t.Errorf("quick: %+v, %v", r, err)
		}
	})
}

func TestFailuresOnRequest(t *testing.T) {
	for key, step := range map[string]string{"fake_deploy_fail": "write_image", "fake_write_image_fail": "write_image"} {
		_, err := find(t, NewDeploy(), step).Run(t.Context(), task(node.Document{key: "out of paper"}))
		if err == nil || err.Error() != "out of paper" {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := find(t, NewDeploy(), "erase_devices").Run(t.Context(),
		task(node.Document{"fake_write_image_fail": "out of paper"})); err != nil {
		t.Errorf("another step fails too: %v", err)
	}
	if err := NewPower().SetPowerState(t.Context(), task(node.Document{"fake_power_fail": "no current"}), node.PowerOn); err == nil ||
		err.Error() != "no current" {
		t.Errorf("power: %v", err)
	}
}

// Every step ends, and may be run again.
func TestEveryStepMayBeRepeated(t *testing.T) {
	for _, s := range []driver.Stepper{NewDeploy(), NewInspect(), NewOther(node.RAID), NewOther(node.BIOS), NewOther(node.Console),
		NewOther(node.RescueIf)} {
		for _, step := range s.Steps() {
			tk := task(node.Document{})
			for range 2 {
				if r, err := step.Run(t.Context(), tk); err != nil || r.Waiting() {
					t.Errorf("%s: %+v, %v", step.Name, r, err)
				}
			}
		}
	}
}

func TestTidyUp(t *testing.T) {
	for _, stays := range []bool{false, true} {
		tk := task(node.Document{})
		tk.Node.Power, tk.Node.DisablePowerOff = node.PowerOn, stays
		if err := NewDeploy().TidyUp(t.Context(), tk); err != nil || (tk.Node.Power == node.PowerOn) != stays {
			t.Errorf("disable_power_off %v: power %q, %v", stays, tk.Node.Power, err)
		}
	}
}

func TestInspectKeepsWhatPeopleWrote(t *testing.T) {
	tk := task(node.Document{})
	tk.Node.Properties = node.Document{"cpus": "64"}
	if _, err := find(t, NewInspect(), "inspect").Run(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	if tk.Node.Properties["cpus"] != "64" || tk.Node.Properties["cpu_arch"] != "x86_64" {
		t.Errorf("properties %v", tk.Node.Properties)
	}
}
