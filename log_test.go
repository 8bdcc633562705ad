package billet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Whoever searches a log for what failed searches for one key: an error's attribute is "error" in every room.
func TestErrorsHaveOneKeyInLogs(t *testing.T) {
	levels, seen := []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "With"}, 0
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || !slices.Contains(levels, f.Sel.Name) {
				return true
			}
			for i, arg := range call.Args {
				if i+1 == len(call.Args) || !isError(call.Args[i+1]) {
					continue
				}
				if key, ok := arg.(*ast.BasicLit); ok && key.Kind == token.STRING {
					name, _ := strconv.Unquote(key.Value)
					if seen++; name != "error" && !strings.Contains(name, " ") {
						t.Errorf("%s: a log has an error under the key %q; it is \"error\" everywhere", path, name)
					}
				}
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("%d errors in logs were found", seen)
	}
}

// isError reports whether an expression is an error by its name: err, cause, x.err or err.Error().
func isError(e ast.Expr) bool {
	if call, ok := e.(*ast.CallExpr); ok {
		f, ok := call.Fun.(*ast.SelectorExpr)
		return ok && f.Sel.Name == "Error" && len(call.Args) == 0
	}
	if sel, ok := e.(*ast.SelectorExpr); ok {
		return sel.Sel.Name == "err"
	}
	name, ok := e.(*ast.Ident)
	return ok && (name.Name == "err" || strings.HasSuffix(name.Name, "Err"))
}
