package write

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

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
			if slow := s.pace.judge(n, time.Since(began)); slow != nil {
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

// pace judges how fast a server sends, by the time it was waited for: a slow disk is not its fault.
type pace struct {
	window time.Duration // 0: stallTimeout
	waited time.Duration
	gained int
	slow   int
}

var errSlow = fmt.Errorf("the server sends less than %d bytes a minute", leastProgress)

func (p *pace) judge(n int, d time.Duration) error {
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
