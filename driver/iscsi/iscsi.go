// Package iscsi owns the deploy interface "iscsi": the deploy ramdisk exports its disk, tells where
// through pass_deploy_info, and the conductor writes the image into it over the network. It refuses
// everything but deploying: cleaning, inspection and the rest are another interface's (Base), as is
// what a boot record looks like.
package iscsi

import (
	"context"
	"slices"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/raid"
)

// Sources finds images; image.Store does.
type Sources interface {
	Resolve(ctx context.Context, ref image.Ref) (image.Resolved, error)
	driver.Glance
	// File finds a file that is no image, such as the kernel of a partition image.
	File(ctx context.Context, source string) (path string, err error)
}

// Base is the deploy interface that does what has nothing to do with iSCSI; its steps of the deploy
// flow are replaced, but for those of the tenant's network and the instance's start.
type Base interface {
	driver.Deploy
	driver.InBand
}

// Deploy is the interface. All but the durations must be set.
type Deploy struct {
	Base
	Sources Sources
	Records boot.Records
	APIURL  string // where the ramdisk reaches the API, such as "http://10.0.0.1:6386"; TFTP is at the same host

	BootTimeout   time.Duration // from power on to pass_deploy_info; 0: 30 min
	LoaderTimeout time.Duration // from "done" to pass_bootloader_install_info; 0: 25 min
	Patience      time.Duration // how long the ramdisk's target may be away while it is written; 0: 60 s
	TargetPort    string        // of the ramdisk's target; "": 3260
	DonePort      string        // where the ramdisk waits for "done"; "": 10000
	TempDir       string        // for an ephemeral file system while it is made; "": the system's
	Gate          *fetch.Gate   // which files and URLs an image is read from; nil: no file of this machine
}

var (
	_ driver.Deploy        = (*Deploy)(nil)
	_ driver.MachineCallee = (*Deploy)(nil)
)

// Name implements driver.Implementation.
func (d *Deploy) Name() string { return "iscsi" }

// Validate implements driver.Implementation. On a node with software RAID the ramdisk would export a
// disk that is part of it; such a node can be cleaned, not deployed.
func (d *Deploy) Validate(ctx context.Context, t *driver.Task) error {
	if driver.Deployable(t.Node) && raid.IsSoftware(t.Node.RAIDConfig) {
		return node.Errorf(node.Invalid, "Node %s has software RAID, which the deploy interface iscsi does not write to: use the "+
			"deploy interface direct, or delete the RAID.", t.Node.UUID)
	}
	return d.Base.Validate(ctx, t)
}

// kept are steps of the base's deploy flow that this interface has too.
var kept = []string{"switch_to_tenant_network", "boot_instance"}

// Steps implements driver.Stepper.
func (d *Deploy) Steps() []driver.Step {
	deploy := func(priority int) map[node.Flow]int { return map[node.Flow]int{node.FlowDeploy: priority} }
	steps := []driver.Step{
		{Name: "deploy", Priority: deploy(100), Frame: true, Abortable: true, Run: d.deploy, Poll: d.deployed},
		{Name: "write_image", Priority: deploy(80), Run: d.writeImage, Poll: d.writeImage},
		{Name: "prepare_instance_boot", Priority: deploy(60), Readies: true, Run: d.prepareInstanceBoot, Poll: d.loaderInstalled},
		{Name: "tear_down_agent", Priority: deploy(40), Run: d.release},
	}
	for _, s := range d.Base.Steps() {
		if _, deploys := s.Priority[node.FlowDeploy]; !deploys || slices.Contains(kept, s.Name) {
			steps = append(steps, s)
		}
	}
	return steps
}

// RunsAgent implements driver.InBand. The ramdisk of a deploy exports its disk and takes no commands.
func (d *Deploy) RunsAgent(flow node.Flow) bool {
	return flow != node.FlowDeploy && d.Base.RunsAgent(flow)
}

func orElse[T comparable](v, otherwise T) T {
	var none T
	if v == none {
		return otherwise
	}
	return v
}
