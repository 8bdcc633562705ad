package erase

import (
	"bytes"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// Unboot takes what boots, and leaves the table and the arrays.
func TestUnboot(t *testing.T) {
	d := dirtyDisk(t, 32<<20)
	parts := []disk.Partition{
		{Role: disk.BIOSBoot, Number: 1, Offset: 1 << 20, Length: 1 << 20}, {Role: disk.ESPRole, Number: 2, Offset: 2 << 20, Length: 8 << 20},
		{Role: disk.RAIDMember, Number: 3, Offset: 10 << 20, Length: 20 << 20},
	}
	if err := disk.WriteTable(d, true, parts); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 1<<20 + 5, 6 << 20, 10<<20 + 7} {
		if _, err := d.WriteAt([]byte("code"), at); err != nil {
			t.Fatal(err)
		}
	}
	table := disktest.Run(t, "sgdisk", "--print", d.Path())
	if err := Unboot(d); err != nil {
		t.Fatal(err)
	}
	b := contents(t, d)
	if len(bytes.Trim(b[:440], "\x00")) != 0 || len(bytes.Trim(b[1<<20:10<<20], "\x00")) != 0 {
		t.Error("something that boots is left")
	}
	if string(b[10<<20+7:][:4]) != "code" || disktest.Run(t, "sgdisk", "--print", d.Path()) != table {
		t.Error("the array or the table was touched")
	}
	plain := dirtyDisk(t, 8<<20)
	disktest.WantError(t, Unboot(plain), "no GUID partition table")
}
