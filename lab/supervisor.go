package lab

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/lab/bmc"
)

// supervisor runs one machine: it holds the BMC and the control socket, and QEMU is its child.
// It implements bmc.Machine.
type supervisor struct {
	lab  *Lab
	m    Machine
	dir  string
	log  *slog.Logger
	bmc  *bmc.Server
	cons consoles

	power sync.Mutex // one power action at a time; held over QEMU's start and stop

	mu       sync.Mutex // guards what follows, never held over I/O
	running  *guest     // nil while the machine is off
	override bmc.BootDevice
	disks    []Disk // as they are now; nil: as s.m has them
	starting bool   // the machine has started with override; one for a single boot ends when that has settled
}

// RunMachine is the supervisor's main: it serves the machine's BMC until ctx ends, and then
// switches the machine off.
func (l *Lab) RunMachine(ctx context.Context, name string) error {
	m, err := l.load(name)
	if err != nil {
		return err
	}
	s := &supervisor{lab: l, m: m, dir: l.machineDir(name), log: l.Log}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	control, err := net.Listen("unix", filepath.Join(s.dir, controlSocket))
	if err != nil {
		return fmt.Errorf("opening the control socket: %w", err)
	}
	defer control.Close()
	if err := s.startBMC(); err != nil {
		return err
	}
	var owned sync.WaitGroup
	if m.Inside {
		inside, err := s.listenInside()
		if err != nil {
			return err
		}
		defer inside.Close()
		owned.Go(func() { s.serveInside(ctx, inside) })
	}
	owned.Go(func() {
		if err := s.bmc.Serve(ctx); err != nil {
			s.log.Error("the BMC ended", "machine", name, "error", err)
			cancel()
		}
	})
	owned.Go(func() { s.serveControl(ctx, control) })
	owned.Go(func() { s.watchHome(ctx, cancel) })
	<-ctx.Done()
	control.Close()
	err = s.SetPower(context.WithoutCancel(ctx), bmc.Off)
	owned.Wait()
	return err
}

func (s *supervisor) startBMC() error {
	conn, err := net.ListenPacket("udp4", fmt.Sprintf("%s:%d", s.m.BMC.Address, s.m.BMC.Port))
	if err != nil {
		return fmt.Errorf("opening the BMC's port: %w", err)
	}
	s.m.BMC.Port = conn.LocalAddr().(*net.UDPAddr).Port
	if err := saveJSON(filepath.Join(s.dir, "machine.json"), s.m); err != nil {
		conn.Close()
		return err
	}
	s.bmc = &bmc.Server{Conn: conn, User: s.m.BMC.User, Password: s.m.BMC.Password, Machine: s, Log: s.log}
	id, err := hex.DecodeString(strings.ReplaceAll(s.m.UUID, "-", ""))
	if err != nil {
		return fmt.Errorf("the machine's UUID %q: %w", s.m.UUID, err)
	}
	copy(s.bmc.GUID[:], id)
	return nil
}

// listenInside opens the socket that QEMU's own end of the BMC comes to.
func (s *supervisor) listenInside() (net.Listener, error) {
	path := filepath.Join(s.dir, insideSocket)
	os.Remove(path) // of a supervisor that was killed
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the machine's way to its BMC: %w", err)
	}
	return l, nil
}

func (s *supervisor) serveInside(ctx context.Context, l net.Listener) {
	var owned sync.WaitGroup
	defer owned.Wait()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		owned.Go(func() {
			if err := s.bmc.ServeInside(ctx, conn); err != nil {
				s.log.Warn("the machine's way to its BMC ended", "machine", s.m.Name, "error", err)
			}
		})
	}
}

// watchHome ends the supervisor when somebody removed its directory: nobody could find it again.
func (s *supervisor) watchHome(ctx context.Context, cancel context.CancelFunc) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := os.Stat(filepath.Join(s.dir, "machine.json")); errors.Is(err, os.ErrNotExist) {
				cancel()
				return
			}
		}
	}
}

func (s *supervisor) serveControl(ctx context.Context, control net.Listener) {
	var owned sync.WaitGroup
	defer owned.Wait()
	for {
		conn, err := control.Accept()
		if err != nil {
			return
		}
		owned.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			s.answer(ctx, conn)
		})
	}
}

func (s *supervisor) answer(ctx context.Context, conn net.Conn) {
	from := json.NewDecoder(conn)
	var r request
	if err := from.Decode(&r); err != nil {
		return
	}
	answer := reply{Power: s.powerText(), Boot: s.bootText()}
	switch r.Op {
	case opStatus, opConsole:
	case opPower:
		action, ok := actions[r.Power]
		if !ok {
			answer.Error = fmt.Sprintf("a machine has no power action %q", r.Power)
			break
		}
		if err := s.SetPower(ctx, action); err != nil {
			answer.Error = err.Error()
		}
		answer.Power = s.powerText()
	case opFaults:
		if r.Faults == nil {
			answer.Error = "the request names no faults"
			break
		}
		s.bmc.SetFaults(*r.Faults)
	case opDisk:
		if r.Disk == nil {
			answer.Error = "the request names no disk"
			break
		}
		if err := s.setDisk(ctx, *r.Disk); err != nil {
			answer.Error = err.Error()
		}
	case opStats:
		stats := s.bmc.Stats()
		answer.Stats = &stats
	default:
		answer.Error = fmt.Sprintf("this supervisor knows no request %q; is it of another version?", r.Op)
	}
	if err := json.NewEncoder(conn).Encode(answer); err != nil || r.Op != opConsole {
		return
	}
	s.join(conn, io.MultiReader(from.Buffered(), conn))
}

// join ties a connection to the serial line until either ends.
func (s *supervisor) join(conn net.Conn, typed io.Reader) {
	c := s.cons.open()
	var owned sync.WaitGroup
	owned.Go(func() {
		_, _ = io.Copy(conn, c)
		conn.Close()
	})
	_, _ = io.Copy(c, typed)
	c.Close()
	owned.Wait()
}

func (s *supervisor) powerText() string {
	if s.PoweredOn() {
		return "on"
	}
	return "off"
}

func (s *supervisor) bootText() string {
	d := s.BootDevice()
	if d.Device == "" || d.Persistent {
		return d.Device
	}
	return d.Device + " once"
}

// PoweredOn reports whether QEMU runs.
func (s *supervisor) PoweredOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running != nil
}

// BootDevice returns the override for the next start.
func (s *supervisor) BootDevice() bmc.BootDevice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.override
}

// SetBootDevice sets the override for the next start; a machine that is on is told in the
// background.
func (s *supervisor) SetBootDevice(d bmc.BootDevice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.override, s.starting = d, false
	s.log.Info("boot device", "machine", s.m.Name, "device", d.Device, "persistent", d.Persistent)
	if s.running != nil {
		s.running.reorder()
	}
	return nil
}

// started notes that the firmware has read the boot order.
func (s *supervisor) started() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting = true
}

// settle forgets an override that was meant for the one boot that is now under way.
func (s *supervisor) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starting && !s.override.Persistent {
		s.override = bmc.BootDevice{}
	}
	s.starting = false
}

// Console connects to the serial line.
func (s *supervisor) Console(context.Context) (io.ReadWriteCloser, error) { return s.cons.open(), nil }

// SetPower does what a power button or a BMC can do. What is asked for and already so is no error.
func (s *supervisor) SetPower(ctx context.Context, a bmc.Action) error {
	s.power.Lock()
	defer s.power.Unlock()
	s.mu.Lock()
	g := s.running
	s.mu.Unlock()
	s.log.Info("power", "machine", s.m.Name, "action", a.String())
	switch a {
	case bmc.On:
		return s.on(ctx, g)
	case bmc.Off:
		return s.off(g)
	case bmc.Cycle:
		if err := s.off(g); err != nil {
			return err
		}
		return s.on(ctx, nil)
	case bmc.Reset, bmc.Soft, bmc.NMI:
		if g == nil {
			return nil
		}
		return g.press(ctx, a)
	}
	return fmt.Errorf("a machine has no power action %v", a)
}

func (s *supervisor) on(ctx context.Context, g *guest) error {
	if g != nil {
		return nil
	}
	g, err := s.start(ctx)
	if err != nil {
		s.log.Error("the machine does not start", "machine", s.m.Name, "error", err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-g.ended: // already again
	default:
		s.running = g
	}
	return nil
}

func (s *supervisor) off(g *guest) error {
	if g == nil {
		return nil
	}
	return g.kill()
}
