package steps

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// The agent starts the arrays that the node's raid_config names, by their UUIDs, and no others: what an
// earlier life left on a disk must neither take disks away nor be taken for the root disk.

// LearnRAID keeps the raid_config of a command's node, also for an agent that is started again.
func (h *Host) LearnRAID(n wire.Node) {
	if n.RAIDConfig == nil || reflect.DeepEqual(h.RAIDConfig, n.RAIDConfig) {
		return
	}
	h.RAIDConfig = n.RAIDConfig
	h.KeepRAID(n.RAIDConfig)
}

// loadRAID loads the drivers; they come with no device.
func (h *Host) loadRAID() {
	if h.LoadModule != nil {
		h.LoadModule("raid0")
		h.LoadModule("raid1")
	}
}

// startArrays starts the arrays of the node's raid_config that do not run yet, and returns them. One
// that cannot be started is an error: a node that has RAID must not be taken for one without.
func (h *Host) startArrays(ctx context.Context) (raid.Config, error) {
	c, err := raid.Built(h.RAIDConfig)
	if err != nil || len(c.LogicalDisks) == 0 {
		return c, err
	}
	h.loadRAID()
	for i, d := range c.LogicalDisks {
		if h.running(d.UUID) != "" {
			continue
		}
		members, err := h.membersOf(d.UUID)
		if err != nil {
			return c, err
		}
		if len(members) == 0 {
			return c, fmt.Errorf("the node's raid_config has the array %s (%s), but no disk of this machine holds a part of it: "+
				"nothing was touched; run the clean steps raid.delete_configuration and raid.create_configuration", c.Name(i), d.UUID)
		}
		node := h.freeArray(i)
		if err := h.MDADM.Assemble(ctx, node, d.UUID, members); err != nil {
			return c, err
		}
		if h.running(d.UUID) == "" {
			return c, fmt.Errorf("the array %s (%s) of %s does not run though mdadm started it", c.Name(i), d.UUID, strings.Join(members, " and "))
		}
		h.showPartitions(node)
	}
	for _, r := range h.Inventory.Arrays() {
		h.Log.Info("array", "name", r.Name, "uuid", r.UUID, "level", r.Level, "members", r.Members, "missing", r.Missing)
	}
	return c, nil
}

// running is the device of the array with that UUID; "" when it does not run.
func (h *Host) running(uuid string) string {
	for _, r := range h.Inventory.Arrays() {
		if r.UUID == uuid {
			return r.Name
		}
	}
	return ""
}

// freeArray is the i-th array's device, or the next that is not taken.
func (h *Host) freeArray(i int) string {
	for ; ; i++ {
		node := fmt.Sprintf("/dev/md%d", i)
		if !slices.Contains(h.Inventory.ArrayNodes(), node) {
			return node
		}
	}
}

// membersOf finds the partitions, and disks, whose superblocks are of that array.
func (h *Host) membersOf(uuid string) ([]string, error) {
	var members []string
	for _, d := range h.Inventory.Disks() {
		found, err := h.superblocks(d)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			if s.UUID == uuid {
				members = append(members, s.node)
			}
		}
	}
	return members, nil
}

type superblock struct {
	node string
	raid.Superblock
}

// superblocks lists what a disk and its partitions say of arrays.
func (h *Host) superblocks(d wire.Disk) ([]superblock, error) {
	if d.RAID != "" {
		return nil, nil
	}
	var found []superblock
	for _, node := range append(h.Inventory.Partitions(d.Name), d.Name) {
		s, err := h.Inventory.Superblock(node)
		if errors.Is(err, raid.ErrNone) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for RAID on %s: %w", node, err)
		}
		found = append(found, superblock{node, s})
	}
	return found, nil
}

// stopArrays stops all arrays; what is on them stays.
func (h *Host) stopArrays(ctx context.Context) error {
	for _, node := range h.Inventory.ArrayNodes() {
		if err := h.MDADM.Stop(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// disksOf are the disks that the array of that name runs on, in the order of their names.
func (h *Host) disksOf(array string) []wire.Disk {
	var disks []wire.Disk
	for _, d := range h.Inventory.Disks() {
		if slices.Contains(strings.Split(d.MemberOf, ", "), array) {
			disks = append(disks, d)
		}
	}
	return disks
}

// rootArray is the array that the node's raid_config makes the root disk; false when there is none.
func (h *Host) rootArray(c raid.Config) (wire.Disk, bool) {
	if len(c.LogicalDisks) == 0 {
		return wire.Disk{}, false
	}
	uuid := c.LogicalDisks[c.Root()].UUID
	for _, d := range h.Inventory.Disks() {
		if d.RAID != "" && d.Serial == uuid {
			return d, true
		}
	}
	return wire.Disk{}, false
}
