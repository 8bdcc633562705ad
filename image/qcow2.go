package image

import (
	"encoding/binary"
	"fmt"
)

// Field offsets and rules are those of QEMU's docs/interop/qcow2.rst.

const qcow2Magic = "QFI\xfb"

// MaxVirtualSize is the largest disk an image may claim: 256 TiB, twice the largest drive sold.
const MaxVirtualSize = 256 << 40

const (
	headerLengthV2 = 72
	headerLengthV3 = 104
	maxL1Entries   = (32 << 20) / 8 // as in QEMU
	maxSnapshots   = 65536

	minExtendedBits = 14 // 32 subclusters of 512 bytes
)

// Incompatible feature bits of version 3.
const (
	featureDirty        = 1 << 0 // refcounts are stale; we do not read them
	featureCorrupt      = 1 << 1
	featureExternalData = 1 << 2
	featureCompression  = 1 << 3
	featureExtendedL2   = 1 << 4
	featuresKnown       = 1<<5 - 1
)

// Header extension types.
const (
	extensionEnd          = 0
	extensionExternalData = 0x44415441
	extensionEncryption   = 0x0537be77
)

// header is what we need of a qcow2 header.
type header struct {
	version     int
	clusterBits uint
	virtualSize int64
	l1Offset    int64
	l1Entries   int64 // those the virtual size needs; what is beyond holds states of virtual machines
	compression Compression
	subclusters bool // L2 entries are extended: each cluster is 32 subclusters
	snapshots   int
}

func (h *header) clusterSize() int64 { return 1 << h.clusterBits }

// entrySize is the length of an L2 entry.
func (h *header) entrySize() int64 {
	if h.subclusters {
		return 16
	}
	return 8
}

// perTable is how many bytes of the disk one L2 table describes.
func (h *header) perTable() int64 { return h.clusterSize() * (h.clusterSize() / h.entrySize()) }

// refuse builds the refusal of a qcow2 image.
func refuse(format string, args ...any) *Refusal {
	return &Refusal{Format: QCOW2, Reason: fmt.Sprintf(format, args...)}
}

// parseHeader reads and checks the header with its extensions; size is the file's.
func parseHeader(head []byte, size int64) (*header, error) {
	if len(head) < headerLengthV2 {
		return nil, refuse("the file has %d bytes; the header alone has %d", len(head), headerLengthV2)
	}
	be := binary.BigEndian
	h := &header{version: int(be.Uint32(head[4:])), snapshots: int(be.Uint32(head[60:]))}
	if h.version != 2 && h.version != 3 {
		return nil, refuse("version %d is not supported, only 2 and 3", h.version)
	}
	bits := be.Uint32(head[20:])
	if bits < 9 || bits > 21 {
		return nil, refuse("clusters of 2^%d bytes; 2^9 to 2^21 are allowed", bits)
	}
	h.clusterBits = uint(bits)
	if err := refuseOutside(head); err != nil {
		return nil, err
	}
	length, err := h.parseFeatures(head)
	if err != nil {
		return nil, err
	}
	if err := h.parseSizes(head, size); err != nil {
		return nil, err
	}
	if h.snapshots > maxSnapshots {
		return nil, refuse("it claims %d internal snapshots; at most %d are allowed", h.snapshots, maxSnapshots)
	}
	return h, h.checkExtensions(head, length)
}

// refuseOutside refuses what would make a reader open another file or ask for a key.
func refuseOutside(head []byte) error {
	be := binary.BigEndian
	if offset, length := be.Uint64(head[8:]), be.Uint32(head[16:]); offset != 0 || length != 0 {
		return refuse("it has a backing file%s; an image must stand alone (qemu-img convert makes it so)", backingName(head, offset, length))
	}
	switch method := be.Uint32(head[32:]); method {
	case 0:
		return nil
	case 1:
		return refuse("it is encrypted (AES); give the decrypted image")
	case 2:
		return refuse("it is encrypted (LUKS); give the decrypted image")
	default:
		return refuse("encryption method %d is unknown; give the decrypted image", method)
	}
}

// backingName quotes the backing file's name for the refusal, when it can be read.
func backingName(head []byte, offset uint64, length uint32) string {
	if length == 0 || length > 1023 || offset > uint64(len(head)) || offset+uint64(length) > uint64(len(head)) {
		return ""
	}
	return fmt.Sprintf(" (%.200q)", head[offset:offset+uint64(length)])
}

// parseFeatures checks version 3's own fields and returns the header's length.
func (h *header) parseFeatures(head []byte) (int64, error) {
	h.compression = Zlib
	if h.version == 2 {
		return headerLengthV2, nil
	}
	if len(head) < headerLengthV3 {
		return 0, refuse("the file has %d bytes; the header alone has %d", len(head), headerLengthV3)
	}
	be := binary.BigEndian
	length := int64(be.Uint32(head[100:]))
	if length < headerLengthV3 || length%8 != 0 || length > h.clusterSize() || length > int64(len(head)) {
		return 0, refuse("the header claims a length of %d bytes; a multiple of 8 from %d to one cluster is allowed", length, headerLengthV3)
	}
	if order := be.Uint32(head[96:]); order > 6 {
		return 0, refuse("reference counts of 2^%d bits; 2^0 to 2^6 are allowed", order)
	}
	if err := refuseFeatures(be.Uint64(head[72:])); err != nil {
		return 0, err
	}
	h.subclusters = be.Uint64(head[72:])&featureExtendedL2 != 0
	if h.subclusters && h.clusterBits < minExtendedBits {
		return 0, refuse("it has subclusters (extended L2 entries) in clusters of 2^%d bytes; 2^%d to 2^21 are allowed",
			h.clusterBits, minExtendedBits)
	}
	kind := byte(0)
	if length > headerLengthV3 {
		kind = head[104]
	}
	if (be.Uint64(head[72:])&featureCompression != 0) != (kind != 0) {
		return 0, refuse("the compression type is %d but the feature bit says otherwise", kind)
	}
	switch kind {
	case 0:
	case 1:
		h.compression = Zstd
	default:
		return 0, refuse("compression type %d is unknown; 0 (zlib) and 1 (zstd) are supported", kind)
	}
	return length, nil
}

func refuseFeatures(bits uint64) error {
	switch {
	case bits&featureCorrupt != 0:
		return refuse("it is marked corrupt; repair it first (qemu-img check -r all)")
	case bits&featureExternalData != 0:
		return refuse("its data lies in an external file; an image must stand alone (qemu-img convert makes it so)")
	case bits&^uint64(featuresKnown) != 0:
		return refuse("it needs unknown features (incompatible bits 0x%x)", bits&^uint64(featuresKnown))
	}
	return nil
}

// parseSizes checks the virtual size and the L1 table against each other and the file.
func (h *header) parseSizes(head []byte, size int64) error {
	be := binary.BigEndian
	virtual := be.Uint64(head[24:])
	if virtual == 0 || virtual > MaxVirtualSize {
		return refuse("it claims a virtual size of %d bytes; 1 to %d are allowed", virtual, int64(MaxVirtualSize))
	}
	h.virtualSize = int64(virtual)
	h.l1Entries = (h.virtualSize + h.perTable() - 1) / h.perTable()
	claimed := int64(be.Uint32(head[36:]))
	if claimed > maxL1Entries {
		return refuse("the L1 table claims %d entries; at most %d are allowed", claimed, maxL1Entries)
	}
	if claimed < h.l1Entries {
		return refuse("the L1 table has %d entries, but a virtual size of %d bytes needs %d", claimed, virtual, h.l1Entries)
	}
	offset := be.Uint64(head[40:])
	if offset%uint64(h.clusterSize()) != 0 || offset < uint64(h.clusterSize()) {
		return refuse("the L1 table lies at byte %d, which is not a cluster's start past the header", offset)
	}
	if offset > uint64(size) || h.l1Entries*8 > size-int64(offset) {
		return refuse("the L1 table lies at bytes %d to %d, but the file ends at %d: it is truncated or lies", offset,
			offset+uint64(h.l1Entries*8), size)
	}
	h.l1Offset = int64(offset)
	return nil
}

// checkExtensions walks the header extensions, which end with type 0 or with the first cluster.
func (h *header) checkExtensions(head []byte, at int64) error {
	end := min(h.clusterSize(), int64(len(head)))
	for at+8 <= end {
		kind, length := binary.BigEndian.Uint32(head[at:]), int64(binary.BigEndian.Uint32(head[at+4:]))
		switch kind {
		case extensionEnd:
			return nil
		case extensionExternalData:
			return refuse("it names an external data file; an image must stand alone (qemu-img convert makes it so)")
		case extensionEncryption:
			return refuse("it is encrypted (LUKS header); give the decrypted image")
		}
		if length > end-at-8 {
			return refuse("header extension 0x%08x claims %d bytes and leaves the header", kind, length)
		}
		at += 8 + (length+7)&^7
	}
	return nil
}
