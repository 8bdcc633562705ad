package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/billet-metal/billet/lab/bmc"
)

// A supervisor answers on a unix socket in the machine's directory: one JSON request, one JSON
// reply. After opConsole the connection is the serial line itself.
type request struct {
	Op     string      `json:"op"`
	Power  string      `json:"power,omitempty"`
	Faults *bmc.Faults `json:"faults,omitempty"`
	Disk   *DiskChange `json:"disk,omitempty"`
}

type reply struct {
	Error string     `json:"error,omitempty"`
	Power string     `json:"power,omitempty"`
	Boot  string     `json:"boot,omitempty"`
	Stats *bmc.Stats `json:"stats,omitempty"`
}

const (
	opStatus  = "status"
	opPower   = "power"
	opFaults  = "faults"
	opStats   = "stats"
	opConsole = "console"
	opDisk    = "disk"
)

// ask sends one request to a machine's supervisor.
func (l *Lab) ask(ctx context.Context, name string, r request) (reply, error) {
	conn, err := l.dial(ctx, name)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	var answer reply
	if err := exchange(conn, r, json.NewDecoder(conn), &answer); err != nil {
		return reply{}, fmt.Errorf("asking the supervisor of %s: %w", name, err)
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}

func exchange(conn net.Conn, r request, from *json.Decoder, answer *reply) error {
	conn.SetDeadline(time.Now().Add(time.Minute))
	defer conn.SetDeadline(time.Time{})
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return err
	}
	return from.Decode(answer)
}

func (l *Lab) dial(ctx context.Context, name string) (net.Conn, error) {
	path := filepath.Join(l.machineDir(name), controlSocket)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is too long for a socket; choose a shorter --dir", path)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("the supervisor of %s does not answer: %w", name, err)
	}
	return conn, nil
}

// Power switches a machine as its front panel would: "on", "off", "reset", "cycle" or "soft".
// A supervisor that died is started again first.
func (l *Lab) Power(ctx context.Context, name, action string) error {
	if _, ok := actions[action]; !ok {
		return fmt.Errorf("power %q: allowed are on, off, reset, cycle, soft", action)
	}
	if err := l.ensureSupervisor(ctx, name); err != nil {
		return err
	}
	_, err := l.ask(ctx, name, request{Op: opPower, Power: action})
	return err
}

var actions = map[string]bmc.Action{"on": bmc.On, "off": bmc.Off, "reset": bmc.Reset, "cycle": bmc.Cycle, "soft": bmc.Soft}

// SetFaults makes a machine's BMC misbehave; the zero Faults heal it.
func (l *Lab) SetFaults(ctx context.Context, name string, f bmc.Faults) error {
	if _, err := l.load(name); err != nil {
		return err
	}
	_, err := l.ask(ctx, name, request{Op: opFaults, Faults: &f})
	return err
}

// Stats counts what a machine's BMC did.
func (l *Lab) Stats(ctx context.Context, name string) (bmc.Stats, error) {
	answer, err := l.ask(ctx, name, request{Op: opStats})
	if err != nil {
		return bmc.Stats{}, err
	}
	if answer.Stats == nil {
		return bmc.Stats{}, fmt.Errorf("the supervisor of %s tells no counts: is it of another version? switch the machine off and on", name)
	}
	return *answer.Stats, nil
}

// Console connects to a machine's serial line; it gets what the machine writes from now on. Everything said
// before is in Machine.Serial.
func (l *Lab) Console(ctx context.Context, name string) (io.ReadWriteCloser, error) {
	if _, err := l.load(name); err != nil {
		return nil, err
	}
	conn, err := l.dial(ctx, name)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(conn)
	if err := json.NewEncoder(conn).Encode(request{Op: opConsole}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening the console of %s: %w", name, err)
	}
	if _, err := lines.ReadString('\n'); err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening the console of %s: %w", name, err)
	}
	return struct {
		io.Reader
		io.WriteCloser
	}{lines, conn}, nil
}

// ensureSupervisor starts a machine's supervisor again if it does not answer.
func (l *Lab) ensureSupervisor(ctx context.Context, name string) error {
	if _, err := l.load(name); err != nil {
		return err
	}
	if _, err := l.ask(ctx, name, request{Op: opStatus}); err == nil {
		return nil
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.stopMachines(ctx, name); err != nil {
		return err
	}
	return l.startSupervisor(ctx, name)
}

// startSupervisor starts a machine's supervisor in a session of its own and waits until it
// answers; it outlives us.
func (l *Lab) startSupervisor(ctx context.Context, name string) error {
	argv, err := l.supervisorCommand()
	if err != nil {
		return err
	}
	dir := l.machineDir(name)
	os.Remove(filepath.Join(dir, controlSocket)) // of a supervisor that died
	log, err := os.OpenFile(filepath.Join(dir, superLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting the supervisor of %s: %w", name, err)
	}
	defer log.Close()
	argv = append(argv, l.supervisorArgs(name)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor of %s: %w", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the supervisor, or with us
	deadline := time.After(20 * time.Second)
	for {
		if _, err := l.ask(ctx, name, request{Op: opStatus}); err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the supervisor of %s ended at once: %w: %s", name, err, tail(filepath.Join(dir, superLog)))
		case <-deadline:
			return fmt.Errorf("the supervisor of %s does not answer within 20 s: %s", name, tail(filepath.Join(dir, superLog)))
		case <-ctx.Done():
			return fmt.Errorf("starting the supervisor of %s: %w", name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail returns the last lines of a log, for an error people read.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}
