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
	"driver":            {"node", "image", "wire"},
	"driver/quirk":      {},
	"driver/fake":       {"driver", "node", "network"},
	"driver/ipmi":       {"driver", "driver/quirk", "node"},
	"driver/pxe":        {"driver", "node", "boot", "fetch"},
	"driver/agent":      {"driver", "inspection", "node", "raid", "wire", "disk", "image"},
	"driver/iscsi":      {"driver", "node", "boot", "fetch", "iscsi", "image", "wire", "disk", "disk/write", "raid"},
	"driver/drivertest": {"driver", "node"},
	"conductor":         {"configdrive", "crypt", "diagnosis", "driver", "inspection", "inspection/rules", "node"},
	"diagnosis":         {"node"},
	"configdrive":       {"node"},
	"inspection":        {"disk", "inspection/rules", "node", "wire"},
	"inspection/rules":  {"node", "fetch"},
	"crypt":             {},
	"api":               {"api/payload", "door", "inspection/rules", "node", "wire"},
	"door":              {"node"},
	"api/payload":       {"node"},
	"openstack":         {"door", "image", "node"},

	"openstack/openstacktest": {},
	"server":                  {"configdrive", "node"},
	"compat/cloud":            {},
	"network":                 {"driver", "node", "openstack"},
	"boot":                    {"node", "fetch"},
	"boot/dhcp":               {"boot", "node"},
	"boot/tftp":               {"boot", "boot/tftp/packet", "node", "fetch"},
	"boot/tftp/packet":        {},
	"boot/web":                {"boot", "node", "fetch"},
	"fetch":                   {},
	"image":                   {"fetch"},
	"image/cache":             {"image", "node"},
	"store":                   {"node", "boot", "store/seal"},
	"store/seal":              {},
	"store/memory":            {"node", "boot"},
	"store/pgtest":            {},
	"store/storetest":         {"node", "boot", "store", "store/memory", "conductor", "api"}, // asks what those ask
	"wire":                    {},
	"iscsi":                   {},
	"disk":                    {"wire"},
	"disk/write":              {"disk", "disk/bootable", "disk/erase", "configdrive", "image", "wire"},
	"disk/bootable":           {"disk", "disk/efi"},
	"disk/erase":              {"disk", "disk/ata", "disk/nvme", "disk/scsi"},
	"disk/disktest":           {},
	"disk/efi":                {},
	"disk/ata":                {"disk/scsi"},
	"disk/nvme":               {},
	"disk/scsi":               {},
	"raid":                    {},
	"agent": {
		"agent/benchmark", "agent/classic", "agent/inventory", "agent/steps", "crypt", "disk", "fetch", "raid", "wire",
	},
	"agent/steps": {
		"agent/bootmenu", "agent/grub", "agent/inroot", "agent/inventory", "agent/mount",
		"disk", "disk/bootable", "disk/efi", "disk/erase", "disk/write", "fetch", "raid", "wire",
	},
	"agent/classic":    {"agent/steps", "boot/tftp/packet", "disk", "disk/bootable", "iscsi", "wire"},
	"agent/mount":      {"disk"},
	"agent/benchmark":  {},
	"agent/bootmenu":   {"agent/inroot"},
	"agent/grub":       {},
	"agent/inroot":     {},
	"agent/inventory":  {"raid", "wire"},
	"agent/pid1":       {},
	"agent/rescue":     {"crypt"},
	"cmd/billet-agent": {"agent", "agent/rescue", "wire", "disk", "agent/inventory", "agent/pid1", "iscsi"},
	"ramdisk":          {},
	"lab":              {"lab/bmc"},
	"lab/bmc":          {},
	"lab/images":       {"ramdisk"},
	"lab/tinyos":       {},
	"compat":           {"node", "wire"},
	"bench/inmachine":  {"disk", "disk/write", "agent/pid1", "wire"},
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
		if room == "cmd/billet" || room == "." {
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
			if ok && ours == "agent" && room != "cmd/billet-agent" {
				t.Errorf("%s imports agent; nobody does but its main", path)
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
