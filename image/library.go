package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// sumDir holds the checksums kept between processes, in the store's directory. Names of images
// cannot start with a dot.
const sumDir = ".sums"

var nameShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Named is one image of the store.
type Named struct {
	Name     string
	Size     int64
	Info     Info
	Modified time.Time
	Problem  string // why it cannot be deployed; "" when it can
}

func (s *Store) checkName(name string) error {
	if !nameShape.MatchString(name) {
		return fmt.Errorf("%q is not the name of an image: letters, digits, dot, dash and underscore are allowed, at most 128, the first a "+
			"letter or digit", name)
	}
	if s.Dir == "" {
		return fmt.Errorf("the image %q is named, but this service has no image store", name)
	}
	return nil
}

// Import copies an image into the store under a name, replacing the one of that name, once it
// has arrived whole, has the checksum asked for and is safe. from is a path, file:// URL or
// http(s) URL; want.Source is not used. Import does not ask whether a path is allowed: who calls
// it can read the file anyway.
func (s *Store) Import(ctx context.Context, name, from string, want Ref) (Resolved, error) {
	if err := s.checkName(name); err != nil {
		return Resolved{}, err
	}
	if _, err := wantedSum(want); err != nil {
		return Resolved{}, err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return Resolved{}, fmt.Errorf("making the image store: %w", err)
	}
	s.sweep()
	r, err := s.importFile(ctx, name, from, want)
	if err != nil {
		return Resolved{}, fmt.Errorf("importing %s as %q: %w", fetch.Redact(from), name, err)
	}
	return r, nil
}

// sweep removes what an import that was killed left behind, a day later.
func (s *Store) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.Dir, ".import-*"))
	for _, path := range left {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			os.Remove(path)
		}
	}
}

func (s *Store) importFile(ctx context.Context, name, from string, want Ref) (Resolved, error) {
	tmp, err := os.CreateTemp(s.Dir, ".import-*")
	if err != nil {
		return Resolved{}, err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	defer tmp.Close()
	want, err = s.copyFrom(ctx, tmp, from, want)
	if err != nil {
		return Resolved{}, err
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync()); err != nil {
		return Resolved{}, err
	}
	r, err := s.resolveFile(ctx, tmp.Name(), want)
	if err != nil {
		return Resolved{}, err
	}
	if err := checkFormat(want.DiskFormat, r.Info); err != nil {
		return Resolved{}, err
	}
	r.Path = filepath.Join(s.Dir, name)
	if err := os.Rename(tmp.Name(), r.Path); err != nil {
		return Resolved{}, err
	}
	return r, s.moveSums(tmp, r)
}

// moveSums keeps the checksum just computed under the image's own name.
func (s *Store) moveSums(f *os.File, r Resolved) error {
	os.Remove(s.sumFile(f.Name()))
	s.sums.Delete(f.Name())
	id, err := identify(f, r.Path)
	if err != nil {
		return err
	}
	s.saveSums(cachedSum{identity: id, Sums: map[string]string{r.HashAlgo: r.HashValue}})
	return nil
}

// copyFrom fills the file and turns a checksum file's URL in want into the checksum.
func (s *Store) copyFrom(ctx context.Context, to *os.File, from string, want Ref) (Ref, error) {
	kind, path := sourceKind(from)
	algo, value, err := s.settleSum(ctx, want, from)
	if err != nil {
		return want, err
	}
	want.Checksum, want.HashAlgo, want.HashValue = "", algo, value
	switch kind {
	case sourceHTTP:
		return want, s.download(ctx, to, path, want)
	case sourceFile, sourceName:
		f, err := os.Open(path)
		if err != nil {
			return want, notThere(err)
		}
		defer f.Close()
		_, err = io.Copy(to, contextReader{ctx, f})
		return want, err
	}
	return want, fmt.Errorf("a path, a file:// URL or an http(s):// URL is allowed")
}

// download copies an HTTP body. A connection that is silent for the store's timeout has failed.
func (s *Store) download(ctx context.Context, to io.Writer, from string, want Ref) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	silence := time.AfterFunc(timeout, func() { cancel(fmt.Errorf("the server was silent for %s", timeout)) })
	defer silence.Stop()
	resp, err := s.get(ctx, from, want, "")
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	n, err := io.Copy(to, progressReader{resp.Body, func() { silence.Reset(timeout) }})
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, causeOf(ctx, fetch.Scrub(err)))
	}
	return nil
}

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		return cause
	}
	return err
}

// progressReader calls back whenever bytes arrive.
type progressReader struct {
	io.Reader
	arrived func()
}

func (r progressReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.arrived()
	}
	return n, err
}

// contextReader stops reading when the context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// List lists the store's images by name. An image that cannot be deployed says why.
func (s *Store) List() ([]Named, error) {
	if s.Dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the image store: %w", err)
	}
	var list []Named
	for _, e := range entries {
		if nameShape.MatchString(e.Name()) && !e.IsDir() {
			list = append(list, s.describe(e.Name()))
		}
	}
	return list, nil
}

func (s *Store) describe(name string) Named {
	f, st, err := s.openFile(filepath.Join(s.Dir, name))
	if err != nil {
		return Named{Name: name, Problem: err.Error()}
	}
	defer f.Close()
	n := Named{Name: name, Size: st.Size(), Modified: st.ModTime()}
	if n.Info, err = inspectFile(f, st.Size()); err != nil {
		n.Problem = err.Error()
	}
	return n
}

// Remove takes an image out of the store. Machines that are reading it keep the open file.
func (s *Store) Remove(name string) error {
	if err := s.checkName(name); err != nil {
		return err
	}
	path := filepath.Join(s.Dir, name)
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the image %q: %w", name, notThere(err))
	}
	os.Remove(s.sumFile(path))
	return nil
}
