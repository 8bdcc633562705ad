package bootable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// fat reads the folders of a FAT file system (Microsoft FAT32 File System Specification 1.03),
// enough to find a boot loader. Mounting would need modules of the kernel, and would have it parse
// what a stranger's image holds.
type fat struct {
	r           io.ReaderAt
	bits        int // 12, 16 or 32
	clusterSize int64
	fatStart    int64 // bytes
	rootStart   int64 // FAT12 and FAT16: the root folder has a place of its own
	rootSize    int64
	rootCluster uint32 // FAT32
	dataStart   int64
	clusters    uint32
}

// fatEntry is a file or folder.
type fatEntry struct {
	name    string
	folder  bool
	cluster uint32
	size    uint32 // bytes; 0 of a folder
}

// An image may be made to keep a reader busy; these bound the work. Real EFI system partitions have
// a few folders of a few files.
const (
	maxFolder   = 8192 * 32 // bytes
	maxVendors  = 64
	maxLongName = 20 // entries; FAT allows no more
)

func openFAT(r io.ReaderAt) (*fat, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector of a FAT file system: %w", err)
	}
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
	sector, perCluster, reserved, copies := u16(11), int64(b[13]), u16(14), int64(b[16])
	total, fatSectors := u16(19), u16(22)
	if total == 0 {
		total = u32(32)
	}
	if fatSectors == 0 {
		fatSectors = u32(36)
	}
	if b[510] != 0x55 || b[511] != 0xaa || sector < 512 || sector > 4096 || sector&(sector-1) != 0 ||
		perCluster == 0 || perCluster&(perCluster-1) != 0 || reserved == 0 || copies == 0 || fatSectors == 0 {
		return nil, errors.New("there is no FAT file system")
	}
	f := &fat{r: r, clusterSize: sector * perCluster, fatStart: reserved * sector, rootCluster: uint32(u32(44))}
	f.rootStart = (reserved + copies*fatSectors) * sector
	f.rootSize = (u16(17)*32 + sector - 1) / sector * sector
	f.dataStart = f.rootStart + f.rootSize
	data := total*sector - f.dataStart
	if data < f.clusterSize {
		return nil, errors.New("the FAT file system has no room for files")
	}
	f.clusters = uint32(min(data/f.clusterSize, 1<<28))
	switch { // the number of clusters, and nothing else, tells the kind
	case f.clusters < 4085:
		f.bits = 12
	case f.clusters < 65525:
		f.bits = 16
	default:
		f.bits = 32
	}
	return f, nil
}

// next is the cluster after c in its chain; 0 at the end.
func (f *fat) next(c uint32) (uint32, error) {
	var b [4]byte
	width, at := int64(f.bits/8), int64(c)*int64(f.bits)/8
	if f.bits == 12 {
		width = 2
	}
	if _, err := f.r.ReadAt(b[:width], f.fatStart+at); err != nil {
		return 0, fmt.Errorf("reading the FAT: %w", err)
	}
	n := binary.LittleEndian.Uint32(b[:])
	end := uint32(0x0ffffff8)
	switch f.bits {
	case 12:
		if c%2 == 1 {
			n >>= 4
		}
		n, end = n&0xfff, 0xff8
	case 16:
		end = 0xfff8
	default:
		n &= 0x0fffffff
	}
	if n >= end {
		return 0, nil
	}
	if n < 2 || n >= f.clusters+2 {
		return 0, fmt.Errorf("the FAT is damaged: cluster %d is followed by %d", c, n)
	}
	return n, nil
}

// folder reads the raw bytes of a folder; cluster 0 is the root.
func (f *fat) folder(cluster uint32) ([]byte, error) {
	if cluster == 0 && f.bits != 32 {
		raw := make([]byte, f.rootSize)
		if _, err := f.r.ReadAt(raw, f.rootStart); err != nil {
			return nil, fmt.Errorf("reading the root folder: %w", err)
		}
		return raw, nil
	}
	if cluster == 0 {
		cluster = f.rootCluster
	}
	var raw []byte
	for cluster != 0 {
		if cluster < 2 || cluster >= f.clusters+2 || int64(len(raw)) > maxFolder {
			return nil, fmt.Errorf("the FAT is damaged: a folder leads to cluster %d after %d bytes", cluster, len(raw))
		}
		piece := make([]byte, f.clusterSize)
		if _, err := f.r.ReadAt(piece, f.dataStart+int64(cluster-2)*f.clusterSize); err != nil {
			return nil, fmt.Errorf("reading a folder: %w", err)
		}
		raw = append(raw, piece...)
		var err error
		if cluster, err = f.next(cluster); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// list returns what is in a folder.
func (f *fat) list(cluster uint32) ([]fatEntry, error) {
	raw, err := f.folder(cluster)
	if err != nil {
		return nil, err
	}
	const deleted, longName, volumeLabel, isFolder = 0xe5, 0x0f, 0x08, 0x10
	var out []fatEntry
	var long []uint16 // of the entry that follows; its pieces come last first
	for ; len(raw) >= 32 && raw[0] != 0; raw = raw[32:] {
		attributes := raw[11]
		switch {
		case raw[0] == deleted:
			long = nil
		case attributes&0x3f == longName:
			if len(long) < maxLongName*13 {
				long = append(longPiece(raw[:32]), long...)
			}
		case attributes&volumeLabel != 0:
			long = nil
		default:
			e := fatEntry{name: shortName(raw[:11], raw[12]), folder: attributes&isFolder != 0}
			if len(long) > 0 {
				e.name = string(utf16.Decode(long))
			}
			long = nil
			e.cluster = uint32(binary.LittleEndian.Uint16(raw[26:]))
			e.size = binary.LittleEndian.Uint32(raw[28:])
			if f.bits == 32 {
				e.cluster |= uint32(binary.LittleEndian.Uint16(raw[20:])) << 16
			}
			if e.name != "." && e.name != ".." {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// longPiece is one entry's 13 characters of a long name, without what fills it up.
func longPiece(raw []byte) []uint16 {
	var out []uint16
	for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		u := binary.LittleEndian.Uint16(raw[at:])
		if u == 0 || u == 0xffff {
			break
		}
		out = append(out, u)
	}
	return out
}

// shortName is an 8.3 name; Windows NT and Linux note in two bits which halves are lower case.
func shortName(raw []byte, bits byte) string {
	const lowerBase, lowerExt = 0x08, 0x10
	base, ext := strings.TrimRight(string(raw[:8]), " "), strings.TrimRight(string(raw[8:11]), " ")
	if bits&lowerBase != 0 {
		base = strings.ToLower(base)
	}
	if bits&lowerExt != 0 {
		ext = strings.ToLower(ext)
	}
	if ext == "" {
		return base
	}
	return base + "." + ext
}

// sub finds a folder in a folder by name; FAT does not tell upper from lower case.
func (f *fat) sub(cluster uint32, name string) (fatEntry, bool, error) {
	list, err := f.list(cluster)
	if err != nil {
		return fatEntry{}, false, err
	}
	for _, e := range list {
		if e.folder && strings.EqualFold(e.name, name) {
			return e, true, nil
		}
	}
	return fatEntry{}, false, nil
}
