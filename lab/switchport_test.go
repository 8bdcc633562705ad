package lab

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSwitchPort follows a machine's frames out of its cable, over a power cycle and into another namespace, which is where somebody's
// switch may be. Nobody else sees them.
func TestSwitchPort(t *testing.T) {
	l := testLab(t)
	m, err := l.Create(t.Context(), MachineOptions{Name: "m1", Disks: []int64{}, NICs: 2, SwitchPort: true})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := l.Create(t.Context(), MachineOptions{Name: "m2", Disks: []int64{}})
	if err != nil {
		t.Fatal(err)
	}
	if port := plain.NICs[0].SwitchPort; port != "" {
		t.Errorf("a machine on the lab's network has the switch port %q", port)
	}
	first, second := m.NICs[0].SwitchPort, m.NICs[1].SwitchPort
	if first == second || !here(first) || !here(second) {
		t.Fatalf("the switch ports are %q and %q", first, second)
	}
	elsewhere := seen(t, "billet-"+l.Name, "ether src "+m.NICs[0].MAC)
	for range 2 {
		asked := seen(t, first, "udp dst port 67 and ether src "+m.NICs[0].MAC)
		if err := l.Power(t.Context(), "m1", "on"); err != nil {
			t.Fatal(err)
		}
		asked.wait(t)
		if err := l.Power(t.Context(), "m1", "off"); err != nil {
			t.Fatal(err)
		}
		if now := l.mustMachine(t, "m1").NICs[0].SwitchPort; now != first || !here(now) {
			t.Fatalf("the switch port %s became %s", first, now)
		}
	}
	if len(elsewhere.lines) != 0 {
		t.Error("a machine with a switch port is on the lab's network")
	}
	space := "sw" + l.Name
	for _, args := range [][]string{{"netns", "add", space}, {"link", "set", first, "netns", space}} {
		if _, err := ip(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = ip(context.Background(), "netns", "del", space) })
	if err := l.Destroy(t.Context(), "m1"); err != nil {
		t.Fatal(err)
	}
	left, err := ip(t.Context(), "-n", space, "-br", "link")
	if err != nil || strings.Contains(left, first) || here(second) {
		t.Errorf("with the machine gone there is %s %v", left, err)
	}
}

// A lab that goes takes its machines' switch ports along, at once and whatever became of its notes.
func TestDownTakesSwitchPorts(t *testing.T) {
	l := testLab(t)
	m, err := l.Create(t.Context(), MachineOptions{Name: "m1", Disks: []int64{}, SwitchPort: true})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := &Lab{Dir: t.TempDir(), Name: l.Name, Log: l.Log}
	if err := elsewhere.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if here(m.NICs[0].SwitchPort) {
		t.Error("the switch port is left")
	}
}

func here(link string) bool {
	_, err := net.InterfaceByName(link)
	return err == nil
}

// capture counts frames on an interface.
type capture struct {
	cmd   *exec.Cmd
	lines chan string
}

// seen listens for frames on an interface of this host.
func seen(t *testing.T, link, filter string) *capture {
	t.Helper()
	c := &capture{cmd: exec.Command("tcpdump", "-l", "-n", "-e", "-i", link, filter), lines: make(chan string, 1000)}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := bufio.NewScanner(said)
	for ready.Scan() && !strings.HasPrefix(ready.Text(), "listening on") {
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	return c
}

func (c *capture) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.lines:
	case <-time.After(patience):
		t.Fatalf("%v saw no frame", c.cmd.Args)
	}
}

// What has gone by itself is no error when it is taken away; a namespace that nobody can ask is.
func TestInterfacesThatAreGoneAlready(t *testing.T) {
	l := testLab(t)
	m, err := l.Create(t.Context(), MachineOptions{Name: "m1", Disks: []int64{}, SwitchPort: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.network().removeTap(t.Context(), m.NICs[0]); err != nil {
			t.Error(err)
		}
	}
	if err := (network{namespace: "nobody"}).removeTap(t.Context(), m.NICs[0]); err == nil {
		t.Error("a namespace that is not there was asked and nothing was said")
	}
}
