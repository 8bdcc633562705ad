package image

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/billet-metal/billet/fetch"
)

// resolveFile inspects a file of this machine, tables and all, and settles its checksum.
func (s *Store) resolveFile(ctx context.Context, path string, ref Ref) (Resolved, error) {
	algo, value, err := s.settleSum(ctx, ref, path)
	if err != nil {
		return Resolved{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return Resolved{}, err
	}
	f, st, err := s.openFile(path)
	if err != nil {
		return Resolved{}, err
	}
	defer f.Close()
	info, err := inspectFile(f, st.Size())
	if err != nil {
		return Resolved{}, err
	}
	if algo == "" {
		algo = "sha256"
	}
	got, err := s.sum(ctx, f, path, algo)
	if err != nil {
		return Resolved{}, err
	}
	if value != "" && value != got {
		return Resolved{}, fmt.Errorf("its %s is %s, but %s was asked for", algo, got, value)
	}
	return Resolved{Path: f.Name(), Size: st.Size(), Info: info, HashAlgo: algo, HashValue: got}, nil
}

// File finds a file that is no image, such as a kernel, under the rules for images: file:// under an allowed
// directory, a name in the store, or an http(s) URL, which is returned as it is. It is not inspected. A path is
// absolute and has no links, so what is read later is what was allowed. A file of the registry is returned as its source, once it
// is known that it can be had, or the registry can not be asked now.
func (s *Store) File(ctx context.Context, source string) (string, error) {
	if s.InRegistry(source) {
		if err := s.CheckFile(ctx, source); err != nil && (s.Away == nil || !s.Away(err)) {
			return "", err
		}
		return source, nil
	}
	if isURL(source) {
		return source, s.Gate.CheckURL(source)
	}
	if err := s.Validate(Ref{Source: source}); err != nil {
		return "", err
	}
	kind, path := sourceKind(source)
	switch kind {
	case sourceFile:
	case sourceName:
		path = filepath.Join(s.Dir, path)
	default:
		return "", fmt.Errorf("%s is no file of this machine", fetch.Redact(source))
	}
	f, st, err := s.openFile(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if st.Size() == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return f.Name(), nil
}

// openFile opens a regular file that may be read for somebody. A named image may be a link to another one.
func (s *Store) openFile(path string) (*os.File, os.FileInfo, error) {
	if s.Dir == "" {
		return s.Gate.Open(path)
	}
	if own, err := filepath.Abs(s.Dir); err == nil && filepath.Dir(path) == own {
		return s.Gate.With(own).Open(path)
	}
	return s.Gate.Open(path)
}

func notThere(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no such file")
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the file may not be read by this process: permission denied")
	}
	return err
}

// inspectFile inspects a file with all its tables.
func inspectFile(f *os.File, size int64) (Info, error) {
	info, err := Inspect(f, size)
	if err == nil && !info.ByteForByte() {
		_, err = ReadLayout(f, size)
	}
	return info, err
}

// identity is what a file looked like when it was hashed: the same identity, the same content.
type identity struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime_ns"`
	Inode   uint64 `json:"inode"`
	Device  uint64 `json:"device"`
}

// cachedSum is the checksums known of one file.
type cachedSum struct {
	identity
	Sums map[string]string `json:"sums"` // algorithm → hex
}

// hashing lets one goroutine at a time hash a file. It is a channel, so that waiting has a deadline.
type hashing chan struct{}

// sum returns the file's checksum, from the cache when the file has not changed since.
func (s *Store) sum(ctx context.Context, f *os.File, path, algo string) (string, error) {
	turn, _ := s.sums.LoadOrStore(path, make(hashing, 1))
	select {
	case turn.(hashing) <- struct{}{}:
		defer func() { <-turn.(hashing) }()
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for another task to compute the checksum: %w", ctx.Err())
	}
	id, err := identify(f, path)
	if err != nil {
		return "", err
	}
	known := s.loadSums(id)
	if value := known.Sums[algo]; value != "" {
		return value, nil
	}
	value, err := hashFile(ctx, f, algo)
	if err != nil {
		return "", fmt.Errorf("computing its %s: %w", algo, err)
	}
	if after, err := identify(f, path); err != nil || after != id {
		return "", fmt.Errorf("the file changed while its %s was computed", algo)
	}
	known.Sums[algo] = value
	s.saveSums(known)
	return value, nil
}

func identify(f *os.File, path string) (identity, error) {
	st, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	id := identity{Path: path, Size: st.Size(), ModTime: st.ModTime().UnixNano()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		id.Inode, id.Device = sys.Ino, uint64(sys.Dev)
	}
	return id, nil
}

// hashBuffers are shared: hashing wants large reads, and many files may be hashed at once.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

func hashFile(ctx context.Context, f io.ReaderAt, algo string) (string, error) {
	h, err := NewHash(algo)
	if err != nil {
		return "", err
	}
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	return sumOf(ctx, f, h, *buf)
}

func sumOf(ctx context.Context, f io.ReaderAt, h hash.Hash, buf []byte) (string, error) {
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.ReadAt(buf, at)
		h.Write(buf[:n])
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// sumFile is where a path's checksums are kept between processes.
func (s *Store) sumFile(path string) string {
	sum, _ := NewHash("sha256")
	sum.Write([]byte(path))
	return filepath.Join(s.Dir, sumDir, hex.EncodeToString(sum.Sum(nil))+".json")
}

// loadSums returns the known sums of a file that still looks the same. It ignores a damaged cache.
func (s *Store) loadSums(id identity) cachedSum {
	var c cachedSum
	if s.Dir == "" {
		if v, ok := s.cache.Load(id.Path); ok {
			c = v.(cachedSum)
		}
	} else if b, err := os.ReadFile(s.sumFile(id.Path)); err == nil && json.Unmarshal(b, &c) != nil {
		c = cachedSum{}
	}
	if c.identity != id || c.Sums == nil {
		c = cachedSum{identity: id, Sums: map[string]string{}}
	}
	return c
}

// saveSums keeps what is known. When it cannot, the next deploy hashes the file again.
func (s *Store) saveSums(c cachedSum) {
	if s.Dir == "" {
		s.cache.Store(c.Path, c)
		return
	}
	b, err := json.Marshal(c)
	if err != nil || os.MkdirAll(filepath.Join(s.Dir, sumDir), 0o755) != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Join(s.Dir, sumDir), "new-*")
	if err != nil {
		return
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Close()); err != nil || os.Rename(tmp.Name(), s.sumFile(c.Path)) != nil {
		os.Remove(tmp.Name())
	}
}
