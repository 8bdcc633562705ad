package disk

import (
	"bytes"
	"encoding/binary"
	"maps"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

func TestFitTableMovesTheBackup(t *testing.T) {
	image := disktest.Partitioned(t, 8<<20)
	d := dirtyDisk(t, 20<<20)
	if _, err := d.WriteAt(image, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 { // safe to run again
		if err := FitTable(d, int64(len(image))); err != nil {
			t.Fatal(err)
		}
		disktest.Verify(t, d.Path())
	}
	b := contents(t, d)
	if old := b[len(image)-33*512 : len(image)]; !bytes.Equal(old, make([]byte, 33*512)) {
		t.Error("the image's own backup table is still there")
	}
	if got := binary.LittleEndian.Uint32(b[446+12:]); got != 20<<20/512-1 {
		t.Errorf("the protective partition has %d sectors", got)
	}
}

func TestFitTableOfAnImageAsLargeAsTheDisk(t *testing.T) {
	image := disktest.Partitioned(t, 8<<20)
	d := dirtyDisk(t, 8<<20)
	if _, err := d.WriteAt(image, 0); err != nil {
		t.Fatal(err)
	}
	if err := FitTable(d, int64(len(image))); err != nil {
		t.Fatal(err)
	}
	disktest.Verify(t, d.Path())
	if !bytes.Equal(contents(t, d), image) {
		t.Error("a table that was right has been changed")
	}
}

func TestFitTableLeavesWhatHasNone(t *testing.T) {
	d := dirtyDisk(t, 4<<20)
	before := contents(t, d)
	if err := FitTable(d, 1<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, d), before) {
		t.Error("a disk without a table has been changed")
	}
}

// sectors is a disk that claims another sector size.
type sectors struct {
	Disk
	size int64
}

func (s sectors) SectorSize() int64 { return s.size }

func TestImageForAnotherSectorSizeIsRefused(t *testing.T) {
	d := dirtyDisk(t, 20<<20)
	if _, err := d.WriteAt(disktest.Partitioned(t, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	err := FitTable(sectors{d, 4096}, 8<<20)
	disktest.WantError(t, err, "made for sectors of 512 bytes, but the disk has sectors of 4096")
}

func TestReadGPTRefuses(t *testing.T) {
	put64 := func(at int, v uint64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v); disktest.Reseal(b) }
	}
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v); disktest.Reseal(b) }
	}
	for _, tt := range []struct {
		name   string
		damage func(b []byte)
		want   string
	}{
		{"no signature", func(b []byte) { b[512] = 0 }, "no GUID partition table"},
		{"header bit", func(b []byte) { b[512+60] ^= 1 }, "header is damaged"},
		{"entry bit", func(b []byte) { b[1024+60] ^= 1 }, "entries are damaged"},
		{"header size", put32(512+12, 600), "header has 600 bytes"},
		{"many entries", put32(512+80, 1<<30), "1073741824 entries of 128 bytes"},
		{"no entries", put32(512+80, 0), "0 entries"},
		{"odd entry size", put32(512+84, 100), "of 100 bytes"},
		{"place", put64(512+24, 7), "says it lies in sector 7"},
		{"entries behind the disk", put64(512+72, 1<<60), "entries lie at sector"},
		{"entries over the header", put64(512+72, 1), "entries lie at sector 1"},
		{"usable behind the disk", put64(512+40, 20000), "but the disk has 16384"},
		{"partition behind the end", put64(1024+40, 1<<40), "partition 1 lies in sectors 2048 to 1099511627776"},
		{"partition ends before it starts", put64(1024+40, 2000), "partition 1 lies in sectors 2048 to 2000"},
		{"partition before the disk", put64(1024+32, 1<<63), "partition 1 lies in sectors -9223372036854775808 to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := disktest.Partitioned(t, 8<<20)
			tt.damage(b)
			_, err := ReadGPT(bytes.NewReader(b), int64(len(b)), 512)
			disktest.WantError(t, err, tt.want)
		})
	}
}

func TestGPTEntries(t *testing.T) {
	b := disktest.Partitioned(t, 8<<20)
	g, err := ReadGPT(bytes.NewReader(b), int64(len(b)), 512)
	if err != nil {
		t.Fatal(err)
	}
	parts := maps.Collect(g.Entries())
	if len(parts) != 2 || parts[1].Type != ESPType || parts[1].First != 2048 || parts[1].Last != 4095 {
		t.Errorf("%+v", parts)
	}
	if got := ESPType.String(); got != "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" {
		t.Errorf("the type reads %s", got)
	}
	for i := 3; i <= 128; i++ {
		if n, err := g.Add(GPTEntry{Type: LinuxDataType, ID: NewGUID(), First: 6144, Last: 6144}); err != nil || n != i {
			t.Fatalf("entry %d: %d, %v", i, n, err)
		}
	}
	_, err = g.Add(GPTEntry{Type: LinuxDataType})
	disktest.WantError(t, err, "no free entry: all 128 are taken")
}

func TestReadMBR(t *testing.T) {
	dos := make([]byte, 512)
	dos[510], dos[511] = 0x55, 0xaa
	entry := func(flag, kind byte, first, sectors uint32) []byte {
		b := bytes.Clone(dos)
		b[446], b[450] = flag, kind
		binary.LittleEndian.PutUint32(b[454:], first)
		binary.LittleEndian.PutUint32(b[458:], sectors)
		return b
	}
	for _, tt := range []struct {
		name string
		raw  []byte
		is   bool
	}{
		{"zeros", make([]byte, 512), false},
		{"no entries", dos, false},
		{"one", entry(0x80, 0x83, 2048, 100), true},
		{"a file system's code", entry(0x41, 0x83, 2048, 100), false},
		{"empty partition", entry(0, 0x83, 2048, 0), false},
		{"partition over the sector itself", entry(0, 0x83, 0, 100), true},
		{"a hybrid image's", entry(0x80, 0, 0, 100), true},
	} {
		m, err := ReadMBR(bytes.NewReader(tt.raw))
		if err != nil || (m != nil) != tt.is {
			t.Errorf("%s: %v, %v", tt.name, m, err)
		}
	}
}

func FuzzReadGPT(f *testing.F) {
	f.Add(disktest.Partitioned(f, 4<<20)[:40*512])
	f.Add(make([]byte, 2048))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 1024 {
			disktest.Reseal(b) // or the checksums keep the fuzzer out
		}
		size := int64(len(b))
		g, err := ReadGPT(bytes.NewReader(b), size, 512)
		if err != nil {
			return
		}
		for i, e := range g.Entries() {
			if e.First < 0 || e.Last < e.First || e.Last >= size/512 {
				t.Errorf("partition %d lies in %d to %d of %d sectors", i, e.First, e.Last, size/512)
			}
		}
	})
}
