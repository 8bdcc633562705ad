package disk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// SelectMembers chooses the disks that software RAID is made of. Without hints they are all that
// could be the root disk without a hint; with hints there is one disk for each object of hints: of
// those that match and are not taken yet the smallest, among equals the first by path. It never
// takes an array or a disk that is part of one. All must have the same sector size. Errors list
// the disks seen and why each was not taken.
func SelectMembers(disks []wire.Disk, wanted []map[string]any) ([]wire.Disk, error) {
	disks = slices.Clone(disks)
	slices.SortStableFunc(disks, byIdentity)
	var members []wire.Disk
	var err error
	if len(wanted) == 0 {
		members, err = allMembers(disks)
	} else {
		members, err = hintedMembers(disks, wanted)
	}
	if err != nil {
		return nil, err
	}
	for _, d := range members[1:] {
		if d.LogicalSectors != members[0].LogicalSectors {
			return nil, fmt.Errorf("%s has sectors of %d bytes and %s of %d: the disks of software RAID must have the same; choose "+
				"them with physical_disks",
				members[0].Name, members[0].LogicalSectors, d.Name, d.LogicalSectors)
		}
	}
	return members, nil
}

func unfit(d wire.Disk, hints []hint) string {
	if d.RAID != "" {
		return "it is an array itself"
	}
	return refuse(d, hints)
}

func allMembers(disks []wire.Disk) ([]wire.Disk, error) {
	var members []wire.Disk
	var refusals []string
	for _, d := range disks {
		if why := unfit(d, nil); why != "" {
			refusals = append(refusals, describe(d)+": "+why)
			continue
		}
		members = append(members, d)
	}
	if len(members) < 2 {
		seen := ""
		if len(refusals) > 0 {
			seen = "; not taken: " + strings.Join(refusals, "; ")
		}
		return nil, fmt.Errorf("software RAID needs at least 2 disks, but this machine has %d that can be taken without physical_disks%s",
			len(members), seen)
	}
	return members, nil
}

func hintedMembers(disks []wire.Disk, wanted []map[string]any) ([]wire.Disk, error) {
	var members []wire.Disk
	for i, raw := range wanted {
		hints, err := parseHints(raw)
		if err != nil {
			return nil, fmt.Errorf("physical_disks[%d]: %w", i, err)
		}
		var refusals []string
		found := slices.IndexFunc(disks, func(d wire.Disk) bool {
			why := unfit(d, hints)
			if slices.Contains(members, d) {
				why = "it is taken by another entry"
			}
			if why != "" {
				refusals = append(refusals, describe(d)+": "+why)
			}
			return why == ""
		})
		if found < 0 {
			return nil, fmt.Errorf("physical_disks[%d]: %w", i, noneFits(hints, refusals))
		}
		members = append(members, disks[found])
	}
	return members, nil
}
