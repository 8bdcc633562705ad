package billet

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	holeRow  = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	holeTest = regexp.MustCompile("`([a-z0-9/.]+): ((?:Test|Fuzz)[A-Za-z0-9]+)`")
)

// Each hole of docs/security.md names the tests that attack it, and they are there.
func TestEveryHoleHasItsTests(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "## Holes of 2026 in other provisioners")
	rows := holeRow.FindAllStringSubmatch(table, -1)
	if !found || len(rows) < 9 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	for _, row := range rows[1:] {
		if row[1] == "---" {
			continue
		}
		tests := holeTest.FindAllStringSubmatch(row[3], -1)
		if len(tests) == 0 {
			t.Errorf("%s: no test", row[1])
		}
		for _, test := range tests {
			if !hasTest(t, test[1], test[2]) {
				t.Errorf("%s: there is no %s in %s", row[1], test[2], test[1])
			}
		}
	}
}

// Each step of a server's way in a cloud names the tests that prove it, and they are there.
func TestEveryStepInACloudHasItsTests(t *testing.T) {
	page, err := os.ReadFile("docs/openstack.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## What proves it")
	rows := 0
	for line := range strings.SplitSeq(table, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| step |") {
			continue
		}
		rows++
		tests := holeTest.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, test := range tests {
			if !hasTest(t, test[1], test[2]) {
				t.Errorf("there is no %s in %s", test[2], test[1])
			}
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d rows", rows)
	}
}

func hasTest(t *testing.T, folder, name string) bool {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
