package conductor

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// What the BMC said of its boot device is part of the sentence: it forgot, or it still had it.
func TestTheSentenceSaysWhatTheBMCSaid(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	pxe := node.BootDevice{Device: "pxe"}
	for _, tt := range []struct {
		override driver.BootOverride
		want     string
	}{
		{driver.BootOverride{}, "the BMC accepted the network boot and did not do it, or the firmware went past it"},
		{driver.BootOverride{Asked: pxe, Answer: driver.OverrideUntold}, "the BMC accepted the network boot and did not do it, or the firmware went past it"},
		{driver.BootOverride{Asked: pxe, Answer: driver.OverrideLost, Repeats: 2}, "the BMC took the boot device pxe and forgot it, also when it was told again"},
		{driver.BootOverride{Asked: pxe, Answer: driver.OverrideKept, Said: pxe},
			"the BMC took the boot device pxe and still named it right before the start, so the firmware did not hear of it or went past it"},
	} {
		e := evidence{override: tt.override, now: at, waited: time.Minute, macs: []string{mac1},
			events: []node.BootEvent{{MAC: mac1, Service: "dhcp", Kind: node.DHCPAcked, Who: node.AskedSystem, What: "REQUEST from an operating system", At: at}}}
		if got := e.ownDisk(); !strings.HasPrefix(got, "it started its own disk (") || !strings.Contains(got, "): "+tt.want+". Put network boot first") {
			t.Errorf("%+v: %s", tt.override, got)
		}
	}
}
