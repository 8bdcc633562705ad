package ramdisk

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// File is one entry of the initramfs.
type File struct {
	Path         string      // relative, slashes: "modules/virtio_net.ko"; parents are made
	Mode         fs.FileMode // directory, character device, symbolic link or regular file
	Data         []byte      // of a regular file, or the link's target
	Major, Minor int         // of a device
}

// Type bits of a cpio mode (POSIX <sys/stat.h>), and the size of a "new ASCII" header.
const (
	typeDir     = 0o040000
	typeChar    = 0o020000
	typeRegular = 0o100000
	typeLink    = 0o120000
	headerSize  = 110
	trailer     = "TRAILER!!!" // the name of what ends an archive
)

// windowSize is how far back the kernel must remember while it unpacks. `zstd -19` takes as much.
const windowSize = 8 << 20

// pack writes the initramfs: a "new ASCII" cpio archive (the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst) in one zstd frame. Entries are
// sorted, belong to root and have no time, so equal files give equal bytes.
func pack(files []File) ([]byte, error) {
	archive, err := archive(files)
	if err != nil {
		return nil, err
	}
	// One thread: the split into blocks must not depend on the number of cores. The best level would
	// save a tenth of the size for four times the time.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowSize))
	if err != nil {
		return nil, fmt.Errorf("packing the ramdisk: %w", err)
	}
	return z.EncodeAll(archive, nil), nil
}

func archive(files []File) ([]byte, error) {
	entries, err := withParents(files)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for i, f := range entries {
		writeEntry(&b, i+1, f)
	}
	writeEntry(&b, 0, File{Path: trailer})
	return b.Bytes(), nil
}

// withParents sorts files, adds the directories nobody named and refuses names that occur twice:
// the kernel would quietly take the later one.
func withParents(files []File) ([]File, error) {
	byPath := map[string]File{}
	for _, f := range files {
		if !fs.ValidPath(f.Path) || f.Path == "." || strings.Contains(f.Path, "\x00") || f.Path == trailer {
			return nil, fmt.Errorf("packing the ramdisk: %q is not a relative path", f.Path)
		}
		if kind := f.Mode.Type(); kind != 0 && kind != fs.ModeDir && kind != fs.ModeSymlink && kind != fs.ModeDevice|fs.ModeCharDevice {
			return nil, fmt.Errorf("packing the ramdisk: %s is neither a file, directory, link nor character device, but %s", f.Path, kind)
		}
		if old, twice := byPath[f.Path]; twice && !(old.Mode.IsDir() && f.Mode.IsDir()) {
			return nil, fmt.Errorf("packing the ramdisk: %s is there twice", f.Path)
		}
		byPath[f.Path] = f
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			parent, there := byPath[dir]
			if !there {
				byPath[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			} else if !parent.Mode.IsDir() && parent.Mode&fs.ModeSymlink == 0 {
				return nil, fmt.Errorf("packing the ramdisk: %s is to be in %s, which is no directory", f.Path, dir)
			}
		}
	}
	entries := make([]File, 0, len(byPath))
	for _, f := range byPath {
		entries = append(entries, f)
	}
	// Sorting by path puts every directory before what is in it, as the kernel needs.
	slices.SortFunc(entries, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return entries, nil
}

func writeEntry(b *bytes.Buffer, inode int, f File) {
	links := 1
	if f.Mode.IsDir() {
		links = 2
	}
	// magic, inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor,
	// rdevminor, namesize (with its NUL), check
	fmt.Fprintf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		inode, cpioMode(f.Mode), 0, 0, links, 0, len(f.Data), 0, 0, f.Major, f.Minor, len(f.Path)+1, 0)
	b.WriteString(f.Path)
	b.WriteByte(0)
	pad(b, headerSize+len(f.Path)+1)
	b.Write(f.Data)
	pad(b, len(f.Data))
}

func pad(b *bytes.Buffer, written int) {
	for ; written%4 != 0; written++ {
		b.WriteByte(0)
	}
}

func cpioMode(m fs.FileMode) int {
	kind := typeRegular
	switch {
	case m.IsDir():
		kind = typeDir
	case m&fs.ModeSymlink != 0:
		kind = typeLink
	case m&fs.ModeCharDevice != 0:
		kind = typeChar
	}
	return kind | int(m.Perm())
}
