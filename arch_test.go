package billet

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/billet-metal/billet"

// allowed says which of our folders each folder may import. A new arrow is a reviewed line here.
// cmd/billet may import everything; tests may import what they test with.
var allowed = map[string][]string{
	"node":              {},
	"driver":            {"node"},
	"driver/fake":       {"driver", "node"},
	"driver/ipmi":       {"driver", "driver/quirk", "node"},
	"driver/quirk":      {},
	"driver/pxe":        {"driver", "node", "boot", "fetch"},
	"driver/agent":      {"driver", "node", "agent/raid", "agent/wire", "agent/disk", "image"},
	"driver/iscsi":      {"driver", "node", "boot", "fetch", "iscsi", "image", "agent/wire", "agent/disk", "agent/raid"},
	"driver/drivertest": {"driver", "node"},
	"conductor":         {"configdrive", "crypt", "driver", "node", "rules"},
	"configdrive":       {"node"},
	"rules":             {"node", "fetch"},
	"crypt":             {},
	"api":               {"node", "agent/wire", "rules"},
	"boot":              {"node", "fetch"},
	"boot/dhcp":         {"boot", "node"},
	"boot/tftp":         {"boot", "node", "fetch"},
	"boot/web":          {"boot", "node", "fetch"},
	"fetch":             {},
	"store":             {"node", "boot"},
	"store/storetest":   {"node", "boot", "store"},
	"image":             {"fetch"},
	"network":           {"driver", "node"},
	"agent/rescue":      {"crypt"},
	"agent":             {"agent/wire", "agent/benchmark", "agent/bootmenu", "agent/disk", "agent/efi", "agent/inroot", "agent/grub", "agent/inventory", "agent/raid", "agent/rescue", "crypt", "fetch", "image", "iscsi"},
	"iscsi":             {},
	"agent/wire":        {},
	"agent/disk":        {"agent/ata", "agent/efi", "agent/nvme", "agent/scsi", "agent/wire", "configdrive", "image"},
	"agent/ata":         {"agent/scsi"},
	"agent/nvme":        {},
	"agent/benchmark":   {},
	"agent/scsi":        {},
	"agent/inventory":   {"agent/raid", "agent/wire"},
	"agent/raid":        {},
	"agent/efi":         {},
	"agent/inroot":      {},
	"agent/bootmenu":    {"agent/inroot"},
	"agent/grub":        {},
	"agent/pid1":        {},
	"ramdisk":           {},
	"lab":               {"lab/bmc"},
	"lab/bmc":           {},
	"lab/images":        {"ramdisk"},
	"lab/tinyos":        {},
	"compat":            {"node", "agent/wire"},
	"bench/inmachine":   {"agent/disk", "agent/pid1", "agent/wire"},
	"cmd/billet-agent":  {"agent", "agent/rescue", "agent/wire", "agent/disk", "agent/inventory", "agent/pid1", "iscsi"},
}

func TestImports(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		room := filepath.ToSlash(filepath.Dir(path))
		if room == "cmd/billet" || room == "tmpdeps" || room == "." {
			return nil
		}
		may, known := allowed[room]
		if !known {
			t.Errorf("%s: the folder %s has no line in arch_test.go", path, room)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			ours, ok := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module+"/")
			if ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s; arch_test.go does not allow that", path, ours)
			}
			if room == "node" && strings.Contains(imp.Path.Value, ".") {
				t.Errorf("%s imports %s; node takes the standard library only", path, imp.Path.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
