package bootable

import (
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

// dirtyDisk is a file as full as a disk that was used before, opened as a disk.
func dirtyDisk(t testing.TB, size int64) *disk.Device {
	t.Helper()
	return openDevice(t, disktest.DirtyFile(t, size))
}
