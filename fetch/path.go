package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Path is the path in a file:// URL, or the text itself. It is taken as it is written: nothing in it
// stands for another character.
func Path(source string) string {
	const scheme = "file://"
	if len(source) < len(scheme) || !strings.EqualFold(source[:len(scheme)], scheme) {
		return source
	}
	path := source[len(scheme):]
	if rest, local := strings.CutPrefix(path, "localhost/"); local { // RFC 8089, section 2
		return "/" + rest
	}
	return path
}

// Check refuses a file that may not be read, by any process: one that is not there may be on another machine
// of this service. Of a file outside of the allowed directories it does not tell whether it is there.
func (g *Gate) Check(path string) error {
	_, err := g.resolve(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Open opens a file that may be read. What was allowed is what is opened: a link that is put into the
// path in between is not followed. The file's own path, without links, is its Name.
func (g *Gate) Open(path string) (*os.File, os.FileInfo, error) {
	real, err := g.resolve(path)
	if err != nil {
		return nil, nil, err
	}
	before, err := os.Lstat(real)
	if err != nil {
		return nil, nil, notThere(err)
	}
	if !before.Mode().IsRegular() { // to open a device may already do something
		return nil, nil, &Denial{fmt.Sprintf("%s is not a regular file", path)}
	}
	f, err := openNoLinks(real)
	if err != nil {
		return nil, nil, notThere(err)
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case !st.Mode().IsRegular():
		err = &Denial{fmt.Sprintf("%s is not a regular file", path)}
	case endless(f):
		err = &Denial{fmt.Sprintf("%s is no file of a disk: the kernel makes up its content", path)}
	case g.isSecret(st):
		err = g.own(path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// openNoLinks opens a path that has no link in it, and fails where one has come into it.
func openNoLinks(path string) (*os.File, error) {
	how := unix.OpenHow{
		// O_NONBLOCK: opening a named pipe must not wait for its writer.
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue // a rename elsewhere while the path was walked: openat2(2)
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// endless reports a file system whose files the kernel makes up while they are read: their sizes lie, some
// never end, and what they hold is the machine's own business. Numbers are those of linux/magic.h.
func endless(f *os.File) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return true
	}
	switch int64(st.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.EFIVARFS_MAGIC,
		unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.BPF_FS_MAGIC, unix.PSTOREFS_MAGIC, unix.SELINUX_MAGIC, unix.NSFS_MAGIC,
		unix.BINFMTFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, 0x62656570 /* configfs */ :
		return true
	}
	return false
}

// resolve returns the file's path without links, once it is known that it may be read.
func (g *Gate) resolve(path string) (string, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) {
		return "", &Denial{fmt.Sprintf("file://%s is not an absolute path without . and ..: file:///directory/file is allowed", path)}
	}
	if !g.named(path) {
		return "", g.notAllowed(path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		if g.secret(path) {
			return "", g.own(path)
		}
		return "", notThere(err)
	}
	if g.secret(real) {
		return "", g.own(path)
	}
	if !g.open(real) {
		return "", &Denial{"the link leads out of the allowed directories: " + g.notAllowed(real).Error()}
	}
	return real, nil
}

// named reports whether the path, as it is written, is one of those that may be read.
func (g *Gate) named(path string) bool {
	return g != nil && (slices.Contains(g.Files, path) || below(g.Dirs, path) || g.open(path))
}

// open reports whether a path without links is below an allowed directory, or one of the single files.
func (g *Gate) open(path string) bool {
	if below(realPaths(g.Dirs), path) {
		return true
	}
	return slices.ContainsFunc(g.Files, func(file string) bool {
		real, err := filepath.EvalSymlinks(file)
		return err == nil && real == path
	})
}

// secret reports whether a path without links is the service's own. The longer path decides: images lie
// in a directory of the data directory, and whoever allows the data directory itself has not meant its key.
func (g *Gate) secret(path string) bool {
	private := longest(realPaths(g.Secrets), path)
	if private == 0 {
		return false
	}
	if slices.Contains(realPaths(g.Files), path) && !slices.Contains(realPaths(g.Secrets), path) {
		return false
	}
	return longest(realPaths(g.Dirs), path) <= private
}

// isSecret finds the service's own files by another name: a hard link, or the same directory mounted twice.
func (g *Gate) isSecret(st os.FileInfo) bool {
	linked := false
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		linked = sys.Nlink > 1
	}
	for _, root := range realPaths(g.Secrets) {
		found := false
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil // what cannot be looked at cannot be read either
			}
			if e.IsDir() {
				if path != root && (!linked || slices.Contains(realPaths(g.Dirs), path)) {
					return filepath.SkipDir
				}
				return nil
			}
			if info, err := e.Info(); err == nil && os.SameFile(info, st) && g.secret(path) {
				found = true
				return filepath.SkipAll
			}
			return nil
		})
		if found {
			return true
		}
	}
	return false
}

func (g *Gate) own(path string) error {
	return &Denial{fmt.Sprintf("file://%s is one of this service's own files, which are read for nobody: "+
		"put images into image_dir, or into a directory of file_url_allowed_paths that is not data_dir", path)}
}

func (g *Gate) notAllowed(path string) error {
	if g == nil || len(g.Dirs) == 0 {
		return &Denial{fmt.Sprintf("file://%s may not be read: no directory is allowed for file:// URLs", path)}
	}
	return &Denial{fmt.Sprintf("file://%s may not be read: only files under %s are allowed", path, strings.Join(g.Dirs, ", "))}
}

// longest is the length of the longest of the directories that the path is below, or is; 0: of none.
func longest(dirs []string, path string) int {
	best := 0
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		dir = filepath.Clean(dir)
		if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
			best = max(best, len(dir))
		}
	}
	return best
}

// below reports whether the path is below one of the directories.
func below(dirs []string, path string) bool { return longest(dirs, filepath.Dir(path)) > 0 }

// realPaths are the paths without links, those that are there. Relative ones are left out.
func realPaths(paths []string) []string {
	var out []string
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			out = append(out, real)
		} else {
			out = append(out, filepath.Clean(path))
		}
	}
	return out
}

// notThere says why a file cannot be opened.
func notThere(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no such file%w", hidden{fs.ErrNotExist})
	case errors.Is(err, fs.ErrPermission):
		return errors.New("the file may not be read by this process: permission denied")
	case errors.Is(err, unix.ELOOP):
		return errors.New("it became a link while it was opened")
	}
	return err
}

// hidden wraps an error for errors.Is and says nothing.
type hidden struct{ error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.error }
