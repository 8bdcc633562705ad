package disk

import "strconv"

// Role is what a partition of a partitioned disk is for; in a GPT it is also its name.
type Role string

// The roles, in the order in which partitions lie on the disk: what a rebuild keeps comes before
// what it changes, and the root partition comes last, so that an instance may grow it.
const (
	BIOSBoot  Role = "bios_grub" // where GRUB keeps its core on a GPT that a BIOS starts from
	ESPRole   Role = "esp"
	Ephemeral Role = "ephemeral"
	Swap      Role = "swap"
	Root      Role = "root"

	RAIDMember Role = "raid" // of a disk that is divided for software RAID
)

// Partition is one partition of a disk.
type Partition struct {
	Role           Role
	Number         int   // from 1
	Offset, Length int64 // bytes
}

// EphemeralFormats are the file systems an ephemeral partition can have; the first is the default.
var EphemeralFormats = []string{"ext4", "ext3", "ext2", "vfat"}

// MaxVFAT is how many sectors FAT32 can count: 2 TiB on a disk of 512-byte sectors.
const MaxVFAT = 1<<32 - 1

// PartitionNode is the kernel's name of a partition: a "p" parts the numbers where the disk's own
// name ends in one ("/dev/nvme0n1p2", "/dev/sda2").
func PartitionNode(disk string, number int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		disk += "p"
	}
	return disk + strconv.Itoa(number)
}
