package configdrive

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// fatDisk is a FAT12 or FAT16 file system (Microsoft FAT32 File System Specification 1.03) while it is
// laid out in memory. A cluster is one sector.
type fatDisk struct {
	sector  int64
	rootLen int64 // sectors of the root folder
	chains  []chain
	next    int64 // free cluster
}

// chain is what lies in clusters that follow each other.
type chain struct {
	first int64
	data  []byte
}

const (
	fatRootEntries = 512
	fatFirst       = 2 // number of the first cluster
	fat12Most      = 4084
	fat16Most      = 65524
	fatFolder      = 0x10
	fatLabel       = 0x08
	fatLongName    = 0x0f
)

// makeFAT puts files on a FAT file system for a disk with sectors of the given size: that is how Linux
// mounts it there, since a file system's sectors can not be smaller than the disk's.
func makeFAT(files []File, sector int64) ([]byte, error) {
	f := &fatDisk{sector: sector, rootLen: fatRootEntries * 32 / sector, next: fatFirst}
	root, err := f.folder("", 0, files)
	if err != nil {
		return nil, err
	}
	if len(root)+32 > fatRootEntries*32 {
		return nil, fmt.Errorf("its root folder has too many files for FAT")
	}
	clusters := max(f.next-fatFirst, 64) // as small as nobody doubts that it is FAT12
	if clusters > fat16Most {
		return nil, fmt.Errorf("it is too large for FAT: %d clusters of %d bytes", clusters, sector)
	}
	return f.image(root, clusters), nil
}

// folder lays out what is in a folder, whose own cluster comes first, and returns its entries.
func (f *fatDisk) folder(path string, parent int64, files []File) ([]byte, error) {
	own, place := int64(0), -1
	var b []byte
	if path != "" {
		// A folder's size must be known before its files get clusters; each name takes at most 21 entries.
		size, err := f.folderSize(path, files)
		if err != nil {
			return nil, err
		}
		own, place = f.take(size), len(f.chains)-1
		b = append(fatEntry(".          ", fatFolder, own, 0), fatEntry("..         ", fatFolder, parent, 0)...)
	}
	names := map[string]bool{}
	for _, name := range children(path, files) {
		if err := fatName(name, names); err != nil {
			return nil, err
		}
		full := strings.TrimPrefix(path+"/"+name, "/")
		attributes, cluster, size := byte(0), int64(0), 0
		if data, ok := find(files, full); ok {
			size = len(data)
			if size > 0 {
				cluster = f.take(int64(size))
				f.chains[len(f.chains)-1].data = data
			}
		} else {
			attributes = fatFolder
			cluster = f.next
			if _, err := f.folder(full, own, files); err != nil {
				return nil, err
			}
		}
		b = append(b, fatEntries(name, len(names), attributes, cluster, size)...)
	}
	if place >= 0 {
		f.chains[place].data = b
	}
	return b, nil
}

// folderSize is how many bytes a folder's entries take.
func (f *fatDisk) folderSize(path string, files []File) (int64, error) {
	size := int64(2 * 32)
	for _, name := range children(path, files) {
		size += int64(len(fatEntries(name, 1, 0, 0, 0)))
	}
	if size > 1<<20 {
		return 0, fmt.Errorf("its folder %s has too many files for FAT", path)
	}
	return size, nil
}

// take reserves clusters for size bytes and returns the first.
func (f *fatDisk) take(size int64) int64 {
	first := f.next
	f.next += (size + f.sector - 1) / f.sector
	f.chains = append(f.chains, chain{first: first})
	return first
}

// children are the names in a folder, in the order of the files.
func children(path string, files []File) []string {
	var names []string
	seen := map[string]bool{}
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	for _, file := range files {
		rest, ok := strings.CutPrefix(file.Path, prefix)
		if name, _, _ := strings.Cut(rest, "/"); ok && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

func find(files []File, path string) ([]byte, bool) {
	for _, file := range files {
		if file.Path == path {
			return file.Data, true
		}
	}
	return nil, false
}

// fatName refuses what FAT can not call a file.
func fatName(name string, taken map[string]bool) error {
	same := strings.ToLower(name)
	switch {
	case strings.ContainsAny(name, "\"*/:<>?\\|") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) ||
		strings.TrimRight(name, ". ") != name:
		return fmt.Errorf("FAT can not have a file of the name %q", name)
	case len(utf16.Encode([]rune(name))) > 255:
		return fmt.Errorf("the name %q is too long for FAT", name)
	case taken[same]:
		return fmt.Errorf("FAT does not tell the names %q apart: they differ in upper and lower case only", name)
	}
	taken[same] = true
	return nil
}

// fatEntries are the entries of a file in its folder: the pieces of its long name, the last first, and
// the short one, which is made up by the file's number in the folder and which nobody will see.
func fatEntries(name string, number int, attributes byte, cluster int64, size int) []byte {
	short := fmt.Sprintf("BILLET~%-4X", number)
	if number > 0xf {
		short = fmt.Sprintf("B~%-9X", number)
	}
	units := utf16.Encode([]rune(name))
	if len(units)%13 != 0 {
		units = append(units, 0)
	}
	for len(units)%13 != 0 {
		units = append(units, 0xffff)
	}
	sum := byte(0)
	for i := range 11 {
		sum = sum>>1 | sum<<7
		sum += short[i]
	}
	var b []byte
	for n := len(units) / 13; n > 0; n-- {
		e := make([]byte, 32)
		e[0] = byte(n)
		if n == len(units)/13 {
			e[0] |= 0x40
		}
		e[11], e[13] = fatLongName, sum
		for i, at := range longPlaces {
			binary.LittleEndian.PutUint16(e[at:], units[13*(n-1)+i])
		}
		b = append(b, e...)
	}
	return append(b, fatEntry(short, attributes, cluster, size)...)
}

// longPlaces are where the 13 characters of a piece of a long name lie.
var longPlaces = []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

func fatEntry(short string, attributes byte, cluster int64, size int) []byte {
	const day = 20<<9 | 1<<5 | 1 // 1 January 2000
	e := make([]byte, 32)
	copy(e, short)
	e[11] = attributes
	for _, at := range []int{16, 18, 24} {
		binary.LittleEndian.PutUint16(e[at:], day)
	}
	binary.LittleEndian.PutUint16(e[26:], uint16(cluster))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}

// image writes it all down.
func (f *fatDisk) image(root []byte, clusters int64) []byte {
	const copies, reserved = 2, 1
	bits := int64(12)
	if clusters > fat12Most {
		bits = 16
	}
	table := ((clusters+fatFirst)*bits/8 + f.sector) / f.sector
	start := reserved + copies*table + f.rootLen
	b := make([]byte, (start+clusters)*f.sector)
	f.bootSector(b, start+clusters, table, bits)
	numbers := make([]uint16, clusters+fatFirst)
	numbers[0], numbers[1] = 0xfff8, 0xffff
	for _, c := range f.chains {
		copy(b[(start+c.first-fatFirst)*f.sector:], c.data)
		last := c.first + (int64(len(c.data))+f.sector-1)/f.sector - 1
		for i := c.first; i < last; i++ {
			numbers[i] = uint16(i + 1)
		}
		numbers[last] = 0xffff
	}
	for i := range int64(copies) {
		writeTable(b[(reserved+i*table)*f.sector:], numbers, bits)
	}
	at := (reserved + copies*table) * f.sector
	label := fatEntry(fmt.Sprintf("%-11s", Label), fatLabel, 0, 0)
	copy(b[at:], append(label, root...))
	return b
}

func writeTable(b []byte, numbers []uint16, bits int64) {
	for i, n := range numbers {
		if bits == 16 {
			binary.LittleEndian.PutUint16(b[2*i:], n)
			continue
		}
		at, v := i*3/2, n&0xfff
		if i%2 == 1 {
			b[at] |= byte(v << 4)
			b[at+1] = byte(v >> 4)
		} else {
			b[at], b[at+1] = byte(v), byte(v>>8)
		}
	}
}

func (f *fatDisk) bootSector(b []byte, total, table, bits int64) {
	copy(b, "\xeb\x3c\x90BILLET  ")
	put16 := func(at int, v int64) { binary.LittleEndian.PutUint16(b[at:], uint16(v)) }
	put16(11, f.sector)
	b[13] = 1    // sectors of a cluster
	put16(14, 1) // reserved
	b[16] = 2    // tables
	put16(17, fatRootEntries)
	if total < 1<<16 {
		put16(19, total)
	} else {
		binary.LittleEndian.PutUint32(b[32:], uint32(total))
	}
	b[21] = 0xf8 // a fixed disk
	put16(22, table)
	put16(24, 63)
	put16(26, 255)
	b[36], b[38] = 0x80, 0x29 // drive number; volume ID, label and type follow
	copy(b[39:], "\x01\x01\x20\x00")
	copy(b[43:], fmt.Sprintf("%-11sFAT%d   ", Label, bits))
	b[510], b[511] = 0x55, 0xaa
}
