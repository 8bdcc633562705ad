package bootable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/billet-metal/billet/disk"
)

// maxMediaFile bounds the files that are read from media.
const maxMediaFile = 64 << 10

// isoSector is the size of ISO 9660's blocks (ECMA-119, 6.1.2).
const isoSector = 2048

// MediaFile reads a small file of the root folder of a medium with the given label: FAT without a
// partition table, or ISO 9660. found is false when the medium has another label, no file system of these
// two, or no such file. Names, of at most eight characters and three, and labels are compared without regard
// to case: neither file system tells it.
func MediaFile(r io.ReaderAt, label, name string) (data []byte, found bool, err error) {
	head := make([]byte, 512)
	if err := disk.ReadPadded(r, head, 0); err != nil {
		return nil, false, err
	}
	for _, at := range []int{43, 71} { // the labels of FAT16 and FAT32 in the boot sector
		if head[510] == 0x55 && head[511] == 0xaa && sameLabel(head[at:at+11], label) {
			return fatFile(r, name)
		}
	}
	return isoFile(r, label, name)
}

func sameLabel(raw []byte, label string) bool {
	return strings.EqualFold(strings.TrimRight(string(raw), " \x00"), label)
}

func fatFile(r io.ReaderAt, name string) ([]byte, bool, error) {
	f, err := openFAT(r)
	if err != nil {
		return nil, false, err
	}
	list, err := f.list(0)
	if err != nil {
		return nil, false, err
	}
	for _, e := range list {
		if !e.folder && strings.EqualFold(e.name, name) {
			data, err := f.file(e)
			return data, true, err
		}
	}
	return nil, false, nil
}

// file reads a file.
func (f *fat) file(e fatEntry) ([]byte, error) {
	if e.size > maxMediaFile {
		return nil, fmt.Errorf("the file %s has %d bytes; %d are the most that is read", e.name, e.size, maxMediaFile)
	}
	if e.size == 0 { // it has no cluster
		return nil, nil
	}
	data, err := f.folder(e.cluster)
	if err == nil && len(data) < int(e.size) || e.cluster == 0 {
		err = errors.New("the FAT is damaged: a file ends before its length")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the file %s: %w", e.name, err)
	}
	return data[:e.size], nil
}

// isoFile looks for a file in the root directory that the primary volume descriptor names (ECMA-119,
// 8.4 and 9.1). Names are as there are without extensions: "TOKEN.;1" is the file token.
func isoFile(r io.ReaderAt, label, name string) ([]byte, bool, error) {
	volume := make([]byte, isoSector)
	for n := int64(16); ; n++ {
		if err := disk.ReadPadded(r, volume, n*isoSector); err != nil {
			return nil, false, err
		}
		if string(volume[1:6]) != "CD001" || volume[0] == 255 || n == 32 {
			return nil, false, nil
		}
		if volume[0] == 1 {
			break
		}
	}
	if !sameLabel(volume[40:72], label) {
		return nil, false, nil
	}
	root, err := isoExtent(r, volume[156:190], maxFolder)
	if err != nil {
		return nil, false, fmt.Errorf("reading the root directory: %w", err)
	}
	for at := 0; at < len(root); {
		length := int(root[at])
		if length == 0 { // records do not cross blocks
			at = (at/isoSector + 1) * isoSector
			continue
		}
		if length < 34 || at+length > len(root) || 33+int(root[at+32]) > length {
			return nil, false, fmt.Errorf("the root directory is damaged: a record of %d bytes at %d", length, at)
		}
		record := root[at : at+length]
		at += length
		const folder = 0x02
		base, _, _ := strings.Cut(string(record[33:33+int(record[32])]), ";")
		if record[25]&folder == 0 && strings.EqualFold(strings.TrimSuffix(base, "."), name) {
			data, err := isoExtent(r, record, maxMediaFile)
			if err != nil {
				err = fmt.Errorf("reading the file %s: %w", name, err)
			}
			return data, true, err
		}
	}
	return nil, false, nil
}

// isoExtent reads what a directory record points to.
func isoExtent(r io.ReaderAt, record []byte, limit uint32) ([]byte, error) {
	block, size := binary.LittleEndian.Uint32(record[2:]), binary.LittleEndian.Uint32(record[10:])
	if size > limit {
		return nil, fmt.Errorf("it has %d bytes; %d are the most that is read", size, limit)
	}
	data := make([]byte, size)
	if n, err := r.ReadAt(data, int64(block)*isoSector); n < len(data) {
		return nil, fmt.Errorf("%d of %d bytes at block %d: %w", n, size, block, err)
	}
	return data, nil
}
