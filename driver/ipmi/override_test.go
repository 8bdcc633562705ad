package ipmi

import (
	"bytes"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/quirk"
	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

// A BMC that says yes to a boot device and loses it is found out where it tells, is told again, and leaves evidence.
func TestForgottenBootDevices(t *testing.T) {
	pxe := node.BootDevice{Device: "pxe"}
	for _, tt := range []struct {
		profile    string
		afterSet   driver.BootOverride
		afterStart driver.BootOverride
		booted     string
	}{
		{"", driver.BootOverride{Asked: pxe, Said: pxe, Answer: driver.OverrideKept},
			driver.BootOverride{Asked: pxe, Said: pxe, Answer: driver.OverrideKept, Started: true}, "pxe"},
		{"forgets-boot", driver.BootOverride{Asked: pxe, Answer: driver.OverrideLost, Repeats: 1},
			driver.BootOverride{Asked: pxe, Answer: driver.OverrideLost, Repeats: 2, Started: true}, ""},
		{"forgets-boot-off", driver.BootOverride{Asked: pxe, Said: pxe, Answer: driver.OverrideKept},
			driver.BootOverride{Asked: pxe, Said: pxe, Answer: driver.OverrideKept, Repeats: 1, Started: true}, "pxe"},
		{"forgets-boot-started", driver.BootOverride{Asked: pxe, Said: pxe, Answer: driver.OverrideKept},
			driver.BootOverride{Asked: pxe, Said: pxe, Answer: driver.OverrideKept, Started: true}, ""},
	} {
		t.Run(tt.profile, func(t *testing.T) {
			t.Parallel()
			m := &machine{on: true}
			s := &bmc.Server{Machine: m}
			s.SetFaults(bmc.Profiles[tt.profile])
			power, management := New(quick)
			task := task(start(t, s))
			task.Node.Plan = &node.Plan{Flow: node.FlowDeploy}
			if err := management.SetBootDevice(t.Context(), task, pxe); err != nil {
				t.Fatal(err)
			}
			if got, ok := driver.Override.Of(task.Node.Plan); !ok || got != tt.afterSet {
				t.Errorf("after setting it: %+v, want %+v", got, tt.afterSet)
			}
			for _, target := range []node.PowerState{node.PowerOff, node.PowerOn} {
				if err := power.SetPowerState(t.Context(), task, target); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := driver.Override.Of(task.Node.Plan); got != tt.afterStart {
				t.Errorf("after the start: %+v, want %+v", got, tt.afterStart)
			}
			if err := power.SetPowerState(t.Context(), task, node.Rebooting); err != nil {
				t.Fatal(err)
			}
			if got := m.bootedFrom(); len(got) != 2 || got[0].Device != tt.booted || got[1].Device != "" {
				t.Errorf("booted from %v, want %q and, as it was for once, nothing", got, tt.booted)
			}
		})
	}
}

// What follows a code may be zeros, a few, and the rest of the code itself; a code is never compared in part.
func TestIsCode(t *testing.T) {
	code := []byte("0123456789abcdefghij")
	s := &session{quirks: quirks.Of(quirk.Identity{})}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name string
		got  []byte
		n    int
		want bool
	}{
		{"whole", code, 20, true}, {"cut to what is asked for", code[:12], 12, true}, {"four zeros", join(code, make([]byte, 4)), 20, true},
		{"twelve zeros", join(code[:12], make([]byte, 12)), 12, true}, {"the whole code where twelve bytes are asked for", code, 12, true},
		{"and zeros", join(code, make([]byte, 12)), 12, true},
		{"nothing", nil, 20, false}, {"nothing, twelve asked for", nil, 12, false}, {"a byte short", code[:19], 20, false},
		{"zeros alone", make([]byte, 32), 20, false},
		{"thirteen zeros", join(code, make([]byte, 13)), 20, false}, {"something else behind", join(code, []byte{0, 0, 1, 0}), 20, false},
		{"half of the rest", code[:16], 12, false}, {"a byte wrong", join([]byte("x"), code[1:]), 20, false},
		{"the last byte wrong", join(code[:11], []byte("x"), make([]byte, 8)), 12, false},
	} {
		if got := s.isCode(tt.got, code, tt.n); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A wrong password is tried with a second cipher suite once: BMCs count.
func TestAWrongPasswordIsDoubtedOnce(t *testing.T) {
	s := &bmc.Server{}
	info := with(start(t, s), "ipmi_password", "wrong")
	power, _ := New(quick)
	var packets []int
	for range 3 {
		before := s.Stats().Packets
		if _, err := power.PowerState(t.Context(), task(info)); ReasonOf(err) != BadLogin {
			t.Fatal(err)
		}
		packets = append(packets, s.Stats().Packets-before)
	}
	// Capabilities and suites, then for each log-in Open Session, RAKP 1 and the refusal, which may be counted late.
	if packets[0] < 2+2*3-1 || packets[1] > 2+3+1 || packets[2] > 2+3+1 {
		t.Errorf("%v packets, want about [8 5 5]", packets)
	}
}
