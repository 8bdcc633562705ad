package pxe

import (
	"os"
	"path/filepath"
	"testing"
)

// Kernels that users name are served from the allowed directories, by whatever name those have, and
// from nowhere else.
func TestMayServe(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(base, name) }
	for _, dir := range []string{"real/sub", "realistic", "other"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"real/a", "real/sub/b", "realistic/c", "other/d"} {
		if err := os.WriteFile(at(name), []byte("kernel"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link": at("real"), "real/out": at("other/d"), "real/up": "../other/d", "real/in": "sub/b", "dangling": at("gone")} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		allowed, path string
		want          bool
	}{
		{at("real"), at("real/a"), true},
		{at("real") + "/", at("real/sub/b"), true},
		{at("link"), at("link/a"), true},
		{at("link"), at("real/a"), true},
		{at("real"), at("link/a"), true},
		{at("real"), at("real/in"), true},
		{"/", at("other/d"), true},
		{at("real"), at("real/out"), false},
		{at("link"), at("link/up"), false},
		{at("real"), at("real/../other/d"), false},
		{at("real"), at("realistic/c"), false},
		{at("real/sub"), at("real/a"), false},
		{at("real"), at("real/gone"), false},
		{at("real"), at("real"), false},
		{at("dangling"), at("gone/a"), false},
		{"", at("real/a"), false},
		{".", at("real/a"), false},
		{"real", at("real/a"), false},
	}
	t.Chdir(base)
	for _, tt := range tests {
		b := &Boot{AllowedPaths: []string{tt.allowed}}
		if got := b.mayServe(tt.path); got != tt.want {
			t.Errorf("allowed %q: %s is served: %v, want %v", tt.allowed, tt.path, got, tt.want)
		}
	}
	if (&Boot{}).mayServe(at("real/a")) {
		t.Error("no directory is allowed, and a file is served")
	}
}
