package billet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asked are the places where a person who logged in to a rescued machine gets the shell that he asked for.
var asked = []string{"agent/rescue/console.go", "agent/rescue/session.go"}

// No value of a node, a network or a server can be a shell's word, because neither the service nor the agent starts a shell:
// programs get their arguments one by one. So a name of a time server, a volume or a disk is text, whatever it holds.
func TestNobodyStartsAShell(t *testing.T) {
	shells := []string{"sh", "bash", "dash", "ash", "env", "xargs", "system"}
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != "." && (strings.HasPrefix(name, ".") || name == "testdata" ||
			slices.Contains([]string{"e2e", "compat", "bench", "lab", "ramdisk", "scripts", "store/storetest", "store/pgtest"},
				filepath.ToSlash(path))) {
			return filepath.SkipDir // what builds and tests, on a developer's machine
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if from, is := ast.Unparen(call.Fun).(*ast.SelectorExpr); !ok || !is || !isExec(from) {
				return true
			}
			seen++
			for _, arg := range call.Args {
				if l, ok := arg.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if word := filepath.Base(strings.Trim(l.Value, "\"`")); slices.Contains(shells, word) || word == "-c" {
						t.Errorf("%s: %s starts %s", path, f.Sel.Name, l.Value)
					}
				}
				if i, ok := arg.(*ast.SelectorExpr); ok && strings.EqualFold(i.Sel.Name, "shell") && !slices.Contains(asked, filepath.ToSlash(path)) {
					t.Errorf("%s starts a shell", path)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || seen < 5 {
		t.Errorf("%d programs are started, %v", seen, err)
	}
}

func isExec(f *ast.SelectorExpr) bool {
	from, ok := f.X.(*ast.Ident)
	return ok && (from.Name == "exec" && (f.Sel.Name == "Command" || f.Sel.Name == "CommandContext") ||
		from.Name == "syscall" && f.Sel.Name == "Exec" || from.Name == "os" && f.Sel.Name == "StartProcess")
}
