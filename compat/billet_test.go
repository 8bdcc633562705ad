package compat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// billet is a running service: API and conductor on an embedded database, no boot services.
type billet struct {
	endpoint string // http://127.0.0.1:port
	cmd      *exec.Cmd
	log      bytes.Buffer
	exited   chan error
	killed   bool
}

// binary is the billet that all tests run, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "billet-compat-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "billet")
	build := exec.Command("go", "build", "-o", binary, "./cmd/billet")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building billet: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// startBillet starts the binary on a free port and waits until it answers. Args come last, so they
// may change what a test usually wants. The test's end stops it and checks that it stopped in order.
func startBillet(t *testing.T, args ...string) *billet {
	t.Helper()
	return startBilletAt(t, t.TempDir(), freeAddress(t), args...)
}

// startBilletAt is startBillet in a data directory and on an address that an earlier one may have had.
func startBilletAt(t *testing.T, dir, address string, args ...string) *billet {
	t.Helper()
	b := &billet{endpoint: "http://" + address, exited: make(chan error, 1)}
	b.cmd = exec.Command(binary, append([]string{"serve", "--data-dir", dir, "--listen", address,
		"--auth", "noauth", "--roles", "api,conductor"}, args...)...)
	b.cmd.Stdout, b.cmd.Stderr = &b.log, &b.log
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.exited <- b.cmd.Wait() }()
	t.Cleanup(func() { b.stop(t) })
	if !slices.Contains(args, "conductor") { // which opens no port
		b.await(t)
	}
	return b
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (b *billet) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if resp, err := http.Get(b.endpoint + "/"); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case err := <-b.exited:
			b.exited <- err
			t.Fatalf("billet ended before it answered: %v", err)
		case <-ctx.Done():
			t.Fatal("billet did not answer within 30 s")
		case <-tick.C:
		}
	}
}

// kill ends it as a power cut does.
func (b *billet) kill(t *testing.T) {
	t.Helper()
	b.killed = true
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-b.exited
}

func (b *billet) stop(t *testing.T) {
	if b.killed {
		return
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("stopping billet: %v", err)
	}
	select {
	case err := <-b.exited:
		if err != nil {
			t.Errorf("billet ended with: %v", err)
		}
	case <-time.After(20 * time.Second):
		_ = b.cmd.Process.Kill()
		t.Errorf("billet did not stop within 20 s: %v", <-b.exited)
	}
	if t.Failed() {
		fmt.Println(b.log.String())
	}
}
