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
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte("a-b.ko: core.ko base.ko\ncore.ko: base.ko\nbase.ko:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	m := Modules{Dir: dir, Sys: t.TempDir(), Log: slog.New(slog.DiscardHandler), Load: func(f string) error { got = append(got, filepath.Base(f)); return nil }}
	if err := m.LoadAll(); err != nil {
		t.Fatal(err)
	}
	m.LoadNamed("a_b", "core", "unknown")
	if want := []string{"base.ko", "core.ko", "a-b.ko"}; !slices.Equal(got, want) {
		t.Errorf("loaded %q, want %q", got, want)
	}
}
