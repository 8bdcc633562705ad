package disk

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/billet-metal/billet/wire"
)

var disks = []wire.Disk{
	{Name: "/dev/sda", Size: 480 << 30, Model: "INTEL SSDSC2KB48", Serial: "PHYF1", Vendor: "ATA", WWN: "0x55CD2E414F1", WWNWithExtension: "0x55cd2e414f1", HCTL: "0:0:0:0", ByPath: "/dev/disk/by-path/pci-0000:00:17.0-ata-1", Tran: "sata"},
	{Name: "/dev/sdb", Size: 480 << 30, Model: "INTEL SSDSC2KB48", Serial: "PHYF2", Vendor: "ATA", HCTL: "1:0:0:0", ByPath: "/dev/disk/by-path/pci-0000:00:17.0-ata-0", Tran: "sata"},
	{Name: "/dev/sdc", Size: 4000 << 30, Model: "ST4000NM", Serial: "Z1", Rotational: true, Vendor: "ATA", HCTL: "2:0:0:0", Tran: "sata"},
	{Name: "/dev/nvme0n1", Size: 960 << 30, Model: "SAMSUNG MZQL2", Serial: "S64", WWN: "eui.3634", Tran: "nvme"},
	{Name: "/dev/sdd", Size: 32 << 30, Model: "USB Stick", Removable: true, Tran: "usb"},
	{Name: "/dev/sde", Size: 16 << 30, Model: "Locked", ReadOnly: true, Tran: "usb"},
	{Name: "/dev/sdf", Size: 1 << 30, Model: "Card Reader", Tran: "usb"},
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct{ hints, want string }{
		{`{}`, "/dev/sdb"}, // equal sizes: the first by path
		{`{"name": "/dev/sdc"}`, "/dev/sdc"},
		{`{"name": "s== /dev/sdc"}`, "/dev/sdc"},
		{`{"serial": "phyf1"}`, "/dev/sda"},
		{`{"wwn": "0x55cd2e414f1"}`, "/dev/sda"},
		{`{"wwn_with_extension": "0x55CD2E414F1"}`, "/dev/sda"},
		{`{"hctl": "1:0:0:0"}`, "/dev/sdb"},
		{`{"by_path": "/dev/disk/by-path/pci-0000:00:17.0-ata-1"}`, "/dev/sda"},
		{`{"tran": "nvme"}`, "/dev/nvme0n1"},
		{`{"size": 960}`, "/dev/nvme0n1"},
		{`{"size": "960"}`, "/dev/nvme0n1"},
		{`{"size": "= 961"}`, "/dev/sdc"}, // "=" is "at least"
		{`{"size": "== 960"}`, "/dev/nvme0n1"},
		{`{"size": ">= 500"}`, "/dev/nvme0n1"}, // the smallest of two
		{`{"size": ">960"}`, "/dev/sdc"},
		{`{"size": "< 2"}`, "/dev/sdf"}, // a hint may ask for a small disk
		{`{"size": "<= 1"}`, "/dev/sdf"},
		{`{"size": "!= 480", "rotational": false, "tran": "s!= usb"}`, "/dev/nvme0n1"},
		{`{"size": "<range-in> [ 500 1000 ]"}`, "/dev/nvme0n1"},
		{`{"size": "<range-in> ( 480 960 ]"}`, "/dev/nvme0n1"},
		{`{"size": "<or> 1 <or> 2"}`, "/dev/sdf"},
		{`{"rotational": true}`, "/dev/sdc"},
		{`{"rotational": "True"}`, "/dev/sdc"},
		{`{"rotational": "yes"}`, "/dev/sdc"},
		{`{"model": "<in> samsung"}`, "/dev/nvme0n1"},
		{`{"model": "<all-in> mzql2 sam"}`, "/dev/nvme0n1"},
		{`{"model": "<or> foo <or> st4000nm"}`, "/dev/sdc"},
		{`{"model": "samsung mzql2"}`, "/dev/nvme0n1"},
		{`{"name": "s>= /dev/sdc", "size": "> 2"}`, "/dev/sdc"},
		{`{"name": "s< /dev/sda"}`, "/dev/nvme0n1"},
		{`{"vendor": "ata", "rotational": "0", "serial": "PHYF2"}`, "/dev/sdb"},
	} {
		var hints map[string]any
		if err := json.Unmarshal([]byte(tt.hints), &hints); err != nil {
			t.Fatal(err)
		}
		got, err := Select(disks, hints)
		if err != nil || got.Name != tt.want {
			t.Errorf("%s chose %q (%v), want %s", tt.hints, got.Name, err, tt.want)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		disks []wire.Disk
		hints map[string]any
		want  string
	}{
		{"no disks", nil, nil, "no disk can be the root disk: without root device hints it is the smallest of at least 4 GiB; no disk was found in this machine; is the storage driver in the ramdisk?"},
		{"none is large enough", disks[4:], nil, "no disk can be the root disk: without root device hints it is the smallest of at least 4 GiB; disks seen: " +
			"/dev/sdd, 32.0 GiB, model USB Stick: removable; /dev/sde, 16.0 GiB, model Locked: read-only; /dev/sdf, 1.0 GiB, model Card Reader: smaller than 4 GiB"},
		{"no match", disks[2:4], map[string]any{"serial": "nope", "size": ">= 1000"}, "no disk matches the root device hints (serial: nope, size: >= 1000); disks seen: " +
			`/dev/sdc, 3.9 TiB, model ST4000NM, serial Z1: its serial is "z1"; /dev/nvme0n1, 960.0 GiB, model SAMSUNG MZQL2, serial S64: its serial is "s64"`},
		{"a field the disk has not", disks[6:], map[string]any{"serial": "!= 5"}, `its serial is ""`},
		{"removable, though asked for", disks, map[string]any{"model": "usb stick"}, "/dev/sdd, 32.0 GiB, model USB Stick: removable"},
		{"two of the same", disks, map[string]any{"vendor": "ATA"}, "the root device hints (vendor: ATA) match 3 disks, the smallest of equal size, so the choice would be left to chance: add serial, wwn, hctl or by_path; matching: " +
			"/dev/sdb, 480.0 GiB, model INTEL SSDSC2KB48, serial PHYF2, path /dev/disk/by-path/pci-0000:00:17.0-ata-0; /dev/sda, 480.0 GiB"},
		{"unknown hint", disks, map[string]any{"colour": "red"}, `root device hint "colour" is unknown; allowed are by_path, hctl, model, name, rotational, serial, size, tran, vendor, wwn, wwn_vendor_extension, wwn_with_extension`},
		{"a list", disks, map[string]any{"size": []any{1}}, "root device hint size: its value is a []interface {}; text, a number or a boolean is allowed"},
		{"no number", disks, map[string]any{"size": ">= big"}, `root device hint size: ">= big": "big" is not a number`},
		{"empty", disks, map[string]any{"model": " "}, "it is empty"},
		{"operator alone", disks, map[string]any{"model": "s=="}, "the operator s== needs a value"},
		{"in nothing", disks, map[string]any{"model": "<in>"}, "<in> needs a value"},
		{"all in nothing", disks, map[string]any{"model": "<all-in> "}, "<all-in> needs values"},
		{"or nothing", disks, map[string]any{"model": "<or>"}, "<or> needs values"},
		{"bad range", disks, map[string]any{"size": "<range-in> 1 2"}, "a range is written <range-in> [ LOW HIGH ]"},
		{"range of words", disks, map[string]any{"size": "<range-in> [ a 2 ]"}, `"a" is not a number`},
		{"bad boolean", disks, map[string]any{"rotational": "perhaps"}, "it must be true or false"},
	} {
		got, err := Select(tt.disks, tt.hints)
		if err == nil {
			t.Errorf("%s: chose %s", tt.name, got.Name)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, err, tt.want)
		}
	}
}

func FuzzHints(f *testing.F) {
	for _, text := range []string{">= 5", "<or> a <or> b", "<range-in> [ 1 2 ]", "s== x", "<all-in> a b", "=", "<in>", "true"} {
		f.Add("size", text)
		f.Add("model", text)
		f.Add("rotational", text)
	}
	f.Fuzz(func(t *testing.T, field, text string) {
		got, err := Select(disks, map[string]any{field: text})
		if err == nil && (got.ReadOnly || got.Removable) {
			t.Errorf("%s: %q chose %s", field, text, got.Name)
		}
	})
}
