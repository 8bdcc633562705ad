package configdrive

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// ISO 9660 (ECMA-119) in memory, with the names twice over: Rock Ridge (IEEE P1282) for Linux and GRUB,
// Joliet for Windows. A drive has a few files of known names, so each folder is one block.
const (
	isoBlock  = 2048
	isoSystem = 16 // blocks before the volume descriptors
)

// isoDate is what every file is dated: a drive of the same parts is the same drive.
var isoDate = []byte{100, 1, 1, 0, 0, 0, 0} // 1 January 2000

// isoImage is a drive while it is laid out.
type isoImage struct {
	files   []File
	folders []string
	at      map[string]uint32 // where a file's contents begin, in blocks
	total   uint32            // blocks
}

// isoTree is one of the two trees of folders over the same files.
type isoTree struct {
	*isoImage
	joliet bool
	first  uint32 // block of the root folder; the others follow
	tables uint32 // block of the path table; one for big-endian readers follows
}

// makeISO builds the image of a drive.
func makeISO(files []File) ([]byte, error) {
	img := &isoImage{files: files, folders: folders(files), at: map[string]uint32{}}
	n := uint32(len(img.folders))
	plain := isoTree{img, false, isoSystem + 7, isoSystem + 3}
	joliet := isoTree{img, true, plain.first + n, isoSystem + 5}
	next := joliet.first + n
	for _, f := range files {
		if img.at[f.Path] != 0 {
			return nil, fmt.Errorf("the file %s is there twice", f.Path)
		}
		img.at[f.Path] = next
		next += blocks(len(f.Data))
	}
	img.total = next + 150 // as mkisofs pads: readers of CDs read ahead
	image := make([]byte, int64(img.total)*isoBlock)
	put := func(block uint32, b []byte) { copy(image[int64(block)*isoBlock:], b) }
	for i, t := range []isoTree{plain, joliet} {
		put(isoSystem+uint32(i), t.descriptor())
		put(t.tables, t.pathTable(binary.LittleEndian))
		put(t.tables+1, t.pathTable(binary.BigEndian))
		for j, folder := range img.folders {
			b, err := t.folder(folder)
			if err != nil {
				return nil, err
			}
			put(t.first+uint32(j), b)
		}
	}
	put(isoSystem+2, []byte("\xffCD001\x01")) // no more descriptors
	for _, f := range files {
		put(img.at[f.Path], f.Data)
	}
	return image, nil
}

func blocks(size int) uint32 { return uint32((size + isoBlock - 1) / isoBlock) }

// both writes a number for readers of either byte order.
func both32(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, v)
	binary.BigEndian.PutUint32(b[4:], v)
}

func both16(b []byte, v uint16) {
	binary.LittleEndian.PutUint16(b, v)
	binary.BigEndian.PutUint16(b[2:], v)
}

// descriptor is a volume descriptor (ECMA-119, 8.4 and 8.5).
func (t isoTree) descriptor() []byte {
	b := make([]byte, isoBlock)
	copy(b, "\x01CD001\x01")
	if t.joliet {
		b[0] = 2
		copy(b[88:], "%/E") // UCS-2, level 3
	}
	for _, text := range []struct {
		at, length int
		value      string
	}{{8, 32, ""}, {40, 32, Label}, {190, 128, ""}, {318, 128, ""}, {446, 128, ""}, {574, 128, "BILLET"},
		{702, 37, ""}, {739, 37, ""}, {776, 37, ""}} {
		copy(b[text.at:], t.padded(text.value, text.length))
	}
	both32(b[80:], t.total)
	both16(b[120:], 1) // volumes
	both16(b[124:], 1)
	both16(b[128:], isoBlock)
	both32(b[132:], uint32(len(t.pathTable(binary.LittleEndian))))
	binary.LittleEndian.PutUint32(b[140:], t.tables)
	binary.BigEndian.PutUint32(b[148:], t.tables+1)
	copy(b[156:], t.record("\x00", t.first, isoBlock, true, nil))
	for i := range 4 { // dates that are not said
		copy(b[813+17*i:], strings.Repeat("0", 16))
	}
	b[881] = 1
	return b
}

// padded fills a text up with blanks in the tree's own characters.
func (t isoTree) padded(s string, length int) []byte {
	if !t.joliet {
		return fmt.Appendf(nil, "%-*s", length, s)
	}
	b := make([]byte, length)
	copy(b, ucs2(fmt.Sprintf("%-*s", length/2, s)))
	return b
}

func ucs2(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

// name is a file's or folder's identifier in the tree.
func (t isoTree) name(name string, folder bool) string {
	if t.joliet { // without a version, as other writers do
		return string(ucs2(name))
	}
	name = strings.ToUpper(name) // what the plain tree allows; Linux without Rock Ridge makes it lower case again
	if folder {
		return name
	}
	if !strings.Contains(name, ".") {
		name += "."
	}
	return name + ";1"
}

// block is where a folder of the tree lies.
func (t isoTree) block(folder string) uint32 {
	return t.first + uint32(slices.Index(t.folders, folder))
}

// pathTable lists the folders (ECMA-119, 9.4).
func (t isoTree) pathTable(order interface {
	binary.ByteOrder
	binary.AppendByteOrder
},
) []byte {
	var b []byte
	for _, folder := range t.folders {
		parent, last := split(folder)
		name := "\x00"
		if folder != "" {
			name = t.name(last, true)
		}
		b = append(b, byte(len(name)), 0)
		b = order.AppendUint32(b, t.block(folder))
		b = order.AppendUint16(b, uint16(slices.Index(t.folders, parent)+1))
		b = append(b, name...)
		if len(name)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}

// folder is one block of records: itself, the folder it is in, and what is in it in the order of names.
func (t isoTree) folder(folder string) ([]byte, error) {
	parent, _ := split(folder)
	itself := rockRidge("", true)
	if folder == "" {
		// SP: Rock Ridge begins; ER: this is it.
		itself = slices.Concat([]byte("SP\x07\x01\xbe\xef\x00"), itself, []byte("ER\x12\x01\x0a\x00\x00\x01IEEE_P1282"))
	}
	b := append(t.record("\x00", t.block(folder), isoBlock, true, itself),
		t.record("\x01", t.block(parent), isoBlock, true, rockRidge("", true))...)
	records := map[string][]byte{}
	for _, f := range t.folders {
		if in, name := split(f); in == folder && f != "" {
			id := t.name(name, true)
			records[id] = t.record(id, t.block(f), isoBlock, true, rockRidge(name, true))
		}
	}
	for _, f := range t.files {
		in, name := split(f.Path)
		if in != folder {
			continue
		}
		id := t.name(name, false)
		if records[id] = t.record(id, t.at[f.Path], uint32(len(f.Data)), false, rockRidge(name, false)); len(id) > 62 || len(name) > 30 {
			return nil, fmt.Errorf("the name of the file %s is too long for ISO 9660", f.Path)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(records)) {
		b = append(b, records[id]...)
	}
	if len(b) > isoBlock {
		return nil, fmt.Errorf("the folder %s has too many files", folder)
	}
	return b, nil
}

// record is a directory record (ECMA-119, 9.1); rock goes into the plain tree only.
func (t isoTree) record(id string, block, size uint32, folder bool, rock []byte) []byte {
	b := make([]byte, 33, 255)
	both32(b[2:], block)
	both32(b[10:], size)
	copy(b[18:], isoDate)
	if folder {
		b[25] = 2
	}
	both16(b[28:], 1)
	b[32] = byte(len(id))
	b = append(b, id...)
	if len(id)%2 == 0 {
		b = append(b, 0)
	}
	if !t.joliet {
		b = append(b, rock...)
	}
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b[0] = byte(len(b))
	return b
}

// rockRidge says what a POSIX system knows of a file: its mode and owner (PX), date (TF) and name (NM).
// Everybody may read it, as on the drives of others: who may mount it is root anyway.
func rockRidge(name string, folder bool) []byte {
	mode, links := uint32(0o100444), uint32(1)
	if folder {
		mode, links = 0o40555, 2
	}
	b := make([]byte, 44)
	copy(b, "PX\x2c\x01")
	both32(b[4:], mode)
	both32(b[12:], links)
	b = append(b, "TF\x0c\x01\x02"...) // of its last change
	b = append(b, isoDate...)
	if name != "" {
		b = append(b, 'N', 'M', byte(5+len(name)), 1, 0)
		b = append(b, name...)
	}
	return b
}
