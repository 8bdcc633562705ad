package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// named waits until `billet node why` names the likely cause while the flow still runs, within two minutes of the cut.
func (m *machine) named(cut time.Time, words ...string) {
	m.s.t.Helper()
	sentence := ""
	for {
		var w struct {
			State   string `json:"provision_state"`
			Running *struct{ Sentence string }
		}
		if err := json.Unmarshal(m.s.billet("node", "why", m.uuid, "--json"), &w); err != nil {
			m.s.t.Fatal(err)
		}
		took := time.Since(cut)
		if w.Running != nil {
			sentence = w.Running.Sentence
		}
		if w.Running == nil || took > 2*time.Minute {
			m.s.t.Fatalf("%.0f s after the cut the node is %q and nothing is named: %s", took.Seconds(), w.State, sentence)
		}
		if strings.Contains(sentence, "Most likely: ") {
			m.s.t.Logf("named %.1f s after the cut: %s", took.Seconds(), sentence)
			break
		}
		time.Sleep(time.Second)
	}
	for _, word := range words {
		if !strings.Contains(sentence, word) {
			m.s.t.Errorf("it does not say %q: %s", word, sentence)
		}
	}
	m.s.eventually(30*time.Second, "the history to name it", func() (bool, string) {
		h := m.history()
		return strings.Count(h, "The machine has shown nothing for ") == 1, h
	})
}

// freeze stops all of the machine at once, as a hang of its hardware does, until thaw is called or the test ends.
func (m *machine) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range pids {
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !bytes.Contains(line, []byte("qemu-system")) || !bytes.Contains(line, []byte("ifname="+m.NICs[0].Tap+",")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGSTOP)
		}
		if err != nil {
			t.Fatal(err)
		}
		thaw = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
		t.Cleanup(thaw)
		return thaw
	}
	t.Fatalf("no process of %s", m.name)
	return nil
}

// A machine that falls silent between its ramdisk and its agent's first call is named within two minutes although it is
// waited for much longer: one that hangs and then goes on is deployed, and one that inspects is not hurried.
func TestLongQuietMachineIsNamed(t *testing.T) {
	s := newSite(t)
	loaded := func(m *machine) {
		s.eventually(3*time.Minute, "the ramdisk to be loaded", func() (bool, string) {
			why := string(s.billet("node", "why", m.uuid))
			return strings.Contains(why, "whole ramdisk"), why
		})
	}
	t.Run("deploy", func(t *testing.T) {
		defer swap(s, t)()
		m := s.machine("hangs", "--firmware", "bios", "--memory", "384", "--disk", "5G")
		m.patch("/driver_info/capture_serial", false)
		m.available()
		m.deploy(imageInfo(t, "grub.qcow2"))
		loaded(m)
		thaw := m.freeze(t)
		m.named(time.Now(), "kernel and ramdisk were fetched", "This ends at ")
		thaw()
		m.arrive("active", 4*time.Minute)
		if h := m.history(); strings.Count(h, "The machine that was quiet (") != 1 {
			t.Errorf("it is not taken back once:\n%s", h)
		}
		s.lab("destroy", m.name)
	})
	t.Run("inspect", func(t *testing.T) {
		defer swap(s, t)()
		m := s.machine("mute", "--firmware", "bios", "--memory", "384", "--disk", "64M")
		m.patch("/driver_info/capture_serial", false)
		m.provision(map[string]any{"target": "manage"})
		m.arrive("manageable", time.Minute)
		m.provision(map[string]any{"target": "inspect"})
		loaded(m)
		m.deafen()
		cut := time.Now()
		s.eventually(time.Minute, "the ramdisk's own DHCP", func() (bool, string) {
			why := string(s.billet("node", "why", m.uuid))
			return strings.Contains(why, "dhcp of the ramdisk"), why
		})
		m.named(cut, "(DHCP of the ramdisk)", "is there a route from there to the API?", "This ends at ")
		if n := m.show(); n.State != "inspect wait" {
			t.Errorf("the node is %q", n.State)
		}
		s.lab("destroy", m.name)
	})
}
