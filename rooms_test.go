package billet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tree of docs/ARCHITECTURE.md is what ls shows: every folder with Go code has its words there, and every folder named there exists.
func TestArchitectureNamesEveryRoom(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## 1. Rooms\n```\n")
	tree, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/ARCHITECTURE.md has no tree below \"## 1. Rooms\"")
	}
	var named []string
	for _, word := range strings.Fields(tree) {
		if room, ok := strings.CutSuffix(word, "/"); ok {
			named = append(named, room)
		}
	}
	for _, room := range named {
		if st, err := os.Stat(room); err != nil || !st.IsDir() {
			t.Errorf("docs/ARCHITECTURE.md names the folder %s, which is not there", room)
		}
	}
	for _, path := range goFiles(t) {
		room := filepath.ToSlash(filepath.Dir(path))
		if room != "." && !slices.Contains(named, room) {
			named = append(named, room)
			t.Errorf("the folder %s has no words in the tree of docs/ARCHITECTURE.md", room)
		}
	}
}
