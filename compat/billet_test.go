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
}

// startBillet builds the binary, starts it on a free port and waits until it answers. The test's
// end stops it and checks that it stopped in order.
func startBillet(t *testing.T, args ...string) *billet {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "billet")
	build := exec.Command("go", "build", "-o", binary, "./cmd/billet")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building billet: %v\n%s", err, out)
	}
	address := freeAddress(t)
	b := &billet{endpoint: "http://" + address, exited: make(chan error, 1)}
	b.cmd = exec.Command(binary, append([]string{"serve", "--data-dir", dir, "--listen", address,
		"--auth", "noauth", "--roles", "api,conductor"}, args...)...)
	b.cmd.Stdout, b.cmd.Stderr = &b.log, &b.log
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.exited <- b.cmd.Wait() }()
	t.Cleanup(func() { b.stop(t) })
	b.await(t)
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

func (b *billet) stop(t *testing.T) {
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
