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
