// Package image owns disk images: what a file really is, whether it is safe to write to a disk,
// where its data lies, and where images come from (the local store, file:// and http(s)://). It
// refuses everything whose content would make a reader open something else, and everything whose
// sizes lie. It writes no disk and serves no client.
package image

// Format is what an image file really is, as the Bare Metal API spells disk formats.
type Format string

// The formats Billet writes to a disk. Raw, GPT and ISO are written byte for byte.
const (
	Raw   Format = "raw"   // no recognised structure, a file system, or an MBR partition table
	GPT   Format = "gpt"   // raw with a GUID partition table
	ISO   Format = "iso"   // ISO 9660, perhaps with a partition table of its own (isohybrid)
	QCOW2 Format = "qcow2" // version 2 or 3
)

// Info is what an image is.
type Info struct {
	Format         Format
	VirtualSize    int64  // bytes a disk needs to hold it; of a compressed file what it says, at least, or 0
	Size           int64  // bytes of the file itself
	PartitionTable string // "gpt", "mbr" or "" of a byte-for-byte image
	Packed         Packing

	// Of a qcow2 image only.
	Version     int         // 2 or 3
	ClusterSize int64       // bytes
	Compression Compression // how its compressed clusters are compressed, if it has any
	Snapshots   int         // internal snapshots; they are not read
}

// ByteForByte reports whether the file, once it is unpacked, is the disk's content as it is.
func (i Info) ByteForByte() bool { return i.Format != QCOW2 }

// Refusal says why an image is not written: it is of another format, unsafe, or lies about itself.
// Every other error of this package is a failed read.
type Refusal struct {
	Format Format // what the file is; "" when that cannot be told
	Reason string
}

func (r *Refusal) Error() string {
	if r.Format == "" {
		return "image refused: " + r.Reason
	}
	return string(r.Format) + " image refused: " + r.Reason
}
