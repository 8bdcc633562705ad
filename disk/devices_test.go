package disk

import (
	"os"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

func openDevice(t testing.TB, path string) *Device {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// dirtyDisk is a file full of dirt, opened as a disk.
func dirtyDisk(t testing.TB, size int64) *Device {
	t.Helper()
	return openDevice(t, disktest.DirtyFile(t, size))
}

func contents(t testing.TB, d *Device) []byte {
	t.Helper()
	b, err := os.ReadFile(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
