package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	openstack "github.com/billet-metal/billet/compat/cloud"
)

// frames are what a machine sent, as tcpdump saw it.
type frames struct {
	mu    sync.Mutex
	lines []string
}

// watch notes the frames that come out at an interface and are from a MAC address.
func watch(t *testing.T, link, mac string) *frames {
	t.Helper()
	cmd := exec.Command("tcpdump", "-l", "-n", "-e", "-tt", "-i", link, "ether src "+mac)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready := bufio.NewScanner(said)
	for ready.Scan() && !strings.HasPrefix(ready.Text(), "listening on") {
	}
	f := &frames{}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			f.mu.Lock()
			f.lines = append(f.lines, s.Text())
			f.mu.Unlock()
		}
	}()
	return f
}

// after are the frames since a time.
func (f *frames) after(since time.Time) (later []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.lines {
		stamp, _, _ := strings.Cut(line, " ")
		if at, err := strconv.ParseFloat(stamp, 64); err != nil || at > float64(since.UnixMicro())/1e6 {
			later = append(later, line)
		}
	}
	return later
}

// tags are the VLANs that a switch port was on, and since when.
type tags struct {
	mu  sync.Mutex
	all []tag
}

type tag struct {
	vlan int
	from time.Time
}

// record asks for a port's VLAN until the test ends. A question that fails tells nothing; what is too short to be seen is not noted.
func record(t *testing.T, ask func() (string, error)) *tags {
	r := &tags{}
	end, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(end); <-ended })
	go func() {
		defer close(ended)
		for {
			said, err := ask()
			if vlan, bad := strconv.Atoi(said); err == nil && bad == nil {
				r.add(vlan)
			}
			select {
			case <-end:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return r
}

func (r *tags) add(vlan int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.all); n == 0 || r.all[n-1].vlan != vlan {
		r.all = append(r.all, tag{vlan, time.Now()})
	}
}

func (r *tags) now() (vlan int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		vlan = t.vlan
	}
	return vlan
}

// forget all but the present VLAN.
func (r *tags) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = slices.Clone(r.all[max(0, len(r.all)-1):])
}

// past are the networks that the port was on, in order.
func (r *tags) past() (vlans []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		if n := len(vlans); t.vlan != openstack.Parked && (n == 0 || vlans[n-1] != t.vlan) {
			vlans = append(vlans, t.vlan)
		}
	}
	return vlans
}

// since when the port is on a VLAN.
func (r *tags) since(vlan int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range slices.Backward(r.all) {
		if t.vlan == vlan {
			return t.from
		}
	}
	return time.Time{}
}

// reach lets the tiny image, at its console, take an address and connect to a port; it says yes, or no and why.
func (m *vlanned) reach(address, to string) string {
	t := m.s.t
	t.Helper()
	answer := regexp.MustCompile(`reach ` + regexp.QuoteMeta(to) + `: (yes|no[^\r\n]*)\r?\n`)
	for range 3 { // a busy serial line loses or doubles a character now and then
		at := len(m.console())
		cmd := exec.Command(billet, "lab", "--name", m.s.name, "--dir", filepath.Join(m.s.dir, "lab"), "console", m.name, "--attach",
			"--from-now", "--until", "reach "+to+": ", "--timeout", "90s")
		cmd.Stdin = strings.NewReader("reach " + address + " " + to + "\n")
		out, err := cmd.CombinedOutput()
		for range 50 {
			if found := answer.FindSubmatch(m.console()[at:]); found != nil {
				return string(found[1])
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("the console says nothing of %s: %v %s", to, err, tail(out, 1000))
	}
	t.Fatalf("the instance does not say whether it reaches %s:\n%s", to, tail(m.console(), 3000))
	return ""
}

// retag moves a switch port behind Neutron's back.
func (v *vlans) retag(port string, vlan int) {
	v.t.Helper()
	if out, err := v.cloud.VSwitch("set", "port", port, fmt.Sprint("tag=", vlan)); err != nil {
		v.t.Fatalf("moving %s: %v %s", port, err, out)
	}
}

// pour writes an image to the beginning of a disk, as an earlier deploy did.
func pour(disk string, image []byte) error {
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(image, 0)
	return err
}
