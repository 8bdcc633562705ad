package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Volume is a partition with a file system that can be mounted.
type Volume struct {
	Number int
	Node   string // device node; left to the caller, who knows the disk's name
	FS
	Label string
	ESP   bool
}

// Volumes lists the file systems on a disk's partitions, with the UUIDs and labels by which boot
// loaders look for them.
func Volumes(d Disk) ([]Volume, error) {
	esp := 0
	if p, err := FindESP(d); err == nil {
		esp = p.Number
	}
	var list []Volume
	for _, p := range Partitions(d) {
		if p.Length < SignatureSize {
			continue
		}
		v := Volume{Number: p.Number, ESP: p.Number == esp}
		if err := v.probe(Within(d, p.Offset, p.Length)); err != nil {
			return nil, err
		}
		if v.Type != "" {
			list = append(list, v)
		}
	}
	return list, nil
}

func (v *Volume) probe(r io.ReaderAt) (err error) {
	if v.FS, err = ProbeFS(r); err != nil {
		return err
	}
	switch v.Type {
	case "ext4":
		v.Label, err = labelAt(r, 0x478, 16) // s_volume_name
	case "xfs":
		v.Label, err = labelAt(r, 108, 12) // sb_fname
	case "btrfs":
		v.Label, err = labelAt(r, 0x1012b, 256)
	case "vfat", "":
		v.FS = FS{}
		err = v.probeFAT(r)
	default: // swap, LVM, RAID members: nothing to mount
		v.FS = FS{}
	}
	return err
}

// probeFAT reads the serial number and label that are in the extended boot record, which FAT12 and
// FAT16 have at 38 and FAT32 at 66 (Microsoft's FAT specification, 3.2 and 3.3).
func (v *Volume) probeFAT(r io.ReaderAt) error {
	boot := make([]byte, 512)
	if err := ReadPadded(r, boot, 0); err != nil {
		return err
	}
	for _, at := range []int{38, 66} {
		if boot[at] != 0x29 || string(boot[at+16:at+19]) != "FAT" {
			continue
		}
		id := binary.LittleEndian.Uint32(boot[at+1:])
		v.FS = FS{Type: "vfat", UUID: fmt.Sprintf("%04X-%04X", id>>16, id&0xffff)}
		if v.Label = strings.TrimSpace(string(boot[at+5 : at+16])); v.Label == "NO NAME" {
			v.Label = ""
		}
		return nil
	}
	return nil
}

func labelAt(r io.ReaderAt, at int64, length int) (string, error) {
	b := make([]byte, length)
	err := ReadPadded(r, b, at)
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text), err
}

// HasFAT reports whether a partition holds a FAT file system.
func HasFAT(d Disk, p Partition) bool {
	var v Volume
	err := v.probe(Within(d, p.Offset, p.Length))
	return err == nil && v.Type == "vfat"
}
