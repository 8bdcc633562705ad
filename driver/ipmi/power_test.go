package ipmi

import (
	"slices"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

func TestWhatTheMachineIsAskedToDo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		on     bool
		keepOn bool // disable_power_off
		target node.PowerState
		want   []bmc.Action
	}{
		{"on", false, false, node.PowerOn, []bmc.Action{bmc.On}},
		{"on, it is on", true, false, node.PowerOn, nil},
		{"off", true, false, node.PowerOff, []bmc.Action{bmc.Off}},
		{"off, it is off", false, false, node.PowerOff, nil},
		{"soft off", true, false, node.SoftPowerOff, []bmc.Action{bmc.Soft}},
		{"soft off, it is off", false, false, node.SoftPowerOff, nil},
		{"reboot", true, false, node.Rebooting, []bmc.Action{bmc.Off, bmc.On}},
		{"reboot, it is off", false, false, node.Rebooting, []bmc.Action{bmc.On}},
		{"soft reboot", true, false, node.SoftRebooting, []bmc.Action{bmc.Soft, bmc.On}},
		{"soft reboot, it is off", false, false, node.SoftRebooting, []bmc.Action{bmc.On}},
		{"reboot, must stay on", true, true, node.Rebooting, []bmc.Action{bmc.Reset}},
		{"reboot, must stay on, it is off", false, true, node.Rebooting, []bmc.Action{bmc.On}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &machine{on: tt.on}
			task := task(start(t, &bmc.Server{Machine: m}))
			task.Node.DisablePowerOff = tt.keepOn
			power, _ := New(quick)
			if err := power.SetPowerState(t.Context(), task, tt.target); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.did(), tt.want) {
				t.Errorf("the machine did %v, want %v", m.did(), tt.want)
			}
		})
	}
}

func TestVerifyReadsThePowerState(t *testing.T) {
	power, _ := New(quick)
	steps := power.Steps()
	if len(steps) != 1 || steps[0].Name != "verify" || !steps[0].Frame || steps[0].Priority[node.FlowVerify] != 100 ||
		len(steps[0].Priority) != 1 {
		t.Fatalf("steps %+v, want verify, for the verify flow alone", steps)
	}
	server := &bmc.Server{Machine: &machine{on: true}}
	task := task(start(t, server))
	if result, err := steps[0].Run(t.Context(), task); err != nil || result.Waiting() || task.Node.Power != node.PowerOn {
		t.Errorf("%+v, %v, power %q", result, err, task.Node.Power)
	}
	server.SetFaults(bmc.Faults{RefuseLogin: true})
	if _, err := steps[0].Run(t.Context(), task); ReasonOf(err) != BadLogin {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestBothInterfacesSayTheSame(t *testing.T) {
	power, management := New(Options{})
	for _, i := range []driver.Implementation{power, management} {
		if i.Name() != "ipmitool" || len(i.Properties()) != len(properties) {
			t.Errorf("%s with %d properties", i.Name(), len(i.Properties()))
		}
	}
}
