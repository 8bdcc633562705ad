package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/disk"
	"github.com/billet-metal/billet/agent/wire"
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

// selectRoot chooses the root disk, waiting a while for one that matches.
func (a *Agent) selectRoot(ctx context.Context, n wire.Node) (wire.Disk, error) {
	hints, err := rootHints(n)
	if err != nil {
		return wire.Disk{}, err
	}
	deadline := time.Now().Add(min(rootDiskWait, a.Config.DiskWait))
	for {
		d, err := disk.Select(a.inventory.Disks(), hints)
		if err == nil || time.Now().After(deadline) {
			return d, err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return wire.Disk{}, err
		}
	}
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
		switch {
		case now.Serial != d.Serial || now.WWN != d.WWN:
			return fmt.Errorf("%s was chosen with serial %q, but now has serial %q: disks have moved, nothing was written", d.Name, d.Serial, now.Serial)
		case dev.Size() != d.Size:
			return fmt.Errorf("%s was chosen with %d bytes, but now has %d: nothing was written", d.Name, d.Size, dev.Size())
		case dev.Number() != "" && dev.Number() != now.DevNumber:
			return fmt.Errorf("%s is device %s, but %s was opened: nothing was written", d.Name, now.DevNumber, dev.Number())
		}
		return nil
	}
	return fmt.Errorf("%s has gone: nothing was written", d.Name)
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
	return a.write(ctx, c, img, configDrive)
}

func (a *Agent) write(ctx context.Context, c stepCall, img wire.ImageInfo, configDrive string) (any, error) {
	root, err := a.selectRoot(ctx, c.node)
	if err != nil {
		return nil, err
	}
	dev, err := a.openDisk(root)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	a.Log.Info("writing the image", "image", img.ID, "disk", root.Name, "size", root.Size, "model", root.Model, "serial", root.Serial, "by_path", root.ByPath)
	w := &disk.Writer{
		Client: a.images, MD5: a.config.MD5Enabled, Formats: a.config.PermittedImageFormats, Log: a.Log,
		Progress: func(detail string, done, total int64) { c.report(root.Name+": "+detail, done, total) },
	}
	done, err := w.WriteImage(ctx, dev, img, configDrive)
	if err != nil {
		return nil, fmt.Errorf("writing image %s to %s (serial %q): %w", img.ID, root.Name, root.Serial, err)
	}
	if err := dev.Close(); err != nil {
		return nil, fmt.Errorf("closing %s: %w", root.Name, err)
	}
	if err := disk.Reread(dev.Path()); err != nil {
		a.Log.Warn("the kernel still sees the old partitions", "disk", root.Name, "error", err)
	}
	a.Log.Info("image written", "image", img.ID, "disk", root.Name, "format", done.Format, "file_bytes", done.FileSize, "disk_bytes", done.Size, "took", done.Took)
	return fmt.Sprintf("image (%s) written to device %s: %d bytes of %s in %s", img.ID, root.Name, done.FileSize, done.Format, done.Took.Round(time.Millisecond)), nil
}

// eachDisk does something to every disk of the machine and goes on after a failure; read-only and
// removable ones are refused, and the result says so.
func (a *Agent) eachDisk(do func(dev *disk.Device, d wire.Disk) error) (any, error) {
	var done, refused []string
	var failed []error
	for _, d := range a.inventory.Disks() {
		if d.ReadOnly || d.Removable {
			why := map[bool]string{true: "read-only", false: "removable"}[d.ReadOnly]
			refused = append(refused, d.Name+" ("+why+")")
			continue
		}
		dev, err := a.openDisk(d)
		if err == nil {
			err = errors.Join(do(dev, d), dev.Close())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", d.Name, err))
			continue
		}
		if err := disk.Reread(dev.Path()); err != nil {
			a.Log.Warn("the kernel still sees the old partitions", "disk", d.Name, "error", err)
		}
		done = append(done, d.Name)
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("erasing: %w", errors.Join(failed...))
	}
	text := "erased: " + strings.Join(done, ", ")
	if len(done) == 0 {
		text = "there was no disk to erase"
	}
	if len(refused) > 0 {
		text += "; left alone: " + strings.Join(refused, ", ")
		a.Log.Warn("disks were left alone", "disks", strings.Join(refused, ", "))
	}
	return text, nil
}

func (a *Agent) eraseMetadata(_ context.Context, c stepCall) (any, error) {
	return a.eachDisk(func(dev *disk.Device, d wire.Disk) error {
		c.report("erasing metadata of "+d.Name, 0, 0)
		return disk.EraseMetadata(dev)
	})
}

func (a *Agent) eraseDevices(ctx context.Context, c stepCall) (any, error) {
	var before, total int64
	for _, d := range a.inventory.Disks() {
		if !d.ReadOnly && !d.Removable {
			total += d.Size
		}
	}
	return a.eachDisk(func(dev *disk.Device, d wire.Disk) error {
		err := disk.Erase(ctx, dev, func(done int64) { c.report("overwriting "+d.Name, before+done, total) })
		before += d.Size
		return err
	})
}

func (a *Agent) eraseExpress(_ context.Context, c stepCall) (any, error) {
	return a.eachDisk(func(dev *disk.Device, d wire.Disk) error {
		c.report("discarding "+d.Name, 0, 0)
		discarded, err := disk.EraseExpress(dev)
		a.Log.Info("express erase", "disk", d.Name, "discarded", discarded)
		return err
	})
}
