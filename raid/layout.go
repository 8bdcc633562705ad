package raid

import "fmt"

// Role is what a partition of a member disk is for.
type Role int

// The roles, in the order in which partitions lie.
const (
	BIOSBoot Role = iota // GRUB's core, for a BIOS
	ESP                  // the EFI system partition; all members' together are a mirror
	Array                // part of an array
)

// Partition is one partition of a member disk.
type Partition struct {
	Role           Role
	Number         int   // from 1
	Offset, Length int64 // bytes
	Disk           int   // of an Array: its logical disk, counted from 0
}

// ESPName is what the mirror of the EFI system partitions is called.
const ESPName = "esp"

const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30
	bootMB   = 1
	espMB    = 550 // large enough for the EFI system partition of any image seen so far
	// superblock is what md's own data at a partition's end may take: the superblock, a bitmap and
	// the rounding to whole chunks.
	superblock = 1 * mebibyte
	tail       = 1 * mebibyte // the second partition table
)

// Layout divides member disks: each gets the same partitions, for both kinds of firmware, whatever
// the machine boots with today. size is the smallest member's in bytes. The logical disks get their
// settled sizes in the Config that is returned. It refuses what does not fit, in numbers.
func (c Config) Layout(size int64, members int) ([]Partition, Config, error) {
	if members < 2 {
		return nil, c, fmt.Errorf("RAID needs at least 2 disks; there are %d", members)
	}
	parts := []Partition{
		{Role: BIOSBoot, Number: 1, Offset: mebibyte, Length: bootMB * mebibyte},
		{Role: ESP, Number: 2, Offset: (1 + bootMB) * mebibyte, Length: espMB * mebibyte},
	}
	at := parts[1].Offset + parts[1].Length
	room := (size-tail)/mebibyte*mebibyte - at
	free := room
	for _, d := range c.LogicalDisks {
		if d.SizeGB > 0 {
			free -= d.onMember(members)
		}
	}
	if free < 0 {
		return nil, c, fmt.Errorf("the logical disks need %d bytes of each member disk, but the smallest of the %d has %d bytes, of which %d "+
			"are for arrays: ask for less, or for \"MAX\"", room-free, members, size, max(0, room))
	}
	settled := Config{}
	for i, d := range c.LogicalDisks {
		length := d.onMember(members)
		if d.SizeGB == 0 {
			length = free
			if d.SizeGB = int((length - superblock) * d.times(members) / gibibyte); d.SizeGB < 1 {
				return nil, c, fmt.Errorf("logical_disks[%d] has the size_gb \"MAX\", but less than 1 GiB would be left: the smallest of the %d "+
					"member disks has %d bytes, of which %d are for arrays", i, members, size, max(0, room))
			}
		}
		parts = append(parts, Partition{Role: Array, Number: len(parts) + 1, Offset: at, Length: length, Disk: i})
		at += length
		settled.LogicalDisks = append(settled.LogicalDisks, d)
	}
	return parts, settled, nil
}

// times is how many members' worth of data an array holds.
func (d LogicalDisk) times(members int) int64 {
	if d.Level == "0" {
		return int64(members)
	}
	return 1
}

// onMember is what an array of a given size takes of each member, whole MiB.
func (d LogicalDisk) onMember(members int) int64 {
	n := d.times(members)
	each := (int64(d.SizeGB)*gibibyte + n - 1) / n
	return (each+mebibyte-1)/mebibyte*mebibyte + superblock
}
