package billet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/agent"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/driver/ipmi"
	"github.com/billet-metal/billet/driver/iscsi"
	"github.com/billet-metal/billet/driver/pxe"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
)

// implementations are one of each kind that has keys of its own in driver_info. A driver's folder without a line here is
// found by the test.
func implementations() []driver.Implementation {
	power, management := ipmi.New(ipmi.Options{})
	direct := &agent.Direct{}
	return []driver.Implementation{
		power, management, direct, agent.InMemory{Direct: direct}, agent.Custom{Direct: direct}, &agent.RAID{Direct: direct},
		&agent.Rescue{}, &agent.Inspect{}, agent.Power{}, agent.Unmanaged{}, &iscsi.Deploy{Base: direct}, &pxe.Boot{},
		fake.NewPower(), fake.NewManagement(), fake.NewBoot(), fake.NewDeploy(), fake.NewInspect(), fake.NewNetwork(), fake.NewRAID(),
		network.Neutron{Cloud: &network.Cloud{}},
	}
}

// blind are the rooms that work for every driver and know none, so they know no driver's keys either.
var blind = []string{"conductor", "diagnosis", "inspection", "node"}

// A room that reads or writes a driver's key of driver_info works for that driver alone, and for the next one it silently
// does not. What such a room needs a driver says through an interface (driver.BMCAddresser).
func TestNoDriversKeyInRoomsThatKnowNoDriver(t *testing.T) {
	keys, prefixes := driverKeys(t)
	for _, room := range blind {
		for where, text := range literals(t, room) {
			for _, word := range strings.FieldsFunc(text, between) {
				of := keys[word]
				for prefix, whose := range prefixes {
					if strings.HasPrefix(word, prefix) {
						of = whose
					}
				}
				if of != "" {
					t.Errorf("%s has %q of %s; let the driver say it through an interface", where, word, of)
				}
			}
		}
	}
}

func between(r rune) bool { return r != '_' && !unicode.IsLower(r) && !unicode.IsDigit(r) }

// driverKeys are the keys that drivers tell of, and what all keys of one that speaks to a BMC begin with: such a driver
// may get more of them.
func driverKeys(t *testing.T) (keys, prefixes map[string]string) {
	keys, prefixes = map[string]string{}, map[string]string{}
	folders := map[string]bool{"drivertest": true, "quirk": true}
	for _, impl := range implementations() {
		ty := reflect.TypeOf(impl)
		if ty.Kind() == reflect.Pointer {
			ty = ty.Elem()
		}
		whose := strings.TrimPrefix(ty.PkgPath(), module+"/")
		folders[filepath.Base(whose)] = true
		for key := range impl.Properties() {
			keys[key] = whose
		}
		if b, speaks := impl.(driver.BMCAddresser); speaks {
			info := node.Document{}
			b.SetBMCAddress(info, netip.MustParseAddr("192.0.2.7"))
			for key := range info {
				begin, _, _ := strings.Cut(key, "_")
				prefixes[begin+"_"] = whose
			}
		}
	}
	entries, err := os.ReadDir("driver")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !folders[e.Name()] {
			t.Errorf("driver/%s has no line in keys_test.go", e.Name())
		}
	}
	if len(keys) < 10 || len(prefixes) == 0 {
		t.Errorf("only %d keys and the prefixes %v: this test sees nothing", len(keys), prefixes)
	}
	return keys, prefixes
}

// literals are the texts in a room's product code, by place.
func literals(t *testing.T, room string) map[string]string {
	found := map[string]string{}
	files, err := filepath.Glob(filepath.Join(room, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(room, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, is := n.(*ast.ImportSpec); is {
				return false
			}
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				found[set.Position(lit.Pos()).String()] = text
			}
			return true
		})
	}
	return found
}
