package iscsi

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/image"
)

// localHost stands for this machine's own files in the URLs the disk writer reads.
const localHost = "this-service"

// clientFor reads an image where it is: an image file of this machine without any network.
func clientFor(gate *fetch.Gate, r image.Resolved) *http.Client {
	if r.URL == "" {
		return &http.Client{Transport: oneFile{gate, r.Path}, CheckRedirect: fetch.Redirect}
	}
	return gate.Client()
}

// oneFile answers requests for this machine's file with it, or a range of it. Others, such as for a config drive that
// lies elsewhere, go there.
type oneFile struct {
	gate *fetch.Gate
	path string
}

// RoundTrip implements http.RoundTripper.
func (o oneFile) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != localHost {
		return o.gate.Client().Transport.RoundTrip(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	f, st, err := o.gate.Open(o.path)
	if err != nil {
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
