package agent

import (
	"context"
	"slices"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// InMemory is the deploy interface "ramdisk": the instance is a kernel and a ramdisk of the user's,
// booted over the network at every start. Nothing is written to a disk. Cleaning and service are Direct's.
type InMemory struct{ *Direct }

// Name implements driver.Implementation.
func (m InMemory) Name() string { return driver.RamdiskDeploy }

// Validate implements driver.Implementation: what the boot interface cannot know.
func (m InMemory) Validate(_ context.Context, t *driver.Task) error {
	n := t.Node
	if !driver.Deployable(n) {
		return nil
	}
	i := n.InstanceInfo
	switch {
	case i["boot_iso"] != nil && (i["kernel"] != nil || i["ramdisk"] != nil || i["ramdisk_kernel_arguments"] != nil):
		return driver.CannotDeploy(n, "instance_info/boot_iso has a kernel, a ramdisk and kernel parameters of its own; "+
			"instance_info/kernel, ramdisk and ramdisk_kernel_arguments cannot be set beside it")
	case i["boot_iso"] != nil && i.String("boot_iso") == "":
		return driver.CannotDeploy(n, "instance_info/boot_iso is %v; a file://, http:// or https:// URL is allowed", i["boot_iso"])
	case i["boot_iso"] == nil && (i.String("kernel") == "" || i.String("ramdisk") == ""):
		return driver.CannotDeploy(n, "the ramdisk deploy interface needs instance_info/kernel and instance_info/ramdisk, "+
			"or instance_info/boot_iso: file://, http:// or https:// URLs")
	case i.String("image_source") != "":
		return driver.CannotDeploy(n, "the ramdisk deploy interface writes no image, but instance_info/image_source is set")
	}
	return validateCapabilities(n)
}

// Steps are Direct's, but that a deploy only boots.
func (m InMemory) Steps() []driver.Step {
	deploy := func(priority int) map[node.Flow]int { return map[node.Flow]int{node.FlowDeploy: priority} }
	return append([]driver.Step{
		{Name: "deploy", Priority: deploy(100), Frame: true, Run: m.switchOff},
		{Name: "prepare_instance_boot", Priority: deploy(60), Readies: true, Run: prepareBoot},
		{Name: "switch_to_tenant_network", Priority: deploy(30), Run: switchToTenantNetwork},
		{Name: "boot_instance", Priority: deploy(20), Starts: true, Run: bootInstance},
	}, m.except(node.FlowDeploy)...)
}

// RunsAgent implements driver.InBand: a deploy boots the instance and nothing else.
func (m InMemory) RunsAgent(flow node.Flow) bool {
	return flow != node.FlowDeploy && m.Direct.RunsAgent(flow)
}

// switchOff stops what ran before, so that the instance starts from cold.
func (m InMemory) switchOff(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if !t.MaySwitchOff() {
		return driver.Done(), nil
	}
	return driver.Done(), hardOff(ctx, t)
}

func prepareBoot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return driver.Done(), prepareDisk(ctx, t)
}

// except lists Direct's steps of all flows but one.
func (d *Direct) except(flow node.Flow) []driver.Step {
	return slices.DeleteFunc(d.Steps(), func(s driver.Step) bool { _, ok := s.Priority[flow]; return ok })
}

// Custom is the deploy interface "custom-agent": the ramdisk's agent does what the request's deploy
// steps say, and nothing else. No image is needed.
type Custom struct{ *Direct }

// Name implements driver.Implementation.
func (c Custom) Name() string { return "custom-agent" }

// Validate implements driver.Implementation.
func (c Custom) Validate(_ context.Context, t *driver.Task) error {
	for _, check := range []func(*node.Node) error{validateCapabilities, validateDriverInfo} {
		if err := check(t.Node); err != nil {
			return err
		}
	}
	return nil
}

// Steps are Direct's without its own image. What makes the disk bootable is a step's business too.
func (c Custom) Steps() []driver.Step {
	steps := c.Direct.Steps()
	steps = slices.DeleteFunc(steps, func(s driver.Step) bool { return s.Name == "write_image" })
	for i := range steps {
		if _, ok := steps[i].Priority[node.FlowDeploy]; !ok {
			continue
		}
		switch steps[i].Name {
		case "deploy":
			steps[i].Run = c.booting().begin
		case "prepare_instance_boot":
			steps[i].Run, steps[i].Poll = prepareBoot, nil
		}
	}
	return steps
}
