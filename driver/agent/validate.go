package agent

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Validate implements driver.Implementation: everything about the node's own fields that a deploy
// would fail for later.
func (d *Direct) Validate(ctx context.Context, t *driver.Task) error {
	n := t.Node
	described, err := d.validateImage(ctx, n)
	if err != nil {
		return err
	}
	asked := driver.InstanceWith(n, described)
	if err := asked.CheckDescribed(); err != nil {
		return err
	}
	for _, check := range []func(*node.Node) error{
		validateCapabilities, func(*node.Node) error { return d.validatePartitions(ctx, asked) }, validateDriverInfo, d.programs().validate,
	} {
		if err := check(n); err != nil {
			return err
		}
	}
	return nil
}

// validateImage checks the image, and asks Glance about one of its own. One that can not be asked now is not the node's fault:
// the deploy waits for it.
func (d *Direct) validateImage(ctx context.Context, n *node.Node) (*image.Described, error) {
	asked := driver.InstanceOf(n)
	if err := d.checkImage(asked, n); err != nil || asked.Image.Source == "" {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, glanceAnswer)
	defer cancel()
	described, err := d.Sources.Describe(ctx, asked.Image)
	if err != nil && node.KindOf(err) != node.Unavailable {
		return nil, driver.CannotDeploy(n, "instance_info/image_source: %v", err)
	}
	return described, nil
}

// glanceAnswer is how long somebody who validates a node waits for Glance.
const glanceAnswer = 10 * time.Second

func (d *Direct) checkImage(asked driver.Instance, n *node.Node) error {
	if err := asked.CheckImage(); err != nil {
		return err
	}
	if asked.Image.Source == "" {
		if !driver.Deployable(n) {
			return nil
		}
		return driver.CannotDeploy(n, "one or more parameters are missing from its instance_info. Missing are: ['image_source']")
	}
	if err := d.Sources.Validate(asked.Image); err != nil {
		return driver.CannotDeploy(n, "instance_info/image_source: %v", err)
	}
	return nil
}

func validateCapabilities(n *node.Node) error { return driver.InstanceOf(n).CheckCapabilities() }

func validateDriverInfo(n *node.Node) error {
	switch v := n.DriverInfo["deploy_forces_oob_reboot"].(type) {
	case nil, bool:
	case string:
		if _, err := strconv.ParseBool(v); err != nil {
			return driver.CannotDeploy(n, "driver_info/deploy_forces_oob_reboot is %q; true and false are allowed", v)
		}
	default:
		return driver.CannotDeploy(n, "driver_info/deploy_forces_oob_reboot is %v; true and false are allowed", v)
	}
	if v := n.DriverInfo[wipeKey]; v != nil {
		if _, ok := driver.Boolean(v); !ok {
			return driver.CannotDeploy(n, "driver_info/%s is %v; true and false are allowed", wipeKey, v)
		}
	}
	for place, d := range map[string]node.Document{"driver_info": n.DriverInfo, "instance_info": n.InstanceInfo} {
		if v, ok := d["image_download_source"]; ok && v != nil && v != "http" {
			return driver.CannotDeploy(n, "%s/image_download_source is %v; only \"http\" is supported "+
				"(file:// images and those of the image store are always served by this service)", place, v)
		}
	}
	return nil
}

// maxVFATGB is what vfat holds on a disk of 512-byte sectors, the smallest there are.
const maxVFATGB = (disk.MaxVFAT * 512) >> 30

// validatePartitions checks what a partition image needs besides, and that others do not ask for it.
func (d *Direct) validatePartitions(ctx context.Context, asked driver.Instance) error {
	if asked.Image.Source == "" {
		return nil
	}
	if err := asked.CheckPartitions(); err != nil || !asked.IsPartition {
		return err
	}
	if err := checkEphemeral(asked.Node(), asked.Partitions); err != nil {
		return err
	}
	if !asked.Netboot {
		return nil
	}
	_, _, err := asked.NetbootFiles(finder(ctx, d.Sources))
	return err
}

// checkEphemeral refuses an ephemeral file system that the writers cannot make.
func checkEphemeral(n *node.Node, p wire.PartitionImage) error {
	if f := n.InstanceInfo["ephemeral_format"]; f != nil && f != "" && !slices.Contains(disk.EphemeralFormats, p.EphemeralFormat) {
		return driver.CannotDeploy(n, "instance_info/ephemeral_format is %v; allowed are %s", f, strings.Join(disk.EphemeralFormats, ", "))
	}
	if p.EphemeralFormat == "vfat" && p.EphemeralMB > maxVFATGB<<10 {
		return driver.CannotDeploy(n, "instance_info/ephemeral_format is vfat, which holds at most %d GiB, and ephemeral_gb is %d; "+
			"allowed are smaller sizes, or %s", maxVFATGB, p.EphemeralMB>>10, strings.Join(disk.EphemeralFormats[:3], ", "))
	}
	return nil
}
