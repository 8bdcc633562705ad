package write

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// stream reads the file once from its beginning to its end, over as many connections as it takes.
// One goroutine owns it.
type stream struct {
	*source
	ctx      context.Context
	pos      int64
	body     io.ReadCloser
	cancel   context.CancelFunc
	stall    *time.Timer
	attempts int
	pace     pace
}

// pace judges how fast a server sends, by the time it was waited for: a slow disk is not its fault.
type pace struct {
	window time.Duration // 0: stallTimeout
	waited time.Duration
	gained int
	slow   int
}

var errSlow = fmt.Errorf("the server sends less than %d bytes a minute", leastProgress)

func (p *pace) took(n int, d time.Duration) error {
	window := p.window
	if window == 0 {
		window = stallTimeout
	}
	p.gained, p.waited = p.gained+n, p.waited+d
	switch {
	case p.gained >= leastProgress:
		*p = pace{window: p.window}
	case p.waited >= window:
		*p = pace{window: p.window, slow: p.slow + 1}
	}
	if p.slow >= slowWindows {
		return errSlow
	}
	return nil
}

func (s *source) stream(ctx context.Context) *stream { return &stream{source: s, ctx: ctx} }

// Read fills p as far as the connection goes; a broken or silent connection is made again where
// it broke.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.pos == s.size {
			return 0, io.EOF
		}
		err := s.connect()
		if err == nil {
			s.stall.Reset(stallTimeout)
			var n int
			began := time.Now()
			n, err = s.body.Read(p[:min(int64(len(p)), s.size-s.pos)])
			if slow := s.pace.took(n, time.Since(began)); slow != nil {
				s.Close()
				return 0, fmt.Errorf("at byte %d of %d of %s: %w", s.pos, s.size, shown(s.url), slow)
			}
			if n > 0 {
				s.pos += int64(n)
				s.attempts = 0
				return n, nil
			}
		}
		s.Close()
		if s.ctx.Err() != nil {
			return 0, context.Cause(s.ctx)
		}
		if s.attempts++; s.attempts >= maxAttempts || isFinal(err) {
			return 0, fmt.Errorf("at byte %d of %d: %w", s.pos, s.size, err)
		}
		if err := pause(s.ctx, s.attempts); err != nil {
			return 0, err
		}
	}
}

var errChanged = errors.New("the image changed on the server during the download")

func isFinal(err error) bool {
	refused := (*statusError)(nil)
	return errors.Is(err, errChanged) || errors.As(err, &refused) && refused.code < 500 && refused.code != http.StatusTooManyRequests
}

// connect opens the connection at the stream's position; a server without ranges sends all again.
func (s *stream) connect() error {
	if s.body != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	stall := time.AfterFunc(stallTimeout, cancel)
	resp, err := s.get(ctx, s.pos, 0)
	if err != nil {
		stall.Stop()
		cancel()
		return err
	}
	s.body, s.cancel, s.stall = resp.Body, cancel, stall
	return s.position(resp)
}

// position makes the body start at the stream's position.
func (s *stream) position(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		want := fmt.Sprintf("bytes %d-%d/%d", s.pos, s.size-1, s.size)
		if got := resp.Header.Get("Content-Range"); got != want {
			return fmt.Errorf("downloading %s: asked for %q, got %q: %w", shown(s.url), want, got, errChanged)
		}
		return nil
	}
	tag := resp.Header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		tag = resp.Header.Get("Last-Modified")
	}
	if resp.ContentLength != s.size || tag != s.tag {
		return fmt.Errorf("downloading %s: %w", shown(s.url), errChanged)
	}
	for left := s.pos; left > 0; { // what was read before is read again and thrown away
		s.stall.Reset(stallTimeout)
		n, err := io.CopyN(io.Discard, s.body, min(left, 1<<20))
		left -= n
		if err != nil {
			return fmt.Errorf("downloading %s again up to byte %d: %w", shown(s.url), s.pos, err)
		}
	}
	return nil
}

// Close drops the connection; reading again makes a new one.
func (s *stream) Close() error {
	if s.body == nil {
		return nil
	}
	s.stall.Stop()
	s.cancel()
	s.body.Close()
	s.body = nil
	return nil
}
