// Package erase makes disks forget: their metadata, or all they hold, by a command of their own or by
// overwriting. It believes no disk: what was written before must not be read afterwards. It refuses to begin
// what could not be stopped once it was asked to stop.
package erase

import (
	"context"
	"fmt"
	"slices"

	"github.com/billet-metal/billet/disk"
)

// Metadata makes a disk look blank to firmware and systems: no partition table, no file
// system, RAID or volume group can be found. The data itself stays. What was zeroed is read back.
func Metadata(d disk.Disk) error {
	areas := append(disk.Areas(d), disk.Partition{Length: d.Size()}) // the disk last: its table tells where the rest is
	var ends []stretch
	for _, a := range areas {
		n := min(disk.SignatureSize, a.Length)
		ends = append(ends, stretch{a.Offset, n}, stretch{a.Offset + a.Length - n, n})
	}
	for _, s := range ends {
		if err := d.Zero(s.offset, s.length); err != nil {
			return err
		}
	}
	if err := d.Sync(); err != nil {
		return err
	}
	for _, s := range ends {
		if err := readZeros(d, s); err != nil {
			return fmt.Errorf("erasing metadata: %w", err)
		}
	}
	return nil
}

// stretch is a part of a disk in bytes.
type stretch struct{ offset, length int64 }

// readZeros reads a range and wants it zero.
func readZeros(d disk.Disk, s stretch) error {
	buf := make([]byte, min(256<<10, s.length))
	for at := s.offset; at < s.offset+s.length; at += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), s.offset+s.length-at)]
		if _, err := d.ReadAt(part, at); err != nil {
			return err
		}
		if j := slices.IndexFunc(part, func(b byte) bool { return b != 0 }); j >= 0 {
			return fmt.Errorf("byte %d of the disk is not zero after it was overwritten: the disk is failing or lies", at+int64(j))
		}
	}
	return nil
}

// samples are the places that are read back after a whole disk was written.
const samples = 64

func sampleAt(d disk.Disk, i, length int64) int64 { return (d.Size() - length) / (samples - 1) * i }

// sampleZeros reads 64 places spread over the disk.
func sampleZeros(d disk.Disk) error {
	length := min(64<<10, d.Size())
	for i := range int64(samples) {
		if err := readZeros(d, stretch{sampleAt(d, i, length), length}); err != nil {
			return err
		}
	}
	return nil
}

// Express erases a disk as well as it can in moments: the metadata, and an NVMe disk's content by its own
// Format NVM (else its Sanitize) where they may be used. Other disks are told to forget everything (discard),
// which is tried out with marks: some forget nothing.
func Express(ctx context.Context, d disk.Disk, hw Hardware, o Options, progress func(method string, done int64)) (Result, error) {
	out, done, err := eraseByOwn(ctx, d, nvmeMethods(hw, o, formatFirst), o, progress)
	if done || err != nil {
		return out, err
	}
	out.Method, out.Verified = "metadata overwritten with zeros", "read back"
	if f, ok := d.(discarder); ok {
		_, err := markedRun(ctx, d, method{"discard", func(context.Context, func(done, all int64)) (string, error) {
			return "discard", f.Discard()
		}}, progress)
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		if err == nil {
			out.Method, out.Verified = "metadata overwritten with zeros, the rest discarded", fmt.Sprintf("read back, %d marks gone", marks)
		} else {
			out.Passed = append(out.Passed, fmt.Sprintf("discard: %v", err))
		}
	}
	return out, Metadata(d) // a discarded block may read as before, and the marks lie there
}

// discarder is a disk that can be told that nothing on it is needed any more.
type discarder interface{ Discard() error }
