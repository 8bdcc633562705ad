package agent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// A machine that is switched on before its port is connected finds no DHCP and boots what its disk holds: the ramdisk's network is
// waited for in every flow that boots one, and the instance's before it starts.
func TestPowerWaitsForTheNetwork(t *testing.T) {
	inspect, rescue := &Inspect{APIURL: "http://10.0.0.1:6386"}, &Rescue{APIURL: "http://10.0.0.1:6386"}
	for _, tt := range []struct {
		flow    node.Flow
		step    string
		steps   func(*world) []driver.Step
		network driver.NetworkPurpose
	}{
		{node.FlowDeploy, "deploy", directSteps, driver.ProvisioningNetwork},
		{node.FlowDeploy, "switch_to_tenant_network", directSteps, driver.TenantNetwork},
		{node.FlowClean, "prepare_cleaning", directSteps, driver.CleaningNetwork},
		{node.FlowService, "prepare_service", directSteps, driver.ServicingNetwork},
		{node.FlowService, "tear_down_service", directSteps, driver.TenantNetwork},
		{node.FlowInspect, "inspect", func(*world) []driver.Step { return inspect.Steps() }, driver.InspectionNetwork},
		{node.FlowRescue, "boot_rescue", func(*world) []driver.Step { return rescue.Steps() }, driver.RescuingNetwork},
		{node.FlowUnrescue, "boot_instance", func(*world) []driver.Step { return rescue.Steps() }, driver.TenantNetwork},
	} {
		w := newWorld(t)
		w.stored.InstanceInfo[driver.HashedRescuePassword] = "$6$a$b"
		steps := tt.steps(w)
		i := slices.IndexFunc(steps, func(s driver.Step) bool { return s.Name == tt.step })
		w.stored.Plan = &node.Plan{Flow: tt.flow, StartedAt: node.Now(),
			Steps: []node.PlannedStep{{Interface: node.Deploy, Step: tt.step, StartedAt: node.Now()}}}
		w.fails["connect "+string(tt.network)] = &driver.NotYet{Await: node.Await{For: node.Link}, Every: time.Second, Err: errors.New("DOWN")}
		for range 2 {
			_, err := steps[i].Run(t.Context(), w.task())
			if _, again := errors.AsType[*driver.NotYet](err); !again {
				t.Errorf("%s: %v", tt.step, err)
			}
		}
		on := func(what string) bool { return what == string(node.PowerOn) || what == string(node.Rebooting) }
		if slices.ContainsFunc(w.log, on) {
			t.Errorf("%s: switched on before the network was there: %q", tt.step, w.log)
		}
		w.fails = nil
		if _, err := steps[i].Run(t.Context(), w.task()); err != nil {
			t.Errorf("%s: %v", tt.step, err)
		}
		if tt.step != "switch_to_tenant_network" && !slices.ContainsFunc(w.log, on) {
			t.Errorf("%s: not switched on: %q", tt.step, w.log)
		}
	}
}

func directSteps(w *world) []driver.Step { return w.direct.Steps() }
