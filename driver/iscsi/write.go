package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/iscsi"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// writeImage writes the image and the config drive into the ramdisk's disk, and reads all of it
// back. It is safe to repeat: it starts at the first byte again.
func (d *Deploy) writeImage(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := d.Sources.Resolve(ctx, driver.InstanceOf(t.Node).Image)
	if wait, err := driver.UntilThere(t, err, orElse(d.BootTimeout, DefaultBootTimeout)); err != nil || wait.Waiting() {
		return wait, err
	}
	if err := driver.InstanceOf(t.Node).CheckFits(r); err != nil { // an image of Glance is known whole only now
		return driver.Done(), err
	}
	info, err := d.imageInfo(t, r)
	if err != nil {
		return driver.Done(), err
	}
	return driver.Done(), d.write(ctx, t, r, info)
}

func (d *Deploy) write(ctx context.Context, t *driver.Task, r image.Resolved, info wire.ImageInfo) error {
	chap, err := d.credentials(ctx, t)
	if err != nil {
		return err
	}
	target, err := iscsi.Open(ctx, iscsi.Options{
		Address: net.JoinHostPort(ramdiskNote.Get(t).Host, orElse(d.TargetPort, iscsi.DefaultPort)), CHAP: chap,
		Target: targetName(t.Node.UUID), LUN: iscsi.ExportLUN, Patience: d.Patience, Log: t.Logger(),
	})
	if err != nil {
		return fmt.Errorf("opening the disk the deploy ramdisk exports: %w", err)
	}
	defer target.Close()
	v := iscsi.NewVerified(target)
	if err := guardShared(t.Node, v); err != nil {
		return err
	}
	w := &write.Writer{Client: clientFor(d.Gate, r), MD5: true, Log: t.Logger(), Arch: archOf(t.Node), Progress: progress(t)}
	drive, err := t.DriveForWriter(ctx)
	if err != nil {
		return err
	}
	written, err := w.WriteImage(ctx, v, info, drive)
	if err != nil {
		return fmt.Errorf("writing the image over iSCSI: %w", err)
	}
	if err := d.makeEphemeral(ctx, t, v, info, written.Parts); err != nil {
		return err
	}
	if err := d.verify(ctx, t, v); err != nil {
		return err
	}
	if info.PartitionImage != nil {
		loaderNote.Edit(t, func(l *loader) { l.Root = written.Root.UUID })
	}
	return nil
}

// credentials are those the ramdisk's target asks for; nil when it asks for none. They are made of what the
// boot record hides, so that they need no place of their own, end with it, and are in no script that it gives out.
func (d *Deploy) credentials(ctx context.Context, t *driver.Task) (*iscsi.CHAP, error) {
	if ramdiskNote.Get(t).Auth == "" {
		return nil, nil
	}
	r, err := d.Records.RecordOf(ctx, t.Node.UUID)
	if err != nil {
		return nil, fmt.Errorf("reading the boot record: %w", err)
	}
	if r == nil {
		return nil, errors.New("the boot record has ended, and with it the credentials of the deploy ramdisk's target: deploy the node again")
	}
	return iscsi.DeploymentCHAP(t.Node.UUID, r.DeployKey(), r.DeployToken()), nil
}

// makeEphemeral makes the ephemeral partition's file system, unless it is to be kept.
func (d *Deploy) makeEphemeral(ctx context.Context, t *driver.Task, to disk.Disk, info wire.ImageInfo, parts []disk.Partition) error {
	for _, p := range parts {
		t.Logger().Info("partition", "number", p.Number, "role", p.Role, "offset", p.Offset, "size", p.Length)
		if p.Role != disk.Ephemeral || info.PreserveEphemeral {
			continue
		}
		progress(t)("formatting the ephemeral partition", 0, 0)
		if err := write.MakeEphemeral(ctx, to, p, info.EphemeralFormat, d.TempDir); err != nil {
			return err
		}
	}
	return nil
}

// guardShared refuses to write over a file system that other machines may be using.
func guardShared(n *node.Node, d disk.Disk) error {
	if wipe, ok := driver.Boolean(n.DriverInfo[wire.WipeShared]); ok && wipe {
		return nil
	}
	kind, err := disk.Shared(d)
	if err != nil {
		return fmt.Errorf("looking at what the disk holds: %w", err)
	}
	if kind != "" {
		return node.Errorf(node.Invalid, "Nothing was written: the disk that the deploy ramdisk of node %s exports holds %s, "+
			"which other machines may be using. Choose another disk with root device hints, or set driver_info/%s to true.",
			n.UUID, kind, wire.WipeShared)
	}
	return nil
}

// archOf is the machine's processor as Go names it; "" when nobody said.
func archOf(n *node.Node) string {
	return map[string]string{"x86_64": "amd64", "amd64": "amd64", "i686": "386", "i386": "386",
		"aarch64": "arm64", "arm64": "arm64"}[n.Properties.String("cpu_arch")]
}

// verify reads back what was written. A disk that does not hold it is made unbootable.
func (d *Deploy) verify(ctx context.Context, t *driver.Task, v *iscsi.Verified) error {
	if err := v.Sync(); err != nil {
		return fmt.Errorf("writing the image over iSCSI: %w", err)
	}
	tell := progress(t)
	err := v.Verify(ctx, func(done, total int64) { tell("reading back", done, total) })
	if errors.Is(err, iscsi.ErrVerify) {
		if wiped := v.Zero(0, 1<<20); wiped != nil {
			t.Logger().Error("a disk that was written wrongly may still be bootable", "error", wiped)
		}
	}
	return err
}

// progress tells people how far the write is, at most once a second.
func progress(t *driver.Task) func(detail string, done, total int64) {
	var last time.Time
	var said string
	return func(detail string, done, total int64) {
		if t.Progress == nil || detail == said && time.Since(last) < time.Second && done != total {
			return
		}
		last, said = time.Now(), detail
		t.Progress(node.Progress{Step: "write_image", Detail: detail, Done: done, Total: total})
	}
}

// imageInfo is what the writer needs to know. It refuses what would not start in the mode that the machine boots in.
func (d *Deploy) imageInfo(t *driver.Task, r image.Resolved) (wire.ImageInfo, error) {
	asked, where := driver.InstanceOf(t.Node), r.URL
	if where == "" {
		where = (&url.URL{Scheme: "http", Host: localHost, Path: r.Path}).String()
	}
	info, err := asked.ImageInfo(r, where)
	if err == nil && asked.NeedsLoader() {
		err = settleMode(t.Node, info.BootMode, ramdiskNote.Get(t).Mode)
	}
	return info, err
}

// settleMode makes sure, before anything is written, in which mode a disk is started that gets its
// boot loader from the ramdisk: partitions differ by it. Said is what the ramdisk says it runs in.
func settleMode(n *node.Node, mode, said string) error {
	switch {
	case mode == "":
		return node.Errorf(node.Invalid, "Nobody says in which mode the machine of node %s boots, and the partitions depend on it: "+
			"set its capability boot_mode to bios or uefi. Nothing was written.", n.UUID)
	case said != "" && said != mode:
		return node.Errorf(node.Invalid, "The instance of node %s is to boot in %s mode, but its machine runs the ramdisk in %s mode, "+
			"in which no boot loader for the other can be installed: set the same mode in the firmware and in the node. "+
			"Nothing was written.", n.UUID, mode, said)
	}
	return nil
}
