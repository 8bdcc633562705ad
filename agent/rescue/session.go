package rescue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// connection serves one TCP connection and the sessions in it.
func (r *Rescue) connection(ctx context.Context, conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(handshake))
	c, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		r.Log.Debug("no SSH connection", "from", conn.RemoteAddr().String(), "error", err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	ctx, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	all.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions are served here")
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			continue
		}
		all.Go(func() {
			s := &session{Channel: channel, shell: r.shell()}
			if err := s.serve(ctx, requests); err != nil {
				r.Log.Warn("session", "user", c.User(), "error", err)
			}
		})
	}
}

// session is one shell or command. Only serve's goroutine writes its fields.
type session struct {
	ssh.Channel
	shell string
	term  string
	pty   *os.File // the master; nil without a terminal
	tty   *os.File // the shell's side
	ended chan error
}

// The payloads of RFC 4254, sections 6.2, 6.5, 6.7, 6.9, 6.10.
type (
	ptyRequest struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	windowChange struct{ Columns, Rows, Width, Height uint32 }
	execRequest  struct{ Command string }
	exitStatus   struct{ Status uint32 }
)

// serve answers the session's requests until its program has ended or the client has gone.
func (s *session) serve(ctx context.Context, requests <-chan *ssh.Request) error {
	defer s.Close()
	ctx, kill := context.WithCancel(ctx)
	defer func() {
		kill()
		s.closeTerminal()
		if s.ended != nil {
			<-s.ended
		}
	}()
	for {
		select {
		case req, ok := <-requests:
			if !ok {
				return nil
			}
			err := s.request(ctx, req)
			if req.WantReply {
				_ = req.Reply(err == nil, nil)
			}
		case err := <-s.ended:
			s.ended = nil
			return s.tell(err)
		}
	}
}

func (s *session) request(ctx context.Context, req *ssh.Request) error {
	switch req.Type {
	case "pty-req":
		var p ptyRequest
		if err := ssh.Unmarshal(req.Payload, &p); err != nil {
			return err
		}
		return s.openTerminal(p)
	case "window-change":
		var w windowChange
		if err := ssh.Unmarshal(req.Payload, &w); err != nil {
			return err
		}
		return s.resize(w.Columns, w.Rows)
	case "env":
		return nil // what a client wants to set does not matter in a rescue system
	case "shell":
		return s.start(ctx, "-l")
	case "exec":
		var e execRequest
		if err := ssh.Unmarshal(req.Payload, &e); err != nil {
			return err
		}
		return s.start(ctx, "-c", e.Command)
	}
	return fmt.Errorf("request %s is not served", req.Type)
}

// start runs the shell; ended says how it ended.
func (s *session) start(ctx context.Context, args ...string) error {
	if s.ended != nil {
		return errors.New("one program a session")
	}
	cmd := exec.CommandContext(ctx, s.shell, args...)
	cmd.Env, cmd.Dir = environment(s.term), "/"
	if _, err := os.Stat("/root"); err == nil {
		cmd.Dir = "/root"
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it leads its group: what it started goes with it
	cmd.WaitDelay = time.Second                                                          // a process left in the background may hold the pipes
	ended := make(chan error, 1)
	var err error
	if s.pty != nil {
		err = s.onTerminal(cmd, ended)
	} else {
		err = s.onPipes(cmd, ended)
	}
	if err != nil {
		return err
	}
	s.ended = ended
	return nil
}

func (s *session) onPipes(cmd *exec.Cmd, ended chan<- error) error {
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = s, s.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	// Ends with the channel, which serve closes.
	go func() {
		_, _ = io.Copy(in, s)
		in.Close()
	}()
	go func() { ended <- cmd.Wait() }()
	return nil
}

func (s *session) onTerminal(cmd *exec.Cmd, ended chan<- error) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.tty, s.tty, s.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.tty.Close() // the shell's own copy is the last: the master then sees its end
	s.tty = nil
	master := s.pty
	shown := make(chan struct{})
	go func() { _, _ = io.Copy(master, s) }()
	go func() {
		_, _ = io.Copy(s, master) // ends with EIO when the last process has closed the terminal
		close(shown)
	}()
	go func() {
		err := cmd.Wait()
		select {
		case <-shown:
		case <-time.After(cmd.WaitDelay): // a process left in the background keeps it open
		}
		ended <- err
	}()
	return nil
}

// tell sends how the program ended (RFC 4254, section 6.10).
func (s *session) tell(err error) error {
	status := exitStatus{}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status.Status = uint32(exit.ExitCode())
		if !exit.Exited() {
			status.Status = 128 + uint32(exit.Sys().(syscall.WaitStatus).Signal())
		}
	} else if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		status.Status = 255
	}
	_, err = s.SendRequest("exit-status", false, ssh.Marshal(status))
	return err
}

// openTerminal makes a pseudo terminal: pts(4).
func (s *session) openTerminal(p ptyRequest) error {
	if s.pty != nil {
		return errors.New("one terminal a session")
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	s.pty, s.term = master, p.Term
	number := 0
	err = control(master, func(fd int) (err error) {
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	})
	if err != nil {
		return fmt.Errorf("unlocking a terminal: %w", err)
	}
	if s.tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	return s.resize(p.Columns, p.Rows)
}

func (s *session) resize(columns, rows uint32) error {
	if s.pty == nil {
		return errors.New("the session has no terminal")
	}
	size := &unix.Winsize{Col: uint16(min(columns, 1<<15)), Row: uint16(min(rows, 1<<15))}
	return control(s.pty, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
}

// control does something to a terminal's descriptor. Unlike Fd it leaves it with Go's poller, so
// that closing the file ends a read.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}

func (s *session) closeTerminal() {
	for _, f := range []*os.File{s.pty, s.tty} {
		if f != nil {
			f.Close()
		}
	}
}
