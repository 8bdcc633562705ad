package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every `billet …` in the documentation is a command of this binary, with flags and arguments that it takes.
func TestDocumentedCommands(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		for _, line := range commandLines(page.text) {
			found++
			if err := understood(line, withArguments); err != nil {
				t.Errorf("%s: %s\n\t%v", page.name, line, err)
			}
		}
		for _, m := range regexp.MustCompile("`(billet [a-z][^`…]*)`").FindAllStringSubmatch(page.text, -1) {
			found++
			if err := understood(strings.ReplaceAll(m[1], "\n", " "), inProse); err != nil {
				t.Errorf("%s: %s\n\t%v", page.name, m[1], err)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d commands found in README and docs: the search for them is broken", found)
	}
}

func TestUnderstoodRefusesWhatTheBinaryRefuses(t *testing.T) {
	for _, line := range []string{"billet nodes why x", "billet node why", "billet node why --colour n", "billet serve extra"} {
		if understood(line, withArguments) == nil {
			t.Errorf("%q is taken for a command", line)
		}
	}
}

// Every `make …` in README and docs is a target.
func TestDocumentedTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile("(?m)(?:^    |`)make ([a-z-]+)")
	for _, page := range pages(t) {
		for _, m := range target.FindAllStringSubmatch(page.text, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%s: the Makefile has no target %s", page.name, m[1])
			}
		}
	}
}

// Every `go test FOLDER -run NAME` names a test that is there.
func TestDocumentedTests(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile(`go test \./(\S+) -run (Test\w+)`).FindAllStringSubmatch(page.text, -1) {
			found++
			out, err := exec.Command("grep", "-rlE", "^func "+m[2]+`\w*\(`, filepath.Join("../..", m[1])).Output()
			if err != nil || len(out) == 0 {
				t.Errorf("%s: there is no test %s in %s", page.name, m[2], m[1])
			}
		}
	}
	if found < 2 {
		t.Errorf("%d tests are named in README and docs", found)
	}
}

// Every link of README and docs to a file leads to one, and to a heading that is in it.
func TestDocumentedLinks(t *testing.T) {
	link, found := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`), 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(page.text, -1) {
			found++
			to := filepath.Join(filepath.Dir(page.name), m[1])
			if m[1] == "" {
				to = page.name
			}
			text, err := os.ReadFile(to)
			if err != nil {
				t.Errorf("%s links to %s, which is not there", page.name, m[1])
			} else if m[2] != "" && !slices.Contains(anchors(string(text)), m[2]) {
				t.Errorf("%s links to %s, which has no heading #%s", page.name, to, m[2])
			}
		}
	}
	if found < 50 {
		t.Errorf("%d links found in README and docs", found)
	}
}

// Every page is found from the index.
func TestDocumentationHasAnIndex(t *testing.T) {
	all := pages(t)
	at := slices.IndexFunc(all, func(p docPage) bool { return p.name == "../../docs/README.md" })
	for _, page := range all {
		if dir, name := filepath.Split(page.name); dir == "../../docs/" && name != "README.md" && !strings.Contains(all[at].text, "]("+name) {
			t.Errorf("docs/README.md does not lead to %s", name)
		}
	}
}

// anchors are a page's headings as links name them: lower case, blanks as dashes, punctuation left out.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile("(?m)^#+ (.*)$").FindAllStringSubmatch(text, -1) {
		heading := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all = append(all, regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(heading, ""))
	}
	return all
}

// What is neither a table nor code fits beside a reader's editor.
func TestDocumentationIsNotWide(t *testing.T) {
	for _, page := range pages(t) {
		fenced := false
		for i, line := range strings.Split(page.text, "\n") {
			fenced = fenced != strings.HasPrefix(line, "```")
			if !fenced && len([]rune(line)) > 140 && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s:%d has more than 140 characters", page.name, i+1)
			}
		}
	}
}

type docPage struct{ name, text string }

func pages(t *testing.T) []docPage {
	t.Helper()
	var all []docPage
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, docPage{name, string(b)})
		}
	}
	return all
}

// commandLines are the lines of code blocks that begin with billet, continued lines joined, comments cut.
func commandLines(text string) []string {
	text = strings.ReplaceAll(text, "\\\n", " ")
	fenced, lines := false, []string(nil)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			continue
		}
		line = strings.TrimPrefix(strings.TrimSpace(line), "bin/")
		if cut := regexp.MustCompile(`\s#\s`).FindStringIndex(line); cut != nil {
			line = line[:cut[0]]
		}
		if strings.HasPrefix(line, "billet ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// whole says whether a command stands with its arguments, or in a sentence, which may leave them out.
type whole bool

const withArguments, inProse whole = true, false

// understood parses a command line as the binary does, and runs nothing.
func understood(line string, all whole) error {
	var args []string
	for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1)[1:] {
		args = append(args, strings.Trim(word, "'"))
	}
	root := rootCommand()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	// A value in capitals or an ellipsis stands for one that the reader fills in, of whatever type.
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() != "bool" {
			f.Value = anyText{}
			if all == inProse { // a flag may be named without its value
				f.NoOptDefVal = "some"
			}
		}
	})
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if all == inProse {
		if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
			return fmt.Errorf("%s has no subcommand %s", cmd.CommandPath(), cmd.Flags().Arg(0))
		}
		return nil
	}
	if !cmd.Runnable() {
		return fmt.Errorf("%s wants a subcommand", cmd.CommandPath())
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

type anyText struct{}

func (anyText) String() string   { return "" }
func (anyText) Set(string) error { return nil }
func (anyText) Type() string     { return "string" }
