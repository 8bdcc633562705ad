// Package efi owns UEFI boot entries: their bytes, and the variables of the running firmware they
// live in. It refuses to touch any entry that it did not make and that still leads somewhere, but puts its own
// first.
package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// Partition says where a loader's file system is, as a hard drive device path node needs it.
type Partition struct {
	Number         uint32   // counts from 1
	Start, Sectors uint64   // in logical sectors
	Signature      [16]byte // GPT: the partition's GUID as on the disk; MBR: the disk's signature in the first 4 bytes
	MBR            bool
}

// Option is a load option, UEFI Specification 2.10, section 3.1.3.
type Option struct {
	Description string
	Partition   Partition
	Path        string // of the loader in the partition, with backslashes
}

// Numbers of the UEFI Specification, sections 3.1.3, 10.3.1 and 10.3.5.
const (
	optionActive  = 1
	typeMedia     = 4
	subHardDrive  = 1
	subFilePath   = 4
	hardDriveSize = 42
	formatMBR     = 1
	formatGPT     = 2
)

// Encode is the option as the firmware stores it.
func (o Option) Encode() []byte {
	path := append(o.Partition.encode(), filePath(o.Path)...)
	path = append(path, 0x7f, 0xff, 4, 0) // end of the entire device path
	out := binary.LittleEndian.AppendUint32(nil, optionActive)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(path)))
	out = append(out, utf16Text(o.Description)...)
	return append(out, path...)
}

func (p Partition) encode() []byte {
	out := []byte{typeMedia, subHardDrive, hardDriveSize, 0}
	out = binary.LittleEndian.AppendUint32(out, p.Number)
	out = binary.LittleEndian.AppendUint64(out, p.Start)
	out = binary.LittleEndian.AppendUint64(out, p.Sectors)
	out = append(out, p.Signature[:]...)
	if p.MBR { // the signature's type has the same number as the format
		return append(out, formatMBR, formatMBR)
	}
	return append(out, formatGPT, formatGPT)
}

func filePath(path string) []byte {
	text := utf16Text(path)
	out := []byte{typeMedia, subFilePath}
	out = binary.LittleEndian.AppendUint16(out, uint16(4+len(text)))
	return append(out, text...)
}

// utf16Text is s as the firmware has text: UTF-16, ended by a zero.
func utf16Text(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return append(out, 0, 0)
}

var errNotOurs = errors.New("not a hard drive with a file")

// Description reads only the text of any load option, whatever its device path.
func Description(raw []byte) (string, error) {
	text, _, err := split(raw)
	return text, err
}

// split takes a load option's text and device path apart.
func split(raw []byte) (description string, path []byte, err error) {
	if len(raw) < 8 {
		return "", nil, fmt.Errorf("a boot entry has %d bytes; at least 8 are needed", len(raw))
	}
	length := int(binary.LittleEndian.Uint16(raw[4:]))
	var units []uint16
	for at := 6; ; at += 2 {
		if at+2 > len(raw) {
			return "", nil, errors.New("a boot entry's description does not end")
		}
		u := binary.LittleEndian.Uint16(raw[at:])
		if u != 0 {
			units = append(units, u)
			continue
		}
		at += 2
		if at+length > len(raw) {
			return "", nil, errors.New("a boot entry's device path does not end")
		}
		return string(utf16.Decode(units)), raw[at : at+length], nil
	}
}

// Decode reads an option of the kind Encode writes; other boot entries are an error.
func Decode(raw []byte) (Option, error) {
	text, path, err := split(raw)
	if err != nil {
		return Option{}, err
	}
	o := Option{Description: text}
	if len(path) < hardDriveSize+4 || path[0] != typeMedia || path[1] != subHardDrive || path[2] != hardDriveSize || path[3] != 0 {
		return Option{}, errNotOurs
	}
	o.Partition = Partition{
		Number: binary.LittleEndian.Uint32(path[4:]),
		Start:  binary.LittleEndian.Uint64(path[8:]), Sectors: binary.LittleEndian.Uint64(path[16:]),
		Signature: [16]byte(path[24:40]), MBR: path[40] == formatMBR,
	}
	file := path[hardDriveSize:]
	length := int(binary.LittleEndian.Uint16(file[2:]))
	if file[0] != typeMedia || file[1] != subFilePath || length < 6 || length%2 != 0 || length > len(file) {
		return Option{}, errNotOurs
	}
	var units []uint16
	for at := 4; at < length; at += 2 {
		if u := binary.LittleEndian.Uint16(file[at:]); u != 0 {
			units = append(units, u)
		}
	}
	o.Path = string(utf16.Decode(units))
	return o, nil
}
