package disk

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/wire"
)

var disks = []wire.Disk{
	{Name: "/dev/sda", Size: 480 << 30, Model: "INTEL SSDSC2KB48", Serial: "PHYF1", Vendor: "ATA", WWN: "0x55CD2E414F1",
		WWNWithExtension: "0x55cd2e414f1", HCTL: "0:0:0:0", ByPath: "/dev/disk/by-path/pci-0000:00:17.0-ata-1", Tran: "sata"},
	{Name: "/dev/sdb", Size: 480 << 30, Model: "INTEL SSDSC2KB48", Serial: "PHYF2", Vendor: "ATA", HCTL: "1:0:0:0",
		ByPath: "/dev/disk/by-path/pci-0000:00:17.0-ata-0", Tran: "sata"},
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
		{"no disks", nil, nil, "no disk can be the root disk: without root device hints it is the smallest of at least 4 GiB; no " +
			"disk was found in this machine; is the storage driver in the ramdisk?"},
		{"none is large enough", disks[4:], nil,
			"no disk can be the root disk: without root device hints it is the smallest of at least 4 GiB; disks seen: " +
				"/dev/sdd, 32.0 GiB, model USB Stick: removable; /dev/sde, 16.0 GiB, model Locked: read-only; /dev/sdf, 1.0 GiB, model " +
				"Card Reader: smaller than 4 GiB"},
		{"no match", disks[2:4], map[string]any{"serial": "nope", "size": ">= 1000"},
			"no disk matches the root device hints (serial: nope, size: >= 1000); disks seen: " +
				`/dev/sdc, 3.9 TiB, model ST4000NM, serial Z1: its serial is "z1"; ` +
				`/dev/nvme0n1, 960.0 GiB, model SAMSUNG MZQL2, serial S64: its serial is "s64"`},
		{"a field the disk has not", disks[6:], map[string]any{"serial": "!= 5"}, `its serial is ""`},
		{"removable, though asked for", disks, map[string]any{"model": "usb stick"}, "/dev/sdd, 32.0 GiB, model USB Stick: removable"},
		{"two of the same", disks, map[string]any{"vendor": "ATA"},
			"the root device hints (vendor: ATA) match 3 disks, the smallest of equal size, so the choice would be left to chance: add " +
				"serial, wwn, hctl or by_path; matching: " +
				"/dev/sdb, 480.0 GiB, model INTEL SSDSC2KB48, serial PHYF2, path /dev/disk/by-path/pci-0000:00:17.0-ata-0; /dev/sda, 480.0 GiB"},
		{"unknown hint", disks, map[string]any{"colour": "red"},
			`root device hint "colour" is unknown; allowed are by_path, hctl, model, name, ` +
				`rotational, serial, size, tran, vendor, wwn, wwn_vendor_extension, wwn_with_extension`},
		{"a list", disks, map[string]any{"size": []any{1}},
			"root device hint size: its value is a []interface {}; text, a number or a boolean is allowed"},
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

func TestSelectWithoutHintsStaysInsideTheMachine(t *testing.T) {
	usb := wire.Disk{Name: "/dev/sda", Size: 64 << 30, Model: "Backup", Tran: "usb"}
	lun := wire.Disk{Name: "/dev/sdb", Size: 100 << 30, WWN: "0x6", Tran: "fc"}
	target := wire.Disk{Name: "/dev/sdc", Size: 50 << 30, Serial: "T", Tran: "iscsi"}
	own := wire.Disk{Name: "/dev/nvme0n1", Size: 960 << 30, Tran: "nvme"}
	for _, tt := range []struct {
		disks []wire.Disk
		hints map[string]any
		want  string // a disk, or a part of the error
	}{
		{[]wire.Disk{usb, lun, target, own}, nil, "/dev/nvme0n1"},
		{[]wire.Disk{usb, own}, map[string]any{"tran": "usb"}, "/dev/sda"},
		{[]wire.Disk{lun, own}, map[string]any{"wwn": "0x6"}, "/dev/sdb"},
		{[]wire.Disk{target, own}, map[string]any{"size": "== 50"}, "/dev/sdc"},
		{[]wire.Disk{usb, lun}, nil, "/dev/sda, 64.0 GiB, model Backup: not inside the machine (usb), so only a hint can choose it; " +
			"/dev/sdb, 100.0 GiB: not inside the machine (fc), so only a hint can choose it"},
	} {
		got, err := Select(tt.disks, tt.hints)
		if got.Name != tt.want && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v: %s, %v; want %s", tt.hints, got.Name, err, tt.want)
		}
	}
}

// Names move between boots: of equal disks without a path the same one must be chosen each time.
func TestEqualDisksAreToldApartByThemselves(t *testing.T) {
	for _, by := range []func(*wire.Disk, string){
		func(d *wire.Disk, v string) { d.Serial = v },
		func(d *wire.Disk, v string) { d.WWNWithExtension = v },
		func(d *wire.Disk, v string) { d.ByPath = v },
	} {
		first, second := wire.Disk{Size: 8 << 30}, wire.Disk{Size: 8 << 30}
		by(&first, "a")
		by(&second, "b")
		for _, names := range [][2]string{{"/dev/sda", "/dev/sdb"}, {"/dev/sdb", "/dev/sda"}} {
			first.Name, second.Name = names[0], names[1]
			for _, order := range [][]wire.Disk{{first, second}, {second, first}} {
				if got, err := Select(order, nil); err != nil || got != first {
					t.Errorf("chose %+v, %v", got, err)
				}
			}
		}
	}
}

func TestSkipped(t *testing.T) {
	for _, tt := range []struct {
		property any
		want     string
	}{
		{nil, "map[]"},
		{[]any{}, "map[]"},
		{[]any{map[string]any{"serial": "phyf1"}}, "map[/dev/sda:true]"},
		{[]any{map[string]any{"serial": "PHYF1"}, map[string]any{"tran": "nvme"}}, "map[/dev/nvme0n1:true /dev/sda:true]"},
		{[]any{map[string]any{"vendor": "ata", "rotational": true}}, "map[/dev/sdc:true]"},
		{[]any{map[string]any{"size": ">= 480"}}, "map[/dev/nvme0n1:true /dev/sda:true /dev/sdb:true /dev/sdc:true]"},
		{[]any{map[string]any{"name": "/dev/none"}}, "map[]"},
		{"sda", `skip_block_devices is a string; a list of objects such as {"serial": "…"} is allowed`},
		{map[string]any{"name": "/dev/sda"},
			`skip_block_devices is a map[string]interface {}; a list of objects such as {"serial": "…"} is allowed`},
		{[]any{"sda"}, `skip_block_devices: entry 1 is sda; an object such as {"serial": "…"} is allowed`},
		{[]any{map[string]any{"size": 1}, map[string]any{}},
			`skip_block_devices: entry 2 is map[]; an object such as {"serial": "…"} is allowed`},
		{[]any{map[string]any{"volume_name": "data"}},
			`skip_block_devices: entry 1: root device hint "volume_name" is unknown; allowed are by_path, hctl, model, name, ` +
				`rotational, serial, size, tran, vendor, wwn, wwn_vendor_extension, wwn_with_extension`},
		{[]any{map[string]any{"size": "big"}}, `skip_block_devices: entry 1: root device hint size: "big": "big" is not a number`},
	} {
		got, err := Skipped(disks, tt.property)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		if text != tt.want {
			t.Errorf("%v:\n got %s\nwant %s", tt.property, text, tt.want)
		}
	}
}

// RAID controllers may give all their logical disks one serial number: "the disk with that serial"
// is then no disk at all, even when one of them is smaller.
func TestAHintThatIsToNameOneDiskMustNameOne(t *testing.T) {
	logical := []wire.Disk{
		{Name: "/dev/sda", Size: 480 << 30, Serial: "PDNLH0", WWN: "0x600508b1001c9c3a", HCTL: "0:1:0:0"},
		{Name: "/dev/sdb", Size: 960 << 30, Serial: "PDNLH0", WWN: "0x600508b1001c9c3a", HCTL: "0:1:0:1"},
	}
	for _, tt := range []struct {
		hints map[string]any
		want  string // "" is refused
	}{
		{map[string]any{"serial": "PDNLH0"}, ""},
		{map[string]any{"serial": "s== PDNLH0"}, ""},
		{map[string]any{"wwn": "0x600508b1001c9c3a"}, ""},
		{map[string]any{"wwn": "0x600508b1001c9c3a", "size": "> 1"}, ""},
		{map[string]any{"serial": "PDNLH0", "size": "> 500"}, "/dev/sdb"},
		{map[string]any{"serial": "PDNLH0", "hctl": "0:1:0:1"}, "/dev/sdb"},
		{map[string]any{"serial": "<in> PDN"}, "/dev/sda"}, // a class of disks: the smallest of it
		{map[string]any{"serial": "<or> PDNLH0 <or> OTHER"}, "/dev/sda"},
		{map[string]any{"size": "> 100"}, "/dev/sda"},
	} {
		got, err := Select(logical, tt.hints)
		if got.Name != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%v: %q, %v; want %q", tt.hints, got.Name, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(),
			"match 2 disks, though one of them is to name a single disk, so the choice would be left to chance") {
			t.Errorf("%v: %v", tt.hints, err)
		}
	}
}
