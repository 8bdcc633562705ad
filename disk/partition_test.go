package disk

import "testing"

func TestPartitionNode(t *testing.T) {
	for disk, want := range map[string]string{"/dev/sda": "/dev/sda2", "/dev/vdb": "/dev/vdb2", "/dev/nvme0n1": "/dev/nvme0n1p2",
		"/dev/mmcblk0": "/dev/mmcblk0p2", "/dev/md127": "/dev/md127p2"} {
		if got := PartitionNode(disk, 2); got != want {
			t.Errorf("%s: %s, want %s", disk, got, want)
		}
	}
}
