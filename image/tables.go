package image

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// MaxExtents bounds a layout's memory (40 bytes each); fragmented or compressed images of more
// are refused. 2 Mi extents are 128 GiB of compressed 64 KiB clusters.
const MaxExtents = 2 << 20

// Bits of table entries.
const (
	entryCopied     = 1 << 63 // reference count is one; says nothing to a reader
	entryCompressed = 1 << 62
	entryZero       = 1 << 0 // version 3: reads as zeros, whatever the offset
	offsetMask      = 0x00ff_ffff_ffff_fe00
)

// ReadLayout inspects the file and reads all its tables, so each lie about where data is has been
// found before anything is written. Memory is bounded: 40 bytes for each of at most MaxExtents
// extents, 16 for each run of tables, one cluster. The reads are the header, the L1 table (in one
// piece of at most 32 MiB) and each L2 table once.
func ReadLayout(r io.ReaderAt, size int64) (*Layout, error) {
	e, err := readEnds(r, size)
	if err != nil {
		return nil, err
	}
	info, h, err := inspect(e)
	if err != nil {
		return nil, err
	}
	if info.Packed != Unpacked {
		return nil, fmt.Errorf("a file that is packed with %s has no layout: it is unpacked from its start to its end", info.Packed)
	}
	if info.ByteForByte() {
		return &Layout{VirtualSize: size, Extents: []Extent{{FileLength: size, GuestLength: size}}}, nil
	}
	t := &tables{header: h, file: r, size: size}
	if err := t.read(); err != nil {
		return nil, err
	}
	return &Layout{VirtualSize: h.virtualSize, ClusterSize: h.clusterSize(), Extents: t.extents, Metadata: t.metadata}, nil
}

// tables collects a layout from a qcow2 image's L1 and L2 tables.
type tables struct {
	*header
	file     io.ReaderAt
	size     int64
	extents  []Extent
	metadata []Range
	l2Bytes  int64 // read so far; more than the file has means the same table again and again
}

func (t *tables) read() error {
	l1 := make([]byte, t.l1Entries*8)
	if err := readAt(t.file, l1, t.l1Offset); err != nil {
		return fmt.Errorf("reading the L1 table at byte %d: %w", t.l1Offset, err)
	}
	t.metadata = []Range{{0, min(t.clusterSize(), t.size)}, {t.l1Offset, int64(len(l1))}}
	l2 := make([]byte, t.clusterSize())
	for i := range t.l1Entries {
		if err := t.readL1Entry(i, binary.BigEndian.Uint64(l1[i*8:]), l2); err != nil {
			return err
		}
	}
	return t.finish()
}

// readL1Entry reads the L2 table that entry i of the L1 table points to, if any.
func (t *tables) readL1Entry(i int64, entry uint64, l2 []byte) error {
	if entry&^uint64(offsetMask|entryCopied) != 0 {
		return refuse("L1 entry %d is 0x%016x: reserved bits are set", i, entry)
	}
	offset := int64(entry & offsetMask)
	if offset == 0 {
		return nil
	}
	if offset%t.clusterSize() != 0 {
		return refuse("L1 entry %d points to byte %d, which is not a cluster's start", i, offset)
	}
	if offset > t.size-t.clusterSize() {
		return refuse("L1 entry %d points to bytes %d to %d, but the file ends at %d", i, offset, offset+t.clusterSize(), t.size)
	}
	if t.l2Bytes += t.clusterSize(); t.l2Bytes > t.size {
		return refuse("the L1 table points to more L2 tables than fit in the file: they overlap")
	}
	if err := readAt(t.file, l2, offset); err != nil {
		return fmt.Errorf("reading the L2 table at byte %d: %w", offset, err)
	}
	t.addMetadata(Range{offset, t.clusterSize()})
	guest := i * t.perTable()
	for at := int64(0); at < int64(len(l2)) && guest < t.virtualSize; at += t.entrySize() {
		entry := binary.BigEndian.Uint64(l2[at:])
		var err error
		switch {
		case t.subclusters:
			err = t.readExtendedEntry(guest, entry, binary.BigEndian.Uint64(l2[at+8:]))
		case entry != 0:
			err = t.readL2Entry(guest, entry)
		}
		if err != nil {
			return err
		}
		guest += t.clusterSize()
	}
	return nil
}

// readExtendedEntry adds the extents of a guest cluster that has subclusters. The bitmap's low half says which are
// in the file, the high half which read as zeros, as those do that are in neither (QEMU's qcow2.rst, "Extended L2
// Entries").
func (t *tables) readExtendedEntry(guest int64, entry, bitmap uint64) error {
	if entry&entryCompressed != 0 {
		if bitmap != 0 {
			return refuse("the L2 entry of disk byte %d is 0x%016x: a compressed cluster with subclusters", guest, entry)
		}
		return t.readL2Entry(guest, entry)
	}
	inFile, zero := uint32(bitmap), uint32(bitmap>>32)
	if inFile&zero != 0 {
		return refuse("the L2 entry of disk byte %d has subclusters that hold data and are zeros (0x%016x)", guest, bitmap)
	}
	if entry&^uint64(offsetMask|entryCopied) != 0 {
		return refuse("the L2 entry of disk byte %d is 0x%016x: reserved bits are set", guest, entry)
	}
	offset, size := int64(entry&offsetMask), t.clusterSize()/32
	if inFile == 0 {
		return nil
	}
	if offset == 0 || offset%t.clusterSize() != 0 {
		return refuse("the data of disk byte %d lies at byte %d, which is not a cluster's start", guest, offset)
	}
	for n := int64(0); n < 32; {
		run := int64(bits.TrailingZeros32(^(inFile >> n)))
		if run == 0 {
			n++
			continue
		}
		e := Extent{FileOffset: offset + n*size, GuestOffset: guest + n*size}
		n += run
		if e.GuestOffset >= t.virtualSize {
			break
		}
		if e.FileOffset >= t.size {
			return refuse("the data of disk byte %d lies at byte %d, but the file ends at %d", e.GuestOffset, e.FileOffset, t.size)
		}
		e.GuestLength = min(run*size, t.virtualSize-e.GuestOffset, t.size-e.FileOffset) // a file may end within its last cluster
		e.FileLength = e.GuestLength
		if err := t.add(e); err != nil {
			return err
		}
	}
	return nil
}

// readL2Entry adds the extent of the guest cluster at the given byte of the disk.
func (t *tables) readL2Entry(guest int64, entry uint64) error {
	e := Extent{GuestOffset: guest, GuestLength: min(t.clusterSize(), t.virtualSize-guest)}
	if entry&entryCompressed != 0 {
		return t.addCompressed(e, entry)
	}
	if t.version == 3 && entry&entryZero != 0 {
		return nil
	}
	if entry&^uint64(offsetMask|entryCopied) != 0 {
		return refuse("the L2 entry of disk byte %d is 0x%016x: reserved bits are set", guest, entry)
	}
	e.FileOffset = int64(entry & offsetMask)
	if e.FileOffset == 0 {
		return nil
	}
	if e.FileOffset%t.clusterSize() != 0 {
		return refuse("the data of disk byte %d lies at byte %d, which is not a cluster's start", guest, e.FileOffset)
	}
	if e.FileOffset >= t.size {
		return refuse("the data of disk byte %d lies at byte %d, but the file ends at %d", guest, e.FileOffset, t.size)
	}
	// A file may end within its last cluster; the rest reads as zeros.
	e.GuestLength = min(e.GuestLength, t.size-e.FileOffset)
	e.FileLength = e.GuestLength
	return t.add(e)
}

// addCompressed splits a compressed cluster's descriptor: its byte offset, then how many more
// 512-byte sectors it takes than the one it starts in.
func (t *tables) addCompressed(e Extent, entry uint64) error {
	if entry&entryCopied != 0 {
		return refuse("the L2 entry of disk byte %d is 0x%016x: a compressed cluster with the copied bit", e.GuestOffset, entry)
	}
	split := 62 - (t.clusterBits - 8)
	e.FileOffset = int64(entry & (1<<split - 1))
	sectors := int64(entry&(entryCompressed-1)>>split) + 1
	end := e.FileOffset&^511 + sectors*512
	// The last sector may be cut where the file ends.
	if e.FileOffset >= t.size || end-t.size > 511 {
		return refuse("the compressed data of disk byte %d lies at bytes %d to %d, but the file ends at %d", e.GuestOffset, e.FileOffset, end,
			t.size)
	}
	e.FileLength = min(end, t.size) - e.FileOffset
	e.Compression = t.compression
	return t.add(e)
}

// add keeps an extent, joined to the last one when it goes on from there in file and disk.
func (t *tables) add(e Extent) error {
	if n := len(t.extents); n > 0 && e.Compression == None {
		last := &t.extents[n-1]
		if last.Compression == None && last.FileOffset+last.FileLength == e.FileOffset && last.GuestOffset+last.GuestLength == e.GuestOffset {
			last.FileLength += e.FileLength
			last.GuestLength += e.GuestLength
			return nil
		}
	}
	if len(t.extents) == MaxExtents {
		return refuse("its data lies in more than %d pieces; rewrite it with larger clusters (qemu-img convert -o cluster_size=2M)", MaxExtents)
	}
	t.extents = append(t.extents, e)
	return nil
}

func (t *tables) addMetadata(r Range) {
	last := &t.metadata[len(t.metadata)-1]
	if len(t.metadata) > 2 && last.Offset+last.Length == r.Offset {
		last.Length += r.Length
		return
	}
	t.metadata = append(t.metadata, r)
}

// finish sorts what was found and refuses whatever lies on top of something else.
func (t *tables) finish() error {
	slices.SortFunc(t.metadata, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	slices.SortFunc(t.extents, func(a, b Extent) int { return cmp.Compare(a.FileOffset, b.FileOffset) })
	for i := 1; i < len(t.metadata); i++ {
		if a, b := t.metadata[i-1], t.metadata[i]; a.Offset+a.Length > b.Offset {
			return refuse("the tables at bytes %d and %d overlap", a.Offset, b.Offset)
		}
	}
	if err := t.checkExtents(); err != nil {
		return err
	}
	return t.checkAgainstMetadata()
}

// checkExtents refuses data that belongs to two places of the disk. Compressed clusters are
// packed byte by byte but measured in sectors, so the next may start in the last one's sector.
func (t *tables) checkExtents() error {
	var end int64 // where the file is used up to
	var packed bool
	for i, e := range t.extents {
		free := end
		if packed && e.Compression != None {
			free = end - 511
		}
		if i > 0 && (e.FileOffset < free || e.FileOffset == t.extents[i-1].FileOffset) {
			return refuse("the data of disk bytes %d and %d overlaps at byte %d of the file", t.extents[i-1].GuestOffset, e.GuestOffset,
				e.FileOffset)
		}
		if e.FileOffset+e.FileLength >= end {
			end, packed = e.FileOffset+e.FileLength, e.Compression != None
		}
	}
	return nil
}

// checkAgainstMetadata refuses data that lies on a table.
func (t *tables) checkAgainstMetadata() error {
	m := 0
	for _, e := range t.extents {
		for m < len(t.metadata) && t.metadata[m].Offset+t.metadata[m].Length <= e.FileOffset {
			m++
		}
		if m < len(t.metadata) && t.metadata[m].Offset < e.FileOffset+e.FileLength {
			return refuse("the data of disk byte %d lies on the table at byte %d", e.GuestOffset, t.metadata[m].Offset)
		}
	}
	return nil
}
