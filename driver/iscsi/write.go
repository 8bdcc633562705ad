package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/disk"
	"github.com/billet-metal/billet/agent/wire"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/iscsi"
	"github.com/billet-metal/billet/node"
)

// writeImage writes the image and the config drive into the ramdisk's disk, and reads all of it
// back. It is safe to repeat: it starts at the first byte again.
func (d *Deploy) writeImage(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r, err := d.Sources.Resolve(ctx, imageRef(t.Node))
	if err != nil {
		return driver.Done(), err
	}
	target, err := iscsi.Open(ctx, iscsi.Options{
		Address: net.JoinHostPort(t.Recall(memoHost), orElse(d.TargetPort, iscsi.DefaultPort)),
		Target:  targetName(t.Node.UUID), LUN: iscsi.ExportLUN, Patience: d.Patience, Log: logOf(t),
	})
	if err != nil {
		return driver.Done(), fmt.Errorf("opening the disk the deploy ramdisk exports: %w", err)
	}
	defer target.Close()
	v := iscsi.NewVerified(target)
	w := &disk.Writer{Client: clientFor(d.Client, r), MD5: true, Log: logOf(t), Progress: progress(t)}
	if _, err := w.WriteImage(ctx, v, imageInfo(t.Node, r), t.Node.ConfigDrive); err != nil {
		return driver.Done(), fmt.Errorf("writing the image over iSCSI: %w", err)
	}
	if err := d.verify(ctx, t, v); err != nil {
		return driver.Done(), err
	}
	return driver.Done(), startsInMode(t.Node, v)
}

// startsInMode refuses a disk that a machine said to boot in UEFI mode cannot start from. The ramdisk
// is not asked afterwards, so this is the last moment at which somebody can be told.
func startsInMode(n *node.Node, d disk.Disk) error {
	if !strings.EqualFold(bootMode(n), "uefi") {
		return nil
	}
	if _, err := disk.FindESP(d); err != nil {
		return fmt.Errorf("looking for what a UEFI machine starts on the written disk: %w", err)
	}
	return nil
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
			logOf(t).Error("a disk that was written wrongly may still be bootable", "error", wiped)
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

func imageInfo(n *node.Node, r image.Resolved) wire.ImageInfo {
	info := wire.ImageInfo{
		ID: path.Base(n.InstanceInfo.String("image_source")), URLs: []string{r.URL}, DiskFormat: string(r.Info.Format),
		ContainerFormat: "bare", NodeUUID: n.UUID,
	}
	if r.Info.Format == image.GPT {
		info.DiskFormat = string(image.Raw)
	}
	if r.URL == "" {
		info.URLs = []string{(&url.URL{Scheme: "http", Host: localHost, Path: r.Path}).String()}
	} else if n.InstanceInfo.String("image_server_auth_strategy") != "" {
		info.AuthStrategy = n.InstanceInfo.String("image_server_auth_strategy")
		info.AuthUser, info.AuthPassword = n.InstanceInfo.String("image_server_user"), n.InstanceInfo.String("image_server_password")
	}
	if r.HashAlgo == "md5" {
		info.Checksum = r.HashValue
	} else {
		info.HashAlgo, info.HashValue = r.HashAlgo, r.HashValue
	}
	return info
}
