package door

import (
	"io"
	"net/http"
	"time"
)

// Pace is how slowly a body may come: it has Grace, and then Rate bytes a second on the whole.
type Pace struct {
	Grace time.Duration
	Rate  int64
}

// Slowest is the pace of all doors: 16 MiB may take four minutes, and a config drive of 64 MiB a quarter of an hour.
var Slowest = Pace{Grace: 30 * time.Second, Rate: 64 << 10}

// pacedReader reads a body and gives up on one that comes slower than its pace: whoever sends it for ever holds a
// connection, its memory and a place.
type pacedReader struct {
	Pace
	src   io.Reader
	w     *http.ResponseController
	began time.Time
	n     int64
}

func (p *pacedReader) Read(b []byte) (int, error) {
	until := p.began.Add(p.Grace + time.Duration(p.n)*time.Second/time.Duration(p.Rate))
	_ = p.w.SetReadDeadline(until) // a test without a connection has none
	n, err := p.src.Read(b)
	p.n += int64(n)
	return n, err
}

// Body reads a request's body to its end or to limit bytes. A body that comes slower than the pace ends with
// os.ErrDeadlineExceeded.
func (p Pace) Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	control := http.NewResponseController(w)
	body, err := io.ReadAll(io.LimitReader(&pacedReader{Pace: p, src: r.Body, w: control, began: time.Now()}, limit))
	_ = control.SetReadDeadline(time.Time{})
	return body, err
}

// What is left of a refused body is read for so long, and so far, before the connection is closed.
const (
	DrainTime = 10 * time.Second
	drainSize = 128 << 20
)

// Drain reads what a handler has left of a body, so that a client that sends all of it before it listens gets to read
// why it is refused: closing while it sends would only break its connection. A client that waits to be asked to send
// (Expect) is not asked.
func Drain(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.Header.Get("Expect") != "" {
		return
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(DrainTime)); err != nil {
		return // no connection: a test's
	}
	_, _ = io.CopyN(io.Discard, r.Body, drainSize)
}
