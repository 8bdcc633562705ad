package image

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds a zstd decoder's memory; a cluster has at most 2 MiB and QEMU's encoder takes
// no larger window.
const maxWindow = 8 << 20

var (
	inflaters  sync.Pool // of io.ReadCloser that is a flate.Resetter
	zstdReader sync.Pool // of *zstd.Decoder
)

// Decode turns the extent's file bytes (src, FileLength long) into its disk bytes (dst,
// GuestLength long). It may be called from many goroutines. A cluster that does not decompress to
// its full length is a *Refusal.
func (e Extent) Decode(dst, src []byte) error {
	if int64(len(dst)) != e.GuestLength || int64(len(src)) != e.FileLength {
		return fmt.Errorf("decoding disk byte %d: %d bytes into %d, but the extent has %d into %d", e.GuestOffset, len(src), len(dst),
			e.FileLength, e.GuestLength)
	}
	var err error
	switch e.Compression {
	case Zlib:
		err = inflate(dst, src)
	case Zstd:
		err = unzstd(dst, src)
	default:
		copy(dst, src)
	}
	if err != nil {
		return refuse("the %s data of disk byte %d, at byte %d of the file, is damaged: %v", e.Compression, e.GuestOffset, e.FileOffset, err)
	}
	return nil
}

func inflate(dst, src []byte) error {
	r, _ := inflaters.Get().(io.ReadCloser)
	if r == nil {
		r = flate.NewReader(bytes.NewReader(src))
	} else if err := r.(flate.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
		return err
	}
	defer inflaters.Put(r)
	_, err := io.ReadFull(r, dst)
	return err
}

// unzstd reads as a stream, because what follows the frame in its last sector is not zstd.
func unzstd(dst, src []byte) error {
	d, _ := zstdReader.Get().(*zstd.Decoder)
	if d == nil {
		var err error
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
	}
	defer zstdReader.Put(d)
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return err
	}
	_, err := io.ReadFull(d, dst)
	return err
}
