package boot

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// Source is one file of a record, open: a local file, or the body of an answer from a URL.
type Source struct {
	io.ReadCloser
	File *os.File // nil for a URL
	Size int64    // -1 when a URL's server does not say
}

// IsURL reports whether a record's kernel or ramdisk lies on another server.
func IsURL(place string) bool {
	return fetch.IsURL(place)
}

// Place returns where the named file (KernelFile, RamdiskFile, ImageFile) of r lies; "" when r
// has none.
func (r *Record) Place(file string) string {
	switch file {
	case KernelFile:
		return r.Kernel
	case RamdiskFile:
		return r.Ramdisk
	case ImageFile:
		return r.Image
	}
	return ""
}

// Places are where all files of r lie.
func (r *Record) Places() []string {
	return slices.DeleteFunc([]string{r.Kernel, r.Ramdisk, r.Image}, func(place string) bool { return place == "" })
}

// Kind is the named file's kind in what the boot services tell of it.
func (r *Record) Kind(file string) node.BootFile {
	if r.Medium() && file == KernelFile {
		return node.MediumFile
	}
	return node.BootFile(file)
}

// silence is how long a server may say nothing in the middle of a file.
var silence = time.Minute

// Fetch asks for a URL of a record, if the gate allows it, with the given headers, such as Range. The caller closes
// the body, and judges the status. Reading a body whose server has fallen silent ends with an error.
// Errors do not hold what may be secret in a URL: user, password, query.
func Fetch(ctx context.Context, gate *fetch.Gate, method, place string, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, method, place, nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("asking for a file of a boot: %w", fetch.Scrub(err))
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := gate.Client().Do(req)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("asking for %s: %w", fetch.Redact(place), fetch.Scrub(err))
	}
	resp.Body = &body{ReadCloser: resp.Body, ctx: ctx, cancel: cancel}
	return resp, nil
}

// body is an answer's body; each read of it has a deadline.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	t := time.AfterFunc(silence, func() { b.cancel(fmt.Errorf("the server was silent for %s", silence)) })
	defer t.Stop()
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// OpenSource opens a file of a record from its first byte. The gate is asked again here: what a record says was
// allowed when it was written, and the file may be another one by now.
func OpenSource(ctx context.Context, gate *fetch.Gate, place string) (*Source, error) {
	if !IsURL(place) {
		f, st, err := gate.Open(place)
		if err != nil {
			return nil, err
		}
		return &Source{ReadCloser: f, File: f, Size: st.Size()}, nil
	}
	resp, err := Fetch(ctx, gate, http.MethodGet, place, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("asking for %s: the server answered %s", fetch.Redact(place), resp.Status)
	}
	return &Source{ReadCloser: resp.Body, Size: resp.ContentLength}, nil
}
