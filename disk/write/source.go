package write

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/wire"
)

// What a broken connection may cost; a download that moves forward starts counting again.
const (
	maxAttempts  = 9
	stallTimeout = 60 * time.Second

	// A server that is never silent and never done: so little within stallTimeout, so many times in a row.
	leastProgress = 64 << 10
	slowWindows   = 3
)

// source is an image file behind http(s).
type source struct {
	client *http.Client
	url    string
	auth   func(*http.Request)
	size   int64
	tag    string // strong ETag or Last-Modified, for If-Range; "" none
	ranges bool   // the server answers Range
}

// shown is the URL without a password or a query, which may carry a signature.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the given URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// openSource asks the server for the file's size and whether it can resume.
func openSource(ctx context.Context, client *http.Client, img wire.ImageInfo) (*source, error) {
	if len(img.URLs) == 0 {
		return nil, fmt.Errorf("image %s has no URL", img.ID)
	}
	s := &source{client: client, url: img.URLs[0], auth: authorization(img)}
	if u, err := url.Parse(s.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("image %s has the URL %s: http and https are allowed", img.ID, shown(s.url))
	}
	var last error
	for attempt := range maxAttempts {
		if err := pause(ctx, attempt); err != nil {
			return nil, errors.Join(err, last)
		}
		last = s.probe(ctx)
		if last == nil {
			return s, nil
		}
		if refused := (*statusError)(nil); errors.As(last, &refused) && refused.code < 500 && refused.code != http.StatusTooManyRequests {
			return nil, last
		}
	}
	return nil, last
}

func authorization(img wire.ImageInfo) func(*http.Request) {
	if img.AuthStrategy != "http_basic" {
		return func(*http.Request) {}
	}
	return func(r *http.Request) { r.SetBasicAuth(img.AuthUser, img.AuthPassword) }
}

// statusError is an answer that is not the file.
type statusError struct {
	url  string
	code int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("downloading %s: the server answered %d %s", e.url, e.code, http.StatusText(e.code))
}

// probe asks for one byte: 206 says that ranges work and how long the file is.
func (s *source) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stallTimeout)
	defer cancel()
	resp, err := s.get(ctx, 0, 1)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.ranges = resp.StatusCode == http.StatusPartialContent
	s.size = resp.ContentLength
	if s.ranges {
		_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
		if s.size, err = strconv.ParseInt(total, 10, 64); err != nil {
			return fmt.Errorf("downloading %s: the server's Content-Range is %q", shown(s.url), resp.Header.Get("Content-Range"))
		}
	}
	if s.size <= 0 {
		return fmt.Errorf("downloading %s: the server does not say how long the image is, or it is empty", shown(s.url))
	}
	if tag := resp.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		s.tag = tag
	} else {
		s.tag = resp.Header.Get("Last-Modified")
	}
	return nil
}

// get asks for length bytes at offset (length 0: to the end). A plain GET is sent when offset and
// length are 0. The answer may be 200 when the server ignores ranges.
func (s *source) get(ctx context.Context, offset, length int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fmt.Errorf("downloading %s: %w", shown(s.url), err)
	}
	req.Header.Set("Accept-Encoding", "identity") // the checksum is of the file as it is stored
	s.auth(req)
	if offset > 0 || length > 0 {
		end := ""
		if length > 0 {
			end = strconv.FormatInt(offset+length-1, 10)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", offset, end))
		if s.tag != "" {
			req.Header.Set("If-Range", s.tag)
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var where *url.Error
		if errors.As(err, &where) { // its text would show the whole URL
			err = where.Err
		}
		return nil, fmt.Errorf("downloading %s: %w", shown(s.url), err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return nil, &statusError{url: shown(s.url), code: resp.StatusCode}
	}
	return resp, nil
}

// pause waits before an attempt: not before the first, then 0.5 s, 1 s, … up to 10 s.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(min(250*time.Millisecond<<attempt, 10*time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

var errChanged = errors.New("the image changed on the server during the download")

func isFinal(err error) bool {
	refused := (*statusError)(nil)
	return errors.Is(err, errChanged) || errors.As(err, &refused) && refused.code < 500 && refused.code != http.StatusTooManyRequests
}
