package rescue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/billet-metal/billet/crypt"
)

// serve lets people in with the password "open" until the test ends.
func serve(t *testing.T) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := &Rescue{Hash: crypt.Hash("open"), Log: slog.New(slog.DiscardHandler)}
	go func() { ended <- r.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not end")
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dial(address, user, password string) (*ssh.Client, error) {
	return ssh.Dial("tcp", address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, Timeout: 10 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
}

func newSession(t *testing.T, address string) *ssh.Session {
	t.Helper()
	c, err := dial(address, User, "open")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhoMayLogIn(t *testing.T) {
	address, _ := serve(t)
	for _, tt := range []struct {
		user, password string
		in             bool
	}{{"rescue", "open", true}, {"rescue", "Open", false}, {"rescue", "", false}, {"root", "open", false}, {"", "open", false}} {
		c, err := dial(address, tt.user, tt.password)
		if (err == nil) != tt.in {
			t.Errorf("%+v: %v", tt, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

func TestCommands(t *testing.T) {
	address, _ := serve(t)
	s := newSession(t, address)
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader("to the shell"), &out, &errs
	err := s.Run("cat; echo $USER; echo wrong >&2; exit 7")
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 7 {
		t.Errorf("ended with %v", err)
	}
	if d := cmp.Diff([]string{"to the shellrescue\n", "wrong\n"}, []string{out.String(), errs.String()}); d != "" {
		t.Error(d)
	}
	killed := newSession(t, address)
	if err := killed.Run("kill -9 $$"); err == nil || err.(*ssh.ExitError).ExitStatus() != 128+9 {
		t.Errorf("killed: %v", err)
	}
}

// A shell on a terminal of the client's size.
func TestTerminal(t *testing.T) {
	address, _ := serve(t)
	s := newSession(t, address)
	if err := s.RequestPty("vt220", 33, 111, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdout = &out
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "stty size; echo term=$TERM; test -t 0 && echo on-a-terminal; exit\n")
	if err := s.Wait(); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
	for _, want := range []string{"33 111", "term=vt220", "on-a-terminal\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the terminal does not show %q: %q", want, out.String())
		}
	}
}

// sleepers counts the processes that sleep for so many seconds.
func sleepers(t *testing.T, seconds string) (n int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		if words, err := os.ReadFile(name); err == nil && string(words) == "sleep\x00"+seconds+"\x00" { // gone meanwhile is gone
			n++
		}
	}
	return n
}

// becomes waits until there are so many sleepers.
func becomes(t *testing.T, seconds string, want int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); sleepers(t, seconds) != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d processes sleep for %s s, want %d", sleepers(t, seconds), seconds, want)
		}
	}
}

// Stopping ends sessions that would go on, with and without a terminal, and all they started; so does a client that goes.
func TestStopEndsSessions(t *testing.T) {
	seconds := fmt.Sprint(3600 + os.Getpid()) // no other test's
	address, stop := serve(t)
	plain, onTerminal := newSession(t, address), newSession(t, address)
	if err := onTerminal.RequestPty("vt100", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*ssh.Session{plain, onTerminal} {
		if err := s.Start("sleep " + seconds + "; true"); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := dial(address, User, "open")
	if err != nil {
		t.Fatal(err)
	}
	s, err := gone.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("sleep " + seconds + "; true"); err != nil {
		t.Fatal(err)
	}
	becomes(t, seconds, 3)
	gone.Close()
	becomes(t, seconds, 2)
	stop()
	becomes(t, seconds, 0)
}

func TestWhatIsRefused(t *testing.T) {
	address, _ := serve(t)
	c, err := dial(address, User, "open")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if conn, err := c.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("connections are forwarded")
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem("sftp"); err == nil {
		t.Error("sftp is served")
	}
	if err := s.Run("true"); err != nil {
		t.Errorf("after a refused request: %v", err)
	}
	if err := (&Rescue{Hash: "open", Log: slog.New(slog.DiscardHandler)}).Run(t.Context()); !errors.Is(err, crypt.ErrForm) {
		t.Errorf("a password instead of a hash: %v", err)
	}
}

func TestConsoles(t *testing.T) {
	for active, want := range map[string][]string{
		"ttyS0 tty0\n": {"/dev/ttyS0", "/dev/tty1"}, "tty0\n": {"/dev/ttyS0", "/dev/tty1"}, "": {"/dev/ttyS0"},
		"ttyS1\n": {"/dev/ttyS0", "/dev/ttyS1"},
	} {
		if d := cmp.Diff(want, Consoles(active)); d != "" {
			t.Errorf("%q: %s", active, d)
		}
	}
}
