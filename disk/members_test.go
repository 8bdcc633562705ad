package disk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

func named(disks []wire.Disk) string {
	var names []string
	for _, d := range disks {
		names = append(names, strings.TrimPrefix(d.Name, "/dev/"))
	}
	return strings.Join(names, " ")
}

func TestSelectMembers(t *testing.T) {
	gib := func(name string, n int64, change func(*wire.Disk)) wire.Disk {
		d := wire.Disk{Name: "/dev/" + name, Serial: "s-" + name, Size: n << 30, LogicalSectors: 512, Tran: "sata"}
		if change != nil {
			change(&d)
		}
		return d
	}
	all := []wire.Disk{
		gib("sdd", 400, nil), gib("sda", 100, nil), gib("sdb", 100, nil), gib("sdc", 400, nil), gib("sde", 1, nil),
		gib("sdf", 100, func(d *wire.Disk) { d.Tran = "usb" }), gib("sdg", 100, func(d *wire.Disk) { d.Removable = true }),
		gib("md0", 100, func(d *wire.Disk) { d.RAID = "raid1" }), gib("sdh", 100, func(d *wire.Disk) { d.MemberOf = "/dev/md0" }),
		gib("nvme0n1", 800, func(d *wire.Disk) { d.LogicalSectors = 4096 }),
	}
	any100 := map[string]any{"size": "> 99"}
	for _, tt := range []struct {
		name  string
		disks []wire.Disk
		hints []map[string]any
		want  string
		err   string
	}{
		{"all that could be a root disk", all[:9], nil, "sda sdb sdc sdd", ""},
		{"two of any size take the smallest", all, []map[string]any{any100, any100}, "sda sdb", ""},
		{"in the order of the hints", all, []map[string]any{{"serial": "s-sdd"}, any100}, "sdd sda", ""},
		{"a hint takes what is not there without one", all, []map[string]any{{"serial": "s-sdf"}, {"serial": "s-sde"}}, "sdf sde", ""},
		{"one disk is not two", all, []map[string]any{{"serial": "s-sda"}, {"serial": "s-sda"}}, "",
			"physical_disks[1]: no disk matches the root device hints (serial: s-sda)"},
		{"an array is no member", all, []map[string]any{{"serial": "s-md0"}, any100}, "", "serial s-md0: it is an array itself"},
		{"nor is a member of another", all, []map[string]any{{"serial": "s-sdh"}, any100}, "",
			"serial s-sdh: part of the software RAID /dev/md0"},
		{"removable", all, []map[string]any{{"serial": "s-sdg"}, any100}, "", "serial s-sdg: removable"},
		{"sectors that differ", all, nil, "",
			"/dev/sda has sectors of 512 bytes and /dev/nvme0n1 of 4096: the disks of software RAID must have the same; choose them " +
				"with physical_disks"},
		{"too few", all[4:9], nil, "", "software RAID needs at least 2 disks, but this machine has 0 that can be taken without " +
			"physical_disks; not taken: /dev/sde, 1.0 GiB, serial s-sde: smaller than 4 GiB; /dev/md0"},
		{"none", nil, nil, "", "but this machine has 0 that can be taken"},
		{"a hint that cannot be read", all, []map[string]any{{"size": "> big"}, any100}, "",
			`physical_disks[0]: root device hint size: "> big": "big" is not a number`},
	} {
		before := fmt.Sprint(tt.disks)
		got, err := SelectMembers(tt.disks, tt.hints)
		if tt.err == "" && (err != nil || named(got) != tt.want) {
			t.Errorf("%s: %s, %v; want %s", tt.name, named(got), err, tt.want)
		}
		if tt.err != "" {
			disktest.WantError(t, err, tt.err)
		}
		if fmt.Sprint(tt.disks) != before {
			t.Errorf("%s: the caller's list was changed", tt.name)
		}
	}
}

func TestOccupied(t *testing.T) {
	blank := func() *Device {
		d := dirtyDisk(t, 8<<20)
		if err := d.Zero(0, d.Size()); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tt := range []struct {
		name, want string
		make       func(d *Device)
	}{
		{"blank", "", func(*Device) {}},
		{"dirt that is nothing", "", func(d *Device) { d.WriteAt(bytes.Repeat([]byte{disktest.Dirt}, 1<<20), 1<<20) }},
		{"a GPT", "a partition table with 1 partitions", func(d *Device) { disktest.Run(t, "sgdisk", "--new=1:2048:4095", d.Path()) }},
		{"an empty GPT", "an empty partition table", func(d *Device) { disktest.Run(t, "sgdisk", "--clear", d.Path()) }},
		{"an MBR", "a partition table with 1 partitions",
			func(d *Device) { disktest.Feed(t, "2048,2048,83\n", "sfdisk", "--label", "dos", d.Path()) }},
		{"ext4", "a file system or volume (ext4)", func(d *Device) { disktest.Run(t, "mke2fs", "-q", "-t", "ext4", d.Path()) }},
		{"LVM", "a file system or volume (lvm)", func(d *Device) { d.WriteAt([]byte("LVM2 001"), 0x218) }},
		{"RAID", "a file system or volume (linux_raid_member)", func(d *Device) { d.WriteAt([]byte("\xfc\x4e\x2b\xa9"), 4096) }},
	} {
		d := blank()
		tt.make(d)
		if got, err := Occupied(d); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// A disk that is open to be read cannot be written.
func TestOpenToRead(t *testing.T) {
	d := dirtyDisk(t, 1<<20)
	r, err := OpenToRead(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := make([]byte, 10)
	if _, err := r.ReadAt(b, 77); err != nil || b[0] != disktest.Dirt {
		t.Errorf("% x, %v", b, err)
	}
	if _, err := r.WriteAt(b, 0); err == nil {
		t.Error("it was written")
	}
}

func FuzzOccupied(f *testing.F) {
	f.Add(make([]byte, 4096))
	f.Add(append(make([]byte, 510), 0x55, 0xaa))
	f.Add(append(make([]byte, 512), "EFI PART"...))
	path := filepath.Join(f.TempDir(), "disk")
	f.Fuzz(func(t *testing.T, head []byte) {
		if len(head) > 1<<20 {
			return
		}
		if err := os.WriteFile(path, append(head, make([]byte, 1<<20)...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 2<<20); err != nil {
			t.Fatal(err)
		}
		d := openDevice(t, path)
		what, err := Occupied(d)
		if err != nil {
			return
		}
		// What divides a disk leaves one that counts as taken.
		parts := []Partition{{Role: BIOSBoot, Number: 1, Offset: 1 << 19, Length: 1 << 18}}
		if err := WriteTable(d, true, parts); err != nil {
			t.Fatalf("a disk that holds %q cannot be divided: %v", what, err)
		}
		if what, err := Occupied(d); err != nil || what != "a partition table with 1 partitions" {
			t.Errorf("after dividing: %q, %v", what, err)
		}
	})
}
