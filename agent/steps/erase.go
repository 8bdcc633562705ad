package steps

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/erase"
	"github.com/billet-metal/billet/wire"
)

// Eraser carries out the steps that erase disks.
type Eraser struct {
	*Host
	Arrays *RAID // builds the node's arrays again
}

// Steps are the ways to erase.
func (e *Eraser) Steps() []Step {
	return []Step{
		{Name: "erase_devices_metadata", Priority: map[Kind]int{Clean: 99, Deploy: 0}, Abortable: true, Run: e.eraseMetadata},
		{Name: "erase_devices", Priority: map[Kind]int{Clean: 10}, Abortable: true, Run: e.eraseDevices},
		{Name: "erase_devices_express", Priority: map[Kind]int{Clean: 0}, Abortable: true, Run: e.eraseExpress},
	}
}

// toErase are the disks to erase, and those that are left alone, each with the reason: what the node's
// skip_block_devices protects, removable, read-only and pretended ones, drives without a medium. No disk at all
// is an error: a cleaning that saw nothing has cleaned nothing, and a disk whose driver is missing here still
// has its last user's data. So are disks that cannot be told from one another.
func (e *Eraser) toErase(c Call) (disks []wire.Disk, left []wire.ErasedDisk, err error) {
	all := e.Inventory.Disks()
	skipped, err := disk.Skipped(all, c.Node.Properties["skip_block_devices"])
	if err != nil {
		return nil, nil, fmt.Errorf("nothing was erased: %w", err)
	}
	if len(all) == 0 {
		return nil, nil, errors.New("no disk was found in this machine, so nothing was erased: is the storage driver in the " +
			"ramdisk? A machine without disks must not run this step")
	}
	for _, d := range all {
		if why := leaveAlone(d, skipped); why != "" {
			r := recordOf(d)
			r.Skipped = why
			left = append(left, r)
			continue
		}
		disks = append(disks, d)
	}
	for _, name := range e.Inventory.Empty() {
		left = append(left, wire.ErasedDisk{Name: name, Skipped: "no medium in it (size 0)"})
	}
	if err := errors.Join(disk.Unidentified(disks), e.guardShared(disks, c.Node)); err != nil {
		return nil, nil, fmt.Errorf("nothing was erased: %w", err)
	}
	return disks, left, nil
}

func recordOf(d wire.Disk) wire.ErasedDisk {
	return wire.ErasedDisk{Name: d.Name, Serial: d.Serial, WWN: d.WWNWithExtension, Model: d.Model, Size: d.Size}
}

// leaveAlone says why a disk is not erased; "" when it is.
func leaveAlone(d wire.Disk, skipped map[string]bool) string {
	switch {
	case skipped[d.Name]:
		return "skip_block_devices"
	case d.PathOf != "":
		return "another path of " + d.PathOf
	case d.MemberOf != "":
		return "part of " + d.MemberOf
	case d.ReadOnly:
		return "read-only"
	case d.Removable:
		return "removable"
	case disk.IsVirtualMedia(d):
		return "virtual media"
	}
	return ""
}

// EraseFailed is the error of a step that erased not all it was to erase, with what became of each disk.
type EraseFailed struct {
	Err   error
	Disks []wire.ErasedDisk
}

func (e *EraseFailed) Error() string { return e.Err.Error() }

func (e *EraseFailed) Unwrap() error { return e.Err }

// eachDisk does something to every disk that is to be erased, so many at a time, and goes on after a
// failure. The result tells of every disk how it was erased; when one failed the error does (*eraseFailed).
func (e *Eraser) eachDisk(ctx context.Context, c Call, atOnce int,
	do func(dev *disk.Device, d wire.Disk) (erase.Result, error)) (any, error) {
	disks, left, err := e.toErase(c)
	if err != nil {
		return nil, err
	}
	records, errs := make([]wire.ErasedDisk, len(disks)), make([]error, len(disks))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, d := range disks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			records[i] = recordOf(d)
			if ctx.Err() != nil {
				errs[i] = fmt.Errorf("not touched: %w", context.Cause(ctx))
				return
			}
			var how erase.Result
			how, errs[i] = e.onDisk(ctx, d, do)
			if errs[i] == nil {
				records[i].Method, records[i].Verified, records[i].NotBy = how.Method, how.Verified, how.Passed
				records[i].Seconds = math.Round(time.Since(began).Seconds()*1000) / 1000
			}
		})
	}
	wg.Wait()
	return e.erasure(records, errs, left)
}

// erasure tells what became of all disks.
func (e *Eraser) erasure(records []wire.ErasedDisk, errs []error, left []wire.ErasedDisk) (any, error) {
	var done, alone []string
	var failed []error
	for i := range records {
		r := &records[i]
		if errs[i] != nil {
			r.Error = errs[i].Error()
			failed = append(failed, fmt.Errorf("%s: %w", r.Name, errs[i]))
			continue
		}
		done = append(done, fmt.Sprintf("%s (serial %q, %d bytes: %s)", r.Name, r.Serial, r.Size,
			erase.Result{Method: r.Method, Verified: r.Verified, Passed: r.NotBy}))
	}
	all := append(slices.Clone(records), left...)
	text := "erased: " + strings.Join(done, ", ")
	if len(failed) > 0 {
		err := fmt.Errorf("erasing: %w", errors.Join(failed...))
		if len(done) > 0 {
			err = fmt.Errorf("%w; %s", err, text)
		}
		return nil, &EraseFailed{Err: err, Disks: all}
	}
	if len(done) == 0 {
		text = "there was no disk to erase"
	}
	for _, r := range left {
		alone = append(alone, r.Name+" ("+r.Skipped+")")
	}
	if len(alone) > 0 {
		text += "; left alone: " + strings.Join(alone, ", ")
		e.Log.Warn("disks were left alone", "disks", strings.Join(alone, ", "))
	}
	return wire.Erasure{Says: text, Disks: all}, nil
}

// onDisk opens one disk, does something to it, and shows the kernel what became of its partitions.
// A fault in the erasing of one disk is its error, not the end of the agent.
func (e *Eraser) onDisk(ctx context.Context, d wire.Disk,
	do func(dev *disk.Device, d wire.Disk) (erase.Result, error)) (how erase.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Panicked(p)
		}
	}()
	dev, err := e.openDisk(d)
	if err != nil {
		return how, err
	}
	hw, err := erase.HardwareOf(dev)
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
		return how, err
	}
	e.Log.Info("erased", "disk", d.Name, "serial", d.Serial, "wwn", d.WWN, "size", d.Size, "how", how.String())
	if err := disk.Reread(dev.Path()); err != nil {
		e.Log.Warn("the kernel still sees the old partitions", "disk", d.Name, "error", err)
	}
	return how, nil
}

// eraseMetadata goes over the arrays of a node with software RAID, which stays: its member disks only
// lose what boots from them.
func (e *Eraser) eraseMetadata(ctx context.Context, c Call) (any, error) {
	if err := e.unbootMembers(ctx, c); err != nil {
		return nil, fmt.Errorf("erasing: %w", err)
	}
	return e.eachDisk(ctx, c, 1, func(dev *disk.Device, d wire.Disk) (erase.Result, error) {
		c.Report("erasing metadata of "+d.Name, 0, 0)
		return erase.Result{Method: "metadata overwritten with zeros", Verified: "read back"}, erase.Metadata(dev)
	})
}

// eraseDevices erases whole disks.
func (e *Eraser) eraseDevices(ctx context.Context, c Call) (any, error) {
	return e.eraseBy(ctx, c, erase.Disk)
}

// eraseExpress erases whole disks as well as moments allow.
func (e *Eraser) eraseExpress(ctx context.Context, c Call) (any, error) {
	return e.eraseBy(ctx, c, erase.Express)
}

// eraser is erase.Disk and its like.
type eraser func(ctx context.Context, d disk.Disk, hw erase.Hardware, o erase.Options,
	progress func(method string, done int64)) (erase.Result, error)

// eraseBy erases whole disks, several at a time. Progress counts the bytes of all of them.
func (e *Eraser) eraseBy(ctx context.Context, c Call, way eraser) (any, error) {
	settings, err := readEraseSettings(c.Node.DriverInternalInfo)
	if err != nil {
		return nil, fmt.Errorf("nothing was erased: %w", err)
	}
	if _, _, err := e.toErase(c); err != nil { // before arrays are stopped
		return nil, err
	}
	arrays, err := e.takeArraysApart(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("nothing was erased: %w", err)
	}
	disks, _, err := e.toErase(c)
	if err != nil {
		return nil, err
	}
	if !settings.skipReadOnly {
		if err := readOnly(e.Inventory.Disks(), c); err != nil {
			return nil, err
		}
	}
	sum := newSums(c, disks)
	result, err := e.eachDisk(ctx, c, settings.concurrency, func(dev *disk.Device, d wire.Disk) (erase.Result, error) {
		hw, err := erase.HardwareOf(dev)
		if err != nil {
			return erase.Result{}, err
		}
		erased, err := way(ctx, dev, hw, settings.Options, func(method string, done int64) { sum.tell(d, method, done) })
		if err == nil {
			sum.tell(d, "erased", d.Size)
		} else {
			sum.tell(d, "failed", 0)
		}
		return erased, err
	})
	return e.putTogether(ctx, c, arrays, result, err)
}

// readOnly refuses, before anything is touched, a machine whose read-only disk keeps its data
// (agent_erase_skip_read_only lets it). A disk that is protected or removable does not count.
func readOnly(all []wire.Disk, c Call) error {
	skipped, err := disk.Skipped(all, c.Node.Properties["skip_block_devices"])
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.ReadOnly && d.PathOf == "" && !d.Removable && !skipped[d.Name] && !disk.IsVirtualMedia(d) {
			return fmt.Errorf("nothing was erased: %s (serial %q) is read-only and would keep its data; protect it with "+
				"skip_block_devices, or let read-only disks be skipped (agent_erase_skip_read_only)", d.Name, d.Serial)
		}
	}
	return nil
}
