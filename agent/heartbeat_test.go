package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/wire"
)

var noLog = slog.New(slog.DiscardHandler)

// beats sends heartbeats for a while and returns when it beat, in seconds.
func beats(t *testing.T, timeout, run time.Duration, answer func(n int) error, during func(*heartbeater)) string {
	t.Helper()
	var out []string
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := newHeartbeater(timeout, noLog, func(context.Context) error {
			out = append(out, fmt.Sprint(time.Since(start).Round(time.Millisecond).Seconds()))
			return answer(len(out))
		})
		h.random = func() float64 { return 0.5 }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { h.Run(ctx); close(ended) }()
		if during != nil {
			during(h)
		}
		time.Sleep(run - time.Since(start))
		cancel()
		<-ended
	})
	return strings.Join(out, " ")
}

func ok(int) error { return nil }

func TestHeartbeatTimes(t *testing.T) {
	away := errors.New("connection refused")
	refused := &statusError{code: http.StatusBadRequest}
	busy := &statusError{code: http.StatusConflict}
	failing := func(err error, until int) func(int) error {
		return func(n int) error {
			if n <= until {
				return err
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name         string
		timeout, run time.Duration
		answer       func(int) error
		during       func(*heartbeater)
		want         string
	}{
		{"0.45 of the timeout", 300 * time.Second, 300 * time.Second, ok, nil, "0 135 270"},
		{"at least 5 s", 2 * time.Second, 16 * time.Second, ok, nil, "0 5 10 15"},
		{"the service says nothing", 0, 11 * time.Second, ok, nil, "0 5 10"},
		{"soon again while the service is away", 300 * time.Second, 21 * time.Second, failing(away, 5), nil, "0 0.75 2.25 5.25 9 12.75"},
		{"soon again while the node is locked", 300 * time.Second, 21 * time.Second, failing(busy, 1), nil, "0 0.75"},
		{"not so soon when refused", 300 * time.Second, 21 * time.Second, failing(refused, 2), nil, "0 7.5 15"},
		{"forced", 300 * time.Second, 100 * time.Second, ok, func(h *heartbeater) { time.Sleep(10 * time.Second); h.Force() }, "0 10"},
		{"stopped", 10 * time.Second, 100 * time.Second, ok, func(h *heartbeater) { time.Sleep(6 * time.Second); h.Stop(); h.Stop() }, "0 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := beats(t, tt.timeout, tt.run, tt.answer, tt.during); got != tt.want {
				t.Errorf("beat at %s, want %s", got, tt.want)
			}
		})
	}
}

func TestHeartbeatsSpread(t *testing.T) {
	h := newHeartbeater(100*time.Second, noLog, nil)
	var all []time.Duration
	for range 200 {
		all = append(all, h.interval())
	}
	if lo, hi := slices.Min(all), slices.Max(all); lo < 30*time.Second || hi > 60*time.Second || hi-lo < 20*time.Second {
		t.Errorf("from %s to %s", lo, hi)
	}
}

func TestProgressIsSentOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got []string
		p := newProgress(noLog, func(_ context.Context, w wire.Progress) error {
			got = append(got, fmt.Sprintf("%s %s %d/%d", time.Since(start), w.Step, w.Done, w.Total))
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Run(ctx); close(ended) }()
		for i := range 25 {
			p.Report("write_image", "writing", int64(i), 25)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		cancel()
		<-ended
		want := "0s write_image 0/25, 1s write_image 9/25, 2s write_image 19/25, 3s write_image 24/25"
		// What is reported in the very moment of sending may or may not be part of it.
		text := strings.NewReplacer("1s write_image 10", "1s write_image 9", "2s write_image 20",
			"2s write_image 19").Replace(strings.Join(got, ", "))
		if text != want {
			t.Errorf("\n got %s\nwant %s", text, want)
		}
	})
}

func TestProgressEndsWhenNobodyWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		p := newProgress(noLog, func(context.Context, wire.Progress) error { sent++; return &statusError{code: http.StatusNotFound} })
		p.Report("a", "", 1, 2)
		p.Run(t.Context()) // returns by itself
		for range 10 {
			p.Report("a", "", 2, 2) // never blocks
		}
		if sent != 1 {
			t.Errorf("sent %d times", sent)
		}
	})
}

// How long the agent took to be heard is said once, when the service took a heartbeat.
func TestFirstHeartbeatIsSaidOnce(t *testing.T) {
	var said bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h := newHeartbeater(time.Minute, slog.New(slog.NewTextHandler(&said, nil)), func(context.Context) error {
			n++
			if n <= 2 {
				return errors.New("connection refused")
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		h.Run(ctx)
		if n < 5 {
			t.Errorf("%d heartbeats in ten minutes", n)
		}
	})
	lines := strings.Split(said.String(), "\n")
	var first []int
	for i, line := range lines {
		if strings.Contains(line, `msg="first heartbeat taken"`) && strings.Contains(line, "after=") {
			first = append(first, i)
		}
	}
	if len(first) != 1 || !strings.Contains(lines[first[0]-1], "takes heartbeats again") {
		t.Errorf("lines %v of\n%s", first, said.String())
	}
}
