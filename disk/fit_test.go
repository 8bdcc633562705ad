package disk

import (
	"bytes"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

// Small disks, and images that leave no room at their end.
func TestNoRoomForTheBackupTable(t *testing.T) {
	image := disktest.Partitioned(t, 8<<20)
	for _, tt := range []struct {
		size int64
		want string
	}{
		{8 << 20, ""}, {8<<20 + 512, ""}, {100 << 20, ""},
		{3<<20 + 512, "partition 2 ends in sector 6143, which leaves no room for the backup partition table"},
		{3<<20 - 512, "partition 2 lies in sectors 4096 to 6143, but the disk has 6143"},
	} {
		d := dirtyDisk(t, tt.size)
		if _, err := d.WriteAt(image[:min(tt.size, 8<<20)], 0); err != nil {
			t.Fatal(err)
		}
		err := FitTable(d, 8<<20)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%d bytes: %v", tt.size, err)
		}
	}
	table, err := ReadGPT(bytes.NewReader(image), 8<<20, 512)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.fit(6144 * 512); err == nil ||
		!strings.Contains(err.Error(), "partition 2 ends in sector 6143, which leaves no room for the backup partition table: "+
			"sector 6110 is the last that may be used") {
		t.Error(err)
	}
}
