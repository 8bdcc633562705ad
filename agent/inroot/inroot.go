// Package inroot owns opening files inside a mounted file system as if it were the root: links in
// it, absolute ones too, and ".." never lead out of it, whatever an image holds. It refuses to open
// anything outside, and follows no links of /proc.
package inroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens a path inside the folder dir; flags are open(2)'s. A file that is made has mode.
func Open(dir, name string, flags int, mode fs.FileMode) (*os.File, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode.Perm())
	}
	for {
		fd, err := unix.Openat2(root, relative(name), &how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue // a rename elsewhere while the path was walked: openat2(2)
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// relative is the path as openat2 is asked for it; the root itself is ".".
func relative(name string) string {
	if name = strings.TrimLeft(name, "/"); name == "" {
		return "."
	}
	return name
}

// ReadFile reads a regular file of at most limit bytes.
func ReadFile(dir, name string, limit int64) ([]byte, error) {
	f, err := OpenFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, nil
}

// OpenFile opens a regular file for reading. Opening a device or a pipe could block or act, so what
// it is is asked first, and of the same file.
func OpenFile(dir, name string) (*os.File, error) {
	f, err := Open(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Stat tells what a path leads to, links followed.
func Stat(dir, name string) (fs.FileInfo, error) {
	f, err := Open(dir, name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Names lists a folder of at most limit files, sorted by nothing.
func Names(dir, name string, limit int) ([]string, error) {
	f, err := Open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) { // an empty folder is its own end
		return nil, err
	}
	if len(names) > limit {
		return nil, fmt.Errorf("%s has more than %d files", name, limit)
	}
	return names, nil
}

// Mkdir makes a folder whose parent is there, with exactly the mode given.
func Mkdir(dir, name string, mode uint32) error {
	return inParent(dir, name, "mkdir", func(parent int, base string) error {
		if err := unix.Mkdirat(parent, base, mode); err != nil {
			return err
		}
		return unix.Fchmodat(parent, base, mode, 0) // whatever the umask is
	})
}

// Remove removes a file, or a link itself; no folder.
func Remove(dir, name string) error {
	return inParent(dir, name, "remove", func(parent int, base string) error { return unix.Unlinkat(parent, base, 0) })
}

// inParent acts on a name in its folder, which is found inside the root.
func inParent(dir, name, op string, act func(parent int, base string) error) error {
	name = path.Clean("/" + name)
	base := path.Base(name)
	if base == "/" {
		return &fs.PathError{Op: op, Path: name, Err: errors.New("it is the root itself")}
	}
	parent, err := Open(dir, path.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := act(int(parent.Fd()), base); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}
