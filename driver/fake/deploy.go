package fake

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Deploy has the steps that a real deploy interface has, by the same names and priorities.
type Deploy struct{ part }

// NewDeploy returns the fake deploy interface.
func NewDeploy() Deploy { return Deploy{part{node.Deploy}} }

// Steps lists the fake deploy, clean, delete and adopt steps.
func (d Deploy) Steps() []driver.Step {
	frame := func(s driver.Step) driver.Step { s.Frame = true; return s }
	return []driver.Step{
		frame(d.step("deploy", at(node.FlowDeploy, 100), power(node.Rebooting))),
		d.step("write_image", at(node.FlowDeploy, 80), nil),
		d.step("prepare_instance_boot", at(node.FlowDeploy, 60), func(ctx context.Context, t *driver.Task) error {
			return t.Hardware.Boot.PrepareInstance(ctx, t)
		}),
		d.step("tear_down_agent", at(node.FlowDeploy, 40), power(node.PowerOff)),
		d.step("switch_to_tenant_network", at(node.FlowDeploy, 30), func(ctx context.Context, t *driver.Task) error {
			return t.Hardware.Network.Connect(ctx, t, driver.TenantNetwork)
		}),
		d.step("boot_instance", at(node.FlowDeploy, 20), power(node.PowerOn)),

		frame(d.step("prepare_cleaning", at(node.FlowClean, 1000), power(node.Rebooting))),
		d.step("erase_devices_metadata", at(node.FlowClean, 99), nil),
		d.step("erase_devices", at(node.FlowClean, 10), nil),
		d.step("erase_devices_express", at(node.FlowClean, 0), nil),
		frame(d.step("tear_down_cleaning", at(node.FlowClean, -1000), power(node.PowerOff))),

		frame(d.step("prepare_service", at(node.FlowService, 1000), power(node.Rebooting))),
		frame(d.step("tear_down_service", at(node.FlowService, -1000), power(node.Rebooting))),

		frame(d.step("tear_down", at(node.FlowDelete, 100), power(node.PowerOff))),
		frame(d.step("adopt", at(node.FlowAdopt, 100), nil)),
	}
}

// TidyUp switches the machine off, unless it must stay on.
func (d Deploy) TidyUp(ctx context.Context, t *driver.Task) error {
	if t.Node.DisablePowerOff {
		return nil
	}
	return t.SetPower(ctx, node.PowerOff)
}

// Inspect finds out of band what its driver makes up.
type Inspect struct{ part }

// NewInspect returns the fake inspect interface.
func NewInspect() Inspect { return Inspect{part{node.Inspect}} }

// Steps lists the one inspect step.
func (i Inspect) Steps() []driver.Step {
	return []driver.Step{i.step("inspect", at(node.FlowInspect, 100), func(_ context.Context, t *driver.Task) error {
		properties := t.Node.Properties.Clone()
		for key, value := range map[string]any{"cpus": "1", "memory_mb": "1024", "local_gb": "10", "cpu_arch": "x86_64"} {
			if _, ok := properties[key]; !ok {
				properties[key] = value
			}
		}
		t.Node.Properties = properties
		return nil
	})}
}

// Inspected takes a report from a client that plays the machine.
func (Inspect) Inspected(_ context.Context, _ *driver.Task, data node.InspectionData) (node.Findings, error) {
	if data.Error != "" {
		return node.Findings{}, node.Errorf(node.Invalid, "the machine reported: %s", data.Error)
	}
	return node.Findings{Inventory: node.Inventory{Inventory: data.Inventory, PluginData: data.PluginData}}, nil
}
