package bmc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serial is a machine's end of a serial line.
type serial struct {
	machine io.ReadWriteCloser
	bmc     io.ReadWriteCloser
}

func newSerial() (*fakeMachine, chan serial) {
	lines := make(chan serial, 4)
	return &fakeMachine{on: true, console: func() (io.ReadWriteCloser, error) {
		a, b := net.Pipe()
		lines <- serial{a, b}
		return b, nil
	}}, lines
}

func line(t *testing.T, lines chan serial) serial {
	t.Helper()
	select {
	case s := <-lines:
		s.machine.(net.Conn).SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { s.machine.Close() })
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nobody connected to the console")
		return serial{}
	}
}

// expect reads until want has come.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	var got bytes.Buffer
	buf := make([]byte, 256)
	for !strings.Contains(got.String(), want) {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q, want %q", err, got.String(), want)
		}
	}
}

func TestIpmitoolSOL(whole *testing.T) {
	t := whole
	m, lines := newSerial()
	s := &Server{Machine: m}
	addr := start(t, s)
	if out, err := ipmitool(t, s, addr, "sol", "deactivate"); err == nil || !strings.Contains(out, "SOL payload already de-activated") {
		t.Errorf("deactivate with nothing active: %v %s", err, out)
	}
	terminal := activateOnTerminal(t, s, addr)
	port := line(t, lines)
	expect(t, terminal, "SOL Session operational")

	long := strings.Repeat("0123456789", 100) + " debian login: "
	go fmt.Fprint(port.machine, long)
	expect(t, terminal, "debian login: ")
	fmt.Fprint(terminal, "root\r")
	expect(t, port.machine, "root\r")

	t.Run("the machine's power may come and go", func(t *testing.T) {
		port.machine.Close()
		port = line(whole, lines)
		go fmt.Fprint(port.machine, "SeaBIOS again")
		expect(t, terminal, "SeaBIOS again")
	})
	t.Run("one console at a time", func(t *testing.T) {
		if out, err := ipmitool(t, s, addr, "sol", "activate"); err == nil ||
			!strings.Contains(out, "SOL payload already active on another session") {
			t.Errorf("%v %s", err, out)
		}
	})
	t.Run("another session ends it", func(t *testing.T) {
		if out, err := ipmitool(t, s, addr, "sol", "deactivate"); err != nil {
			t.Errorf("%v %s", err, out)
		}
		if _, err := port.machine.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the serial port is still open: %v", err)
		}
	})
}

// activateOnTerminal starts ipmitool sol activate on a pseudo-terminal, which it insists on.
func activateOnTerminal(t *testing.T, s *Server, addr *net.UDPAddr) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, "ipmitool", "-I", "lanplus", "-C", "17", "-H", addr.IP.String(), "-p", strconv.Itoa(addr.Port),
		"-U", s.User, "-P", s.Password, "sol", "activate")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait(); master.Close() })
	master.SetDeadline(time.Now().Add(40 * time.Second))
	return master
}

// solClient has an active console and the machine's end of it.
func solClient(t *testing.T, s *Server, addr *net.UDPAddr, lines chan serial) (*client, serial) {
	t.Helper()
	c := newClient(t, s, addr)
	c.login(suites[0])
	c.do(netApp, 0x3B, byte(Administrator))
	code, data := c.do(netApp, 0x48, 1, 1, 0xC0, 0, 0, 0)
	if code != codeOK || int(data[8])|int(data[9])<<8 != addr.Port {
		t.Fatalf("activate: %#x, % x", code, data)
	}
	return c, line(t, lines)
}

func TestSOLFromTheClient(t *testing.T) {
	m, lines := newSerial()
	s := &Server{Machine: m}
	c, port := solClient(t, s, start(t, s), lines)
	typed := append([]byte{1, 0, 0, 0}, "ls"...)
	_, ack := c.unpack(c.roundTrip(c.pack(payloadSOL, typed)))
	if want := []byte{0, 1, 2, 0}; !bytes.Equal(ack, want) {
		t.Errorf("acknowledged by % x, want % x", ack, want)
	}
	_, ack = c.unpack(c.roundTrip(c.pack(payloadSOL, typed))) // the acknowledgement was lost
	if want := []byte{0, 1, 2, 0}; !bytes.Equal(ack, want) {
		t.Errorf("acknowledged again by % x, want % x", ack, want)
	}
	c.roundTrip(c.pack(payloadSOL, append([]byte{2, 0, 0, 0}, '\n')))
	expect(t, port.machine, "ls\n")
}

func TestSOLFromTheMachine(t *testing.T) {
	m, lines := newSerial()
	s := &Server{Machine: m}
	c, port := solClient(t, s, start(t, s), lines)
	go port.machine.Write([]byte("boot"))
	_, first := c.unpack(c.receive())
	if want := append([]byte{1, 0, 0, 0}, "boot"...); !bytes.Equal(first, want) {
		t.Fatalf("got % x, want % x", first, want)
	}
	if _, again := c.unpack(c.receive()); !bytes.Equal(first, again) {
		t.Errorf("unacknowledged characters: % x, want % x once more", again, first)
	}
	_, rest := c.unpack(c.roundTrip(c.pack(payloadSOL, []byte{0, 1, 1, 0}))) // takes one of four
	if want := append([]byte{2, 0, 0, 0}, "oot"...); !bytes.Equal(rest, want) {
		t.Errorf("after part was taken: % x, want % x", rest, want)
	}
	c.conn.Write(c.pack(payloadSOL, []byte{0, 2, 3, 0}))
	go port.machine.Write([]byte("ok"))
	if _, next := c.unpack(c.receive()); !bytes.Equal(next, append([]byte{3, 0, 0, 0}, "ok"...)) {
		t.Errorf("next characters: % x", next)
	}
}

func TestSOLInputThatNobodyReadsIsRefused(t *testing.T) {
	m, lines := newSerial()
	s := &Server{Machine: m}
	c, port := solClient(t, s, start(t, s), lines)
	refused := false
	for i := range solQueue + 2 {
		_, ack := c.unpack(c.roundTrip(c.pack(payloadSOL, []byte{byte(i%15 + 1), 0, 0, 0, 'x'})))
		refused = ack[3]&solNack != 0
	}
	if !refused {
		t.Error("a serial port that takes nothing took everything")
	}
	if n, err := io.ReadFull(port.machine, make([]byte, solQueue)); err != nil {
		t.Errorf("%d characters came: %v", n, err)
	}
}

func TestSOLEndIsTold(t *testing.T) {
	m, lines := newSerial()
	s := &Server{Machine: m}
	c, _ := solClient(t, s, start(t, s), lines)
	c.conn.Write(c.pack(payloadIPMI, c.request(netApp, 0x49, 1, 1, 0, 0, 0, 0)))
	if kind, p := c.unpack(c.receive()); kind != payloadSOL || !bytes.Equal(p, []byte{0, 0, 0, solEnding}) {
		t.Errorf("payload type %d, % x, want the news that SOL ends", kind, p)
	}
	if kind, p := c.unpack(c.receive()); kind != payloadIPMI || p[6] != codeOK {
		t.Errorf("payload type %d, % x, want the answer to deactivate", kind, p)
	}
}

func TestSOLEndsWithItsSession(t *testing.T) {
	m, lines := newSerial()
	s := &Server{Machine: m}
	addr := start(t, s)
	c, port := solClient(t, s, addr, lines)
	c.conn.Write(c.pack(payloadIPMI, c.request(netApp, 0x3C, le32(c.s.id)...)))
	if _, err := port.machine.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the serial port is still open: %v", err)
	}
	solClient(t, s, addr, lines) // and is free for the next
}
