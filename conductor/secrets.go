package conductor

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

// scrub hides the node's own secrets in a text: an agent, a BMC or a driver may quote what it was given. All words of
// machines that are kept, shown or logged pass here.
func scrub(n *node.Node, text string) string {
	if n == nil || text == "" {
		return text
	}
	return hiderOf(n).Hide(text)
}

// hiders are kept for a while: a machine says many lines, and a config drive takes time to unpack.
var hiders = struct {
	sync.Mutex
	of     map[[32]byte]*node.Hider
	drives map[configdrive.Kept][]string // secrets of drives that are kept elsewhere
}{of: map[[32]byte]*node.Hider{}, drives: map[configdrive.Kept][]string{}}

const mostHiders = 64

func hiderOf(n *node.Node) *node.Hider {
	secrets := n.Secrets()
	sum := sha256.New()
	for _, s := range secrets {
		tail := s // the last characters of a config drive hold its checksum and its length (RFC 1952, section 2.3)
		if len(s) > 4096 {
			tail = s[len(s)-64:]
		}
		fmt.Fprintf(sum, "%d:%s", len(s), tail)
	}
	hiders.Lock()
	defer hiders.Unlock()
	kept, isKept := configdrive.KeptOf(n.ConfigDrive, n.UUID)
	elsewhere, known := hiders.drives[kept]
	fmt.Fprint(sum, known)
	key := [32]byte(sum.Sum(nil))
	if h := hiders.of[key]; h != nil {
		return h
	}
	if len(hiders.of) >= mostHiders {
		clear(hiders.of)
	}
	if !isKept {
		elsewhere = configdrive.Secrets(n.ConfigDrive)
	}
	h := node.NewHider(append(secrets, elsewhere...))
	hiders.of[key] = h
	return h
}

// knowDrive has the secrets of a drive hidden that is kept elsewhere from now on.
func knowDrive(kept configdrive.Kept, text string) {
	secrets := configdrive.Secrets(text)
	hiders.Lock()
	defer hiders.Unlock()
	if len(hiders.drives) >= mostHiders {
		clear(hiders.drives)
	}
	hiders.drives[kept] = secrets
}

// learnTime bounds reading a drive for its secrets: whatever is about to be said of its node waits for it.
const learnTime = 5 * time.Second

// learnDrive reads a node's drive, where it is kept elsewhere and this process has not seen it, so that what the machine quotes of
// it is hidden. One that can not be read is not asked for again for a while.
func (c *core) learnDrive(ctx context.Context, n *node.Node) {
	kept, isKept := configdrive.KeptOf(n.ConfigDrive, n.UUID)
	hiders.Lock()
	_, known := hiders.drives[kept]
	hiders.Unlock()
	if !isKept || known || c.cfg.Objects == nil || !c.learns.begin(kept) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	text, err := c.cfg.Objects.Get(ctx, kept.Container, kept.Object, 2*configdrive.MaxSize)
	if err != nil {
		c.log.Warn("the config drive was not read: what the machine quotes of it is not hidden", "node", n.UUID, "error", err)
		return
	}
	knowDrive(kept, string(text))
}

// learns says which drives were asked for lately.
type learns struct {
	sync.Mutex
	last map[configdrive.Kept]time.Time
}

const learnAgain = time.Minute

func (l *learns) begin(kept configdrive.Kept) bool {
	now := node.Now()
	l.Lock()
	defer l.Unlock()
	if at, ok := l.last[kept]; ok && now.Sub(at) < learnAgain {
		return false
	}
	if l.last == nil || len(l.last) >= mostHiders {
		l.last = map[configdrive.Kept]time.Time{}
	}
	l.last[kept] = now
	return true
}

// scrubbing is a log's handler that hides a node's secrets: the words of a machine get there by many ways.
type scrubbing struct {
	slog.Handler
	hider *node.Hider
}

// logFor is a log about one node, in which the secrets that the node has now do not appear.
func logFor(log *slog.Logger, n *node.Node) *slog.Logger {
	return slog.New(scrubbing{log.Handler(), hiderOf(n)}).With("node", n.UUID)
}

func (s scrubbing) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, s.hider.Hide(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(s.attr(a))
		return true
	})
	return s.Handler.Handle(ctx, clean)
}

func (s scrubbing) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = s.attr(a)
	}
	return scrubbing{s.Handler.WithAttrs(clean), s.hider}
}

func (s scrubbing) WithGroup(name string) slog.Handler {
	return scrubbing{s.Handler.WithGroup(name), s.hider}
}

func (s scrubbing) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, s.hider.Hide(v.String()))
	case slog.KindAny:
		text := fmt.Sprint(v.Any())
		if clean := s.hider.Hide(text); clean != text {
			return slog.String(a.Key, clean)
		}
	case slog.KindGroup:
		group := make([]slog.Attr, len(v.Group()))
		for i, e := range v.Group() {
			group[i] = s.attr(e)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	}
	return a
}
