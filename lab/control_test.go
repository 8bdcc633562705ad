package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/lab/bmc"
)

// quietSupervisor is a supervisor of a machine that is off, with a BMC that nobody can reach.
func quietSupervisor(t *testing.T) *supervisor {
	t.Helper()
	l, m := someMachine(t)
	return &supervisor{lab: l, m: m, dir: l.machineDir("m1"), log: slog.New(slog.DiscardHandler), bmc: &bmc.Server{}}
}

// answerOf sends bytes to a supervisor's control socket and returns what it says.
func answerOf(t *testing.T, s *supervisor, sent string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		s.answer(t.Context(), theirs)
	}()
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		io.WriteString(ours, sent)
		if !strings.HasSuffix(sent, "\n") { // half a request, and then nothing more
			ours.Close()
		}
	}()
	said, _ := bufio.NewReader(ours).ReadString('\n')
	ours.Close()
	<-ended
	return strings.TrimSpace(said)
}

// TestControl: what a supervisor is told, by whatever program, switches nothing that was not meant,
// and ends nothing.
func TestControl(t *testing.T) {
	s := quietSupervisor(t)
	s.SetBootDevice(bmc.BootDevice{Device: "pxe"})
	const state = `"power":"off","boot":"pxe once"`
	tests := []struct{ name, sent, want string }{
		{"status", `{"op":"status"}`, `{` + state + `}`},
		{"off, and it is off", `{"op":"power","power":"off"}`, `{` + state + `}`},
		{"an action nobody knows", `{"op":"power","power":"explode"}`, `{"error":"a machine has no power action \"explode\"",` + state + `}`},
		{"no action", `{"op":"power"}`, `{"error":"a machine has no power action \"\"",` + state + `}`},
		{"faults", `{"op":"faults","faults":{"Dead":true}}`, `{` + state + `}`},
		{"no faults", `{"op":"faults"}`, `{"error":"the request names no faults",` + state + `}`},
		{"a request of another version", `{"op":"levitate"}`,
			`{"error":"this supervisor knows no request \"levitate\"; is it of another version?",` + state + `}`},
		{"no request", `{}`, `{"error":"this supervisor knows no request \"\"; is it of another version?",` + state + `}`},
		{"another type", `{"op":7}`, ``},
		{"no JSON", `status`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := answerOf(t, s, tt.sent+"\n"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	for _, sent := range []string{"", `{"op":"sta`} {
		if got := answerOf(t, s, sent); got != "" {
			t.Errorf("%q is answered: %s", sent, got)
		}
	}
	var stats reply
	if err := json.Unmarshal([]byte(answerOf(t, s, `{"op":"stats"}`+"\n")), &stats); err != nil || stats.Stats == nil {
		t.Errorf("stats: %+v, %v", stats, err)
	}
}

// TestConsoleOverControl ties a connection to the serial line, with what was typed ahead.
func TestConsoleOverControl(t *testing.T) {
	s := quietSupervisor(t)
	machine, line := net.Pipe()
	carried := make(chan struct{})
	go func() { s.cons.carry(line); close(carried) }()
	waitUntil(t, "the line", func() bool { s.cons.mu.Lock(); defer s.cons.mu.Unlock(); return s.cons.line != nil })
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() { s.answer(t.Context(), theirs); close(ended) }()
	for _, c := range []net.Conn{ours, machine} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	go io.WriteString(ours, `{"op":"console"}`+"\nroot\n")
	said := bufio.NewReader(ours)
	if first, err := said.ReadString('\n'); err != nil || !strings.Contains(first, `"power":"off"`) {
		t.Fatalf("the answer is %q, %v", first, err)
	}
	heard := make([]byte, 64)
	n, err := io.ReadAtLeast(machine, heard, len("\nroot\n"))
	if err != nil || strings.TrimSpace(string(heard[:n])) != "root" {
		t.Errorf("the machine hears %q, %v", heard[:n], err)
	}
	waitUntil(t, "a reader", func() bool { s.cons.mu.Lock(); defer s.cons.mu.Unlock(); return len(s.cons.readers) == 1 })
	io.WriteString(machine, "Password: \n")
	if line, err := said.ReadString('\n'); err != nil || line != "Password: \n" {
		t.Errorf("the person sees %q, %v", line, err)
	}
	ours.Close()
	<-ended
	waitUntil(t, "no reader", func() bool { s.cons.mu.Lock(); defer s.cons.mu.Unlock(); return len(s.cons.readers) == 0 })
	machine.Close()
	<-carried
}

// TestConsolesOverPowerCycles: a reader stays over power cycles; one that does not read holds up
// neither the machine nor the others; what is typed while the machine is off is lost.
func TestConsolesOverPowerCycles(t *testing.T) {
	var cs consoles
	reader, lazy := cs.open(), cs.open()
	defer lazy.Close()
	if n, err := reader.Write([]byte("to nobody")); n != 9 || err != nil {
		t.Errorf("typing to a machine that is off: %d, %v", n, err)
	}
	const lines = 2000 // far more than is kept for one reader
	var got bytes.Buffer
	done := make(chan struct{})
	go func() { io.Copy(&got, reader); close(done) }()
	for cycle := range 2 {
		machine, line := net.Pipe()
		carried := make(chan struct{})
		go func() { cs.carry(line); close(carried) }()
		for i := range lines {
			if _, err := fmt.Fprintf(machine, "%d.%d\n", cycle, i); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		machine.Close()
		<-carried
		if n, err := reader.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("typing after the power went: %d, %v", n, err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	for range 2 { // closing twice is no harm
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
	<-done
	for _, want := range []string{"0.0\n", "1.0\n"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("the reader did not see %q", want)
		}
	}
	b := make([]byte, 16)
	if n, err := lazy.Read(b); err != nil || string(b[:n]) != "0.0\n" {
		t.Errorf("the lazy one begins with %q, %v", b[:n], err)
	}
	if n, err := reader.Read(b); n != 0 || err != io.EOF {
		t.Errorf("a closed console reads %d, %v", n, err)
	}
}

// TestAsk: whatever is at a control socket, the caller gets an answer or a reason.
func TestAsk(t *testing.T) {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Open(Lab{Dir: dir, Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	home := l.machineDir("m1")
	if err := errors.Join(os.MkdirAll(home, 0o755), saveJSON(filepath.Join(home, "machine.json"), Machine{Name: "m1"})); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ask(t.Context(), "m1", request{Op: opStatus}); err == nil ||
		!strings.Contains(err.Error(), "the supervisor of m1 does not answer") {
		t.Errorf("no socket: %v", err)
	}
	if m, err := l.Machine(t.Context(), "m1"); err != nil || m.Power != "unknown" {
		t.Errorf("a machine without a supervisor is %q, %v", m.Power, err)
	}
	control, err := net.Listen("unix", filepath.Join(home, controlSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	var mu sync.Mutex
	says := ""
	go func() {
		for {
			conn, err := control.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			mu.Lock()
			io.WriteString(conn, says)
			mu.Unlock()
			conn.Close()
		}
	}()
	for answer, want := range map[string]string{
		"":                                    "asking the supervisor of m1: EOF",
		"hello\n":                             "asking the supervisor of m1: invalid character 'h'",
		`{"power":"on"`:                       "asking the supervisor of m1: unexpected EOF",
		`{"error":"the disk is full"}` + "\n": "the disk is full",
		`{}` + "\n":                           "the supervisor of m1 tells no counts",
	} {
		mu.Lock()
		says = answer
		mu.Unlock()
		if _, err := l.Stats(t.Context(), "m1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
	}
	if err := l.Power(t.Context(), "m1", "explode"); err == nil || err.Error() != `power "explode": allowed are on, off, reset, cycle, soft` {
		t.Errorf("an action nobody knows: %v", err)
	}
	for name, call := range map[string]func() error{
		"power":   func() error { return l.Power(t.Context(), "nobody", "on") },
		"faults":  func() error { return l.SetFaults(t.Context(), "nobody", bmc.Faults{}) },
		"console": func() error { _, err := l.Console(t.Context(), "nobody"); return err },
		"follow":  func() error { return l.Follow(t.Context(), "nobody", io.Discard, FollowOptions{}) },
		"destroy": func() error { return l.Destroy(t.Context(), "nobody") },
		"run":     func() error { return l.RunMachine(t.Context(), "nobody") },
		"a path":  func() error { return l.RunMachine(t.Context(), "../machines/m1") },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "there is no machine ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLongestSocketPath: what creating a machine lets pass, the kernel and the other commands take.
func TestLongestSocketPath(t *testing.T) {
	base, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	for extra, fits := range map[int]bool{0: true, 1: false} {
		fill := maxSocketPath + extra - len(filepath.Join(base, "", "machines/m1", controlSocket)) - 1
		l := &Lab{Dir: filepath.Join(base, strings.Repeat("d", fill)), Name: "x"}
		dir := l.machineDir("m1")
		if got := len(filepath.Join(dir, controlSocket)); got != maxSocketPath+extra {
			t.Fatalf("the path has %d characters", got)
		}
		if err := socketsFit(dir); (err == nil) != fits {
			t.Errorf("%d too many: %v", extra, err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		control, err := net.Listen("unix", filepath.Join(dir, controlSocket))
		if (err == nil) != fits {
			t.Errorf("%d too many: the kernel says %v", extra, err)
		}
		if err == nil {
			defer control.Close()
		}
		conn, err := l.dial(t.Context(), "m1")
		if (err == nil) != fits {
			t.Errorf("%d too many: %v", extra, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// TestMACs: a card's address goes into QEMU's arguments, where a comma would begin another option.
func TestMACs(t *testing.T) {
	tests := []struct {
		nics int
		macs []string
		want string
	}{
		{2, []string{"52:54:00:AA:00:01", "52-54-00-aa-00-02"}, ""},
		{2, []string{"52:54:00:aa:00:01"}, ""},
		{1, []string{"52:54:00:aa:00:01", "52:54:00:aa:00:02"}, "2 MAC addresses for 1 NICs"},
		{2, []string{"52:54:00:aa:00:01", "52:54:00:AA:00:01"}, "MAC address 52:54:00:aa:00:01 is there twice"},
		{1, []string{"52:54:00:aa:00:01,romfile=/etc/shadow"}, "six pairs of hex digits are wanted"},
		{1, []string{"01:00:5e:00:00:01"}, "and no group's address"},
		{1, []string{"ff:ff:ff:ff:ff:ff"}, "and no group's address"},
		{1, []string{"00:00:00:00:00:00"}, "MAC address"},
		{1, []string{"52:54:00:aa:00"}, "MAC address"},
		{1, []string{"02:00:5e:10:00:00:00:01"}, "MAC address"},
		{1, []string{""}, `MAC address ""`},
	}
	for _, tt := range tests {
		given := append([]string{}, tt.macs...)
		o := MachineOptions{Name: "m1", NICs: tt.nics, MACs: tt.macs}
		err := o.complete()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.macs, err, tt.want)
		}
		if diff := cmp.Diff(given, tt.macs); diff != "" {
			t.Errorf("the caller's list was changed: %s", diff)
		}
		if err != nil {
			continue
		}
		seen := map[string]bool{}
		for i, n := range newMachine(o, "/d").NICs {
			if seen[n.MAC] || i < len(given) && n.MAC != strings.ToLower(strings.ReplaceAll(given[i], "-", ":")) {
				t.Errorf("%q: card %d has %s", given, i, n.MAC)
			}
			seen[n.MAC] = true
		}
	}
}

// TestNetworkAddresses: the host's address must be one that a host can have.
func TestNetworkAddresses(t *testing.T) {
	l, err := Open(Lab{Dir: t.TempDir(), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, want := range map[string]string{
		"10.222.3.0/24": "the address is the network's own or everybody's", "10.222.3.255/24": "the address is the network's own or everybody's",
		"10.222.3.8/29": "the address is the network's own", "10.222.3.1/30": "at most 29 bits", "10.222.3.1": "an IPv4 address with a prefix",
		"":                   "an IPv4 address",
		"::ffff:10.0.0.1/96": "an IPv4 address", "10.222.3.256/24": "an IPv4 address",
	} {
		if _, err := l.Up(t.Context(), cidr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", cidr, err, want)
		}
	}
	if files, err := os.ReadDir(l.Dir); err != nil || len(files) != 0 {
		t.Errorf("a refused lab left %v, %v", files, err)
	}
}

// TestZombiesAreGone: a process that has ended and that nobody asked about holds nothing any more.
func TestZombiesAreGone(t *testing.T) {
	dying := exec.Command("true")
	if err := dying.Start(); err != nil {
		t.Fatal(err)
	}
	defer dying.Wait()
	waitUntil(t, "a zombie", func() bool { _, ok := findProcess(dying.Process.Pid); return !ok })
}

// TestFilesOfALab: a note is whole or not there, and one that is damaged says where it is.
func TestFilesOfALab(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.json")
	if err := saveJSON(path, map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if err := saveJSON(path, func() {}); err == nil || !strings.Contains(err.Error(), "writing "+path) {
		t.Errorf("what is no JSON: %v", err)
	}
	var got map[string]int
	if err := loadJSON(path, &got); err != nil || got["a"] != 1 {
		t.Errorf("after a failed write it holds %v, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a file that may have a password is %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte(`{"a"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := loadJSON(path, &got); err == nil || !strings.Contains(err.Error(), "reading "+path) {
		t.Errorf("a damaged one: %v", err)
	}
	l, _ := someMachine(t)
	if err := os.WriteFile(filepath.Join(l.machineDir("m1"), "machine.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := l.Machines(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("a machine whose note is damaged is listed: %+v, %v", list, err)
	}
	if _, err := l.Machine(t.Context(), "m1"); err == nil || !strings.Contains(err.Error(), "machine.json") {
		t.Errorf("it is not said where: %v", err)
	}
}

// TestLock: two commands on one lab take turns.
func TestLock(t *testing.T) {
	l, err := Open(Lab{Dir: filepath.Join(t.TempDir(), "made"), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := l.lock()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := l.lock()
		if err == nil {
			second()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Errorf("two at once: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	unlock()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the second never gets its turn")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Lab{Dir: filepath.Join(file, "x")}).lock(); err == nil || !strings.Contains(err.Error(), "another one: --dir") {
		t.Errorf("a directory that cannot be made: %v", err)
	}
}

// TestBMCPort: a port of its own is kept over restarts of the supervisor, as clients know it; one
// that somebody else has is an error.
func TestBMCPort(t *testing.T) {
	s := quietSupervisor(t)
	s.m.UUID, s.m.BMC = "b111e700-0000-4000-8000-000000000001", BMC{Address: "127.0.0.1", User: "admin", Password: "pw"}
	if err := s.startBMC(); err != nil {
		t.Fatal(err)
	}
	saved, err := s.lab.load("m1")
	if err != nil || saved.BMC.Port == 0 || saved.BMC.Port != s.m.BMC.Port {
		t.Errorf("saved %+v, %v", saved.BMC, err)
	}
	if got := fmt.Sprintf("%x", s.bmc.GUID); got != "b111e70000004000"+"8000000000000001" {
		t.Errorf("the BMC's GUID is %s", got)
	}
	second := &supervisor{lab: s.lab, m: saved, dir: s.dir, log: s.log}
	if err := second.startBMC(); err == nil || !strings.Contains(err.Error(), "opening the BMC's port") {
		t.Errorf("two BMCs on one port: %v", err)
	}
	s.bmc.Conn.Close()
	if err := second.startBMC(); err != nil || second.m.BMC.Port != saved.BMC.Port {
		t.Errorf("a second run: port %d, %v; want %d", second.m.BMC.Port, err, saved.BMC.Port)
	}
	second.bmc.Conn.Close()
	second.m.UUID = "none"
	if err := second.startBMC(); err == nil || !strings.Contains(err.Error(), `the machine's UUID "none"`) {
		t.Errorf("a UUID that is none: %v", err)
	}
	second.bmc.Conn.Close()
}

// TestSupervisorGoesWithItsHome: nobody could find a supervisor whose directory was removed.
func TestSupervisorGoesWithItsHome(t *testing.T) {
	s := quietSupervisor(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { s.watchHome(ctx, cancel); close(ended) }()
	select {
	case <-ended:
		t.Fatal("it ended at once")
	case <-time.After(100 * time.Millisecond):
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("it lives on without a home")
	}
	<-ended
}

// TestPowerTexts: what `billet lab list` shows of a boot device.
func TestPowerTexts(t *testing.T) {
	s := quietSupervisor(t)
	for want, d := range map[string]bmc.BootDevice{"": {}, "pxe once": {Device: "pxe"}, "disk": {Device: "disk", Persistent: true}} {
		if err := s.SetBootDevice(d); err != nil {
			t.Fatal(err)
		}
		if got := s.bootText(); got != want {
			t.Errorf("%+v is %q, want %q", d, got, want)
		}
	}
	for _, a := range []bmc.Action{bmc.Off, bmc.Reset, bmc.Soft} { // of a machine that is off
		if err := s.SetPower(t.Context(), a); err != nil || s.powerText() != "off" {
			t.Errorf("%v: %v, it is %s", a, err, s.powerText())
		}
	}
	if err := s.SetPower(t.Context(), bmc.Action(99)); err == nil {
		t.Error("an action that is none is carried out")
	}
}
