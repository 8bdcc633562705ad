package disk

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"strings"
	"unicode/utf16"
)

// The GUID partition table, UEFI Specification 2.10, section 5.3. All numbers are little-endian.
const (
	gptSignature  = "EFI PART"
	gptHeaderSize = 92
	maxEntries    = 4096 // ordinary tables have 128; this bounds memory
)

// ErrNoGPT is the error of a disk whose sector 1 holds no GUID partition table.
var ErrNoGPT = errors.New("no GUID partition table")

// GUID is as it lies on the disk: the first three groups little-endian.
type GUID [16]byte

// Partition types, UEFI Specification table 5.7 and the Discoverable Partitions Specification.
var (
	ESPType       = mustGUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	LinuxDataType = mustGUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
	prepType      = mustGUID("9e1a2d38-c612-4316-aa26-8b49521e5a8b")
)

func mustGUID(s string) GUID {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		panic("a GUID in the source is wrong: " + s)
	}
	return GUID(raw).Swap()
}

// Swap turns a GUID from its order on disk to its order in text, and back.
func (g GUID) Swap() GUID {
	return GUID{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
}

// String writes a GUID as people do.
func (g GUID) String() string {
	h := hex.EncodeToString(func() []byte { t := g.Swap(); return t[:] }())
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// NewGUID is a random one (RFC 9562, version 4).
func NewGUID() GUID {
	var g GUID
	_, _ = rand.Read(g[:]) // never fails since Go 1.24
	g[7] = g[7]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

// GPT is a partition table as read from its primary copy.
type GPT struct {
	Sector     int64
	header     []byte // gptHeaderSize bytes or more
	entries    []byte
	entrySize  int
	entriesLBA int64
}

// GPTEntry is one partition; sectors are inclusive.
type GPTEntry struct {
	Type, ID    GUID
	First, Last int64
	Attributes  uint64
	Name        string
}

func (t *GPT) u64(at int) int64       { return int64(binary.LittleEndian.Uint64(t.header[at:])) }
func (t *GPT) set64(at int, v int64)  { binary.LittleEndian.PutUint64(t.header[at:], uint64(v)) }
func (t *GPT) set32(at int, v uint32) { binary.LittleEndian.PutUint32(t.header[at:], v) }

// Usable are the first and the last sector that a partition may have.
func (t *GPT) Usable() (first, last int64) { return t.u64(atFirstUsable), t.u64(atLastUsable) }

// Offsets in the header.
const (
	atHeaderCRC, atMyLBA, atAlternate    = 16, 24, 32
	atFirstUsable, atLastUsable          = 40, 48
	atEntriesLBA, atCount, atEntriesSize = 72, 80, 84
	atEntriesCRC                         = 88
)

// ReadGPT reads and checks the primary table of a disk with the given sector size. errNoGPT: there
// is none.
func ReadGPT(r io.ReaderAt, size, sector int64) (*GPT, error) {
	raw := make([]byte, gptHeaderSize)
	if size < 3*sector {
		return nil, ErrNoGPT
	}
	if _, err := r.ReadAt(raw, sector); err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	if string(raw[:8]) != gptSignature {
		return nil, ErrNoGPT
	}
	t := &GPT{Sector: sector, header: raw}
	if n := int64(binary.LittleEndian.Uint32(raw[12:])); n < gptHeaderSize || n > sector {
		return nil, fmt.Errorf("the partition table's header has %d bytes; %d to %d are allowed", n, gptHeaderSize, sector)
	} else if n > gptHeaderSize { // the rest belongs to the checksum
		t.header = make([]byte, n)
		if _, err := r.ReadAt(t.header, sector); err != nil {
			return nil, fmt.Errorf("reading the partition table: %w", err)
		}
	}
	if want := binary.LittleEndian.Uint32(raw[atHeaderCRC:]); t.headerCRC() != want {
		return nil, errors.New("the partition table's header is damaged: its checksum is wrong")
	}
	if err := t.checkHeader(size); err != nil {
		return nil, err
	}
	if _, err := r.ReadAt(t.entries, t.entriesLBA*sector); err != nil {
		return nil, fmt.Errorf("reading the partition entries: %w", err)
	}
	if crc32.ChecksumIEEE(t.entries) != binary.LittleEndian.Uint32(raw[atEntriesCRC:]) {
		return nil, errors.New("the partition table's entries are damaged: their checksum is wrong")
	}
	return t, t.checkEntries(size)
}

func (t *GPT) headerCRC() uint32 {
	h := bytes.Clone(t.header)
	clear(h[atHeaderCRC : atHeaderCRC+4])
	return crc32.ChecksumIEEE(h)
}

// checkHeader checks what the header says of places and sizes, and makes room for the entries.
func (t *GPT) checkHeader(size int64) error {
	count := int64(binary.LittleEndian.Uint32(t.header[atCount:]))
	entry := int64(binary.LittleEndian.Uint32(t.header[atEntriesSize:]))
	t.entriesLBA = t.u64(atEntriesLBA)
	if count < 1 || count > maxEntries || entry < 128 || entry > 4096 || entry%128 != 0 {
		return fmt.Errorf("the partition table has %d entries of %d bytes; 1 to %d of 128 to 4096 are allowed", count, entry, maxEntries)
	}
	t.entrySize, t.entries = int(entry), make([]byte, count*entry)
	sectors := size / t.Sector
	first, last := t.u64(atFirstUsable), t.u64(atLastUsable)
	switch { // that the table is of a larger disk is no fault while its partitions lie on this one
	case t.u64(atMyLBA) != 1:
		return fmt.Errorf("the partition table says it lies in sector %d, but it lies in sector 1", t.u64(atMyLBA))
	case t.entriesLBA < 2 || t.entriesLBA > sectors-t.entrySectors() || t.entriesLBA+t.entrySectors() > first:
		return fmt.Errorf("the partition entries lie at sector %d, which is not between the table and the partitions", t.entriesLBA)
	case first < 3 || first > last || first >= sectors:
		return fmt.Errorf("the partition table says partitions lie in sectors %d to %d, but the disk has %d", first, last, sectors)
	}
	return nil
}

// checkEntries refuses partitions that do not lie on the disk. Those that overlap, or begin before the first
// usable sector, are odd but read by everybody: in images for DVD and disk the first partition is all of it.
func (t *GPT) checkEntries(size int64) error {
	for i, e := range t.Entries() {
		if e.First < 0 || e.Last < e.First || e.Last >= size/t.Sector {
			return fmt.Errorf("partition %d lies in sectors %d to %d, but the disk has %d", i, e.First, e.Last, size/t.Sector)
		}
	}
	return nil
}

// numbered returns the partitions in the order of their numbers.
func (t *GPT) numbered() []Partition {
	var out []Partition
	for n, e := range t.Entries() {
		out = append(out, Partition{Number: n, Offset: e.First * t.Sector, Length: (e.Last - e.First + 1) * t.Sector})
	}
	return out
}

// entrySectors is how many sectors the entries take.
func (t *GPT) entrySectors() int64 {
	return (int64(len(t.entries)) + t.Sector - 1) / t.Sector
}

// Entries are those in use, each with its number, which starts at 1, in the order of the numbers.
func (t *GPT) Entries() iter.Seq2[int, GPTEntry] {
	return func(yield func(int, GPTEntry) bool) {
		for n := 1; n*t.entrySize <= len(t.entries); n++ {
			if e := t.Entry(n); e.Type != (GUID{}) && !yield(n, e) {
				return
			}
		}
	}
}

// Entry is the one of a number; its type is all zeros when it is not in use.
func (t *GPT) Entry(number int) GPTEntry {
	raw := t.entries[(number-1)*t.entrySize:][:128]
	return GPTEntry{
		Type: GUID(raw[:16]), ID: GUID(raw[16:32]),
		First: int64(binary.LittleEndian.Uint64(raw[32:])), Last: int64(binary.LittleEndian.Uint64(raw[40:])),
		Attributes: binary.LittleEndian.Uint64(raw[48:]), Name: name(raw[56:128]),
	}
}

func name(raw []byte) string {
	var units []uint16
	for ; len(raw) >= 2; raw = raw[2:] {
		u := binary.LittleEndian.Uint16(raw)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// encode writes an entry as it lies on the disk.
func (e GPTEntry) encode(raw []byte) {
	clear(raw)
	copy(raw, e.Type[:])
	copy(raw[16:], e.ID[:])
	binary.LittleEndian.PutUint64(raw[32:], uint64(e.First))
	binary.LittleEndian.PutUint64(raw[40:], uint64(e.Last))
	binary.LittleEndian.PutUint64(raw[48:], e.Attributes)
	for j, u := range utf16.Encode([]rune(e.Name)) {
		binary.LittleEndian.PutUint16(raw[56+2*j:], u)
	}
}

// Add puts a partition into the first free entry and returns its number.
func (t *GPT) Add(e GPTEntry) (int, error) {
	for i := 0; i*t.entrySize < len(t.entries); i++ {
		raw := t.entries[i*t.entrySize:][:t.entrySize]
		if GUID(raw[:16]) != (GUID{}) {
			continue
		}
		e.encode(raw)
		return i + 1, nil
	}
	return 0, fmt.Errorf("the partition table has no free entry: all %d are taken", len(t.entries)/t.entrySize)
}

// fit moves the table's end to the disk's end.
func (t *GPT) fit(size int64) error {
	last := size/t.Sector - 1
	usable := last - t.entrySectors() - 1
	for i, e := range t.Entries() {
		if e.Last > usable {
			return fmt.Errorf("partition %d ends in sector %d, which leaves no room for the backup partition table: sector %d is the "+
				"last that may be used", i, e.Last, usable)
		}
	}
	t.set64(atAlternate, last)
	t.set64(atLastUsable, usable)
	return nil
}

// Write writes the backup copy first, then the primary.
func (t *GPT) Write(w io.WriterAt) error {
	t.set32(atEntriesCRC, crc32.ChecksumIEEE(t.entries))
	last := t.u64(atAlternate)
	backup := &GPT{Sector: t.Sector, header: bytes.Clone(t.header), entries: t.entries}
	backup.set64(atMyLBA, last)
	backup.set64(atAlternate, 1)
	backup.set64(atEntriesLBA, last-t.entrySectors())
	for _, c := range []*GPT{backup, t} {
		c.set32(atHeaderCRC, c.headerCRC())
		sector := make([]byte, t.Sector)
		copy(sector, c.header)
		if _, err := w.WriteAt(c.entries, c.u64(atEntriesLBA)*t.Sector); err != nil {
			return fmt.Errorf("writing the partition entries: %w", err)
		}
		if _, err := w.WriteAt(sector, c.u64(atMyLBA)*t.Sector); err != nil {
			return fmt.Errorf("writing the partition table: %w", err)
		}
	}
	return nil
}
