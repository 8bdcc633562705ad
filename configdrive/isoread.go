package configdrive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// A drive comes from a user; these bound what reading one takes.
const (
	maxFiles = 4096
	maxDepth = 16
)

// isoReader reads the files of somebody's ISO 9660 image.
type isoReader struct {
	image  []byte
	joliet bool
	rock   bool
	skip   int // bytes before Rock Ridge's entries in each record
	found  []File
	seen   int
	size   int64
}

func isISO(image []byte) bool {
	return len(image) >= (isoSystem+1)*isoBlock && string(image[isoSystem*isoBlock+1:][:5]) == "CD001"
}

// readISO returns the files of an image by the names that Linux shows: Rock Ridge, else Joliet, else
// the plain ones in lower case.
func readISO(image []byte) ([]File, error) {
	r := &isoReader{image: image}
	var root, joliet []byte
	for block := isoSystem; block < isoSystem+32; block++ {
		d, err := r.bytes(uint32(block), isoBlock)
		if err != nil || string(d[1:6]) != "CD001" || d[0] == 255 {
			break
		}
		switch escape := string(d[88:91]); {
		case d[0] == 1 && root == nil:
			root = d[156:190]
		case d[0] == 2 && (escape == "%/@" || escape == "%/C" || escape == "%/E"):
			joliet = d[156:190]
		}
	}
	if root == nil {
		return nil, errors.New("there is no ISO 9660 volume descriptor")
	}
	if err := r.findRock(root); err != nil {
		return nil, err
	}
	if !r.rock && joliet != nil {
		root, r.joliet = joliet, true
	}
	err := r.walk(root, "", 0)
	return r.found, err
}

// bytes is a part of the image by its first block.
func (r *isoReader) bytes(block, size uint32) ([]byte, error) {
	at := int64(block) * isoBlock
	if at+int64(size) > int64(len(r.image)) {
		return nil, fmt.Errorf("it is damaged: %d bytes at block %d are past its end", size, block)
	}
	return r.image[at : at+int64(size)], nil
}

// findRock looks for the entry SP in the root folder's record of itself (SUSP 1.12, 5.3).
func (r *isoReader) findRock(root []byte) error {
	b, err := r.bytes(binary.LittleEndian.Uint32(root[2:]), isoBlock)
	if err != nil {
		return err
	}
	if area := systemUse(b); len(area) >= 7 && string(area[:2]) == "SP" && area[4] == 0xbe && area[5] == 0xef {
		r.rock, r.skip = true, int(area[6])
	}
	return nil
}

// systemUse is what follows a record's identifier; nil when the record has none.
func systemUse(record []byte) []byte {
	length, id := int(record[0]), int(record[32])
	at := 33 + id + (id+1)%2
	if length < at || length > len(record) {
		return nil
	}
	return record[at:length]
}

// walk takes the files of a folder and of those in it.
func (r *isoReader) walk(record []byte, path string, deep int) error {
	if deep > maxDepth {
		return fmt.Errorf("it has folders more than %d deep", maxDepth)
	}
	b, err := r.bytes(binary.LittleEndian.Uint32(record[2:]), binary.LittleEndian.Uint32(record[10:]))
	if err != nil {
		return err
	}
	for at := 0; at+33 < len(b); {
		length := int(b[at])
		if length == 0 { // the block's rest
			at = (at/isoBlock + 1) * isoBlock
			continue
		}
		if length < 34 || at+length > len(b) || systemUse(b[at:at+length]) == nil {
			return fmt.Errorf("it is damaged: a record of %d bytes in the folder %q", length, path)
		}
		if err := r.take(b[at:at+length], path, deep); err != nil {
			return err
		}
		at += length
	}
	return nil
}

// take is one record of a folder.
func (r *isoReader) take(record []byte, path string, deep int) error {
	id := record[33 : 33+int(record[32])]
	if len(id) == 1 && id[0] < 2 { // the folder itself and the one it is in
		return nil
	}
	if r.seen++; r.seen > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	name, err := r.name(record, id)
	if err != nil {
		return err
	}
	full := strings.TrimPrefix(path+"/"+name, "/")
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("it has a file of the name %q", name)
	}
	const isFolder, more = 0x02, 0x80
	if record[25]&isFolder != 0 {
		return r.walk(record, full, deep+1)
	}
	if record[25]&more != 0 {
		return fmt.Errorf("its file %s is in several parts", full)
	}
	data, err := r.bytes(binary.LittleEndian.Uint32(record[2:]), binary.LittleEndian.Uint32(record[10:]))
	if err != nil {
		return err
	}
	if r.size += int64(len(data)); r.size > MaxSize { // many files may be said to be the same bytes
		return fmt.Errorf("its files have more than %d bytes", MaxSize)
	}
	r.found = append(r.found, File{full, data})
	return nil
}

func (r *isoReader) name(record, id []byte) (string, error) {
	if r.rock {
		if name, err := r.rockName(systemUse(record)); name != "" || err != nil {
			return name, err
		}
	}
	text := string(id)
	if r.joliet {
		units := make([]uint16, len(id)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(id[2*i:])
		}
		text = string(utf16.Decode(units))
	}
	text, _, _ = strings.Cut(text, ";") // the version
	if !r.joliet {
		text = strings.ToLower(strings.TrimSuffix(text, "."))
	}
	return text, nil
}

// rockName puts the name together from the entries NM, which may go on elsewhere (CE).
func (r *isoReader) rockName(area []byte) (string, error) {
	area = area[min(r.skip, len(area)):]
	var name bytes.Buffer
	for range 16 {
		var next []byte
		for len(area) >= 4 && area[2] >= 4 && int(area[2]) <= len(area) {
			e := area[:area[2]]
			area = area[area[2]:]
			switch string(e[:2]) {
			case "NM":
				if len(e) > 5 {
					name.Write(e[5:])
				}
			case "SL", "CL":
				return "", fmt.Errorf("its file %q is a symbolic link or a moved folder", name.String())
			case "CE":
				if len(e) < 28 {
					return "", errors.New("it is damaged: a name goes on nowhere")
				}
				offset, size := binary.LittleEndian.Uint32(e[12:]), binary.LittleEndian.Uint32(e[20:])
				if offset > isoBlock || size > isoBlock {
					return "", errors.New("it is damaged: a name goes on outside of a block")
				}
				b, err := r.bytes(binary.LittleEndian.Uint32(e[4:]), offset+size)
				if err != nil {
					return "", err
				}
				next = b[offset:]
			case "ST":
				area = nil
			}
		}
		if next == nil {
			return name.String(), nil
		}
		area = next
	}
	return "", errors.New("it is damaged: a name has no end")
}
