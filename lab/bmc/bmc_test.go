package bmc

import (
	"context"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeMachine switches at once and remembers what it was asked.
type fakeMachine struct {
	mu      sync.Mutex
	on      bool
	slow    time.Duration
	actions []Action
	boot    BootDevice
	sets    []BootDevice
	console func() (io.ReadWriteCloser, error)
}

func (m *fakeMachine) PoweredOn() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on
}

func (m *fakeMachine) SetPower(ctx context.Context, a Action) error {
	select {
	case <-time.After(m.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actions = append(m.actions, a)
	m.on = a != Off && a != Soft
	return nil
}

func (m *fakeMachine) BootDevice() BootDevice {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot
}

func (m *fakeMachine) SetBootDevice(d BootDevice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = d
	m.sets = append(m.sets, d)
	return nil
}

func (m *fakeMachine) Console(context.Context) (io.ReadWriteCloser, error) { return m.console() }

func (m *fakeMachine) did() []Action {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Action(nil), m.actions...)
}

// start runs s on a loopback port until the test ends.
func start(t testing.TB, s *Server) (addr *net.UDPAddr) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Conn = conn
	if s.User == "" {
		s.User, s.Password = "admin", "secret-0123456789"
	}
	if s.Machine == nil {
		s.Machine = &fakeMachine{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve did not end")
		}
	})
	return conn.LocalAddr().(*net.UDPAddr)
}

// tool runs a real IPMI client.
func tool(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing; install the Debian packages ipmitool and freeipmi-tools", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func ipmitool(t testing.TB, s *Server, addr *net.UDPAddr, args ...string) (string, error) {
	t.Helper()
	common := []string{"-I", "lanplus", "-H", addr.IP.String(), "-p", strconv.Itoa(addr.Port), "-U", s.User, "-P", s.Password}
	return tool(t, "ipmitool", append(common, args...)...)
}
