package disk

import (
	"encoding/hex"
	"fmt"
	"io"
)

// SignatureSize is what is zeroed at both ends of each partition and of the disk: every file
// system, RAID and volume group keeps its signatures there.
const SignatureSize = 1 << 20

// FS is a file system as its own first bytes describe it.
type FS struct {
	Type string // as mount names it: "ext4", "xfs", "btrfs"; "" when none of these was found
	UUID string
}

// ProbeFS finds out which file system a partition or an image holds. It knows those that a Linux
// root partition can have.
func ProbeFS(r io.ReaderAt) (FS, error) {
	for _, k := range []struct {
		kind, magic string
		at, uuidAt  int64
	}{
		{"ext4", "\x53\xef", 0x438, 0x468},                  // the driver for ext2, ext3 and ext4
		{"xfs", "XFSB", 0, 32},                              // XFS Filesystem Structure, superblock
		{"btrfs", "_BHRfS_M", 0x10040, 0x10020},             // fsid of the superblock at 64 KiB
		{"squashfs", "hsqs", 0, -1},                         // read-only; has no UUID
		{"vfat", "FAT16   ", 54, -1},                        // the serial number is no UUID
		{"vfat", "FAT32   ", 82, -1},                        //
		{"swap", "SWAPSPACE2", 4096 - 10, 0x40c},            // include/linux/swap.h
		{"iso9660", "CD001", 0x8001, -1},                    // ECMA-119
		{"lvm", "LVM2 001", 0x218, -1},                      // in the second sector
		{"crypto_LUKS", "LUKS\xba\xbe", 0, -1},              // LUKS On-Disk Format
		{"linux_raid_member", "\xfc\x4e\x2b\xa9", 4096, -1}, // md 1.2
	} {
		magic := make([]byte, len(k.magic))
		if err := ReadPadded(r, magic, k.at); err != nil {
			return FS{}, err
		}
		if string(magic) != k.magic {
			continue
		}
		fs := FS{Type: k.kind}
		if k.uuidAt >= 0 {
			id := make([]byte, 16)
			if err := ReadPadded(r, id, k.uuidAt); err != nil {
				return FS{}, err
			}
			fs.UUID = uuidText(id)
		}
		return fs, nil
	}
	return FS{}, nil
}

// ReadPadded fills p; what lies past the end of a small image reads as zeros.
func ReadPadded(r io.ReaderAt, p []byte, at int64) error {
	if s, ok := r.(interface{ Size() int64 }); ok && at+int64(len(p)) > s.Size() {
		return nil
	}
	n, err := r.ReadAt(p, at)
	if err != nil && err != io.EOF {
		return fmt.Errorf("looking for a file system: %w", err)
	}
	clear(p[n:])
	return nil
}

// uuidText is a UUID of a file system, big-endian as all of them write it.
func uuidText(b []byte) string {
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
