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
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{{"interface": "deploy", "step": "erase_devices"}}})
	m.arrive("manageable", 8*time.Minute)
	t.Logf("cleaned after %.1f s", time.Since(began).Seconds())
	for _, d := range m.Disks {
		if b, err := os.ReadFile(d.Path); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%s still holds something (%v)", d.Path, err)
		}
	}
	if h := m.history(); strings.Count(h, "NVMe format (user data erase), 64 marks gone") != 2 {
		t.Errorf("the history does not say that both disks were formatted:\n%s", h)
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
