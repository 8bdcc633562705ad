package disktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Medium makes media with the programs that people make them with: "iso" and others by genisoimage, "fat12",
// "fat16" and "fat32" by mkfs.vfat.
func Medium(t testing.TB, kind, label string, files map[string]string) []byte {
	t.Helper()
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "medium")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if bits, ok := strings.CutPrefix(kind, "fat"); ok {
		size := map[string]int64{"12": 1440 << 10, "16": 16 << 20, "32": 40 << 20}[bits]
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		Run(t, "mkfs.vfat", "-F", bits, "-n", label, path)
		for name := range files {
			Run(t, "mcopy", "-i", path, filepath.Join(dir, name), "::/"+name)
		}
	} else {
		options := map[string][]string{"iso": nil, "rock": {"-R"}, "joliet": {"-J", "-R"}}[kind]
		Run(t, "genisoimage", append(options, "-quiet", "-V", label, "-o", path, dir)...)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
