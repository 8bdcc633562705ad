package billet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The API and the conductor ask an implementation what it does and never go by its name: the next one has another.
func TestNobodyGoesByTheNameOfAnImplementation(t *testing.T) {
	names := []string{"noop", "flat", "neutron", "direct", "ipmitool", "redfish", "ipxe", "http-ipxe", "custom-agent", "fake"}
	for path, file := range sources(t, "api/*.go", "conductor/*.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			cmp, ok := n.(*ast.BinaryExpr)
			if !ok || cmp.Op != token.EQL && cmp.Op != token.NEQ {
				return true
			}
			for _, side := range []ast.Expr{cmp.X, cmp.Y} {
				lit, ok := side.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				if text, err := strconv.Unquote(lit.Value); err == nil && slices.Contains(names, text) {
					t.Errorf("%s compares with %q: the interface of package driver says what differs", path, text)
				}
			}
			return true
		})
	}
}

// A flow is one row of conductor/flows.go: nothing else goes by which flow it is.
func TestNothingGoesByTheNameOfAFlow(t *testing.T) {
	files := sources(t, "conductor/*.go", "diagnosis/*.go")
	delete(files, "conductor/flows.go")
	isFlow := func(e ast.Expr) bool { // node.FlowDeploy, plan.Flow or f.name
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, _ := sel.X.(*ast.Ident)
		return strings.HasPrefix(sel.Sel.Name, "Flow") || sel.Sel.Name == "name" && x != nil && x.Name == "f"
	}
	for path, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			var sides []ast.Expr
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op == token.EQL || n.Op == token.NEQ {
					sides = []ast.Expr{n.X, n.Y}
				}
			case *ast.CaseClause:
				sides = n.List
			case *ast.SwitchStmt:
				sides = []ast.Expr{n.Tag}
			}
			if slices.ContainsFunc(sides, isFlow) {
				t.Errorf("%s goes by a flow's name: give the row in conductor/flows.go a field that says what differs", path)
			}
			return true
		})
	}
}

// sources are the parsed product files of these patterns.
func sources(t *testing.T, patterns ...string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	for _, p := range patterns {
		paths, err := filepath.Glob(p)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files, %v", p, len(paths), err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			if files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}
