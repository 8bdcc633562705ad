package write

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/disk"
)

// MakeEphemeral makes the file system of an ephemeral partition on a disk that programs cannot open, such
// as one behind iSCSI: mke2fs makes it in a sparse file in dir, and what it wrote there is written to the
// partition. The file needs room for the journal (at most 1 GiB) and, with ext2 and ext3, for the
// inode tables (1.6 % of the partition); it is removed in the end.
func MakeEphemeral(ctx context.Context, d disk.Disk, p disk.Partition, format, dir string) error {
	if p.Role != disk.Ephemeral || p.Length == 0 {
		return errors.New("making the ephemeral partition's file system: it is no ephemeral partition")
	}
	if p.Offset+p.Length > d.Size() {
		return fmt.Errorf("making the ephemeral partition's file system: it has %d bytes from byte %d on, but the disk ends at %d",
			p.Length, p.Offset, d.Size())
	}
	if format == vfat {
		if err := makeFAT32(disk.Within(d, p.Offset, p.Length), p.Offset/d.SectorSize(), ephemeralLabel); err != nil {
			return fmt.Errorf("making the ephemeral partition's file system: %w", err)
		}
		return nil
	}
	f, whole, err := sparseFS(ctx, p.Length, d.SectorSize(), format, dir)
	if err != nil {
		return fmt.Errorf("making the ephemeral partition's file system: %w", err)
	}
	defer f.Close()
	if err := copySparse(ctx, disk.Within(d, p.Offset, p.Length), f, whole); err != nil {
		return fmt.Errorf("writing the ephemeral partition's file system: %w", err)
	}
	return nil
}

// sparseFS makes a file system in a file that has no name any more. whole reports that the file's holes
// are part of it too.
func sparseFS(ctx context.Context, size, sector int64, format, dir string) (f *os.File, whole bool, err error) {
	if format == "" {
		format = disk.EphemeralFormats[0]
	}
	if !slices.Contains(disk.EphemeralFormats, format) {
		return nil, false, fmt.Errorf("ephemeral_format is %q; %v can be made", format, disk.EphemeralFormats)
	}
	program, err := findProgram("mke2fs")
	if err != nil {
		return nil, false, errors.New("mke2fs is missing on this server: install e2fsprogs")
	}
	whole, err = hidesZeros(ctx, program, dir)
	if err != nil {
		return nil, false, err
	}
	if f, err = os.CreateTemp(dir, "ephemeral-*"); err != nil {
		return nil, false, err
	}
	defer os.Remove(f.Name())
	if err = f.Truncate(size); err == nil {
		options := []string{"-t", format, "-L", ephemeralLabel}
		if sector > 1024 { // the file does not tell mke2fs, whose smallest blocks are of 1024 bytes
			options = append(options, "-b", strconv.FormatInt(sector, 10))
		}
		err = mke2fs(ctx, program, f.Name(), options...)
	}
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, whole, nil
}

// mke2fs fills a file. The disk that it is made for holds old data, so zeros must be written and never
// be left out as if the file's holes were the disk's: that is what the variable asks for. What may stay
// as it is until the first mount (lazy_itable_init) is marked so in the file system.
func mke2fs(ctx context.Context, program, path string, options ...string) error {
	cmd := exec.CommandContext(ctx, program, append(options, "-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=0", path)...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/sbin", "UNIX_IO_NOZEROOUT=1"}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}

// hidesZeros finds out whether this mke2fs makes holes where zeros must be: it gets a small file without
// any, and must leave none.
func hidesZeros(ctx context.Context, program, dir string) (bool, error) {
	const size = 8 << 20
	f, err := os.CreateTemp(dir, "ephemeral-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(bytes.Repeat([]byte{0xff}, size)); err != nil {
		return false, err
	}
	if err := f.Sync(); err != nil { // what is not on the medium yet counts as data, whatever it is
		return false, err
	}
	if err := mke2fs(ctx, program, f.Name(), "-t", "ext4"); err != nil {
		return false, err
	}
	hole, err := f.Seek(0, unix.SEEK_HOLE)
	return hole != size, err
}

// copySparse writes what a file holds to a disk, zeros as requests to zero. Its holes are left out,
// unless all of it is to be written.
func copySparse(ctx context.Context, d disk.Disk, f *os.File, whole bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	memory, err := newPool(4)
	if err != nil {
		return err
	}
	defer memory.close()
	q := newQueue(d, cancel)
	defer q.close() // before the memory that it writes from
	s := &sink{queue: q}
	for at := int64(0); at < d.Size(); {
		data, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // none after this
			data, err = d.Size(), nil
		}
		if err != nil {
			return err
		}
		if whole {
			if err := zeroRange(ctx, s, at, data); err != nil {
				return err
			}
		}
		if at = data; at == d.Size() {
			break
		}
		end, err := f.Seek(at, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for at < end {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			c := memory.get(at)
			c.data = c.buf[:min(chunkSize, end-at)]
			if _, err := f.ReadAt(c.data, at); err != nil && err != io.EOF {
				return err
			}
			if err := s.plain(c, c.data, at, at); err != nil {
				return err
			}
			at += int64(len(c.data))
			c.release()
		}
	}
	return s.finish()
}

func zeroRange(ctx context.Context, s *sink, from, to int64) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n := min(to-from, disk.ZeroChunk)
		if err := s.zero(from, n, from+n); err != nil {
			return err
		}
		from += n
	}
	return nil
}
