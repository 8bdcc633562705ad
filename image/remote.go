package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/fetch"
)

const defaultTimeout = 60 * time.Second

// maxSumFile bounds a checksum file: SHA512SUMS of a whole distribution mirror is far smaller.
const maxSumFile = 4 << 20

// resolveHTTP settles the checksum and looks at the image's head. One ranged GET gives size and
// head at once, and works with URLs signed for GET alone, where HEAD is refused.
func (s *Store) resolveHTTP(ctx context.Context, source string, ref Ref) (Resolved, error) {
	leave, err := s.turnAt(ctx, source)
	if err != nil {
		return Resolved{}, err
	}
	defer leave()
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	algo, value, err := s.settleSum(ctx, ref, source)
	if err != nil {
		return Resolved{}, err
	}
	if Weak(algo) && (algo != "md5" || s.MD5 != AllowMD5) {
		return Resolved{}, fmt.Errorf("an %s checksum is not accepted for an image read over HTTP, as it can be forged: give sha256 or sha512",
			algo)
	}
	e, err := s.fetchEnds(ctx, source, ref)
	if err != nil {
		return Resolved{}, err
	}
	info, _, err := inspect(e)
	if err != nil {
		return Resolved{}, err
	}
	return Resolved{URL: source, Size: e.size, Info: info, HashAlgo: algo, HashValue: value}, nil
}

// deadline bounds everything that one call asks of servers.
func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// Of one server so many images are looked at at once, and so long is waited for a turn: a server that takes its
// time must not have all the workers of this service.
const (
	turnsAtOnce = 4
	turnWait    = 10 * time.Second
)

// turnAt waits for a turn at the server of an image.
func (s *Store) turnAt(ctx context.Context, source string) (leave func(), err error) {
	host := source
	if u, err := url.Parse(source); err == nil {
		host = strings.ToLower(u.Host)
	}
	v, _ := s.turns.LoadOrStore(host, make(chan struct{}, turnsAtOnce))
	turns := v.(chan struct{})
	wait := s.turnWait
	if wait <= 0 {
		wait = turnWait
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-timer.C:
		return nil, fmt.Errorf("%d other images of %s are being looked at, and it does not answer them in time: "+
			"try again when the server is faster", turnsAtOnce, host)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// pathOf is the path of a source, a URL or a path, by whose end its file is found in a checksum file.
func pathOf(source string) string {
	if u, err := url.Parse(source); err == nil && isURL(source) {
		return u.Path
	}
	return source
}

// settleSum returns the checksum that ref asks for, reading it from its checksum file when it names one; both are
// empty when it asks for none.
func (s *Store) settleSum(ctx context.Context, ref Ref, source string) (algo, value string, err error) {
	want, err := wantedSum(ref)
	if err != nil || want.url == "" {
		return want.algo, want.value, err
	}
	algo, value, err = s.fetchSum(ctx, want, ref, source)
	if err != nil {
		return "", "", fmt.Errorf("reading the checksum file %s: %w", fetch.Redact(want.url), err)
	}
	return algo, value, nil
}

// fetchSum reads the checksum of the file at source from a checksum file. A server gets the password that it gets
// for the image.
func (s *Store) fetchSum(ctx context.Context, want asked, ref Ref, source string) (algo, value string, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	body, err := s.openSum(ctx, want.url, ref, source)
	if err != nil {
		return "", "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxSumFile+1))
	if err != nil {
		return "", "", fetch.Scrub(err)
	}
	if len(text) > maxSumFile {
		return "", "", fmt.Errorf("it has more than %d bytes, which no checksum file has", maxSumFile)
	}
	return findSum(text, pathOf(source), want.algo)
}

func (s *Store) openSum(ctx context.Context, place string, ref Ref, source string) (io.ReadCloser, error) {
	if !isURL(place) {
		f, _, err := s.openFile(fetch.Path(place))
		return f, err
	}
	sums, err := url.Parse(place)
	image, other := url.Parse(source)
	if err != nil || other != nil || !isURL(source) || !fetch.SameServer(sums, image) {
		ref.User, ref.Password = "", ""
	}
	resp, err := s.get(ctx, place, ref, "")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return resp.Body, nil
}

// fetchEnds reads the head of a remote image, and its tail when the server serves ranges.
func (s *Store) fetchEnds(ctx context.Context, source string, ref Ref) (ends, error) {
	resp, err := s.get(ctx, source, ref, fmt.Sprintf("bytes=0-%d", headSize-1))
	if err != nil {
		return ends{}, err
	}
	defer resp.Body.Close()
	size, err := sizeOf(resp)
	if err != nil {
		return ends{}, err
	}
	if resp.StatusCode == http.StatusPartialContent {
		if err := beginsAt(resp, 0); err != nil {
			return ends{}, err
		}
	}
	want := int64(headSize)
	if size > 0 {
		want = min(want, size)
	}
	e := ends{size: size, head: make([]byte, want)}
	n, err := io.ReadFull(resp.Body, e.head)
	if size == 0 && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)) {
		e.head, e.size, err = e.head[:n], int64(n), nil
	}
	if err != nil {
		return ends{}, fmt.Errorf("reading the image's first %d bytes: %w", len(e.head), fetch.Scrub(err))
	}
	if e.size == 0 {
		return ends{}, unknownSize(e)
	}
	if resp.StatusCode == http.StatusPartialContent && size > headSize {
		if e.tail, err = s.fetchTail(ctx, source, ref, size); err != nil {
			return e, err
		}
	}
	e.inner, err = s.lookInside(ctx, source, ref, e)
	return e, err
}

// packedHead is how much of a compressed file is read to know what is in it.
const packedHead = 1 << 20

// lookInside reads the head of what a compressed image holds.
func (s *Store) lookInside(ctx context.Context, source string, ref Ref, e ends) ([]byte, error) {
	p := packingOf(e.head)
	if p == Unpacked || e.size <= int64(len(e.head)) {
		return inside(p, bytes.NewReader(e.head), true)
	}
	resp, err := s.get(ctx, source, ref, fmt.Sprintf("bytes=0-%d", min(e.size, packedHead)-1))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return inside(p, io.LimitReader(resp.Body, packedHead), e.size <= packedHead)
}

// unknownSize explains why an image without a length is not taken.
func unknownSize(e ends) error {
	if len(e.head) == 0 {
		return &Refusal{Reason: "the file is empty"}
	}
	return fmt.Errorf("the server does not say how long the image is (no Content-Length), so a cut one could not be told from a whole one")
}

// fetchTail reads the last bytes; a server that will not is no error, as the agent checks again.
func (s *Store) fetchTail(ctx context.Context, source string, ref Ref, size int64) ([]byte, error) {
	resp, err := s.get(ctx, source, ref, fmt.Sprintf("bytes=%d-%d", size-tailSize, size-1))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	tail := make([]byte, tailSize)
	if resp.StatusCode != http.StatusPartialContent {
		return nil, nil
	}
	if err := beginsAt(resp, size-tailSize); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(resp.Body, tail); err != nil {
		return nil, fmt.Errorf("reading the image's last %d bytes: %w", tailSize, fetch.Scrub(err))
	}
	return tail, nil
}

// get asks for a URL with ref's user and password, for a part of it when ranged is not empty.
// A redirect takes the password to no other server: see fetch.Redirect.
func (s *Store) get(ctx context.Context, source string, ref Ref, ranged string) (*http.Response, error) {
	if err := s.Gate.CheckURL(source); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, fetch.Scrub(err)
	}
	req.Header.Set("Accept-Encoding", "identity") // sizes and checksums are of the file as it is stored
	if ranged != "" {
		req.Header.Set("Range", ranged)
	}
	if ref.User != "" {
		req.SetBasicAuth(ref.User, ref.Password)
	}
	resp, err := s.Gate.Client().Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", req.URL.Host, fetch.Scrub(err))
	}
	return resp, nil
}

// beginsAt checks that a part of the image is the part that was asked for.
func beginsAt(resp *http.Response, from int64) error {
	said := resp.Header.Get("Content-Range")
	if !strings.HasPrefix(said, fmt.Sprintf("bytes %d-", from)) {
		return fmt.Errorf("the server was asked for the image's bytes from %d on and sent others: Content-Range %.100q", from, said)
	}
	return nil
}

// sizeOf returns the whole file's size from the answer to a ranged GET; 0 when it does not say.
func sizeOf(resp *http.Response) (int64, error) {
	switch resp.StatusCode {
	case http.StatusOK:
		return max(resp.ContentLength, 0), nil
	case http.StatusPartialContent:
		_, total, ok := strings.Cut(resp.Header.Get("Content-Range"), "/")
		size, err := strconv.ParseInt(total, 10, 64)
		if !ok || err != nil || size <= 0 {
			return 0, fmt.Errorf("the server sent a part of the image with the Content-Range %q, which does not say how long the whole is",
				resp.Header.Get("Content-Range"))
		}
		return size, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, &Refusal{Reason: "the file is empty"}
	}
	return 0, fmt.Errorf("the server answered %s", resp.Status)
}
