package configdrive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// fatReader reads the files of somebody's FAT12 or FAT16 image; drives are too small for FAT32, but a
// tool may have been told to make one.
type fatReader struct {
	image    []byte
	bits     int64
	cluster  int64 // bytes
	table    int64 // where it lies
	root     int64
	rootLen  int64
	rootFrom uint32 // FAT32: the root folder's cluster
	data     int64
	clusters uint32
	found    []File
	seen     int
	size     int64
}

// fatSector is the sector size of a FAT file system; 0 if there is none.
func fatSector(image []byte) int64 {
	if len(image) < 512 || image[510] != 0x55 || image[511] != 0xaa || string(image[54:57]) != "FAT" && string(image[82:87]) != "FAT32" {
		return 0
	}
	s := int64(binary.LittleEndian.Uint16(image[11:]))
	if s < 512 || s > 4096 || s&(s-1) != 0 || image[13] == 0 {
		return 0
	}
	return s
}

func readFAT(image []byte) ([]File, error) {
	sector := fatSector(image)
	if sector == 0 {
		return nil, errors.New("there is no FAT file system")
	}
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(image[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(image[at:])) }
	total, table := u16(19), u16(22)
	if total == 0 {
		total = u32(32)
	}
	if table == 0 {
		table = u32(36)
	}
	r := &fatReader{image: image, cluster: sector * int64(image[13]), table: u16(14) * sector, rootFrom: uint32(u32(44)), bits: 32}
	r.root = r.table + int64(image[16])*table*sector
	r.rootLen = u16(17) * 32
	r.data = r.root + (r.rootLen+sector-1)/sector*sector
	clusters := (min(total*sector, int64(len(image))) - r.data) / r.cluster
	if clusters < 1 {
		return nil, errors.New("it is damaged: it has no room for files")
	}
	r.clusters = uint32(clusters)
	if clusters <= fat12Most {
		r.bits = 12
	} else if clusters <= fat16Most {
		r.bits = 16
	}
	raw, err := r.rootFolder()
	if err != nil {
		return nil, err
	}
	err = r.walk(raw, "", 0)
	return r.found, err
}

func (r *fatReader) rootFolder() ([]byte, error) {
	if r.bits == 32 {
		return r.chain(r.rootFrom)
	}
	if r.root+r.rootLen > int64(len(r.image)) {
		return nil, errors.New("it is damaged: its root folder is past its end")
	}
	return r.image[r.root : r.root+r.rootLen], nil
}

// chain is what lies in a cluster and those that follow it.
func (r *fatReader) chain(c uint32) ([]byte, error) {
	var b []byte
	for seen := uint32(0); ; seen++ {
		if c < fatFirst || c >= r.clusters+fatFirst || seen > r.clusters {
			return nil, fmt.Errorf("it is damaged: a file leads to cluster %d", c)
		}
		at := r.data + int64(c-fatFirst)*r.cluster
		b = append(b, r.image[at:at+r.cluster]...)
		if r.size += r.cluster; r.size > 2*MaxSize { // chains may be shared
			return nil, fmt.Errorf("its files have more than %d bytes", MaxSize)
		}
		at = r.table + int64(c)*r.bits/8
		if at+4 > int64(len(r.image)) {
			return nil, errors.New("it is damaged: its table is past its end")
		}
		next := binary.LittleEndian.Uint32(r.image[at:])
		end := uint32(0x0ffffff8)
		switch r.bits {
		case 12:
			next, end = next>>(c%2*4)&0xfff, 0xff8
		case 16:
			next, end = next&0xffff, 0xfff8
		default:
			next &= 0x0fffffff
		}
		if next >= end {
			return b, nil
		}
		c = next
	}
}

// walk takes the files of a folder and of those in it.
func (r *fatReader) walk(raw []byte, path string, deep int) error {
	if deep > maxDepth {
		return fmt.Errorf("it has folders more than %d deep", maxDepth)
	}
	var long []uint16 // of the entry that follows; its pieces come last first
	for ; len(raw) >= 32 && raw[0] != 0; raw = raw[32:] {
		e := raw[:32]
		switch attributes := e[11]; {
		case e[0] == 0xe5: // deleted
			long = nil
		case attributes&0x3f == fatLongName:
			if len(long) < 20*13 {
				long = append(longPiece(e), long...)
			}
		case attributes&fatLabel != 0:
			long = nil
		default:
			name := fatShort(e)
			if len(long) > 0 {
				name = string(utf16.Decode(long))
			}
			long = nil
			if err := r.take(e, name, path, deep); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *fatReader) take(e []byte, name, path string, deep int) error {
	if name == "." || name == ".." {
		return nil
	}
	if r.seen++; r.seen > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("it has a file of the name %q", name)
	}
	full := strings.TrimPrefix(path+"/"+name, "/")
	first := uint32(binary.LittleEndian.Uint16(e[26:]))
	if r.bits == 32 {
		first |= uint32(binary.LittleEndian.Uint16(e[20:])) << 16
	}
	size := binary.LittleEndian.Uint32(e[28:])
	if size == 0 && e[11]&fatFolder == 0 {
		r.found = append(r.found, File{full, nil})
		return nil
	}
	b, err := r.chain(first)
	if err != nil {
		return err
	}
	if e[11]&fatFolder != 0 {
		return r.walk(b, full, deep+1)
	}
	if int64(size) > int64(len(b)) {
		return fmt.Errorf("it is damaged: its file %s is shorter than it should be", full)
	}
	r.found = append(r.found, File{full, b[:size]})
	return nil
}

// longPiece is one entry's 13 characters of a long name, without what fills it up.
func longPiece(e []byte) []uint16 {
	units := make([]uint16, 0, len(longPlaces))
	for _, at := range longPlaces {
		units = append(units, binary.LittleEndian.Uint16(e[at:]))
	}
	if end := slices.Index(units, 0); end >= 0 {
		units = units[:end]
	}
	return units
}

// fatShort is an 8.3 name. The files that cloud-init knows are all called in lower case, and so Linux
// shows names without a long one.
func fatShort(e []byte) string {
	name := strings.TrimRight(string(e[:8]), " ")
	if ext := strings.TrimRight(string(e[8:11]), " "); ext != "" {
		name += "." + ext
	}
	return strings.ToLower(name)
}
