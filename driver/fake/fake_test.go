package fake

import (
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/node"
)

func harness(iface node.Interface) drivertest.Harness {
	delayKey := "fake_" + string(iface) + "_delay"
	task := func(info node.Document) *driver.Task { return drivertest.NewTask("fake-hardware", info) }
	return drivertest.Harness{
		Task: task(node.Document{}),
		Dead: task(node.Document{delayKey: 3600.0}),
		Invalid: map[string]*driver.Task{
			"a text that is no time":  task(node.Document{delayKey: "soon"}),
			"a negative delay":        task(node.Document{delayKey: -1.0}),
			"a delay over a day":      task(node.Document{delayKey: "25h"}),
			"a list for a delay":      task(node.Document{delayKey: []any{1.0}}),
			"a negative delay (text)": task(node.Document{delayKey: "-5s"}),
		},
	}
}

func TestPower(t *testing.T) {
	drivertest.Power(t, func(*testing.T) drivertest.PowerHarness {
		return drivertest.PowerHarness{Harness: harness(node.Power), Power: NewPower(),
			Soft: []node.PowerState{node.SoftPowerOff, node.SoftRebooting}}
	})
}

func TestManagement(t *testing.T) {
	drivertest.Management(t, func(*testing.T) drivertest.ManagementHarness {
		return drivertest.ManagementHarness{Harness: harness(node.Management), Management: NewManagement(), Power: NewPower()}
	})
}

func TestBoot(t *testing.T) {
	drivertest.Boot(t, func(*testing.T) drivertest.BootHarness {
		return drivertest.BootHarness{Harness: harness(node.Boot), Boot: NewBoot(), Management: NewManagement(), Power: NewPower()}
	})
}
