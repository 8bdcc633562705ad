package image

// Range is a part of the image file.
type Range struct{ Offset, Length int64 }

// Layout says where the data of a disk lies in its image file. What no extent covers reads as
// zeros. A byte-for-byte image is one extent.
type Layout struct {
	VirtualSize int64    // bytes of the disk
	ClusterSize int64    // bytes; 0 for a byte-for-byte image
	Extents     []Extent // sorted by FileOffset; guest ranges never overlap
	Metadata    []Range  // header and tables that were read to learn this, sorted by Offset
}

// Extent is a part of the file that holds a part of the disk. Uncompressed extents have equal
// lengths and may span many clusters. A compressed extent is one cluster; its file range may
// share its last 511 bytes at most with the next one, and may carry a few bytes past its end.
type Extent struct {
	FileOffset, FileLength   int64
	GuestOffset, GuestLength int64
	Compression              Compression
}

// Compression is how one extent is stored.
type Compression uint8

// Compressions of a qcow2 cluster.
const (
	None Compression = iota
	Zlib             // raw deflate, RFC 1951, window 4 KiB
	Zstd             // RFC 8878
)

func (c Compression) String() string { return [...]string{"none", "zlib", "zstd"}[c] }
