package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/disk/disktest"
)

// Volumes names file systems as the programs that made them did.
func TestVolumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 200<<20); err != nil {
		t.Fatal(err)
	}
	disktest.Feed(t, "label: gpt\nstart=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649\nsize=16384, "+
		"type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"+
		"size=81920, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nsize=65536\nsize=16384\n", "sfdisk", "--quiet", path)
	at := map[int]int64{2: 10240, 3: 26624, 4: 108544, 5: 174080} // sectors, one partition after the other
	image := func(n int, size string, make ...string) {
		file := filepath.Join(t.TempDir(), "fs")
		disktest.Run(t, "truncate", "-s", size, file)
		disktest.Run(t, make[0], append(make[1:], file)...)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := openDevice(t, path)
		defer d.Close()
		if _, err := d.WriteAt(b, at[n]*512); err != nil {
			t.Fatal(err)
		}
	}
	image(2, "8M", "mkfs.vfat", "-F", "12", "-n", "BILLETESP", "-i", "b111e7e5")
	image(3, "40M", "mkfs.vfat", "-F", "32", "-i", "0000abcd")
	image(4, "32M", "mke2fs", "-q", "-t", "ext4", "-L", "root", "-U", disktest.RootUUID)
	image(5, "8M", "mkswap")
	got, err := Volumes(openDevice(t, path))
	if err != nil {
		t.Fatal(err)
	}
	want := []Volume{
		{Number: 2, FS: FS{Type: "vfat", UUID: "B111-E7E5"}, Label: "BILLETESP", ESP: true},
		{Number: 3, FS: FS{Type: "vfat", UUID: "0000-ABCD"}},
		{Number: 4, FS: FS{Type: "ext4", UUID: disktest.RootUUID}, Label: "root"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
