package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/billet-metal/billet/lab/bmc"
)

// guest is one run of QEMU, from power on to power off.
type guest struct {
	of    *supervisor
	cmd   *exec.Cmd
	qmp   *qmp
	again chan struct{} // the boot order must be set anew
	reset chan struct{} // the machine has started or was reset
	ended chan struct{} // closed when QEMU has gone and everything of it is put away

	next sync.Mutex
	base int // boot indexes given out so far: QEMU refuses one that another device has now
}

// start runs QEMU inside the lab's namespace and returns when its monitor answers.
func (s *supervisor) start(ctx context.Context) (*guest, error) {
	for _, name := range []string{serialSocket, qmpSocket} {
		os.Remove(filepath.Join(s.dir, name))
	}
	log, err := os.Create(filepath.Join(s.dir, qemuLog))
	if err != nil {
		return nil, fmt.Errorf("starting QEMU: %w", err)
	}
	defer log.Close()
	args := append([]string{"netns", "exec", s.lab.network().namespace, qemuProgram},
		arguments(s.machine(), bootOrder(s.machine(), s.BootDevice()))...)
	g := newGuest(s)
	// Not the caller's context: the machine stays on when the request is over.
	g.cmd = command(context.WithoutCancel(ctx), "ip", args...)
	g.cmd.Dir = s.dir
	g.cmd.Stdout, g.cmd.Stderr = log, log
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting QEMU: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = g.cmd.Wait()
		close(exited)
	}()
	if err := g.connect(ctx, exited); err != nil {
		_ = g.cmd.Process.Kill()
		<-exited
		return nil, fmt.Errorf("starting QEMU: %w: %s", err, tail(filepath.Join(s.dir, qemuLog)))
	}
	go g.run(exited)
	return g, nil
}

func newGuest(s *supervisor) *guest {
	return &guest{of: s, again: make(chan struct{}, 1), reset: make(chan struct{}, 1), ended: make(chan struct{}), base: 100}
}

// connect opens the monitor and the serial line.
func (g *guest) connect(ctx context.Context, exited <-chan struct{}) error {
	monitor, err := dialWhenThere(ctx, filepath.Join(g.of.dir, qmpSocket), exited)
	if err != nil {
		return err
	}
	if g.qmp, err = newQMP(ctx, monitor, g.event); err != nil {
		return err
	}
	line, err := dialWhenThere(ctx, filepath.Join(g.of.dir, serialSocket), exited)
	if err != nil {
		g.qmp.close()
		return err
	}
	go g.of.cons.carry(line) // ends with QEMU
	g.event("RESET")
	return nil
}

func dialWhenThere(ctx context.Context, path string, exited <-chan struct{}) (net.Conn, error) {
	deadline := time.After(20 * time.Second)
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-exited:
			return nil, errors.New("it ended at once")
		case <-deadline:
			return nil, fmt.Errorf("it does not open its socket within 20 s: %w", err)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// settleTime is how long after a reset the next one may still be the same start: SeaBIOS resets the
// machine a second time by itself, some 40 ms later, after every reset but the first.
const settleTime = 3 * time.Second

// run owns the guest until QEMU ends: it sets boot orders, and tidies up at the end.
func (g *guest) run(exited <-chan struct{}) {
	var settled <-chan time.Time
	for running := true; running; {
		select {
		case <-g.reset:
			settled = time.After(settleTime)
		case <-settled:
			g.of.settle()
			g.reorder()
		case <-g.again:
			if err := g.setOrder(context.Background()); err != nil && !errors.Is(err, errGone) {
				g.of.log.Warn("the boot order is not set", "machine", g.of.m.Name, "error", err)
			}
		case <-exited:
			running = false
		}
	}
	g.qmp.close()
	g.of.settle()
	g.of.mu.Lock()
	if g.of.running == g {
		g.of.running = nil
	}
	close(g.ended)
	g.of.mu.Unlock()
	g.of.log.Info("the machine is off", "machine", g.of.m.Name)
}

// event hears QEMU's monitor; it runs in the monitor's reader and must not block.
func (g *guest) event(name string) {
	if name != "RESET" {
		return
	}
	g.of.started()
	select {
	case g.reset <- struct{}{}:
	default: // run has not taken the last one yet
	}
}

// reorder asks run to set the boot order; it never blocks.
func (g *guest) reorder() {
	select {
	case g.again <- struct{}{}:
	default: // asked for already
	}
}

// setOrder tells QEMU what the firmware finds at its next start.
func (g *guest) setOrder(ctx context.Context) error {
	g.next.Lock()
	defer g.next.Unlock()
	for i, id := range bootOrder(g.of.machine(), g.of.BootDevice()) {
		err := g.qmp.run(ctx, "qom-set", map[string]any{"path": "/machine/peripheral/" + id, "property": "bootindex", "value": g.base + i})
		if err != nil {
			return err
		}
	}
	g.base += 100
	return nil
}

// press is the reset or the power button.
func (g *guest) press(ctx context.Context, a bmc.Action) error {
	switch a {
	case bmc.Soft:
		return g.qmp.run(ctx, "system_powerdown", nil)
	case bmc.NMI:
		return g.qmp.run(ctx, "inject-nmi", nil)
	}
	// This reset is a start of its own, and an override set a moment ago must count for it.
	g.of.settle()
	if err := g.setOrder(ctx); err != nil {
		return err
	}
	return g.qmp.run(ctx, "system_reset", nil)
}

// kill pulls the plug and waits until QEMU has gone.
func (g *guest) kill() error {
	if err := g.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("switching the machine off: %w", err)
	}
	select {
	case <-g.ended:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("switching the machine off: QEMU does not end within 20 s")
	}
}
