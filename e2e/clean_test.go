package e2e

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Two NVMe disks full of an earlier user's data are erased by their own Format NVM, side by side.
func TestEraseNVMe(t *testing.T) {
	s := newSite(t)
	out := filepath.Join(cache, "generic")
	s.billet("ramdisk", "build", "--flavor", "generic", "--out", out)
	m := s.machine("erased", "--firmware", "bios", "--memory", "384", "--disk", "64M", "--disk", "96M", "--disk-model", "nvme")
	m.patch("/driver_info/deploy_kernel", filepath.Join(out, "vmlinuz"))
	m.patch("/driver_info/deploy_ramdisk", filepath.Join(out, "initramfs"))
	for _, d := range m.Disks {
		fill(t, d.Path)
	}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", 2*time.Minute)
	began := time.Now()
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{
		{"interface": "deploy", "step": "erase_devices_express"}, {"interface": "deploy", "step": "erase_devices"},
	}})
	m.arrive("manageable", 8*time.Minute)
	t.Logf("cleaned after %.1f s", time.Since(began).Seconds())
	for _, d := range m.Disks {
		if b, err := os.ReadFile(d.Path); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%s still holds something (%v)", d.Path, err)
		}
	}
	const how = "NVMe format (user data erase), 64 marks gone"
	if h := m.history(); strings.Count(h, how) != 4 {
		t.Errorf("the history does not say that both disks were formatted by both steps:\n%s", h)
	}
	if out := string(s.billet("node", "erased", m.uuid)); strings.Count(out, how) != 4 {
		t.Errorf("billet node erased says:\n%s", out)
	}
}

// cleanSlowly begins a manual cleaning that overwrites a disk full of somebody's data, and waits until it is in
// the middle of that.
func (m *machine) cleanSlowly(t *testing.T) {
	t.Helper()
	fill(t, m.Disks[0].Path)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{
		{"interface": "deploy", "step": "erase_devices"}, {"interface": "deploy", "step": "erase_devices_express"},
	}})
	m.overwrites(t)
}

// overwrites waits until the agent is seen overwriting, not yet done with half of it.
func (m *machine) overwrites(t *testing.T) {
	t.Helper()
	m.s.eventually(5*time.Minute, m.name+" to overwrite its disk", func() (bool, string) {
		var p struct {
			State    string  `json:"provision_state"`
			Error    *string `json:"last_error"`
			Progress *struct {
				Step        string
				Done, Total int64
			}
		}
		m.s.call("GET", "/billet/v1/nodes/"+m.uuid+"/progress", nil, &p, 200)
		if strings.HasSuffix(p.State, "failed") || p.State == "manageable" {
			why, _ := m.s.try("node", "why", m.uuid)
			t.Fatalf("%s is %q already:\n%s", m.name, p.State, why)
		}
		if p.Progress == nil || p.Progress.Step != "erase_devices" {
			return false, p.State
		}
		return p.Progress.Done > 0 && p.Progress.Done < p.Progress.Total/2, p.State
	})
}

// A machine that loses power in the middle of an erase is noticed within a minute, started again, and its disk
// erased from the beginning: nobody has to help.
func TestCleaningGoesOnAfterPowerLoss(t *testing.T) {
	newSite(t, "--shred-random-overwrite-iterations", "3").losesItsMachine(t, "off",
		"Step deploy.erase_devices: during erase_devices: the machine is off, as its BMC says: it lost its power, or somebody switched it off. "+
			"The machine is started again, and the step begins anew (1 of 3).")
}

// So is one that starts anew by itself: its new agent asks for the node and gets no token.
func TestLongCleaningGoesOnAfterReset(t *testing.T) {
	newSite(t, "--shred-random-overwrite-iterations", "3").losesItsMachine(t, "reset",
		"Step deploy.erase_devices: during erase_devices: the machine started anew by itself: an agent asked for its node")
}

// One that loses its network in the middle of an erase is started again too, and when that does not bring it back the
// cleaning fails with where it was lost, what it did then, and how far the new start came.
func TestLongCleaningLosesItsNetwork(t *testing.T) {
	s := newSite(t, "--shred-random-overwrite-iterations", "3", "--boot-phase-timeout", "25s")
	m := s.machine("unplugged", "--firmware", "bios", "--memory", "384", "--disk", "384M")
	m.cleanSlowly(t)
	m.unplug()
	lost := time.Now()
	m.named(lost, "it lost its power or its network", "This ends at ")
	m.failsAs("clean failed", 5*time.Minute,
		[]string{"The machine was lost first at ", " in step deploy.erase_devices, ", "it has not answered since ",
			"Under way, as last told: /dev/", "It was started again, and then: Gave up after", "said that it cannot go on",
			"no DHCP request was seen from any of the node's ports", "On its console"},
		[]string{"deploy.erase_devices has not ended", "The serial line, the last ", "nobody has listened at the agent's address",
			"The machine is started again"})
	t.Logf("after %.0f s without a network", time.Since(lost).Seconds())
	if n := m.show(); n.Fault == nil || *n.Fault != "clean failure" || n.Power == nil || *n.Power != "power off" {
		t.Errorf("fault %v, power %v", n.Fault, n.Power)
	}
}

func (s *site) losesItsMachine(t *testing.T, button, says string) {
	m := s.machine("lost-"+button, "--firmware", "bios", "--memory", "384", "--disk", "384M")
	m.cleanSlowly(t)
	s.lab("power", m.name, button)
	lost := time.Now()
	s.eventually(3*time.Minute, "the loss to be noticed", func() (bool, string) {
		h := m.history()
		return strings.Contains(h, says), h
	})
	t.Logf("noticed after %.1f s", time.Since(lost).Seconds())
	if state := m.show().State; state != "clean wait" && state != "cleaning" {
		t.Errorf("the node is %q", state)
	}
	m.arrive("manageable", 8*time.Minute)
	t.Logf("cleaned %.1f s after the loss", time.Since(lost).Seconds())
	if b, err := os.ReadFile(m.Disks[0].Path); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("the disk still holds something (%v)", err)
	}
	out := string(s.billet("node", "erased", m.uuid))
	if !strings.Contains(out, m.Disks[0].Serial) || !strings.Contains(out, "overwritten with random data 3 times, then with zeros") {
		t.Errorf("billet node erased says:\n%s", out)
	}
	t.Logf("%s", out)
	if !strings.Contains(out, "metadata overwritten with zeros, the rest discarded, read back, 64 marks gone") {
		t.Errorf("billet node erased does not say how the express step erased:\n%s", out)
	}
}

// Wrong arguments of steps are refused at once where the hardware has the step, and fail the cleaning before any step
// where the agent has it. The way back is Ironic's: manage, maintenance unset, provide.
func TestCleanFailedAndBack(t *testing.T) {
	s := newSite(t)
	m := s.machine("argued", "--firmware", "bios", "--memory", "384", "--disk", "64M")
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	clean := func(iface, step string, args map[string]any) map[string]any {
		return map[string]any{"target": "clean", "clean_steps": []map[string]any{{"interface": iface, "step": step, "args": args}}}
	}
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", clean("power", "wait", map[string]any{"hours": 1}), nil, 400)
	if n := m.show(); n.State != "manageable" {
		t.Fatalf("a refused request left the node %q", n.State)
	}
	fill(t, m.Disks[0].Path)
	m.provision(clean("deploy", "erase_devices", map[string]any{"speed": "fast"}))
	n := m.arrive("clean failed", 3*time.Minute)
	if want := `The cleaning failed. Step deploy.erase_devices does not take the argument "speed"; it takes none.`; n.LastError == nil ||
		*n.LastError != want {
		t.Errorf("last_error is %v, want %s", n.LastError, want)
	}
	if n.Fault == nil || *n.Fault != "clean failure" {
		t.Errorf("fault is %v", n.Fault)
	}
	if b, err := os.ReadFile(m.Disks[0].Path); err != nil || bytes.IndexByte(b, 0) >= 0 {
		t.Errorf("the disk was touched (%v)", err)
	}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	s.call("DELETE", "/v1/nodes/"+m.uuid+"/maintenance", nil, nil, 202)
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", 3*time.Minute)
	if out := string(s.billet("node", "erased", m.uuid)); !strings.Contains(out, "metadata overwritten with zeros, read back") ||
		!strings.Contains(out, m.Disks[0].Serial) {
		t.Errorf("billet node erased says:\n%s", out)
	}
	b, err := os.ReadFile(m.Disks[0].Path)
	if err != nil || !bytes.Equal(b[:1<<20], make([]byte, 1<<20)) {
		t.Errorf("the metadata are still there (%v)", err)
	}
}

// fill leaves no zero byte on a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("somebody's data."), 1<<16)
	for at := int64(0); at < info.Size(); at += int64(len(data)) {
		if _, err := f.WriteAt(data[:min(int64(len(data)), info.Size()-at)], at); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
}
