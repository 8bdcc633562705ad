package driver

import (
	"encoding/json"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// maxGB bounds sizes so that no sum of them overflows.
const maxGB = 1 << 20

// ImageInfo tells whoever writes the image, the agent or this service, what to read from url and how to know it is whole,
// and what a partition image asks of its disk. The boot mode is empty when nobody knows it: the machine does.
func (i Instance) ImageInfo(r image.Resolved, url string) (wire.ImageInfo, error) {
	info := wire.ImageInfo{
		ID: imageID(i.Image.Source), URLs: []string{url}, DiskFormat: diskFormat(r.Info.Format), ContainerFormat: "bare",
		NodeUUID: i.node.UUID, BootMode: i.BootMode,
	}
	if r.HashAlgo == "md5" {
		info.Checksum = r.HashValue
	} else {
		info.HashAlgo, info.HashValue = r.HashAlgo, r.HashValue
	}
	if r.URL != "" && i.auth != "" {
		info.AuthStrategy, info.AuthUser, info.AuthPassword = i.auth, i.Image.User, i.Image.Password
	}
	if !i.IsPartition {
		return info, nil
	}
	p := i.Partitions
	info.ImageType, info.PartitionImage, info.DiskLabel = PartitionType, &p, i.DiskLabel
	info.BootOption = "local"
	if i.Netboot {
		info.BootOption = "netboot"
	}
	return info, i.badPartitions
}

// NeedsLoader reports whether a boot loader has to be installed on the disk: for a partition image that boots from it. A
// whole-disk image brings its own; one that boots over the network needs none.
func (i Instance) NeedsLoader() bool { return i.IsPartition && !i.Netboot }

// diskFormat is what a writer is told. It knows no "gpt": what is written byte for byte and has a partition table is raw
// to it.
func diskFormat(f image.Format) string {
	if f == image.GPT {
		return string(image.Raw)
	}
	return string(f)
}

// imageID is the last part of the source's path, without a query, which may hold a signature.
func imageID(source string) string {
	source, _, _ = strings.Cut(source, "?")
	return path.Base(source)
}

// partitions reads the sizes of a partition image's disk.
func (i Instance) partitions() (wire.PartitionImage, error) {
	n, info := i.node, i.node.InstanceInfo
	p := wire.PartitionImage{EphemeralFormat: info.String("ephemeral_format"), Kernel: i.file("kernel"), Ramdisk: i.file("ramdisk")}
	var ephemeralGB int
	for _, f := range []struct {
		key      string
		min, max int
		out      *int
	}{{"root_gb", 1, maxGB, &p.RootGB}, {"swap_mb", 0, maxGB << 10, &p.SwapMB}, {"ephemeral_gb", 0, maxGB, &ephemeralGB}} {
		v, ok := wholeNumber(info[f.key])
		if !ok || v < f.min || v > f.max {
			if info[f.key] == nil && f.min > 0 {
				return p, CannotDeploy(n, "its image is a partition image, which needs instance_info/%s: a whole number of at least %d", f.key, f.min)
			}
			return p, CannotDeploy(n, "instance_info/%s is %v; a whole number from %d to %d is allowed", f.key, info[f.key], f.min, f.max)
		}
		*f.out = v
	}
	p.RootMB, p.EphemeralMB = p.RootGB<<10, ephemeralGB<<10
	if f := info["ephemeral_format"]; p.EphemeralMB > 0 && (f == nil || f == "") {
		p.EphemeralFormat = "ext4"
	}
	keep, ok := Boolean(info["preserve_ephemeral"])
	if !ok {
		return p, CannotDeploy(n, "instance_info/preserve_ephemeral is %v; true and false are allowed", info["preserve_ephemeral"])
	}
	p.PreserveEphemeral = keep
	return p, nil
}

// wholeNumber reads a number as JSON or a client's text has it; nothing is 0.
func wholeNumber(v any) (int, bool) {
	switch v := v.(type) {
	case nil:
		return 0, true
	case int:
		return v, true
	case float64:
		return int(v), v == math.Trunc(v) && math.Abs(v) < 1<<40
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil
	}
	return 0, false
}

// Boolean reads true or false as JSON or a client's text has it; nothing is false.
func Boolean(v any) (value, ok bool) {
	switch v := v.(type) {
	case nil:
		return false, true
	case bool:
		return v, true
	case string:
		b, err := strconv.ParseBool(v)
		return b, err == nil
	}
	return false, false
}
