package billet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What steps leave for each other is typed: nobody but driver.Note touches the texts of a plan's memo, and node itself, whose
// plan it is. Tests may write what an earlier version stored.
func TestNotesAreTyped(t *testing.T) {
	typed := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			switch {
			case !ok || s.Sel.Name != "Memo":
			case filepath.ToSlash(path) == "driver/note.go":
				typed++
			case strings.HasPrefix(filepath.ToSlash(path), "node/"):
			default:
				t.Errorf("%s: declare a driver.Note instead of reading or writing the memo", files.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if typed == 0 {
		t.Error("driver/note.go touches no memo: this test looks for the wrong name")
	}
}
