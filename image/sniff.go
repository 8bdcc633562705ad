package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// signature is how a format that is not written to disks gives itself away.
type signature struct {
	format Format
	offset int
	magic  string
	what   string // for people; the remedy for "" is qemu-img
}

// The formats refused by name. Offsets and magics are those of the formats' own documents and of
// file(1); what a compressed file holds is not looked at.
var foreign = []signature{
	{"vmdk", 0, "KDMV", ""},
	{"vmdk", 0, "COWD", ""},
	{"vmdk", 0, "# Disk DescriptorFile", ""},
	{"vhd", 0, "conectix", ""},
	{"vhdx", 0, "vhdxfile", ""},
	{"vdi", 0x40, "\x7f\x10\xda\xbe", ""},
	{"qed", 0, "QED\x00", ""},
	{"parallels", 0, "WithoutFreeSpace", ""},
	{"parallels", 0, "WithouFreSpacExt", ""},
	{"bochs", 0, "Bochs Virtual HD Image", ""},
	{"cow", 0, "OOOM", ""},
	{"luks", 0, "LUKS\xba\xbe", "it is encrypted; give the decrypted image"},
	{"bzip2", 0, "BZh", "decompress it first (bunzip2)"},
	{"lz4", 0, "\x04\x22\x4d\x18", "decompress it first (unlz4)"},
	{"zip", 0, "PK\x03\x04", "unpack it first (unzip)"},
	{"7z", 0, "7z\xbc\xaf\x27\x1c", "unpack it first (7z x)"},
	{"tar", 257, "ustar", "it is an archive, not a disk; unpack it first (tar -xf)"},
}

// footers are signatures counted from the start of the last 512 bytes.
var footers = []signature{
	{"vhd", 0, "conectix", ""},
	{"dmg", 0, "koly", ""},
}

// refuseForeign refuses every known format that is not written to disks.
func refuseForeign(e ends) error {
	if p := packingOf(e.head); p != Unpacked {
		return &Refusal{Format: Format(p), Reason: "it is packed twice; pack it once"}
	}
	for _, s := range foreign {
		if hasAt(e.head, s.offset, s.magic) {
			return s.refusal()
		}
	}
	if len(e.tail) == tailSize {
		for _, s := range footers {
			if hasAt(e.tail, s.offset, s.magic) {
				return s.refusal()
			}
		}
	}
	if hasAt(e.head, 0, "QFI\xfb") && !hasAt(e.head, 0, qcow2Magic) {
		return &Refusal{Format: QCOW2, Reason: "the header is shorter than 8 bytes"}
	}
	start := bytes.ToLower(bytes.TrimLeft(e.head[:min(len(e.head), 256)], " \t\r\n\ufeff"))
	if bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html")) || bytes.HasPrefix(start, []byte("<?xml")) {
		return &Refusal{Reason: "it is a web page or an XML document, not a disk image: is the URL right?"}
	}
	return nil
}

func (s signature) refusal() error {
	what := s.what
	if what == "" {
		what = "convert it first (qemu-img convert -O qcow2)"
	}
	return &Refusal{Format: s.format, Reason: fmt.Sprintf("this format is not written to disks, only raw, gpt, iso and qcow2: %s", what)}
}

// sniffRaw tells the byte-for-byte formats apart.
func sniffRaw(e ends) Info {
	info := Info{Format: Raw, VirtualSize: e.size, Size: e.size, PartitionTable: partitionTable(e.head)}
	switch {
	case hasAt(e.head, 0x8001, "CD001"):
		info.Format = ISO
	case info.PartitionTable == "gpt":
		info.Format = GPT
	}
	return info
}

// partitionTable recognises a GUID partition table (UEFI 2.10, 5.3.2; sectors of 512 or 4096
// bytes) and an MBR (UEFI 2.10, 5.2.1). A FAT boot sector has the MBR's signature too, so all
// four entries must look like entries.
func partitionTable(head []byte) string {
	if hasAt(head, 512, "EFI PART") || hasAt(head, 4096, "EFI PART") {
		return "gpt"
	}
	if !hasAt(head, 510, "\x55\xaa") {
		return ""
	}
	used := 0
	for i := range 4 {
		entry := head[446+16*i : 462+16*i]
		if entry[0]&0x7f != 0 {
			return ""
		}
		if entry[4] != 0 && binary.LittleEndian.Uint32(entry[12:]) > 0 {
			used++
		}
	}
	if used == 0 {
		return ""
	}
	return "mbr"
}

func hasAt(b []byte, offset int, magic string) bool {
	return len(b) >= offset+len(magic) && string(b[offset:offset+len(magic)]) == magic
}
