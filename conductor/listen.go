package conductor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const (
	captureSaves     = 2 * time.Second  // how often what was heard is saved
	captureLooks     = 10 * time.Second // how often a capture looks whether its flow still runs
	capturePause     = 10 * time.Second // before a BMC is asked again that did not let its line be heard
	captureStoreTime = 5 * time.Second  // of one use of the store
)

// listeners hear the serial lines of machines that this process works on.
type listeners struct {
	*core
	mu       sync.Mutex
	captures map[string]*capture // by node
}

// capture hears one machine's serial line while a flow works on it, and keeps its last lines in the store, where any
// process finds them. No flow ever waits for it.
type capture struct {
	c      *listeners
	uuid   string
	began  time.Time // of the flow's plan
	end    context.CancelFunc
	urgent chan struct{} // capacity 1: what was heard cannot wait
	lines  diagnosis.Console

	saving sync.Mutex // one save at a time; guards n
	n      *node.Node // as it was a moment ago: its secrets are masked

	mu   sync.Mutex // guards note and more
	note string
	more bool // there is something to save
}

// captureSerial begins to listen to the node's serial line, unless somebody of this process does already or it is not wanted.
func (r *run) captureSerial() {
	p := r.n.Plan
	if r.task == nil || p == nil || p.NoRamdisk || r.flow == nil || !r.flow.boots {
		return
	}
	if _, ok := driver.SerialOf(r.n, r.task.Hardware, r.c.cfg.CaptureSerial); !ok {
		return
	}
	r.c.startCapture(r.n)
}

// startCapture begins to listen to the node's serial line for the flow under way.
func (c *listeners) startCapture(n *node.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.captures[n.UUID]
	if old != nil && old.began.Equal(n.Plan.StartedAt) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &capture{c: c, uuid: n.UUID, began: n.Plan.StartedAt, end: cancel, urgent: make(chan struct{}, 1), n: n.Clone()}
	if !c.spawn(func(life context.Context) {
		defer context.AfterFunc(life, cancel)()
		e.run(ctx)
	}) {
		cancel()
		return
	}
	c.captures[n.UUID] = e
	if old != nil {
		old.end()
	}
}

// stopCapture ends the listening to the node's serial line in this process.
func (c *listeners) stopCapture(uuid string) {
	c.mu.Lock()
	e := c.captures[uuid]
	delete(c.captures, uuid)
	c.mu.Unlock()
	if e != nil {
		e.end()
	}
}

// saveCapture saves what this process has heard of the node and not saved yet.
func (c *listeners) saveCapture(ctx context.Context, uuid string) {
	c.mu.Lock()
	e := c.captures[uuid]
	c.mu.Unlock()
	if e != nil {
		e.save(ctx)
	}
}

// run listens, again and again, until the flow ends, the line is never to be heard, or somebody else wants it.
func (e *capture) run(ctx context.Context) {
	var keeper sync.WaitGroup
	defer keeper.Wait()
	defer e.end()
	keeper.Go(func() { e.keep(ctx) })
	for ctx.Err() == nil {
		again := e.listen(ctx)
		if !again {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(capturePause):
		}
	}
	if ctx.Err() == nil { // the flow still runs: the note stays until it ends
		<-ctx.Done()
	}
}

// listen hears the line once, and returns whether to try again.
func (e *capture) listen(ctx context.Context) (again bool) {
	err := guarded(e.c.log.With("node", e.uuid), func() error { return e.hearOnce(ctx) })
	var text string
	switch kind := node.KindOf(err); {
	case err == nil || ctx.Err() != nil:
		return true
	case errors.Is(err, driver.ErrSerialTaken):
		text = "somebody else took the console; this service stays away until the flow has ended"
	case kind == node.Invalid || kind == node.NotFound || errors.Is(err, errMistake):
		text = err.Error()
	default:
		text, again = err.Error(), true
	}
	text = e.masked(text)
	e.say(text)
	e.c.log.Info("serial line not heard", "node", e.uuid, "why", text, "again", again)
	return again
}

func (e *capture) hearOnce(ctx context.Context) error {
	n, err := e.c.nodes.Node(ctx, e.uuid)
	if err != nil {
		return err
	}
	task, err := e.c.task(ctx, n)
	if err != nil {
		return err
	}
	task.Save, task.ForgetAgent = nil, nil // a capture has no lease
	listener, ok := driver.SerialOf(n, task.Hardware, e.c.cfg.CaptureSerial)
	if !ok {
		return node.Errorf(node.Invalid, "hearing it was switched off")
	}
	return listener.ListenSerial(ctx, task, e.heard)
}

// heard takes what comes from the line.
func (e *capture) heard(p []byte) {
	whole := e.lines.Write(node.Now(), p)
	e.say("")
	if diagnosis.Fatal(whole) {
		select {
		case e.urgent <- struct{}{}:
		default:
		}
	}
}

func (e *capture) masked(text string) string {
	e.saving.Lock()
	defer e.saving.Unlock()
	return mask(e.n, text)
}

// say keeps a note of why nothing is heard, and that there is news.
func (e *capture) say(note string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.note, e.more = note, true
}

// keep saves what is heard now and then, and at once what cannot wait; it ends the capture with its flow.
func (e *capture) keep(ctx context.Context) {
	saves, looks := time.NewTicker(captureSaves), time.NewTicker(captureLooks)
	defer saves.Stop()
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-saves.C:
			e.save(ctx)
		case <-e.urgent:
			e.save(ctx)
			e.c.Wake(e.uuid)
		case <-looks.C:
			if e.over(ctx) {
				e.c.drop(e)
				return
			}
		}
	}
}

// over reports whether the flow has ended, perhaps in another process.
func (e *capture) over(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, captureStoreTime)
	defer cancel()
	n, err := e.c.nodes.Node(ctx, e.uuid)
	if err != nil {
		return node.KindOf(err) == node.NotFound
	}
	e.saving.Lock()
	defer e.saving.Unlock()
	e.n = n
	return n.Plan == nil || !n.Plan.StartedAt.Equal(e.began)
}

// save writes the last lines, masked, if there is anything new.
func (e *capture) save(ctx context.Context) {
	e.saving.Lock()
	defer e.saving.Unlock()
	e.mu.Lock()
	note, more := e.note, e.more
	e.more = false
	e.mu.Unlock()
	if !more {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, captureStoreTime)
	defer cancel()
	lines := node.MachineLines{NodeUUID: e.uuid, Source: node.SerialLine, Lines: maskLines(e.n, e.lines.Lines()), Note: note,
		UpdatedAt: node.Now()}
	if err := e.c.notes.SaveLines(ctx, lines); err != nil {
		e.mu.Lock()
		e.more = true
		e.mu.Unlock()
		if ctx.Err() == nil {
			e.c.log.Warn("lines of the serial line not saved", "node", e.uuid, "error", err)
		}
	}
}

// drop ends e, and forgets it unless another has taken its place.
func (c *listeners) drop(e *capture) {
	c.mu.Lock()
	if c.captures[e.uuid] == e {
		delete(c.captures, e.uuid)
	}
	c.mu.Unlock()
	e.end()
}
