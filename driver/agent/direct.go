package agent

import (
	"context"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Direct is the deploy interface "direct": the agent in the deploy ramdisk reads the image itself
// and writes it. Sources, Images and APIURL must be set; every other zero value is its default.
// It keeps nothing in memory, so any process may carry on what another began.
type Direct struct {
	Sources  Sources
	Images   Images
	ImageURL string // where machines reach what Images serves, such as "http://10.0.0.1:6386"
	APIURL   string // where the agent reaches the API, such as "http://10.0.0.1:6386"; the ipa-api-url

	Client      Client
	BootTimeout time.Duration // 0: DefaultBootTimeout
	StepTimeout time.Duration // 0: DefaultStepTimeout
	AgentLost   time.Duration // 0: DefaultAgentLost
	AgentDead   time.Duration // 0: DefaultAgentDead
	Poll        time.Duration // 0: DefaultPoll
	PowerPoll   time.Duration // 0: DefaultPowerPoll
	PowerOff    time.Duration // from power_off to a hard off; 0: DefaultPowerOffWait

	// Priorities overrides the agent's own priorities of clean steps, by "<interface>.<step>".
	// nil means DefaultPriorities.
	Priorities map[string]int

	Erase *Erase // nil: agents erase as they think best

	NoImagePrograms bool // the GRUB of images is not run in the deploy ramdisk
}

// DefaultPriorities leave automated cleaning with erasing metadata alone: overwriting whole disks
// takes hours to days, so it runs only where somebody asks for it.
var DefaultPriorities = map[string]int{"deploy.erase_devices": 0}

// Name implements driver.Implementation.
func (d *Direct) Name() string { return "direct" }

// Properties implements driver.Implementation.
func (d *Direct) Properties() map[string]string {
	return map[string]string{
		driver.FastTrackKey: "Whether a ramdisk that still runs is used on by the next flow without a reboot, " +
			"in place of the service's own setting. Optional.",
		programsKey: "Whether an image's own GRUB is run as root in the deploy ramdisk, " +
			"which partition images with local boot need. " +
			"Optional, default the service's setting, but false where the node has a lessee.",
		wipeKey: "Whether disks with file systems that other machines may share (VMFS, GPFS, GFS2, OCFS2, vSAN, Oracle ASM), " +
			"and disks on a storage network, are erased and overwritten too. Optional, default false.",
		"deploy_forces_oob_reboot": "Whether the machine is always switched off through its BMC after the image is written, rather " +
			"than by the agent. Optional.",
		"image_download_source": "How the machine gets an http(s) image: \"http\", from its own URL, is the one supported. Optional.",
	}
}

// Steps lists what the conductor runs, by Ironic's names and priorities. The agent's own steps
// join them once the ramdisk runs.
func (d *Direct) Steps() []driver.Step {
	deploy := func(priority int) map[node.Flow]int { return map[node.Flow]int{node.FlowDeploy: priority} }
	frame := func(flow node.Flow, priority int) map[node.Flow]int { return map[node.Flow]int{flow: priority} }
	boot, image, loader, kexec, shutdown := d.booting(), d.writing(), d.loader(), d.kexec(), d.shutdown()
	return []driver.Step{
		{Name: "deploy", Priority: deploy(100), Frame: true, Abortable: true, Run: d.deploy, Poll: d.deployed},
		{Name: "write_image", Priority: deploy(80), Abortable: true, NeedsAgent: true, Run: image.run, Poll: image.poll},
		{Name: "prepare_instance_boot", Priority: deploy(60), NeedsAgent: true, Readies: true, Run: loader.run, Poll: loader.poll},
		{Name: "kexec_instance", Priority: deploy(0), NeedsAgent: true, Run: kexec.run, Poll: kexec.poll},
		{Name: "tear_down_agent", Priority: deploy(40), EndsAgent: true, Run: shutdown.run, Poll: shutdown.poll},
		{Name: "switch_to_tenant_network", Priority: deploy(30), Run: switchToTenantNetwork},
		{Name: "boot_instance", Priority: deploy(20), Starts: true, Run: bootInstance},

		{Name: "tear_down", Priority: frame(node.FlowDelete, 100), Frame: true, Run: tearDown},

		{Name: "prepare_cleaning", Priority: frame(node.FlowClean, 1000), Frame: true, Abortable: true,
			Run: d.prepareCleaning, Poll: boot.called},
		{Name: "tear_down_cleaning", Priority: frame(node.FlowClean, -1000), Frame: true, Run: tearDownCleaning},

		{Name: "prepare_service", Priority: frame(node.FlowService, 1000), Frame: true, Abortable: true,
			Run: d.prepareCleaning, Poll: boot.called},
		{Name: "tear_down_service", Priority: frame(node.FlowService, -1000), Frame: true, Run: tearDownService},

		{Name: "adopt", Priority: frame(node.FlowAdopt, 100), Frame: true, Run: adopt},
	}
}

// TidyUp implements driver.Deploy.
func (d *Direct) TidyUp(ctx context.Context, t *driver.Task) error {
	return tidyUp(ctx, t)
}

// tidyUp leaves the machine off. One that has an instance, because it was only serviced, starts it
// again as soon as somebody switches it on; at once when somebody wanted no more of the service.
func tidyUp(ctx context.Context, t *driver.Task) error {
	if t.Node.Plan == nil {
		return leave(ctx, t, "")
	}
	network := networkOf(t.Node.Plan.Flow)
	if t.Node.Plan.Flow != node.FlowService {
		return leave(ctx, t, network)
	}
	if t.Node.Plan.NoRamdisk {
		return nil // the instance never stopped
	}
	if t.Node.Plan.Aborting { // nothing went wrong: the instance goes on
		if err := leave(ctx, t, network); err != nil {
			return err
		}
		return restart(ctx, t)
	}
	return backToInstance(ctx, t, network)
}

// deploy boots the deploy ramdisk. The image is looked for first: one that is missing, unsafe or
// has another checksum fails here in seconds, not after the machine's long start.
func (d *Direct) deploy(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := driver.FindImage(ctx, t, d.Sources, orElse(d.BootTimeout, DefaultBootTimeout))
	if err != nil || r.Waiting() {
		return r, err
	}
	return d.booting().begin(ctx, t)
}

// deployed goes on with deploy: first the image is waited for, then the ramdisk.
func (d *Direct) deployed(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if driver.AwaitsImage(t) {
		return d.deploy(ctx, t)
	}
	if err := driver.ImageFailed(ctx, t, d.Sources); err != nil {
		return driver.Done(), err
	}
	return d.booting().called(ctx, t)
}
