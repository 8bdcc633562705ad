package inventory

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/disk"
)

const arrayUUID = "00010203:04050607:08090a0b:0c0d0e0f"

// superblock is a partition of 64 KiB with a superblock of version 1.0.
func superblock() string {
	b := make([]byte, 64<<10)
	at := (128 - 16) * 512
	binary.LittleEndian.PutUint32(b[at:], 0xa92b4efc)
	binary.LittleEndian.PutUint32(b[at+4:], 1)
	for i := range 16 {
		b[at+16+i] = byte(i)
	}
	binary.LittleEndian.PutUint64(b[at+144:], uint64(at/512))
	return string(b)
}

// mirrored is a machine with a degraded mirror and a stopped array over two NVMe disks, and a third disk
// of its own.
func mirrored(t *testing.T) Machine {
	files := map[string]string{}
	for i := range 3 {
		name := fmt.Sprintf("nvme%dn1", i)
		at := fmt.Sprintf("pci0000:00/0000:0%d:00.0/nvme/nvme%d/%s", i+1, i, name)
		block(files, name, at, map[string]string{"serial": fmt.Sprintf("S%d", i)})
		if i == 2 {
			continue
		}
		for p := 1; p <= 2; p++ {
			part := fmt.Sprintf("%sp%d", name, p)
			dir := "sys/devices/" + at + "/block/" + name + "/" + part
			files[dir+"/partition"], files[dir+"/size"] = fmt.Sprint(p), "128\n"
			files["sys/class/block/"+part] = "-> " + dir
			files["dev/"+part] = strings.Repeat("\x00", 64<<10)
		}
		files["sys/devices/"+at+"/block/"+name+"/"+name+"p2/holders/md127"] = ""
		files["dev/"+name+"p2"] = superblock()
		files["sys/devices/virtual/block/md127/slaves/"+name+"p2"] = ""
	}
	for name, state := range map[string]string{"md127": "clean", "md126": "inactive", "md125": "clear"} {
		at := "sys/devices/virtual/block/" + name
		files["sys/block/"+name] = "-> " + at
		files[at+"/md/array_state"], files[at+"/md/level"], files[at+"/md/degraded"] = state+"\n", "raid1\n", "1\n"
		files[at+"/size"], files[at+"/dev"] = "20971520\n", "9:127\n"
		files[at+"/queue/logical_block_size"], files[at+"/queue/physical_block_size"] = "512\n", "4096\n"
	}
	return machine(t, files)
}

func TestArrays(t *testing.T) {
	m := mirrored(t)
	want := []Array{{Name: "/dev/md127", UUID: arrayUUID, Level: "raid1", Members: []string{"/dev/nvme0n1p2", "/dev/nvme1n1p2"}, Missing: 1}}
	if diff := cmp.Diff(want, m.Arrays()); diff != "" {
		t.Errorf("arrays (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/dev/md126", "/dev/md127"}, m.ArrayNodes()); diff != "" {
		t.Errorf("array nodes, also those that do not run (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/dev/nvme0n1p1", "/dev/nvme0n1p2"}, m.Partitions("/dev/nvme0n1")); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	var lines []string
	for _, d := range m.Disks() {
		lines = append(lines, fmt.Sprintf("%s %s|%s|%s raid=%q in=%q tran=%q path=%q %d", d.Name, d.Vendor, d.Model, d.Serial, d.RAID, d.MemberOf,
			d.Tran, d.ByPath, d.Size))
	}
	if diff := cmp.Diff([]string{
		`/dev/md127 Linux|Software RAID 1|` + arrayUUID + ` raid="raid1" in="" tran="" path="" 10737418240`,
		`/dev/nvme0n1 ||S0 raid="" in="/dev/md127" tran="nvme" path="/dev/disk/by-path/pci-0000:01:00.0-nvme-1" 10737418240`,
		`/dev/nvme1n1 ||S1 raid="" in="/dev/md127" tran="nvme" path="/dev/disk/by-path/pci-0000:02:00.0-nvme-1" 10737418240`,
		`/dev/nvme2n1 ||S2 raid="" in="" tran="nvme" path="/dev/disk/by-path/pci-0000:03:00.0-nvme-1" 10737418240`,
	}, lines); diff != "" {
		t.Errorf("disks (-want +got):\n%s", diff)
	}
}

// The root disk is an array or a disk of its own, never a member; hints name an array by its UUID.
func TestChoosingAmongArrays(t *testing.T) {
	disks := mirrored(t).Disks()
	for hints, want := range map[string]string{"serial=" + arrayUUID: "/dev/md127", "serial=S2": "/dev/nvme2n1", "serial=S0": "",
		"model=Software RAID 1": "/dev/md127"} {
		field, value, _ := strings.Cut(hints, "=")
		d, err := disk.Select(disks, map[string]any{field: value})
		if d.Name != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v; want %q", hints, d.Name, err, want)
		}
		if want == "" && !strings.Contains(err.Error(), "part of the software RAID /dev/md127") {
			t.Errorf("%s: %v", hints, err)
		}
	}
}

// An array whose members cannot be read has no identity, and is still no ordinary disk.
func TestArrayWithoutMembers(t *testing.T) {
	m := machine(t, map[string]string{
		"sys/block/md0/md/array_state": "clean", "sys/block/md0/md/level": "raid0", "sys/block/md0/size": "20971520",
		"sys/block/md0/slaves/sda1": "",
	})
	if a := m.Arrays(); len(a) != 1 || a[0].UUID != "" || a[0].Level != "raid0" {
		t.Errorf("%+v", a)
	}
	if d := m.Disks(); len(d) != 1 || d[0].Serial != "" || d[0].RAID != "raid0" {
		t.Errorf("%+v", d)
	}
}
