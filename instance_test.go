package billet

import (
	"go/ast"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What a node asks for is read by driver.InstanceOf alone: two readers are two answers, as to which mode its machine boots in.
// pxe may ask for the capability secure_boot of the hardware.
func TestWhatANodeAsksForIsReadOnce(t *testing.T) {
	read := 0
	for path, file := range sources(t, "api/*.go", "conductor/*.go", "diagnosis/*.go", "driver/*.go", "driver/*/*.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "Capability" && f.Sel.Name != "InstanceCapability" {
				return true
			}
			name := ""
			if lit, ok := call.Args[0].(*ast.BasicLit); ok {
				name, _ = strconv.Unquote(lit.Value)
			}
			switch slash := filepath.ToSlash(path); {
			case strings.HasPrefix(slash, "driver/instance"):
				read++
			case slash == "driver/pxe/firmware.go" && f.Sel.Name == "Capability" && name == "secure_boot":
			default:
				t.Errorf("%s asks for the capability %q: driver.InstanceOf tells what a node asks for", path, name)
			}
			return true
		})
	}
	if read < 2 {
		t.Errorf("driver.InstanceOf reads %d capabilities: this test looks for the wrong name", read)
	}
}
