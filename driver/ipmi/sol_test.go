package ipmi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

// talker is a machine whose serial line a test writes to.
type talker struct {
	machine
	lines chan net.Conn
}

func newTalker() *talker { return &talker{lines: make(chan net.Conn, 4)} }

func (m *talker) Console(context.Context) (io.ReadWriteCloser, error) {
	a, b := net.Pipe()
	m.lines <- a
	return b, nil
}

// listening is one ListenSerial under way.
type listening struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ended chan error
	stop  context.CancelFunc
}

func listen(t *testing.T, m *Management, info node.Document) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &listening{ended: make(chan error, 1), stop: cancel}
	go func() {
		e.ended <- m.ListenSerial(ctx, task(info), func(b []byte) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.text.Write(b)
		})
	}()
	t.Cleanup(cancel)
	return e
}

func (e *listening) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

func (e *listening) wants(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.HasSuffix(e.heard(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("heard %q, want %q at its end", e.heard(), text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (e *listening) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-e.ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it still listens")
		return nil
	}
}

func line(t *testing.T, m *talker) net.Conn {
	t.Helper()
	select {
	case c := <-m.lines:
		c.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("nobody listens to the serial line")
		return nil
	}
}

// A kilobyte and more is heard whole, whatever the network loses; what the machine says while its power is
// switched too, and the BMC is left as it was.
func TestListenSerial(t *testing.T) {
	for _, faults := range []bmc.Faults{{}, {DropPercent: 20}, {Delay: 20 * time.Millisecond, StrictSequence: true}} {
		t.Run(fmt.Sprintf("%+v", faults), func(t *testing.T) {
			m := newTalker()
			server := &bmc.Server{Machine: m}
			info := start(t, server)
			power, management := New(quick)
			e := listen(t, management, info)
			serial := line(t, m)
			server.SetFaults(faults)
			long := strings.Repeat("0123456789abcdef\r\n", 100)
			fmt.Fprint(serial, long)
			e.wants(t, long)
			if err := power.SetPowerState(t.Context(), task(info), node.PowerOn); err != nil {
				t.Error(err)
			}
			fmt.Fprint(serial, "Kernel panic")
			e.wants(t, long+"Kernel panic")
			if e.heard() != long+"Kernel panic" {
				t.Errorf("heard %q", e.heard())
			}
			server.SetFaults(bmc.Faults{})
			e.stop()
			if err := e.end(t); err != context.Canceled {
				t.Errorf("ended with %v", err)
			}
			if st := server.Stats(); st.Sessions != 0 {
				t.Errorf("%+v, want no session left", st)
			}
			listen(t, management, info)
			line(t, m) // and the serial line is free
		})
	}
}

// One that listens stays: a BMC ends a session after a minute without requests.
func TestListenerKeepsItsSession(t *testing.T) {
	m := newTalker()
	server := &bmc.Server{Machine: m, SessionTimeout: 2 * time.Second}
	info := start(t, server)
	o := quick
	o.SerialLost = 2 * time.Second
	_, management := New(o)
	e := listen(t, management, info)
	serial := line(t, m)
	time.Sleep(5 * time.Second) // the BMC looks at its sessions by the real clock, once a second
	fmt.Fprint(serial, "still here")
	e.wants(t, "still here")
}

func TestListenSerialIsRefused(t *testing.T) {
	m := newTalker()
	server := &bmc.Server{Machine: m}
	info := start(t, server)
	_, management := New(quick)
	first := listen(t, management, info)
	serial := line(t, m)
	for _, tt := range []struct {
		name string
		info node.Document
		kind node.Kind
		want string
	}{
		{"somebody listens", info, node.Conflict, "BMC ADDR: the serial line is in use by another console"},
		{"wrong password", with(info, "ipmi_password", "wrong"), node.Invalid, "the password is wrong"},
		{"no address", node.Document{}, node.Invalid, "driver_info/ipmi_address is missing"},
		{"a flag that is none", with(info, "capture_serial", "perhaps"), node.Invalid,
			`driver_info/capture_serial is "perhaps"; allowed: true, false`},
	} {
		err := listen(t, management, tt.info).end(t)
		c, _ := parse(info)
		if want := strings.ReplaceAll(tt.want, "ADDR", c.address); node.KindOf(err) != tt.kind || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%v), want %s", tt.name, err, node.KindOf(err), want)
		}
	}
	fmt.Fprint(serial, "the first one was not disturbed")
	first.wants(t, "the first one was not disturbed")
}

// Somebody who takes the console gets it, and keeps it: the listener ends without another word.
func TestAConsoleIsGivenUp(t *testing.T) {
	m := newTalker()
	server := &bmc.Server{Machine: m}
	info := start(t, server)
	_, management := New(quick)
	e := listen(t, management, info)
	line(t, m)
	c, _ := parse(info)
	if err := management.bmcs.do(t.Context(), c, func(s *session) error {
		_, err := s.ask(t.Context(), "take the console", netApp, 0x49, []byte{payloadSOL, 1, 0, 0, 0, 0})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	other := listen(t, management, info)
	serial := line(t, m)
	err := e.end(t)
	if node.KindOf(err) != node.Conflict || !errors.Is(err, driver.ErrSerialTaken) || !strings.Contains(err.Error(),
		"somebody else wants the console") {
		t.Errorf("ended with %v", err)
	}
	fmt.Fprint(serial, "mine now")
	other.wants(t, "mine now")
}

// The same with the tool that people use.
func TestIpmitoolTakesTheConsole(t *testing.T) {
	path, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Fatal("ipmitool is missing; scripts/deps test installs it")
	}
	m := newTalker()
	info := start(t, &bmc.Server{Machine: m})
	_, management := New(quick)
	e := listen(t, management, info)
	fmt.Fprint(line(t, m), "boot")
	e.wants(t, "boot")
	c, _ := parse(info)
	run := func(args ...string) (string, error) {
		out, err := exec.Command(path, append([]string{"-I", "lanplus", "-C", "17", "-H", "127.0.0.1", "-p", c.port(), "-U", "admin", "-P",
			password}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := run("sol", "activate"); err == nil || !strings.Contains(out, "already active on another session") {
		t.Errorf("ipmitool sol activate beside the listener: %v, %s", err, out)
	}
	if out, err := run("sol", "deactivate"); err != nil {
		t.Errorf("ipmitool sol deactivate: %v, %s", err, out)
	}
	if err := e.end(t); ReasonOf(err) != InUse {
		t.Errorf("the listener ended with %v", err)
	}
}

// A BMC with room for one session is the operations' own.
func TestOperationsComeFirst(t *testing.T) {
	m := newTalker()
	server := &bmc.Server{Machine: m, MaxSessions: 1}
	info := start(t, server)
	power, management := New(quick)
	e := listen(t, management, info)
	line(t, m)
	for range 2 {
		if state, err := power.PowerState(t.Context(), task(info)); err != nil || state != node.PowerOff {
			t.Errorf("%s, %v", state, err)
		}
	}
	if err := e.end(t); ReasonOf(err) != Busy || !strings.Contains(err.Error(), "no room for a session that listens") {
		t.Errorf("the listener ended with %v", err)
	}
}

func TestASilentBMCIsGivenUp(t *testing.T) {
	m := newTalker()
	server := &bmc.Server{Machine: m}
	info := start(t, server)
	o := quick
	o.SerialLost = time.Second
	_, management := New(o)
	e := listen(t, management, info)
	line(t, m)
	server.SetFaults(bmc.Faults{Dead: true})
	if err := e.end(t); ReasonOf(err) != Slow || !strings.Contains(err.Error(), "serial line's session for 1s") {
		t.Errorf("ended with %v", err)
	}
}

func TestSOLRefusals(t *testing.T) {
	for code, want := range map[completion]struct {
		reason Reason
		text   string
	}{
		0x80: {InUse, "in use by another console"}, 0x82: {InUse, "in use by another console"},
		0x81: {Unsupported, "switched off"}, 0x83: {Unsupported, "without encryption"},
		0xC1: {Unsupported, "does not know how to"}, 0xFF: {Refused, "refused to"},
	} {
		err := testSession(17).solRefused(code, "let its serial line be heard")
		if ReasonOf(err) != want.reason || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%#x: %v (%s), want %s: …%s…", byte(code), err, ReasonOf(err), want.reason, want.text)
		}
	}
}

func TestReceivingSerialPackets(t *testing.T) {
	packet := func(number byte, text string) solPacket { return solPacket{number: number, data: []byte(text)} }
	for _, tt := range []struct {
		name    string
		packets []solPacket
		want    string
	}{
		{"in order", []solPacket{packet(1, "a"), packet(2, "b"), packet(3, "c")}, "abc"},
		{"starting anywhere", []solPacket{packet(9, "a"), packet(10, "b")}, "ab"},
		{"around", []solPacket{packet(15, "a"), packet(1, "b")}, "ab"},
		{"repeated", []solPacket{packet(1, "a"), packet(1, "a"), packet(2, "b"), packet(2, "b")}, "ab"},
		{"repeated with more", []solPacket{packet(1, "a"), packet(1, "abc"), packet(1, "abc"), packet(2, "d")}, "abcd"},
		{"late copy", []solPacket{packet(1, "a"), packet(2, "b"), packet(1, "a"), packet(3, "c")}, "abc"},
		{"a BMC with two numbers", []solPacket{packet(1, "a"), packet(2, "b"), packet(1, "c"), packet(2, "d")}, "abcd"},
		{"a number left out", []solPacket{packet(1, "a"), packet(4, "b")}, "ab"},
		{"an acknowledgement", []solPacket{packet(1, "a"), packet(0, "x"), packet(2, "b")}, "ab"},
	} {
		var r solReceiver
		got := ""
		for _, p := range tt.packets {
			got += string(r.take(p))
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzSOL plays a BMC that sends anything, and one that sends a text by the rules over a network that loses
// acknowledgements, and repeats and delays packets as the input says.
func FuzzSOL(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 'a'}, []byte{0, 1, 2, 3, 1, 2, 0, 0, 1})
	f.Add([]byte{0xFF, 0, 0, 0x18}, []byte{3, 3, 3, 3})
	f.Add([]byte{1, 2}, []byte{})
	f.Fuzz(func(t *testing.T, raw, fate []byte) {
		var any solReceiver
		for range 2 {
			p, err := parseSOL(raw)
			if err != nil {
				break
			}
			if got := any.take(p); len(got) > len(p.data) || p.number == 0 && len(got) > 0 {
				t.Errorf("%d characters taken of % x", len(got), raw)
			}
			if ack := p.acknowledge(); len(ack) != 4 || ack[0] != 0 || int(ack[2]) != len(p.data) {
				t.Errorf("% x acknowledged by % x", raw, ack)
			}
		}
		var r solReceiver
		var want, got strings.Builder
		number, earlier := byte(0), solPacket{}
		for i, what := range fate {
			text := fmt.Sprintf("<%d>", i)
			number = number%15 + 1
			p := solPacket{number: number, data: []byte(text)}
			got.Write(r.take(p))
			want.WriteString(text)
			switch what % 4 {
			case 1: // its acknowledgement was lost
				got.Write(r.take(p))
			case 2: // the same, and more has come meanwhile
				p.data = append(p.data, '+')
				want.WriteByte('+')
				got.Write(r.take(p))
			case 3: // a copy of the one before was on its way for long
				got.Write(r.take(earlier))
			}
			earlier = p
		}
		if got.String() != want.String() {
			t.Errorf("got %q, want %q", got.String(), want.String())
		}
	})
}

// OpenIPMI's BMC, by other authors, with a serial line that a program of ours is at the end of.
func TestListenSerialOfOpenIPMI(t *testing.T) {
	end, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	info, _ := startSim(t, fmt.Sprintf("sol \"tcp:127.0.0.1:%d\" 115200\n", end.Addr().(*net.TCPAddr).Port))
	o := quick
	o.CommandTimeout, o.OperationTimeout = 5*time.Second, 10*time.Second
	power, management := New(o)
	e := listen(t, management, info)
	serial, err := end.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer serial.Close()
	time.Sleep(time.Second) // OpenIPMI connects before it activates, and drops what comes meanwhile
	long := strings.Repeat("the quick brown fox\r\n", 50)
	fmt.Fprint(serial, long)
	e.wants(t, "brown fox\r\n")
	if e.heard() != long {
		t.Errorf("heard %q", e.heard())
	}
	if err := listen(t, management, info).end(t); node.KindOf(err) != node.Conflict {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := power.PowerState(t.Context(), task(info)); err != nil {
		t.Error(err)
	}
	e.stop()
	if err := e.end(t); err != context.Canceled {
		t.Errorf("ended with %v", err)
	}
}
