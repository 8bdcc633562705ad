package pid1

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A module no device asks for is loaded by name, with what it needs first, and once.
func TestLoadNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte("a-b.ko: core.ko base.ko\ncore.ko: base.ko\nbase.ko:\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	m := Modules{Dir: dir, Sys: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Load: func(f string) error { got = append(got, filepath.Base(f)); return nil }}
	if err := m.LoadAll(); err != nil {
		t.Fatal(err)
	}
	m.LoadNamed("a_b", "core", "unknown")
	if want := []string{"base.ko", "core.ko", "a-b.ko"}; !slices.Equal(got, want) {
		t.Errorf("loaded %q, want %q", got, want)
	}
}

// What tells good paths to a disk from bad ones is there before the disks are.
func TestPathsAreToldApartBeforeDisksAreFound(t *testing.T) {
	dir, sys := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(dir, "modules.dep"): "lpfc.ko:\nscsi_dh_alua.ko:\n", filepath.Join(dir, "modules.alias"): "alias pci:v10DF* lpfc\n",
		filepath.Join(sys, "bus/pci/devices/0/modalias"): "pci:v10DFd1\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	m := Modules{Dir: dir, Sys: sys, Log: slog.New(slog.DiscardHandler),
		Load: func(f string) error { got = append(got, filepath.Base(f)); return nil }}
	if err := m.LoadAll(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"scsi_dh_alua.ko", "lpfc.ko"}; !slices.Equal(got, want) {
		t.Errorf("loaded %q, want %q", got, want)
	}
}
