package configdrive

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Decode undoes Pack. The text is a user's; what it unpacks to is bounded.
func Decode(text string) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "") // base64 tools break lines
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the config drive is not base64: %w", err)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("the config drive is not gzipped: %w", err)
	}
	drive, err := io.ReadAll(io.LimitReader(unzip, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking the config drive: %w", err)
	}
	if len(drive) > MaxSize {
		return nil, fmt.Errorf("the config drive is larger than %d bytes unpacked", MaxSize)
	}
	if len(drive) == 0 {
		return nil, errors.New("the config drive is empty")
	}
	return drive, nil
}

// Fit returns the drive as Linux can mount it from a disk with logical sectors of the given size. No
// file system can be read in pieces smaller than its disk's: ISO 9660 has blocks of 2048 bytes, FAT
// sectors of its own size, mostly 512. Where they are too small, the same files go onto a FAT file
// system with the disk's sectors. A drive that fits comes back as it is.
func Fit(drive []byte, sector int64) ([]byte, error) {
	var files []File
	var kind string
	var err error
	switch own, ext := fatSector(drive), extBlock(drive); {
	case len(drive) == 0:
		return drive, nil
	case isISO(drive):
		if sector <= isoBlock {
			return drive, nil
		}
		kind = "ISO 9660"
		files, err = readISO(drive)
	case own != 0:
		if sector <= own {
			return drive, nil
		}
		kind = "FAT"
		files, err = readFAT(drive)
	case sector <= 512 || ext >= sector:
		return drive, nil
	case ext != 0:
		return nil, fmt.Errorf("the config drive is an ext4 file system with blocks of %d bytes, "+
			"which cannot be read from this disk's sectors of %d bytes: make it with blocks of %d bytes, or as ISO 9660",
			ext, sector, sector)
	default:
		return nil, fmt.Errorf("this disk has sectors of %d bytes, and the config drive is not known to be readable from it: "+
			"give one with an ISO 9660, FAT or ext4 file system labelled %s", sector, Label)
	}
	if err == nil && len(files) == 0 {
		err = errors.New("it has no files")
	}
	if err != nil {
		return nil, fmt.Errorf("the config drive's %s file system cannot be read from this disk's sectors of %d bytes, "+
			"and reading it to make another: %w", kind, sector, err)
	}
	fat, err := makeFAT(files, sector)
	if err != nil {
		return nil, fmt.Errorf("the config drive's %s file system cannot be read from this disk's sectors of %d bytes, "+
			"and making a FAT file system of it: %w", kind, sector, err)
	}
	return fat, nil
}

// extBlock is the block size of ext2, ext3 or ext4; 0 if there is none (the kernel's
// Documentation/filesystems/ext4, super block: s_magic and s_log_block_size).
func extBlock(drive []byte) int64 {
	if len(drive) < 2048 || drive[0x438] != 0x53 || drive[0x439] != 0xef {
		return 0
	}
	return 1024 << min(binary.LittleEndian.Uint32(drive[0x418:]), 6)
}
