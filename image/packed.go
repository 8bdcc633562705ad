package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// Packing is how a whole image file is compressed.
type Packing string

// Unpacked is a file that is not compressed.
const (
	Unpacked   Packing = ""
	PackedGzip Packing = "gzip" // RFC 1952
	PackedXZ   Packing = "xz"   // the .xz file format 1.1.0
	PackedZstd Packing = "zstd" // RFC 8878
)

var packings = []struct {
	packing Packing
	magic   string
}{{PackedGzip, "\x1f\x8b\x08"}, {PackedXZ, "\xfd7zXZ\x00"}, {PackedZstd, "\x28\xb5\x2f\xfd"}}

func packingOf(head []byte) Packing {
	for _, p := range packings {
		if hasAt(head, 0, p.magic) {
			return p.packing
		}
	}
	return Unpacked
}

// maxUnpackMemory bounds what unpacking keeps of what it has unpacked: xz -9 and zstd --long=26 need as much.
const maxUnpackMemory = 64 << 20

// Unpack reads a compressed file as what it holds, to its end: a file may be many pieces one after another. What is
// damaged, cut or of another form is an error.
func Unpack(p Packing, r io.Reader) (io.ReadCloser, error) {
	switch p {
	case PackedGzip:
		return gzip.NewReader(r)
	case PackedXZ:
		x, err := xz.NewReader(r, maxUnpackMemory)
		if err != nil {
			return nil, tooLarge(err)
		}
		return io.NopCloser(xzReader{x}), nil
	case PackedZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxUnpackMemory))
		if err != nil {
			return nil, err
		}
		return zstdFile{z}, nil
	}
	return io.NopCloser(r), nil
}

type xzReader struct{ *xz.Reader }

func (x xzReader) Read(p []byte) (int, error) {
	n, err := x.Reader.Read(p)
	return n, tooLarge(err)
}

type zstdFile struct{ *zstd.Decoder }

func (z zstdFile) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	return n, tooLarge(err)
}

func (z zstdFile) Close() error {
	z.Decoder.Close()
	return nil
}

// tooLarge says what to do about a file that was packed for machines with much memory.
func tooLarge(err error) error {
	if errors.Is(err, xz.ErrMemlimit) || errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fmt.Errorf("unpacking it takes more than %d MiB of memory: pack it with xz -9 or zstd --long=26 at most (%w)",
			maxUnpackMemory>>20, err)
	}
	return err
}

// inside reads the head of what a compressed file holds; nil when it is not compressed. whole says that r is all of
// the file, so that an end of it is damage.
func inside(p Packing, r io.Reader, whole bool) ([]byte, error) {
	if p == Unpacked {
		return nil, nil
	}
	refused := func(err error) error {
		return &Refusal{Format: Format(p), Reason: fmt.Sprintf("it cannot be unpacked: %v", err)}
	}
	u, err := Unpack(p, r)
	if err != nil {
		return nil, refused(err)
	}
	defer u.Close()
	head, n := make([]byte, headSize), 0
	for n < len(head) && err == nil {
		var more int
		more, err = u.Read(head[n:])
		n += more
	}
	if err != nil && err != io.EOF && (whole || n == 0) {
		return nil, refused(err)
	}
	if n == 0 {
		return nil, &Refusal{Format: Format(p), Reason: "there is nothing in it"}
	}
	return head[:n], nil
}

// inspectPacked judges a compressed file by what it holds. Its disk size is what the file says, at least; 0 when it
// does not say.
func inspectPacked(e ends, p Packing) (Info, error) {
	in := ends{head: e.inner, size: math.MaxInt64}
	if err := refuseForeign(in); err != nil {
		return Info{}, err
	}
	if hasAt(in.head, 0, qcow2Magic) {
		return Info{}, &Refusal{Format: QCOW2, Reason: fmt.Sprintf("it is packed with %s as a whole, and cannot be read while it arrives: "+
			"unpack it (qcow2 compresses its clusters itself: qemu-img convert -c)", p)}
	}
	info := sniffRaw(in)
	info.Packed, info.Size, info.VirtualSize = p, e.size, saidSize(e, p)
	return info, nil
}

// saidSize is what a compressed file says of the size of what it holds: at least so much.
func saidSize(e ends, p Packing) int64 {
	switch p {
	case PackedXZ:
		return xzSize(e.tail)
	case PackedZstd:
		var h zstd.Header
		if h.Decode(e.head) == nil && h.HasFCS && h.FrameContentSize <= MaxVirtualSize {
			return int64(h.FrameContentSize)
		}
	}
	return 0
}

// xzSize reads the index at the end of the last stream of an .xz file (file format, sections 2.1.2 and 4); 0 when it
// is not all in the tail. The unpacking itself checks the index.
func xzSize(tail []byte) int64 {
	for len(tail) >= 4 && string(tail[len(tail)-4:]) == "\x00\x00\x00\x00" { // stream padding
		tail = tail[:len(tail)-4]
	}
	if len(tail) < 12 || string(tail[len(tail)-2:]) != "YZ" {
		return 0
	}
	footer := len(tail) - 12
	length := (int64(binary.LittleEndian.Uint32(tail[footer+4:])) + 1) * 4
	if length > int64(footer) {
		return 0
	}
	index := tail[int64(footer)-length : footer]
	if index[0] != 0 {
		return 0
	}
	index = index[1:]
	number := func() uint64 {
		v, n := binary.Uvarint(index)
		if n <= 0 {
			index = nil
			return 0
		}
		index = index[n:]
		return v
	}
	var total uint64
	for range min(number(), uint64(length)) {
		number()
		if total += number(); total > MaxVirtualSize {
			return 0
		}
	}
	if index == nil {
		return 0
	}
	return int64(total)
}
