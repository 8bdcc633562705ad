package disk

import (
	"encoding/binary"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

// Linux numbers logical partitions from 5 on, in the order of their chain, which may lead in circles.
func TestLogicalPartitionsAreNumberedAsLinuxDoes(t *testing.T) {
	d := openDevice(t, disktest.Sparse(t, "disk", 16<<20))
	disktest.Feed(t, "label: dos\n2048,2048,L\n4096,16384,E\n6144,1024,L\n9216,1024,L\n12288,2048,L\n", "sfdisk", "--quiet", d.Path())
	want := []Partition{{"", 1, 2048 << 9, 2048 << 9}, {"", 2, 4096 << 9, 16384 << 9}, {"", 5, 6144 << 9, 1024 << 9},
		{"", 6, 9216 << 9, 1024 << 9}, {"", 7, 12288 << 9, 2048 << 9}}
	got := Partitions(d)
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	// A chain that leads back ends where it began.
	link := func(record, to int64) {
		second := binary.LittleEndian.AppendUint32([]byte{5, 0, 0, 0}, uint32(to-4096))
		if _, err := d.WriteAt(append(second, 1, 0, 0, 0), record<<9+446+16+4); err != nil {
			t.Fatal(err)
		}
	}
	link(12288-2048, 4096+4000) // no record there
	if got := Partitions(d); len(got) != 5 {
		t.Errorf("%+v", got)
	}
	link(12288-2048, 9216-2048) // the one before
	if got := Partitions(d); len(got) != 5 {
		t.Errorf("%+v", got)
	}
}
