package erase

import (
	"os"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

func openDevice(t testing.TB, path string) *disk.Device {
	t.Helper()
	d, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// dirtyDisk is a file full of dirt, opened as a disk.
func dirtyDisk(t testing.TB, size int64) *disk.Device {
	t.Helper()
	return openDevice(t, disktest.DirtyFile(t, size))
}

func contents(t testing.TB, d *disk.Device) []byte {
	t.Helper()
	b, err := os.ReadFile(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
