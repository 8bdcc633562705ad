package image

import "io"

// Inspect tells what the file really is, by its content alone, and refuses what is not safe or
// not supported with a *Refusal. It reads the head and the tail of the file, at most 70 KiB and
// a qcow2 header's extensions; ReadLayout looks at every table.
func Inspect(r io.ReaderAt, size int64) (Info, error) {
	return Info{}, &Refusal{Reason: "inspection is being written"}
}

// ReadLayout inspects the file and reads all its tables. Memory is bounded: 40 bytes for each of
// at most MaxExtents extents and 16 for each table.
func ReadLayout(r io.ReaderAt, size int64) (*Layout, error) {
	return nil, &Refusal{Reason: "inspection is being written"}
}

// Decode turns the extent's file bytes (src, FileLength long) into its disk bytes (dst,
// GuestLength long). It may be called from many goroutines.
func (e Extent) Decode(dst, src []byte) error {
	return &Refusal{Reason: "inspection is being written"}
}
