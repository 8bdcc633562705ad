package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// qmp is a connection to QEMU's monitor (QEMU Machine Protocol, one JSON object a line). Commands
// may come from several goroutines; one goroutine of its own reads.
type qmp struct {
	conn    net.Conn
	onEvent func(name string) // called by the reading goroutine; must not block
	one     sync.Mutex        // one command at a time
	replies chan qmpMessage
	done    chan struct{} // closed when the reader ends
}

type qmpMessage struct {
	Event  string          `json:"event"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// newQMP takes over conn and says hello.
func newQMP(ctx context.Context, conn net.Conn, onEvent func(string)) (*qmp, error) {
	q := &qmp{conn: conn, onEvent: onEvent, replies: make(chan qmpMessage, 1), done: make(chan struct{})}
	go q.read()
	if err := q.run(ctx, "qmp_capabilities", nil); err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

func (q *qmp) read() {
	defer close(q.done)
	lines := json.NewDecoder(q.conn)
	for {
		var m qmpMessage
		if err := lines.Decode(&m); err != nil {
			return
		}
		switch {
		case m.Event != "":
			q.onEvent(m.Event)
		case m.Return != nil || m.Error != nil:
			select {
			case q.replies <- m:
			default: // the answer to a command whose caller gave up
			}
		}
	}
}

// run carries out one command and waits for its answer, 10 s at most.
func (q *qmp) run(ctx context.Context, name string, args map[string]any) error {
	q.one.Lock()
	defer q.one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-q.replies: // left over from a command that was given up
	default:
	}
	command := map[string]any{"execute": name}
	if args != nil {
		command["arguments"] = args
	}
	text, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("asking QEMU to %s: %w", name, err)
	}
	if _, err := q.conn.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("asking QEMU to %s: %w", name, err)
	}
	select {
	case m := <-q.replies:
		if m.Error != nil {
			return fmt.Errorf("QEMU refuses to %s: %s", name, m.Error.Desc)
		}
		return nil
	case <-q.done:
		return fmt.Errorf("asking QEMU to %s: %w", name, errGone)
	case <-ctx.Done():
		return fmt.Errorf("asking QEMU to %s: %w", name, ctx.Err())
	}
}

var errGone = errors.New("QEMU has ended")

func (q *qmp) close() {
	q.conn.Close()
	<-q.done
}
