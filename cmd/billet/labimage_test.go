package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/lab/images"
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

func TestLabImageHelpExplainsEveryKind(t *testing.T) {
	c := (&labFlags{}).image()
	page, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range images.Kinds {
		if !strings.Contains(c.Long, "\n  "+kind+" ") {
			t.Errorf("the help of billet lab image does not say what %s is", kind)
		}
	}
	if want := "`image " + strings.Join(images.Kinds, `\|`) + " --out DIR`"; !strings.Contains(string(page), want) {
		t.Errorf("docs/lab.md does not have %s", want)
	}
}
