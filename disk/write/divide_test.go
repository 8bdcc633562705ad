package write

import (
	"bytes"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// Partitions of a divided disk hold nothing at their ends, and sgdisk finds no fault with the table.
func TestDivide(t *testing.T) {
	d := dirtyDisk(t, 32<<20)
	parts := []disk.Partition{
		{Role: disk.BIOSBoot, Number: 1, Offset: 1 << 20, Length: 1 << 20}, {Role: disk.ESPRole, Number: 2, Offset: 2 << 20, Length: 8 << 20},
		{Role: disk.RAIDMember, Number: 3, Offset: 10 << 20, Length: 20 << 20},
	}
	for range 2 {
		if err := Divide(d, parts); err != nil {
			t.Fatal(err)
		}
	}
	b := contents(t, d)
	for _, p := range parts {
		for _, at := range []int64{p.Offset, p.Offset + p.Length - 1<<20} {
			if len(bytes.Trim(b[at:at+1<<20], "\x00")) != 0 {
				t.Errorf("partition %d is not empty at byte %d", p.Number, at)
			}
		}
	}
	if b[20<<20] != disktest.Dirt {
		t.Error("the middle of a partition was written, which takes hours on a large disk")
	}
	if out := disktest.Run(t, "sgdisk", "--verify", d.Path()); !strings.Contains(out, "No problems found") {
		t.Error(out)
	}
	for n, code := range map[int]string{1: "EF02", 2: "EF00", 3: "FD00"} {
		if out := disktest.Run(t, "sgdisk", "--print", d.Path()); !strings.Contains(out, code) {
			t.Errorf("partition %d is no %s:\n%s", n, code, out)
		}
	}
	before := contents(t, d)
	for _, bad := range []disk.Partition{{Number: 1, Offset: 31 << 20, Length: 2 << 20}, {Number: 1, Offset: 1 << 62, Length: 1 << 62},
		{Number: 1, Offset: -1, Length: 5}} {
		disktest.WantError(t, Divide(d, []disk.Partition{bad}), "ends behind the disk's 33554432 bytes")
	}
	if disktest.FirstDifference(before, contents(t, d)) >= 0 {
		t.Error("a refused division changed the disk")
	}
}

// A partition moves to a disk of its own, whole, and is empty where it was.
func TestMove(t *testing.T) {
	from, to := dirtyDisk(t, 16<<20), dirtyDisk(t, 8<<20)
	p := disk.Partition{Number: 2, Offset: 4 << 20, Length: 5<<20 + 512}
	fat := disktest.FATImage(t, 12, 1<<20, "EFI/BOOT/BOOTX64.EFI")
	if _, err := from.WriteAt(fat, p.Offset); err != nil {
		t.Fatal(err)
	}
	if !disk.HasFAT(from, p) {
		t.Error("no FAT is seen before")
	}
	if err := Move(to, from, p); err != nil {
		t.Fatal(err)
	}
	if at := disktest.FirstDifference(fat, contents(t, to)[:len(fat)]); at >= 0 {
		t.Errorf("byte %d differs", at)
	}
	if disk.HasFAT(from, p) || !disk.HasFAT(to, disk.Partition{Length: to.Size()}) {
		t.Error("the file system is not where it should be")
	}
	b := contents(t, from)
	if b[p.Offset-1] != disktest.Dirt || b[p.Offset+p.Length] != disktest.Dirt {
		t.Error("something beside the partition was written")
	}
	before := contents(t, to)
	disktest.WantError(t, Move(to, from, disk.Partition{Number: 7, Offset: 0, Length: 9 << 20}),
		"partition 7 has 9437184 bytes (9.0 MiB), but where it is to go there are 8388608 (8.0 MiB)")
	if disktest.FirstDifference(before, contents(t, to)) >= 0 {
		t.Error("a refused move wrote something")
	}
}
