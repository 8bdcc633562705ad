package billet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

const (
	mostMethods = 60 // of a type
	widestDoor  = 12 // methods of an interface
)

// What has more methods than a reader keeps in mind is several things: a type is split into parts, an interface is asked for
// where it is used, with what is used of it. Methods that come by embedding are counted at what is embedded.
func TestTypesAndDoorsAreSmall(t *testing.T) {
	methods, doors := map[string]int{}, 0
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		room := filepath.ToSlash(filepath.Dir(path))
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					methods[room+"."+receiver(n.Recv.List[0].Type)]++
				}
			case *ast.TypeSpec:
				door, ok := n.Type.(*ast.InterfaceType)
				if !ok {
					break
				}
				doors++
				if wide := named(door); wide > widestDoor {
					t.Errorf("%s: interface %s has %d methods; at most %d are asked for in one place", path, n.Name.Name, wide, widestDoor)
				}
			}
			return true
		})
	}
	for name, count := range methods {
		if count > mostMethods {
			t.Errorf("%s has %d methods; at most %d: make its parts types of their own", name, count, mostMethods)
		}
	}
	if doors < 50 || len(methods) < 200 {
		t.Errorf("only %d interfaces and %d types with methods were looked at", doors, len(methods))
	}
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// named counts the methods that an interface names itself.
func named(door *ast.InterfaceType) (count int) {
	for _, m := range door.Methods.List {
		count += len(m.Names)
	}
	return count
}
