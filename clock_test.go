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

// hostTime are the files that may read the host's clock in the rooms that know stored times, and what for: they measure
// how long something of their own takes, with both ends in this process.
var hostTime = []string{
	"node/clock.go",                                      // is the clock
	"store/clock.go", "store/check.go", "store/sweep.go", // how long the database takes
	"driver/ipmi/", "driver/drivertest/", // a conversation with a BMC; how long a driver takes
	"driver/iscsi/write.go",           // how often progress is told
	"driver/iscsi/finish.go",          // a deadline of a connection
	"boot/dhcp/heard.go",              // how often a thing is told
	"boot/dhcp/bootfile.go",           // how often a client came round lately
	"boot/tftp/", "boot/web/files.go", // deadlines of packets, how long a file took
	"store/storetest/", // tests
}

// A moment that is stored is compared with node.Now alone: the host's clock may be set.
func TestStoredTimesAreComparedWithOneClock(t *testing.T) {
	for _, room := range []string{"node", "store", "conductor", "diagnosis", "driver", "boot", "network", "configdrive", "inspection"} {
		err := filepath.WalkDir(room, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			if slices.ContainsFunc(hostTime, func(may string) bool { return strings.HasPrefix(path, may) }) {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, sel.Sel.Name) {
					t.Errorf("%s reads the host's clock (time.%s); take node.%s, or say in clock_test.go why not", path, sel.Sel.Name, sel.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
