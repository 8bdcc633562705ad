package rescue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/crypt"
)

// screen is a terminal and the person in front of it.
type screen struct {
	t      *testing.T
	master *os.File
	path   string // the terminal's other side

	mu   sync.Mutex
	seen bytes.Buffer
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number := 0
	err = control(master, func(fd int) (err error) {
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, master: master, path: fmt.Sprintf("/dev/pts/%d", number)}
	// Somebody holds the terminal, as a serial port is always there: reading would fail in between.
	hold, err := os.OpenFile(s.path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hold.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			s.mu.Lock()
			s.seen.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// shows waits until the screen has shown a text so many times.
func (s *screen) shows(text string, times int) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); strings.Count(s.text(), text) < times; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%q was not shown %d times:\n%s", text, times, s.text())
		}
	}
}

func (s *screen) types(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, line+"\r"); err != nil {
		s.t.Fatal(err)
	}
}

// rescued runs a login on the screen until the test ends.
func (s *screen) rescued(log io.Writer) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &Rescue{Hash: crypt.Hash("open"), Log: slog.New(slog.NewTextHandler(log, nil))}
	ended := make(chan struct{})
	go func() { r.console(ctx, s.path); close(ended) }()
	stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			s.t.Error("the login goes on after its end")
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// A login on a console: the password is not shown, a wrong one gives another try, the right one a
// shell that owns the terminal, and a shell that ends another login.
func TestConsoleLogin(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	var log bytes.Buffer
	stop := s.rescued(&log)
	for i, try := range [][2]string{{"root", "open"}, {"rescue", "opeN"}, {"", ""}, {"rescue", ""}} {
		s.shows("rescue login: ", i+1)
		s.types(try[0])
		s.shows("Password: ", i+1)
		s.types(try[1])
		s.shows("Login incorrect", i+1)
	}
	s.shows("rescue login: ", 5)
	s.types(" rescue ") // blanks around a name are a slip of the finger
	s.shows("Password: ", 5)
	began := len(s.text())
	s.types("open")
	s.shows("# ", 1)
	s.types("echo the user is $USER; test -t 0 && echo on a $TERM; echo ctl > /dev/tty")
	for _, want := range []string{"the user is rescue", "on a vt102\r\n", "ctl\r\n"} {
		s.shows(want, 1)
	}
	s.types("exit")
	s.shows("rescue login: ", 6)
	if after := s.text()[began:]; strings.Contains(after, "open") || strings.Contains(s.text(), "opeN") {
		t.Errorf("a password was shown:\n%s", s.text())
	}
	stop()
	if said := log.String(); strings.Count(said, "login refused") != 4 || strings.Count(said, "msg=login ") != 1 ||
		strings.Contains(said, "open") {
		t.Errorf("the log says:\n%s", said)
	}
}

// The end of the rescue system ends a login whatever it waits for, and the shell of one.
func TestConsoleStops(t *testing.T) {
	for name, until := range map[string]func(*screen){
		"at the name":     func(*screen) {},
		"at the password": func(s *screen) { s.types("rescue"); s.shows("Password: ", 1) },
		"in the shell": func(s *screen) {
			s.types("rescue")
			s.shows("Password: ", 1)
			s.types("open")
			s.shows("# ", 1)
			s.types("sleep 3600")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(t)
			stop := s.rescued(io.Discard)
			s.shows("rescue login: ", 1)
			until(s)
			began := time.Now()
			stop()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A line without an end, or the terminal's end of file, is no login and not the end of all.
func TestConsoleNoise(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	s.rescued(io.Discard)
	s.shows("rescue login: ", 1)
	s.types("\x04") // end of file, then an empty name
	s.shows("rescue login: ", 2)
	for range 3 {
		s.types(strings.Repeat("x", 2000))
	}
	s.types("\x03\x1c")
	s.settles()
	if strings.HasSuffix(s.text(), "Password: ") {
		s.types("")
		s.settles()
	}
	passwords := strings.Count(s.text(), "Password: ")
	s.types("rescue")
	s.shows("Password: ", passwords+1)
	s.types("open")
	s.shows("# ", 1)
}

// settles waits until the screen waits for something to be typed.
func (s *screen) settles() {
	s.t.Helper()
	before, since := "", time.Now()
	for end := since.Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now := s.text()
		if now != before {
			before, since = now, time.Now()
		}
		if time.Since(since) > 2*wrongDelay && (strings.HasSuffix(now, "login: ") || strings.HasSuffix(now, "Password: ")) {
			return
		}
	}
	s.t.Fatalf("it does not settle:\n%.2000s", s.text())
}

// A machine may name terminals that it does not have; a login is not tried on them for ever.
func TestConsoleThatIsNotThere(t *testing.T) {
	r := &Rescue{Hash: crypt.Hash("open"), Log: slog.New(slog.DiscardHandler)}
	ended := make(chan struct{})
	go func() { r.console(t.Context(), filepath.Join(t.TempDir(), "ttyS9")); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("it is still tried")
	}
	// A file that is no terminal is an error each time, not a login.
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.login(t.Context(), plain); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a login on a file: %v", err)
	}
	if text, err := os.ReadFile(plain); err != nil || len(text) != 0 {
		t.Errorf("the file got %q, %v", text, err)
	}
}

// Prepare makes a ramdisk's root a place to work in, twice if need be, and says what failed.
func TestPrepare(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts and must run as root")
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	calls := 0
	t.Cleanup(func() {
		for unix.Unmount(filepath.Join(root, "dev/pts"), unix.MNT_DETACH) == nil {
		}
	})
	for range 2 {
		if err := Prepare(root, func() error { calls++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 2 {
		t.Errorf("busybox was laid out %d times", calls)
	}
	if _, err := os.Stat(filepath.Join(root, "dev/pts/ptmx")); err != nil {
		t.Errorf("there are no pseudo terminals: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]string{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 7 || f[1] != "x" {
			t.Errorf("a line that lets people in without a password, or is none: %q", line)
			continue
		}
		users[f[0]] = f[2]
	}
	if len(users) != 2 || users["root"] != "0" || users[User] != "0" {
		t.Errorf("users %v", users)
	}
	wrong := errors.New("no busybox")
	if err := Prepare(root, func() error {
		return wrong
	}); !errors.Is(err, wrong) || !strings.Contains(err.Error(), "laying out the shell's commands") {
		t.Errorf("error %v", err)
	}
	if err := Prepare("/proc/none", func() error { return nil }); err == nil || !strings.Contains(err.Error(), "making /dev/pts") {
		t.Errorf("error %v", err)
	}
}
