package billet

import (
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const widest = 140

// A reader with two panes does not scroll: no line of Go is wider than that. The text within a literal of several lines is
// data (a script, a table that a program printed), which keeps the shape it has there.
func TestLinesAreNotWide(t *testing.T) {
	seen := 0
	for _, path := range goFiles(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data := dataLines(text)
		for i, line := range strings.Split(string(text), "\n") {
			seen++
			if width := utf8.RuneCountInString(line); width > widest && !data[i+1] {
				t.Errorf("%s:%d has %d characters; at most %d are allowed", path, i+1, width, widest)
			}
		}
	}
	if seen < 10000 {
		t.Errorf("%d lines were looked at", seen)
	}
}

// dataLines are the lines of a file that begin within a literal.
func dataLines(text []byte) map[int]bool {
	lines := map[int]bool{}
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	for {
		pos, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			return lines
		case token.STRING:
			for i := range strings.Count(lit, "\n") {
				lines[file.Line(pos)+i+1] = true
			}
		}
	}
}

// A package is explained once, in the file that bears its name, where a reader looks for it.
func TestPackagesAreExplainedWhereTheyAreLookedFor(t *testing.T) {
	explained := map[string][]string{}
	names := map[string]string{}
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		names[filepath.Dir(path)] = file.Name.Name
		if file.Doc.Text() != "" {
			explained[filepath.Dir(path)] = append(explained[filepath.Dir(path)], path)
		}
	}
	for room := range names {
		name := names[room]
		if want := []string{filepath.Join(room, name+".go")}; !slices.Equal(explained[room], want) {
			t.Errorf("the package comment of %s is in %q; it belongs in %s alone", room, explained[room], want[0])
		}
	}
}

// goFiles are our Go files, tests too.
func goFiles(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			paths = append(paths, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
