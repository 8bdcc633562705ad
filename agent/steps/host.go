package steps

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/inventory"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// Host is this machine as the steps find it: its disks, and the arrays on them. Steps run one at a time, so only
// one goroutine uses it at a time.
type Host struct {
	Root       string // the folder below which the machine's files are
	Inventory  inventory.Machine
	Log        *slog.Logger
	LoadModule func(name string) // loads a kernel module, such as a file system's; nil: nothing can be loaded
	MDADM      raid.Tool
	DiskWait   time.Duration // how long the root disk may take to appear
	WipeShared bool          // what other machines may share is erased too
	AnyBoot    bool          // an image that no firmware would start is written too

	Node       wire.Node            // as looked up
	Service    wire.LookupConfig    // what the service said then
	RAIDConfig map[string]any       // the node's, as the last command told it
	KeepRAID   func(map[string]any) // keeps it for an agent that is started again

	Written  *wire.Disk // what the last image was written to, whole; of the command under way
	RootUUID string     // of the root file system a partition image was written with
	seen     diskList   // of the waiting for disks, then of the command under way
}

// Look notes which disks are there now.
func (h *Host) Look() []wire.Disk {
	h.seen.note(h.Inventory.Disks())
	return h.seen.disks
}

// openDisk opens a disk and makes sure that it still is the one chosen: names can move when a
// controller resets, an open disk cannot.
func (h *Host) openDisk(d wire.Disk) (*disk.Device, error) {
	dev, err := disk.Open(filepath.Join(h.Root, d.Name))
	if err != nil {
		return nil, err
	}
	if err := h.same(d, dev); err != nil {
		dev.Close()
		return nil, err
	}
	return dev, nil
}

func (h *Host) same(d wire.Disk, dev *disk.Device) error {
	for _, now := range h.Inventory.Disks() {
		if now.Name != d.Name {
			continue
		}
		now.MemberOf = d.MemberOf // arrays come and go on one and the same disk
		switch {
		case now != d:
			return fmt.Errorf("%s was chosen as %s, but now it is %s: disks have moved, nothing was written to it", d.Name, identity(d),
				identity(now))
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
func (h *Host) gone(d wire.Disk) string {
	for _, now := range h.Inventory.Disks() {
		if now.Name != d.Name {
			continue
		}
		if now.MemberOf = d.MemberOf; now == d {
			return ""
		}
		return fmt.Sprintf(", which has gone from the machine and was %s (%s is now %s; nothing was written to that)", identity(d),
			d.Name, identity(now))
	}
	return ", which has gone from the machine"
}

// identity is what tells a disk from its neighbours. Not every disk has a serial number, so same
// compares all there is; this is for people.
func identity(d wire.Disk) string {
	return fmt.Sprintf("serial %q, wwn %q, model %q, %d bytes, at %q, device %s", d.Serial, d.WWNWithExtension, d.Model, d.Size,
		d.ByPath+" "+d.HCTL, d.DevNumber)
}

// RootDisk opens the disk the instance is on: the one this agent wrote, rather than what choosing
// again would give.
func (h *Host) RootDisk(ctx context.Context) (*disk.Device, wire.Disk, error) {
	if h.Written != nil {
		dev, err := h.openDisk(*h.Written)
		return dev, *h.Written, err
	}
	root, err := h.selectRoot(ctx, h.Node)
	if err != nil {
		return nil, root, err
	}
	dev, err := h.openDisk(root)
	return dev, root, err
}

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

// diskList is the list of disks as it was last seen. "The smallest disk" means nothing while a
// controller still scans: the right one may be the next to appear. Commands run one at a time, so
// only one goroutine uses it.
type diskList struct {
	disks []wire.Disk
	since time.Time // when the list was first seen so
}

// note keeps what is seen now and returns how long it has been so.
func (s *diskList) note(now []wire.Disk) time.Duration {
	if s.since.IsZero() || !slices.Equal(s.disks, now) {
		s.disks, s.since = now, time.Now()
	}
	return time.Since(s.since)
}

// selectRoot chooses the root disk, waiting until one matches and the list of disks has settled. On a
// node with software RAID and no hints it is the root volume.
// It never chooses a disk that the node's skip_block_devices protects.
func (h *Host) selectRoot(ctx context.Context, n wire.Node) (wire.Disk, error) {
	hints, err := rootHints(n)
	if err != nil {
		return wire.Disk{}, err
	}
	arrays, err := h.startArrays(ctx)
	if err != nil {
		return wire.Disk{}, err
	}
	if d, ok := h.rootArray(arrays); ok && hints == nil {
		return d, nil
	}
	deadline := time.Now().Add(min(rootDiskWait, h.DiskWait))
	for {
		settled := h.seen.note(h.Inventory.Disks()) >= settleTime
		free, err := unprotected(h.seen.disks, n)
		if err != nil {
			return wire.Disk{}, err
		}
		d, err := disk.Select(free, hints)
		if err == nil && settled || time.Now().After(deadline) {
			return d, err
		}
		if err := Pause(ctx, 250*time.Millisecond); err != nil {
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

// showPartitions has the kernel read the partition table of a disk or array.
func (h *Host) showPartitions(name string) {
	if err := disk.Reread(filepath.Join(h.Root, name)); err != nil {
		h.Log.Warn("the kernel does not show the partitions as they are", "disk", name, "error", err)
	}
}

// rooted puts the agent's root in front of device nodes.
func (h *Host) rooted(nodes []string) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = filepath.Join(h.Root, n)
	}
	return out
}

// withoutPaths leaves out the further paths to disks that are in the list.
func withoutPaths(disks []wire.Disk) []wire.Disk {
	return slices.DeleteFunc(slices.Clone(disks), func(d wire.Disk) bool { return d.PathOf != "" })
}

// instanceVolumes lists the root disk's file systems, and the path of its UEFI loader.
func (h *Host) instanceVolumes(ctx context.Context, mode string) ([]disk.Volume, string, error) {
	dev, root, err := h.RootDisk(ctx)
	if err != nil {
		return nil, "", err
	}
	defer dev.Close() // before anything is mounted: the kernel mounts no partition of a disk held exclusively
	parts, err := disk.Volumes(dev)
	if err != nil {
		return nil, "", fmt.Errorf("reading the partitions of %s (serial %q): %w", root.Name, root.Serial, err)
	}
	for i := range parts {
		parts[i].Node = disk.PartitionNode(root.Name, parts[i].Number)
	}
	if mode != "uefi" {
		return parts, "", nil
	}
	loader, err := bootable.FindLoader(dev)
	if err != nil {
		return nil, "", err
	}
	return parts, loader.Path, nil
}

// Steps are those that only look.
func (h *Host) Steps() []Step {
	return []Step{{Name: "list_disks", Priority: map[Kind]int{Service: 0}, Abortable: true, Run: h.listDisks}}
}

// listDisks changes nothing: it is the smallest service, and shows that the machine's disks are seen.
func (h *Host) listDisks(context.Context, Call) (any, error) {
	var seen []string
	for _, d := range h.Inventory.Disks() {
		seen = append(seen, fmt.Sprintf("%s (%s, %d bytes, serial %q)", d.Name, d.Model, d.Size, d.Serial))
	}
	return "disks: " + strings.Join(seen, ", "), nil
}

// Pause waits, or ends with the context.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
