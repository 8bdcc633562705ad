package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// DiskChange is what somebody, or wear, does to a machine's disk.
type DiskChange struct {
	Number int    `json:"number"`           // of the disk, from 0
	Do     string `json:"do"`               // "pull", "plug", "break" or "heal"
	BadAt  int64  `json:"bad_at,omitempty"` // of "break": the byte that cannot be written
}

// ChangeDisk pulls a disk out of a machine or plugs it in, while the machine runs if its model is scsi; or it
// breaks one, so that a write to one of its bytes fails, or heals it, which a machine sees at its next power on.
func (l *Lab) ChangeDisk(ctx context.Context, name string, c DiskChange) error {
	if _, err := l.load(name); err != nil {
		return err
	}
	_, err := l.ask(ctx, name, request{Op: opDisk, Disk: &c})
	return err
}

// machine is the machine with its disks as they are now.
func (s *supervisor) machine() Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m
	if s.disks != nil {
		m.Disks = s.disks // never changed in place
	}
	return m
}

// setDisk carries out a change; no power action runs meanwhile.
func (s *supervisor) setDisk(ctx context.Context, c DiskChange) error {
	s.power.Lock()
	defer s.power.Unlock()
	m := s.machine()
	after, err := changed(m, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	g := s.running
	s.mu.Unlock()
	if g != nil {
		if err := g.changeDisk(ctx, after[c.Number], c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.disks = after
	s.mu.Unlock()
	s.log.Info("disk", "machine", m.Name, "number", c.Number, "serial", after[c.Number].Serial, "action", c.Do)
	return nil
}

// changed are the machine's disks after a change.
func changed(m Machine, c DiskChange) ([]Disk, error) {
	if c.Number < 0 || c.Number >= len(m.Disks) {
		return nil, fmt.Errorf("disk %d: machine %s has %d, counted from 0", c.Number, m.Name, len(m.Disks))
	}
	disks := slices.Clone(m.Disks)
	d := &disks[c.Number]
	switch c.Do {
	case "pull", "plug":
		if d.Pulled == (c.Do == "pull") {
			return nil, fmt.Errorf("%s disk %d: it is so already", c.Do, c.Number)
		}
		d.Pulled = c.Do == "pull"
	case "break":
		if c.BadAt <= 0 || c.BadAt >= d.Size {
			return nil, fmt.Errorf("break disk %d at byte %d: allowed are 1 to %d", c.Number, c.BadAt, d.Size-1)
		}
		d.BadAt = c.BadAt
	case "heal":
		d.BadAt = 0
	default:
		return nil, fmt.Errorf("disk action %q: allowed are pull, plug, break, heal", c.Do)
	}
	return disks, nil
}

// changeDisk tells QEMU. It pulls a SCSI disk at once; on PCI it would ask the guest first, as for a card.
func (g *guest) changeDisk(ctx context.Context, d Disk, c DiskChange) error {
	if c.Do == "break" || c.Do == "heal" {
		return fmt.Errorf("%s disk %d: the machine is on, switch it off first", c.Do, c.Number)
	}
	if d.Model != "scsi" {
		return fmt.Errorf("%s disk %d: the machine is on, and only disks of the model scsi can be changed then; this one is %s", c.Do, c.Number,
			d.Model)
	}
	g.next.Lock() // a boot order that is being set must not name what has gone
	defer g.next.Unlock()
	if c.Do == "pull" {
		return g.qmp.run(ctx, "device_del", map[string]any{"id": diskID(c.Number)})
	}
	node := fmt.Sprintf("plugged%d-%d", c.Number, time.Now().UnixNano()) // what a pulled disk's node leaves is not waited for
	err := g.qmp.run(ctx, "blockdev-add", map[string]any{
		"driver": "raw", "node-name": node, "discard": "unmap", "cache": map[string]any{"no-flush": true},
		"file": map[string]any{"driver": "file", "filename": filepath.Base(d.Path)},
	})
	if err != nil {
		return err
	}
	wwn, err := strconv.ParseUint(d.WWN, 0, 64)
	if err != nil {
		return fmt.Errorf("the world-wide name of disk %d: %w", c.Number, err)
	}
	return g.qmp.run(ctx, "device_add", map[string]any{
		"driver": "scsi-hd", "bus": "scsi0.0", "scsi-id": c.Number, "wwn": wwn, "id": diskID(c.Number), "drive": node, "serial": d.Serial,
	})
}

// driveFile is the part of a -drive option that names the file; a broken disk's writes pass blkdebug.
func driveFile(d Disk) string {
	file := filepath.Base(d.Path)
	if d.BadAt == 0 {
		return "file=" + file
	}
	return fmt.Sprintf("file.driver=blkdebug,file.image.driver=file,file.image.filename=%s,"+
		"file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.errno=5,file.inject-error.0.sector=%d", file,
		d.BadAt/512)
}
