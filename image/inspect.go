package image

import (
	"errors"
	"fmt"
	"io"
)

// headSize is how much of a file's start Inspect looks at: the farthest signature, ISO 9660's and
// UDF's, lies between 32 and 40 KiB, and a qcow2 header with its extensions must fit.
const headSize = 64 << 10

// tailSize is how much of a file's end Inspect looks at: the footer of VHD and DMG.
const tailSize = 512

// Inspect tells what the file really is, by its content alone, and refuses what is not safe or
// not supported with a *Refusal. It reads the first 64 KiB and the last 512 bytes; ReadLayout
// looks at every table.
func Inspect(r io.ReaderAt, size int64) (Info, error) {
	h, err := readEnds(r, size)
	if err != nil {
		return Info{}, err
	}
	info, _, err := inspect(h)
	return info, err
}

// ends is what Inspect judges a file by. An empty tail means it could not be read.
type ends struct {
	head, tail []byte
	inner      []byte // of a compressed file: the head of what it holds
	size       int64
}

func readEnds(r io.ReaderAt, size int64) (ends, error) {
	e := ends{size: size}
	if size <= 0 {
		return e, &Refusal{Reason: "the file is empty"}
	}
	e.head = make([]byte, min(size, headSize))
	if err := readAt(r, e.head, 0); err != nil {
		return e, fmt.Errorf("reading the image's first %d bytes: %w", len(e.head), err)
	}
	e.tail = make([]byte, min(size, tailSize))
	if err := readAt(r, e.tail, size-int64(len(e.tail))); err != nil {
		return e, fmt.Errorf("reading the image's last %d bytes: %w", len(e.tail), err)
	}
	var err error
	e.inner, err = inside(packingOf(e.head), io.NewSectionReader(r, 0, size), true)
	return e, err
}

// readAt fills p or says why not; a full read with io.EOF is a full read.
func readAt(r io.ReaderAt, p []byte, offset int64) error {
	n, err := r.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inspect judges a file by its ends; the header is set for qcow2 only.
func inspect(e ends) (Info, *header, error) {
	if p := packingOf(e.head); p != Unpacked {
		info, err := inspectPacked(e, p)
		return info, nil, err
	}
	if err := refuseForeign(e); err != nil {
		return Info{}, nil, err
	}
	if !hasAt(e.head, 0, qcow2Magic) {
		return sniffRaw(e), nil, nil
	}
	h, err := parseHeader(e.head, e.size)
	if err != nil {
		return Info{}, nil, err
	}
	return Info{
		Format: QCOW2, VirtualSize: h.virtualSize, Size: e.size,
		Version: h.version, ClusterSize: h.clusterSize(), Compression: h.compression, Snapshots: h.snapshots,
	}, h, nil
}
