package boot

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Source is one file of a record, open: a local file, or the body of an answer from a URL.
type Source struct {
	io.ReadCloser
	File *os.File // nil for a URL
	Size int64    // -1 when a URL's server does not say
}

// IsURL reports whether a record's kernel or ramdisk lies on another server.
func IsURL(place string) bool {
	return strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://")
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

// sourceClient fetches kernels and ramdisks that lie elsewhere. The whole answer may take
// long; its first byte may not.
var sourceClient = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	ResponseHeaderTimeout: 30 * time.Second,
	IdleConnTimeout:       30 * time.Second,
	MaxIdleConnsPerHost:   8,
	DisableCompression:    true, // a length that is not the file's would break TFTP's tsize
}}

// Fetch asks for a URL of a record with the given headers, such as Range. The caller closes
// the body, and judges the status.
func Fetch(ctx context.Context, method, url string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", url, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	return sourceClient.Do(req)
}

// OpenSource opens a file of a record from its first byte.
func OpenSource(ctx context.Context, place string) (*Source, error) {
	if !IsURL(place) {
		return openFile(place)
	}
	resp, err := Fetch(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("asking for %s: the server answered %s", place, resp.Status)
	}
	return &Source{ReadCloser: resp.Body, Size: resp.ContentLength}, nil
}

func openFile(path string) (*Source, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // opening a FIFO would hang
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Source{ReadCloser: f, File: f, Size: st.Size()}, nil
}
