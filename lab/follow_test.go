package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// someMachine makes a machine's files without a network, a supervisor or rights.
func someMachine(t *testing.T) (*Lab, Machine) {
	t.Helper()
	l, err := Open(Lab{Dir: t.TempDir(), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	m := Machine{Name: "m1", Serial: filepath.Join(l.machineDir("m1"), serialLog)}
	if err := errors.Join(os.MkdirAll(l.machineDir("m1"), 0o755), saveJSON(filepath.Join(l.machineDir("m1"), "machine.json"), m)); err != nil {
		t.Fatal(err)
	}
	return l, m
}

func TestFollowerStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serial.log")
	var out bytes.Buffer
	f := follower{path: path, w: &out, until: []byte("login:")}
	defer f.close()
	step := func(add string, want bool) {
		t.Helper()
		if add != "" {
			file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteString(add); err != nil {
				t.Fatal(err)
			}
			file.Close()
		}
		if got, err := f.step(); got != want || err != nil {
			t.Errorf("after %q: %v %v, want %v", add, got, err, want)
		}
	}
	step("", false) // no log yet
	step("Debian GNU/Linux 12 m1 ttyS0\n", false)
	step("m1 lo", false)
	step("", false)
	step(strings.Repeat("x", 100<<10), false) // more than one read
	step(" m1 log", false)
	step("in:", true) // in two pieces
	if want := "Debian GNU/Linux 12 m1 ttyS0\nm1 lo" + strings.Repeat("x", 100<<10) + " m1 login:"; out.String() != want {
		t.Errorf("%d bytes were copied, want %d", out.Len(), len(want))
	}
}

func TestFollow(t *testing.T) {
	l, m := someMachine(t)
	if err := os.WriteFile(m.Serial, []byte("one\ntwo\nthree\nfour\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := l.Follow(t.Context(), "m1", &out, FollowOptions{Until: "two"}); err != nil || out.String() != "one\ntwo\nthree\nfour\n" {
		t.Errorf("%v, %q", err, out.String())
	}
	err := l.Follow(t.Context(), "m1", &out, FollowOptions{Until: "two", From: FromNow, Within: 100 * time.Millisecond})
	if want := `"two" did not appear on the serial line of m1: context deadline exceeded; it ended with: two | three | four`; err == nil ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Follow(ctx, "m1", &out, FollowOptions{}); err != nil {
		t.Errorf("following without an end, interrupted: %v", err)
	}
	if err := l.Follow(t.Context(), "m2", &out, FollowOptions{}); err == nil ||
		err.Error() != "there is no machine m2 in the lab in "+l.Dir+"; see: billet lab list" {
		t.Errorf("an unknown machine: %v", err)
	}
}

func TestNoSupervisor(t *testing.T) {
	l, _ := someMachine(t)
	m, err := l.Machine(t.Context(), "m1")
	if err != nil || m.Power != "unknown" {
		t.Errorf("power is %q, %v; want unknown", m.Power, err)
	}
	if _, err := l.Stats(t.Context(), "m1"); err == nil || !strings.HasPrefix(err.Error(), "the supervisor of m1 does not answer: ") {
		t.Errorf("stats: %v", err)
	}
	if err := l.Power(t.Context(), "m1", "hibernate"); err == nil ||
		err.Error() != `power "hibernate": allowed are on, off, reset, cycle, soft` {
		t.Errorf("power: %v", err)
	}
	l.Supervisor = []string{"/bin/sh", "-c", "echo 'no BMC port left' >&2; exit 7"}
	want := "the supervisor of m1 ended at once: exit status 7: no BMC port left"
	if err := l.Power(t.Context(), "m1", "on"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A process that does not listen to SIGTERM is killed; one that is gone is no trouble.
func TestKillProcesses(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 0.1; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	p, ok := findProcess(cmd.Process.Pid)
	if !ok {
		t.Fatal("the process is not found")
	}
	mistaken := p
	mistaken.start = "1" // an earlier process with the same number
	if err := mistaken.signal(9); err != nil || !p.alive() {
		t.Fatalf("the wrong process was hit (%v)", err)
	}
	if err := killProcesses(t.Context(), []process{p, mistaken}); err != nil {
		t.Error(err)
	}
	if p.alive() {
		t.Error("it still lives")
	}
	cmd.Wait()
	if err := killProcesses(t.Context(), []process{p}); err != nil {
		t.Errorf("killing it again: %v", err)
	}
}
