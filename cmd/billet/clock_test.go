package main

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/pgtest"
)

const clockFile = "TEST_CLOCK_FILE"

// setClock is a host's clock that is ahead by what a file says.
func setClock() func() time.Time {
	return func() time.Time {
		text, _ := os.ReadFile(os.Getenv(clockFile))
		ahead, err := time.ParseDuration(strings.TrimSpace(string(text)))
		if err != nil {
			ahead = 0 // the file is being written
		}
		return time.Now().Round(0).Add(ahead)
	}
}

// The service's own program under a clock that is set: forward by a day while a deploy waits, by another day while the service
// is down, and back. No flow ends, and without flows the stored times follow.
func TestTheClockIsSetUnderTheService(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "clock")
	set := func(ahead string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(ahead), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	run := func() *serving {
		t.Helper()
		address := freeAddress(t)
		cmd := exec.Command("billet-clock", "serve", "--listen", address, "--data-dir", dir,
			"--roles", "api,conductor", "--automated-clean=false")
		cmd.Env = []string{clockFile + "=" + file}
		return startCommand(t, address, cmd)
	}
	says := func(s *serving, what string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(s.log.String(), what); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q:\n%s", what, s.log)
			}
		}
	}
	waits := func(s *serving, state string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
			n := s.show("one")
			if n["provision_state"] == state {
				return
			}
			if n["last_error"] != nil || time.Now().After(deadline) {
				t.Fatalf("state %v, want %s; last_error %v", n["provision_state"], state, n["last_error"])
			}
		}
	}
	set("0s")
	s := run()
	s.must("create", "one", "--driver", "fake-hardware", "--driver-info", "fake_write_image_delay=20s")
	s.must("manage", "one", "--wait")
	s.must("provide", "one", "--wait")
	s.must("deploy", "one", "--image", "file:///nowhere")
	waits(s, "wait call-back")
	set("25h")
	says(s, `msg="this host's clock was set forward; what waits goes on by the time that passes" by=25h0m0s`)
	waits(s, "wait call-back")
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.done
	set("50h")
	s = run()
	says(s, "flows are under way: they keep their deadlines")
	waits(s, "active")
	s.end(os.Interrupt)

	set("-3h")
	s = run()
	says(s, "stored times were moved")
	if got := s.show("one")["provision_state"]; got != "active" {
		t.Errorf("state %v", got)
	}
	s.end(os.Interrupt)
	s = run()
	if strings.Contains(s.log.String(), "clock") {
		t.Errorf("the clock was followed, and is told of again:\n%s", s.log)
	}
}

// On a database that processes share a host whose clock is far off is refused, and one that is a little off goes by the database's.
func TestAHostsClockAndTheDatabases(t *testing.T) {
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Stop() })
	db, err := store.Open(t.Context(), store.Config{URL: pg.Database(t), DataDir: t.TempDir(), Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	defer func() { hostClock = nil }()
	for _, tt := range []struct {
		ahead      time.Duration
		want, says string
	}{
		{0, "", ""},
		{5 * time.Second, "", "this host's clock is not the database's"},
		{time.Hour, "this host's clock is 1h0m0s ahead of the database's, and 10s is the most allowed: have both set by NTP", ""},
		{-time.Hour, "this host's clock is 1h0m0s behind the database's, and 10s is the most allowed: have both set by NTP", ""},
	} {
		hostClock = func() time.Time { return time.Now().Round(0).Add(tt.ahead) }
		var log bytes.Buffer
		clock, err := startClock(t.Context(), db, slog.New(slog.NewTextHandler(&log, nil)))
		got := ""
		if err != nil {
			got = err.Error()
		} else if off := time.Until(clock.Now()); off.Abs() > time.Second {
			t.Errorf("%s ahead: goes %s ahead of the database", tt.ahead, off)
		}
		if got != tt.want || (tt.says == "") != (log.Len() == 0) || !strings.Contains(log.String(), tt.says) {
			t.Errorf("%s ahead: %q, %s; want %q, %q", tt.ahead, got, &log, tt.want, tt.says)
		}
	}
}
