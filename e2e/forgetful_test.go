package e2e

import (
	"strings"
	"testing"
	"time"
)

// A BMC that takes the network boot and forgets it: the old instance boots. The rebuild fails with the sentence that says so and
// with what the BMC said; a BMC that loses it with the power is told again, and the rebuild ends well.
func TestLongBMCsThatForgetTheNetworkBoot(t *testing.T) {
	s := newSite(t, "--boot-phase-timeout", "40s", "--firmware-timeout", "60s")
	m := s.deployed("forgetful")
	for _, tt := range []struct{ profile, says string }{
		{"forgets-boot", "the BMC took the boot device pxe and forgot it, also when it was told again"},
		{"forgets-boot-started", "the BMC took the boot device pxe and still named it right before the start"},
	} {
		s.lab("bmc", m.name, "--profile", tt.profile)
		m.provision(map[string]any{"target": "rebuild"})
		m.fails(4*time.Minute, []string{"it started its own disk", tt.says}, []string{"it started its own disk"})
		if n := m.show(); strings.Contains(*n.LastError, "firewall") {
			t.Errorf("last_error blames a firewall: %s", *n.LastError)
		}
	}
	s.lab("bmc", m.name, "--profile", "forgets-boot-off")
	m.provision(map[string]any{"target": "rebuild"})
	m.arrive("active", 4*time.Minute)
}
