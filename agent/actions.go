package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/wire"
)

// rootDiskWait is how long a root disk may take to appear: some controllers scan for a minute.
const rootDiskWait = 30 * time.Second

// rootHints are the hints that choose the root disk: those of the instance beat the node's own.
func rootHints(n wire.Node) (map[string]any, error) {
	for _, where := range []map[string]any{n.InstanceInfo, n.Properties} {
		switch h := where["root_device"].(type) {
		case nil:
		case map[string]any:
			if len(h) > 0 {
				return h, nil
			}
		default:
			return nil, fmt.Errorf("root_device is a %T; an object such as {\"serial\": \"…\"} is allowed", h)
		}
	}
	return nil, nil
}

// settleTime is how long the list of disks must have stayed the same before one is chosen.
const settleTime = 3 * time.Second

// sight is the list of disks as it was last seen. "The smallest disk" means nothing while a
// controller still scans: the right one may be the next to appear. Commands run one at a time, so
// only one goroutine has it.
type sight struct {
	disks []wire.Disk
	since time.Time // when the list was first seen so
}

// look takes down what is seen now and returns how long it has been so.
func (s *sight) look(now []wire.Disk) time.Duration {
	if s.since.IsZero() || !slices.Equal(s.disks, now) {
		s.disks, s.since = now, time.Now()
	}
	return time.Since(s.since)
}

// selectRoot chooses the root disk, waiting until one matches and the list of disks has settled. On a
// node with software RAID and no hints it is the root volume.
// Disks that the node's skip_block_devices protects are not there for it.
func (a *Agent) selectRoot(ctx context.Context, n wire.Node) (wire.Disk, error) {
	hints, err := rootHints(n)
	if err != nil {
		return wire.Disk{}, err
	}
	arrays, err := a.startArrays(ctx)
	if err != nil {
		return wire.Disk{}, err
	}
	if d, ok := a.rootArray(arrays); ok && hints == nil {
		return d, nil
	}
	deadline := time.Now().Add(min(rootDiskWait, a.Config.DiskWait))
	for {
		settled := a.seen.look(a.inventory.Disks()) >= settleTime
		free, err := unprotected(a.seen.disks, n)
		if err != nil {
			return wire.Disk{}, err
		}
		d, err := disk.Select(free, hints)
		if err == nil && settled || time.Now().After(deadline) {
			return d, err
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return wire.Disk{}, err
		}
	}
}

// unprotected leaves out the disks that properties.skip_block_devices names.
func unprotected(disks []wire.Disk, n wire.Node) ([]wire.Disk, error) {
	skipped, err := disk.Skipped(disks, n.Properties["skip_block_devices"])
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(disks), func(d wire.Disk) bool { return skipped[d.Name] }), nil
}

// openDisk opens a disk and makes sure that it still is the one chosen: names can move when a
// controller resets, an open disk cannot.
func (a *Agent) openDisk(d wire.Disk) (*disk.Device, error) {
	dev, err := disk.Open(filepath.Join(a.Config.Root, d.Name))
	if err != nil {
		return nil, err
	}
	if err := a.same(d, dev); err != nil {
		dev.Close()
		return nil, err
	}
	return dev, nil
}

func (a *Agent) same(d wire.Disk, dev *disk.Device) error {
	for _, now := range a.inventory.Disks() {
		if now.Name != d.Name {
			continue
		}
		now.MemberOf = d.MemberOf // arrays come and go on one and the same disk
		switch {
		case now != d:
			return fmt.Errorf("%s was chosen as %s, but now it is %s: disks have moved, nothing was written to it", d.Name, identity(d), identity(now))
		case dev.Size() != d.Size:
			return fmt.Errorf("%s was chosen with %d bytes, but now has %d: nothing was written", d.Name, d.Size, dev.Size())
		case dev.Number() != "" && dev.Number() != now.DevNumber:
			return fmt.Errorf("%s is device %s, but %s was opened: nothing was written", d.Name, now.DevNumber, dev.Number())
		}
		return nil
	}
	return fmt.Errorf("%s has gone: nothing was written", d.Name)
}

// gone explains a failure on a disk that is no longer in the machine, or not under its name; "" if it is.
func (a *Agent) gone(d wire.Disk) string {
	for _, now := range a.inventory.Disks() {
		if now.Name != d.Name {
			continue
		}
		if now.MemberOf = d.MemberOf; now == d {
			return ""
		}
		return fmt.Sprintf(", which has gone from the machine and was %s (%s is now %s; nothing was written to that)", identity(d), d.Name, identity(now))
	}
	return ", which has gone from the machine"
}

// identity is what tells a disk from its neighbours. Not every disk has a serial number, so same
// compares all there is; this is for people.
func identity(d wire.Disk) string {
	return fmt.Sprintf("serial %q, wwn %q, model %q, %d bytes, at %q, device %s", d.Serial, d.WWNWithExtension, d.Model, d.Size, d.ByPath+" "+d.HCTL, d.DevNumber)
}

// writeImage is the step that puts the user's image on the root disk.
func (a *Agent) writeImage(ctx context.Context, c stepCall) (any, error) {
	var img wire.ImageInfo
	var configDrive string
	if err := c.args.decode("image_info", &img); err != nil {
		return nil, err
	}
	if err := c.args.decode("configdrive", &configDrive); err != nil {
		return nil, err
	}
	if configDrive == "" {
		configDrive = img.ConfigDrive
	}
	if of, ok := c.node.InstanceInfo["configdrive"].(string); ok && configDrive == "" {
		configDrive = of // a step that people asked for names the image; the config drive came with the request
	}
	if img.BootMode == "" {
		img.BootMode = a.inventory.BootMode()
	}
	return a.write(ctx, c, img, configDrive)
}

func (a *Agent) write(ctx context.Context, c stepCall, img wire.ImageInfo, configDrive string) (any, error) {
	root, err := a.selectRoot(ctx, c.node)
	if err != nil {
		return nil, err
	}
	if err := a.guardRoot(root, c.node); err != nil {
		return nil, err
	}
	dev, err := a.openDisk(root)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	a.written = nil
	a.Log.Info("writing the image", "image", img.ID, "disk", root.Name, "size", root.Size, "model", root.Model, "serial", root.Serial, "by_path", root.ByPath)
	w := &write.Writer{
		Client: a.images, MD5: a.config.MD5Enabled, Formats: a.config.PermittedImageFormats, Log: a.Log, AnyBoot: a.Config.AnyBoot,
		Progress: func(detail string, done, total int64) { c.report(root.Name+": "+detail, done, total) },
	}
	if root.RAID != "" && img.ImageType != "partition" && img.BootMode == "bios" {
		img.BootMode = "" // the firmware starts the members, which get the image's GRUB later
	}
	a.rootUUID = ""
	done, err := w.WriteImage(ctx, dev, img, configDrive)
	if err != nil {
		return nil, fmt.Errorf("writing image %s to %s (serial %q)%s: %w", img.ID, root.Name, root.Serial, a.gone(root), err)
	}
	if err := dev.Close(); err != nil {
		return nil, fmt.Errorf("closing %s: %w", root.Name, err)
	}
	if err := disk.Reread(dev.Path()); err != nil {
		a.Log.Warn("the kernel still sees the old partitions", "disk", root.Name, "error", err)
	}
	a.written = &root
	if err := a.formatEphemeral(ctx, c, root, img, done); err != nil {
		return nil, err
	}
	a.rootUUID = done.Root.UUID
	a.Log.Info("image written", "image", img.ID, "disk", root.Name, "format", done.Format, "file_bytes", done.FileSize, "disk_bytes", done.Size, "took", done.Took)
	return fmt.Sprintf("image (%s) written to device %s: %d bytes of %s in %s", img.ID, root.Name, done.FileSize, done.Format, done.Took.Round(time.Millisecond)), nil
}

// formatEphemeral makes the ephemeral partition's file system, unless it is to be kept.
func (a *Agent) formatEphemeral(ctx context.Context, c stepCall, root wire.Disk, img wire.ImageInfo, done write.Written) error {
	for _, p := range done.Parts {
		a.Log.Info("partition", "disk", root.Name, "number", p.Number, "role", p.Role, "offset", p.Offset, "size", p.Length)
		if p.Role != disk.Ephemeral || img.PreserveEphemeral {
			continue
		}
		c.report("formatting the ephemeral partition of "+root.Name, 0, 0)
		dev, err := a.openDisk(root) // it still is the disk that was written
		if err == nil {
			err = dev.Close()
		}
		if err != nil {
			return fmt.Errorf("formatting the ephemeral partition: %w", err)
		}
		if err := write.FormatEphemeral(ctx, filepath.Join(a.Config.Root, root.Name), p, img.EphemeralFormat); err != nil {
			return fmt.Errorf("%s (serial %q): %w", root.Name, root.Serial, err)
		}
	}
	return nil
}
