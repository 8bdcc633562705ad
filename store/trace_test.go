package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func openLogged(t *testing.T) (*Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := Open(t.Context(), Config{DataDir: t.TempDir(), Host: "here", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

// While the database takes nothing, Saw goes on; the oldest events are dropped, and counted.
func TestSawWhileTheWriterIsStuck(t *testing.T) {
	s, log := openLogged(t)
	s.trace.writing.Lock() // a flush that does not end
	for i := range tracePending + 10 {
		s.Saw(node.BootEvent{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i/800), What: fmt.Sprint(i)})
	}
	s.trace.writing.Unlock()
	events, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:04", "52:54:00:00:00:05"}, time.Time{})
	if err != nil || len(events) != eventsAnswered || events[eventsAnswered-1].What != fmt.Sprint(tracePending+9) {
		t.Errorf("%d events, %v", len(events), err)
	}
	var first string
	if err := s.read.QueryRow(`SELECT what FROM boot_events ORDER BY id LIMIT 1`).Scan(&first); err != nil || first != "10" {
		t.Errorf("the oldest event kept is %s, %v", first, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if want := `level=WARN msg="boot events were dropped: the database is too slow" count=10`; !strings.Contains(log.String(), want) {
		t.Errorf("log: %s", log.String())
	}
}

// Nobody has to ask for events to be written.
func TestEventsAreWrittenByThemselves(t *testing.T) {
	s, _ := openLogged(t)
	s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01"})
	deadline := time.Now().Add(20 * time.Second)
	for n := 0; n == 0; {
		if time.Now().After(deadline) {
			t.Fatal("not written within 20 s")
		}
		time.Sleep(20 * time.Millisecond) // the database's clock is the real one
		if err := s.read.QueryRow(`SELECT COUNT(*) FROM boot_events`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A batch that cannot be written is lost with an error; the next one is written.
func TestLostBatch(t *testing.T) {
	s, _ := openLogged(t)
	s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01", What: "lost"})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.trace.flush(gone); err == nil || err.Error() != "write 1 boot events: begin a transaction: context canceled" {
		t.Errorf("got %v", err)
	}
	s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01", What: "kept"})
	events, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:01"}, time.Time{})
	if err != nil || len(events) != 1 || events[0].What != "kept" {
		t.Errorf("%+v, %v", events, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Each machine keeps its newest events however much another one writes, and all together have a bound.
func TestEventsKept(t *testing.T) {
	s, _ := openLogged(t)
	defer s.Close()
	saw := func(mac string, n int) {
		for i := range n {
			s.Saw(node.BootEvent{MAC: mac, What: fmt.Sprint(i)})
			if i%tracePending == tracePending-1 {
				if err := s.trace.flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.trace.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	count := func(where string) (n int) {
		t.Helper()
		if err := s.read.QueryRow(`SELECT COUNT(*) FROM boot_events WHERE ` + where).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	saw("52:54:00:00:00:01", 3)
	saw("52:54:00:00:00:02", 3*1_000)
	saw("52:54:00:00:00:02", 1)
	if quiet, noisy := count(`mac = '52:54:00:00:00:01'`), count(`mac = '52:54:00:00:00:02'`); quiet != 3 || noisy != 1_000 {
		t.Errorf("%d of the quiet machine and %d of the noisy one are kept, want 3 and %d", quiet, noisy, 1_000)
	}
	if n := count(`what = '0' AND mac = '52:54:00:00:00:02'`); n != 1 {
		t.Errorf("the newest event is kept %d times", n)
	}
	for i := range 100 + 3 {
		saw(fmt.Sprintf("52:54:00:00:01:%02x", i), 1_000)
	}
	if n := count(`mac LIKE '%'`); n != 100_000 {
		t.Errorf("%d events are kept, want %d", n, 100_000)
	}
	if n := count(`mac = '52:54:00:00:00:01'`); n != 0 {
		t.Errorf("the oldest of all are kept")
	}
}
