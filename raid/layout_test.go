package raid

import (
	"strings"
	"testing"
)

// checkLayout lays a configuration out and checks what every layout must be.
func checkLayout(t testing.TB, c Config, size int64, members int) ([]Partition, Config) {
	t.Helper()
	parts, settled, err := c.Layout(size, members)
	if err != nil {
		return nil, settled
	}
	at := int64(mebibyte)
	for i, p := range parts {
		if p.Number != i+1 || p.Offset < at || p.Offset%mebibyte != 0 || p.Length < mebibyte || p.Length%mebibyte != 0 {
			t.Fatalf("partition %d: %+v", i+1, p)
		}
		at = p.Offset + p.Length
	}
	if at > size-tail {
		t.Fatalf("the partitions end at %d of %d", at, size)
	}
	if len(parts) != 2+len(c.LogicalDisks) || parts[0].Role != BIOSBoot || parts[1].Role != ESP {
		t.Fatalf("%+v", parts)
	}
	for i, d := range settled.LogicalDisks {
		p := parts[2+i]
		if p.Role != Array || p.Disk != i || d.SizeGB < 1 || (p.Length-superblock)*d.times(members) < int64(d.SizeGB)*gibibyte {
			t.Fatalf("logical disk %d of %d GiB on %+v", i, d.SizeGB, p)
		}
	}
	return parts, settled
}

func TestLayout(t *testing.T) {
	config := func(list ...LogicalDisk) Config { return Config{LogicalDisks: list} }
	mirror, stripe, rest := LogicalDisk{SizeGB: 100, Level: "1"}, LogicalDisk{SizeGB: 100, Level: "0"}, LogicalDisk{Level: "0"}
	for _, tt := range []struct {
		name    string
		config  Config
		size    int64
		members int
		mib     []int64 // of the arrays' partitions
		gb      []int
	}{
		{"a mirror takes its size of each", config(mirror), 200 << 30, 2, []int64{100<<10 + 1}, []int{100}},
		{"a stripe its share", config(stripe), 200 << 30, 3, []int64{34134 + 1}, []int{100}}, // a third of 100 GiB, rounded up
		{"the rest", config(mirror, rest), 200 << 30, 2, []int64{100<<10 + 1, 200<<10 - 552 - 1 - 100<<10 - 1}, []int{100, 198}},
		{"the rest first", config(rest, mirror), 200 << 30, 2, []int64{200<<10 - 552 - 1 - 100<<10 - 1, 100<<10 + 1}, []int{198, 100}},
		{"a mirror of all", config(LogicalDisk{Level: "1"}), 4 << 30, 2, []int64{4<<10 - 552 - 1}, []int{3}},
		{"a disk of an odd size", config(LogicalDisk{Level: "1"}), 4<<30 + 12345*512, 2, []int64{4<<10 - 552 - 1 + 6}, []int{3}},
		{"exactly", config(LogicalDisk{SizeGB: 1, Level: "1"}), (552 + 1024 + 1 + 1) << 20, 2, []int64{1025}, []int{1}},
	} {
		parts, settled := checkLayout(t, tt.config, tt.size, tt.members)
		if parts == nil {
			_, _, err := tt.config.Layout(tt.size, tt.members)
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for i := range tt.mib {
			if got := parts[2+i].Length >> 20; got != tt.mib[i] {
				t.Errorf("%s: partition %d has %d MiB, want %d", tt.name, 3+i, got, tt.mib[i])
			}
			if got := settled.LogicalDisks[i].SizeGB; got != tt.gb[i] {
				t.Errorf("%s: logical disk %d has %d GiB, want %d", tt.name, i, got, tt.gb[i])
			}
		}
		if tt.config.LogicalDisks[0] = (LogicalDisk{}); settled.LogicalDisks[0].SizeGB == 0 {
			t.Errorf("%s: the settled configuration is the one that was asked for", tt.name)
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	one := Config{LogicalDisks: []LogicalDisk{{SizeGB: 1, Level: "1"}}}
	all := Config{LogicalDisks: []LogicalDisk{{SizeGB: 3, Level: "1"}, {Level: "1"}}}
	for _, tt := range []struct {
		name    string
		config  Config
		size    int64
		members int
		want    string
	}{
		{"one disk", one, 8 << 30, 1, "RAID needs at least 2 disks; there are 1"},
		{"a MiB too small", one, (552+1024+1+1)<<20 - 1, 2, "the logical disks need 1074790400 bytes of each member disk, but the smallest of " +
			"the 2 has 1654652927 bytes, of which 1073741824 are for arrays: ask for less, or for \"MAX\""},
		{"a tiny disk", one, 1 << 20, 2, "of which 0 are for arrays"},
		{"nothing left for the rest", all, 4 << 30, 2,
			`logical_disks[1] has the size_gb "MAX", but less than 1 GiB would be left: the smallest ` +
				`of the 2 member disks has 4294967296 bytes`},
		{"less than nothing left", all, 3 << 30, 2, "the logical disks need 3222274048 bytes"},
	} {
		if _, _, err := tt.config.Layout(tt.size, tt.members); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, tt.want)
		}
	}
}
