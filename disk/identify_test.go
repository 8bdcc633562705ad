package disk

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/wire"
)

func TestUnidentified(t *testing.T) {
	bare := func(name string) wire.Disk { return wire.Disk{Name: name, Size: 1 << 30} }
	edit := func(d wire.Disk, f func(*wire.Disk)) wire.Disk { f(&d); return d }
	serial := func(d wire.Disk, s string) wire.Disk { d.Serial = s; return d }
	wwn := func(d wire.Disk, s string) wire.Disk { d.WWN, d.WWNWithExtension = s, s; return d }
	for _, tt := range []struct {
		name  string
		disks []wire.Disk
		want  string
	}{
		{"none", nil, ""},
		{"the only disk", []wire.Disk{bare("/dev/sda")}, ""},
		{"a name among others", []wire.Disk{serial(bare("/dev/sda"), "A"), bare("/dev/sdb")},
			"/dev/sdb, 1.0 GiB has neither serial number, WWN nor path"},
		{"told by path", []wire.Disk{serial(bare("/dev/sda"), "A"),
			edit(bare("/dev/sdb"), func(d *wire.Disk) { d.ByPath = "/dev/disk/by-path/x" })}, ""},
		{"told by HCTL", []wire.Disk{serial(bare("/dev/sda"), "A"), edit(bare("/dev/sdb"), func(d *wire.Disk) { d.HCTL = "0:0:0:0" })}, ""},
		{"namespaces of one controller", []wire.Disk{wwn(serial(bare("/dev/nvme0n1"), "N"), "eui.1"),
			wwn(serial(bare("/dev/nvme0n2"), "N"), "eui.2")}, ""},
		{"two paths", []wire.Disk{wwn(serial(bare("/dev/sda"), "A"), "0x5000"), serial(bare("/dev/sdb"), "B"),
			wwn(serial(bare("/dev/sdc"), "A"), "0x5000")},
			"/dev/sda, 1.0 GiB, serial A and /dev/sdc, 1.0 GiB, serial A have the same WWN"},
	} {
		err := Unidentified(tt.disks)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "skip_block_devices") {
			t.Errorf("%s: no way out: %v", tt.name, err)
		}
	}
}

func TestIsVirtualMedia(t *testing.T) {
	for _, tt := range []struct {
		disk wire.Disk
		want bool
	}{
		{wire.Disk{Tran: "usb", Vendor: "AMI", Model: "Virtual HDisk0"}, true},
		{wire.Disk{Tran: "usb", Vendor: "Linux", Model: "File-Stor Gadget"}, false},
		{wire.Disk{Tran: "usb", Vendor: "VIRTUAL", Model: "floppy"}, true},
		{wire.Disk{Tran: "sas", Vendor: "DELL", Model: "Virtual Disk"}, false}, // of a RAID controller
		{wire.Disk{Tran: "usb", Vendor: "SanDisk", Model: "Ultra"}, false},
	} {
		if got := IsVirtualMedia(tt.disk); got != tt.want {
			t.Errorf("%+v: %v", tt.disk, got)
		}
	}
}
