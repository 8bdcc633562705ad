package rescue

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// How a program ends reaches the client as a shell would say it.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	address, _ := serve(t)
	for command, want := range map[string]int{"true": 0, "exit 3": 3, "exit 255": 255, "kill -TERM $$": 128 + 15, "kill -KILL $$": 128 + 9,
		"/no/such/program": 127} {
		err := newSession(t, address).Run(command)
		got := 0
		if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
			got = exit.ExitStatus()
		} else if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		if got != want {
			t.Errorf("%s: status %d, want %d", command, got, want)
		}
	}
}

// Whatever size, what a program says arrives whole, and in its own stream; what it is told, too.
func TestStreams(t *testing.T) {
	address, _ := serve(t)
	s := newSession(t, address)
	data := bytes.Repeat([]byte("0123456789abcde\n"), 200_000) // 3.2 MB, beyond any window
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = bytes.NewReader(data), &out, &errs
	if err := s.Run("tee /dev/stderr"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), data) || !bytes.Equal(errs.Bytes(), data) {
		t.Errorf("%d bytes in, %d and %d out", len(data), out.Len(), errs.Len())
	}
}

// A process left in the background does not keep the session, with a terminal or without.
func TestBackground(t *testing.T) {
	t.Parallel()
	address, _ := serve(t)
	for _, terminal := range []bool{false, true} {
		s := newSession(t, address)
		if terminal {
			if err := s.RequestPty("vt100", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		out, err := s.Output("trap '' HUP; sleep 30 & echo started")
		if err != nil || strings.TrimSpace(string(out)) != "started" {
			t.Errorf("terminal %v: %q, %v", terminal, out, err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("terminal %v: it took %s", terminal, took)
		}
	}
}

// A terminal follows the size of the client's window.
func TestWindowChange(t *testing.T) {
	address, _ := serve(t)
	s := newSession(t, address)
	if err := s.RequestPty("xterm", 10, 20, nil); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdout = &out
	// The trap runs when the size changes; the second is what is asked for.
	if err := s.Start("stty size; echo ready; read x; stty size"); err != nil {
		t.Fatal(err)
	}
	if err := s.WindowChange(40, 132); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "go\n")
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	if text := out.String(); !strings.HasSuffix(text, "40 132\r\n") {
		t.Errorf("the terminal shows %q", text)
	}
}

// What a session may ask for only once, or in another order, is refused; the session lives on.
func TestRequestsOutOfOrder(t *testing.T) {
	address, _ := serve(t)
	s := newSession(t, address)
	if err := s.WindowChange(1, 1); err != nil { // no terminal yet; there is no answer to this request
		t.Fatal(err)
	}
	if err := s.Setenv("LD_PRELOAD", "/tmp/evil.so"); err != nil {
		t.Errorf("a client that sends its environment is let down: %v", err)
	}
	for _, request := range []string{"pty-req", "exec", "x11-req", "auth-agent-req@openssh.com", "signal", ""} {
		ok, err := s.SendRequest(request, true, []byte("\x00\x00\xff\xff not what it should be"))
		if ok || err != nil {
			t.Errorf("%s with nonsense: %v, %v", request, ok, err)
		}
	}
	if err := s.RequestPty("vt100", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("vt100", 24, 80, nil); err == nil {
		t.Error("a second terminal is given")
	}
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Start("echo preload=$LD_PRELOAD; read x"); err != nil {
		t.Fatal(err)
	}
	if ok, _ := s.SendRequest("exec", true, ssh.Marshal(execRequest{"echo second"})); ok {
		t.Error("a second program is started")
	}
	if ok, _ := s.SendRequest("shell", true, nil); ok {
		t.Error("a shell is started beside the program")
	}
	s.Close()
}

// Keys let nobody in, nor does no password at all; three wrong passwords end the connection, and
// each takes its time, whether the user is right or not.
func TestGuessing(t *testing.T) {
	t.Parallel()
	address, _ := serve(t)
	tries := 0
	passwords := ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) { tries++; return "guess", nil }), 100)
	for _, user := range []string{User, "nobody"} {
		tries = 0
		began := time.Now()
		_, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{passwords},
			HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		took := time.Since(began)
		if err == nil {
			t.Fatal("a guess lets in")
		}
		if tries > 4 || took < 3*wrongDelay {
			t.Errorf("%s: %d guesses in %s", user, tries, took)
		}
	}
	_, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: User, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err == nil {
		t.Error("no password lets in")
	}
}

// Whoever connects and says nothing holds one of 32 places; the rest are for others, who are told
// at once when there is none, and a place is free again when its holder goes.
func TestPlaces(t *testing.T) {
	t.Parallel()
	address, _ := serve(t)
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	banner := func() (net.Conn, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 4)
		if _, err = io.ReadFull(c, b); err == nil && string(b) != "SSH-" {
			err = errors.New("the banner is " + string(b))
		}
		return c, err
	}
	for i := range maxConnections {
		c, err := banner()
		if c != nil {
			silent = append(silent, c)
		}
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if c, err := banner(); err == nil {
		c.Close()
		t.Error("there is a place beyond the last")
	}
	silent[0].Close()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := dial(address, User, "open")
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the place that is free is not given: %v", err)
		}
	}
}

// Each boot has a host key of its own.
func TestHostKeys(t *testing.T) {
	t.Parallel()
	var keys [][]byte
	for range 2 {
		address, stop := serve(t)
		c, err := ssh.Dial("tcp", address, &ssh.ClientConfig{
			User: User, Auth: []ssh.AuthMethod{ssh.Password("open")},
			HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { keys = append(keys, key.Marshal()); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		stop()
	}
	if len(keys) != 2 || bytes.Equal(keys[0], keys[1]) {
		t.Errorf("%d keys, equal", len(keys))
	}
}

// A shell that is not there is a refused request; the log does not have the password.
func TestNoShell(t *testing.T) {
	address, _ := serve(t)
	s := newSession(t, address)
	if err := s.Run(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a program that is not there ends well")
	}
	if _, err := os.Stat("/root"); err != nil {
		return
	}
	out, err := newSession(t, address).Output("pwd")
	if err != nil || strings.TrimSpace(string(out)) != "/root" {
		t.Errorf("a command begins in %q, %v", out, err)
	}
}
