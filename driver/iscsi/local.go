package iscsi

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/billet-metal/billet/image"
)

// localHost stands for this machine's own files in the URLs the disk writer reads.
const localHost = "this-service"

// clientFor reads an image where it is: an image file of this machine without any network.
func clientFor(c *http.Client, r image.Resolved) *http.Client {
	if r.URL == "" {
		return &http.Client{Transport: oneFile(r.Path)}
	}
	if c == nil {
		return http.DefaultClient
	}
	return c
}

// oneFile answers requests with one file, or a range of it.
type oneFile string

// RoundTrip implements http.RoundTripper.
func (name oneFile) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	f, err := os.Open(string(name))
	if err != nil {
		return nil, fmt.Errorf("opening the image: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the image: %w", err)
	}
	resp := &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Last-Modified": {st.ModTime().UTC().Format(http.TimeFormat)}},
	}
	first, length := int64(0), st.Size()
	if ranged := req.Header.Get("Range"); ranged != "" {
		last := st.Size() - 1
		start, end, _ := strings.Cut(strings.TrimPrefix(ranged, "bytes="), "-")
		if _, err := fmt.Sscan(start, &first); err != nil || first >= st.Size() {
			f.Close()
			return nil, fmt.Errorf("the range %q does not lie in the image of %d bytes", ranged, st.Size())
		}
		if end != "" {
			if _, err := fmt.Sscan(end, &last); err != nil {
				f.Close()
				return nil, fmt.Errorf("the range %q cannot be read", ranged)
			}
		}
		last = min(last, st.Size()-1)
		length = last - first + 1
		resp.Status, resp.StatusCode = "206 Partial Content", http.StatusPartialContent
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, st.Size()))
	}
	resp.ContentLength = length
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, first, length), f}
	return resp, nil
}
