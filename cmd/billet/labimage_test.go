package main

import (
	"path/filepath"
	"testing"
)

// The tools that build images run in directories of their own: --out rel must not mean theirs.
func TestPathsOfFlagsAreTheCallers(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	here, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	empty, relative, up, abs := "", "out", "../x", "/var/cache/billet"
	if err := absolute(&empty, &relative, &up, &abs); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct{ got, want string }{
		{empty, ""}, {relative, filepath.Join(here, "out")}, {up, filepath.Join(filepath.Dir(here), "x")}, {abs, "/var/cache/billet"},
	} {
		if tt.got != tt.want {
			t.Errorf("path %d: %q, want %q", i, tt.got, tt.want)
		}
	}
}
