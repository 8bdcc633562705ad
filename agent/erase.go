package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/billet-metal/billet/agent/disk"
	"github.com/billet-metal/billet/agent/wire"
)

// eraseSettings are the service's wishes in driver_internal_info, by the field's names and defaults.
type eraseSettings struct {
	disk.EraseOptions
	concurrency  int
	skipReadOnly bool
}

func readEraseSettings(info map[string]any) (eraseSettings, error) {
	s := eraseSettings{EraseOptions: disk.EraseOptions{ATA: true, NVMe: true}, concurrency: 4}
	for key, out := range map[string]*bool{
		"agent_enable_ata_secure_erase": &s.ATA, "agent_enable_nvme_secure_erase": &s.NVMe,
		"agent_continue_if_secure_erase_failed": &s.Overwrite, "agent_erase_skip_read_only": &s.skipReadOnly,
	} {
		v, given := info[key]
		if !given || v == nil {
			continue
		}
		b, err := strconv.ParseBool(fmt.Sprint(v))
		if err != nil {
			return s, fmt.Errorf("driver_internal_info/%s is %v; true and false are allowed", key, v)
		}
		*out = b
	}
	if v, given := info["disk_erasure_concurrency"]; given && v != nil {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < 1 {
			return s, fmt.Errorf("driver_internal_info/disk_erasure_concurrency is %v; a whole number of at least 1 is allowed", v)
		}
		s.concurrency = n
	}
	return s, nil
}

// toErase are the disks to erase and, in words, those that are left alone: what the node's
// skip_block_devices protects, removable and read-only ones. No disk at all is an error: a cleaning
// that saw nothing has cleaned nothing, and a disk whose driver is missing here still has its last
// user's data.
func (a *Agent) toErase(c stepCall) (disks []wire.Disk, left []string, err error) {
	all := a.inventory.Disks()
	skipped, err := disk.Skipped(all, c.node.Properties["skip_block_devices"])
	if err != nil {
		return nil, nil, fmt.Errorf("nothing was erased: %w", err)
	}
	if len(all) == 0 {
		return nil, nil, errors.New("no disk was found in this machine, so nothing was erased: is the storage driver in the ramdisk? A machine without disks must not run this step")
	}
	for _, d := range all {
		if why := leaveAlone(d, skipped); why != "" {
			left = append(left, d.Name+" ("+why+")")
			continue
		}
		disks = append(disks, d)
	}
	return disks, left, nil
}

// leaveAlone says why a disk is not erased; "" when it is.
func leaveAlone(d wire.Disk, skipped map[string]bool) string {
	switch {
	case skipped[d.Name]:
		return "skip_block_devices"
	case d.ReadOnly:
		return "read-only"
	case d.Removable:
		return "removable"
	}
	return ""
}

// eachDisk does something to every disk that is to be erased, so many at a time, and goes on after a
// failure. do returns how a disk was erased, for people. The result tells it of every disk; when one
// failed the error does, with what was erased all the same.
func (a *Agent) eachDisk(ctx context.Context, c stepCall, atOnce int, do func(dev *disk.Device, d wire.Disk) (string, error)) (any, error) {
	disks, left, err := a.toErase(c)
	if err != nil {
		return nil, err
	}
	how, errs := make([]string, len(disks)), make([]error, len(disks))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, d := range disks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				errs[i] = fmt.Errorf("not touched: %w", context.Cause(ctx))
				return
			}
			how[i], errs[i] = a.onDisk(ctx, d, do)
		})
	}
	wg.Wait()
	var done []string
	var failed []error
	for i, d := range disks {
		if errs[i] != nil {
			failed = append(failed, fmt.Errorf("%s: %w", d.Name, errs[i]))
			continue
		}
		done = append(done, d.Name+how[i])
	}
	text := "erased: " + strings.Join(done, ", ")
	if len(failed) > 0 {
		err := fmt.Errorf("erasing: %w", errors.Join(failed...))
		if len(done) > 0 {
			err = fmt.Errorf("%w; %s", err, text)
		}
		return nil, err
	}
	if len(done) == 0 {
		text = "there was no disk to erase"
	}
	if len(left) > 0 {
		text += "; left alone: " + strings.Join(left, ", ")
		a.Log.Warn("disks were left alone", "disks", strings.Join(left, ", "))
	}
	return text, nil
}

// onDisk opens one disk, does something to it, and shows the kernel what became of its partitions.
// A fault in the erasing of one disk is its error, not the end of the agent.
func (a *Agent) onDisk(ctx context.Context, d wire.Disk, do func(dev *disk.Device, d wire.Disk) (string, error)) (how string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the agent has a fault: %v", p)
		}
	}()
	dev, err := a.openDisk(d)
	if err != nil {
		return "", err
	}
	hw, err := dev.Hardware()
	if err == nil {
		err = hw.Unlock(ctx)
	}
	if err == nil {
		how, err = do(dev, d)
	}
	if err == nil { // a success leaves no password, whatever was tried on the way
		err = hw.Unlock(ctx)
	}
	if err := errors.Join(err, dev.Close()); err != nil {
		return "", err
	}
	if err := disk.Reread(dev.Path()); err != nil {
		a.Log.Warn("the kernel still sees the old partitions", "disk", d.Name, "error", err)
	}
	return how, nil
}

func (a *Agent) eraseMetadata(ctx context.Context, c stepCall) (any, error) {
	return a.eachDisk(ctx, c, 1, func(dev *disk.Device, d wire.Disk) (string, error) {
		c.report("erasing metadata of "+d.Name, 0, 0)
		return "", disk.EraseMetadata(dev)
	})
}

// eraseDevices erases whole disks, several at a time. Progress counts the bytes of all of them.
func (a *Agent) eraseDevices(ctx context.Context, c stepCall) (any, error) {
	settings, err := readEraseSettings(c.node.DriverInternalInfo)
	if err != nil {
		return nil, fmt.Errorf("nothing was erased: %w", err)
	}
	disks, _, err := a.toErase(c)
	if err != nil {
		return nil, err
	}
	if !settings.skipReadOnly {
		if err := readOnly(a.inventory.Disks(), c); err != nil {
			return nil, err
		}
	}
	sum := &sums{report: c.report, done: map[string]int64{}}
	for _, d := range disks {
		sum.total += d.Size
	}
	return a.eachDisk(ctx, c, settings.concurrency, func(dev *disk.Device, d wire.Disk) (string, error) {
		hw, err := dev.Hardware()
		if err != nil {
			return "", err
		}
		erased, err := disk.Erase(ctx, dev, hw, settings.EraseOptions, func(method string, done int64) { sum.tell(d, method, done) })
		if err != nil {
			return "", err
		}
		sum.tell(d, "erased", d.Size)
		a.Log.Info("erased", "disk", d.Name, "serial", d.Serial, "wwn", d.WWN, "size", d.Size, "how", erased.String())
		return fmt.Sprintf(" (serial %q, %d bytes: %s)", d.Serial, d.Size, erased), nil
	})
}

// readOnly refuses, before anything is touched, a machine whose read-only disk keeps its data
// (agent_erase_skip_read_only lets it). One that is protected or removable is nobody's business.
func readOnly(all []wire.Disk, c stepCall) error {
	skipped, err := disk.Skipped(all, c.node.Properties["skip_block_devices"])
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.ReadOnly && !d.Removable && !skipped[d.Name] {
			return fmt.Errorf("nothing was erased: %s (serial %q) is read-only and would keep its data; protect it with skip_block_devices, or let read-only disks be skipped (agent_erase_skip_read_only)", d.Name, d.Serial)
		}
	}
	return nil
}

// sums adds up how far several disks are. Safe for several goroutines.
type sums struct {
	report func(detail string, done, total int64)
	total  int64

	mu   sync.Mutex
	done map[string]int64
}

func (s *sums) tell(d wire.Disk, method string, done int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[d.Name] = max(done, s.done[d.Name]) // a method that failed is followed by another
	var all int64
	for _, n := range s.done {
		all += n
	}
	s.report(fmt.Sprintf("%s: %s, %d of %d MB", d.Name, method, done/1e6, d.Size/1e6), all, s.total)
}

func (a *Agent) eraseExpress(ctx context.Context, c stepCall) (any, error) {
	return a.eachDisk(ctx, c, 1, func(dev *disk.Device, d wire.Disk) (string, error) {
		c.report("discarding "+d.Name, 0, 0)
		discarded, err := disk.EraseExpress(dev)
		a.Log.Info("express erase", "disk", d.Name, "discarded", discarded)
		return "", err
	})
}
