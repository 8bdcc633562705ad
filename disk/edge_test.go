package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// loopOf makes a block device of a file, with the sector size given.
func loopOf(t testing.TB, path, sector string) string {
	t.Helper()
	out, err := tryRun("losetup", "--find", "--show", "--sector-size", sector, path)
	if err != nil {
		t.Fatalf("losetup: %v: %s (these tests need root)", err, out)
	}
	loop := strings.TrimSpace(out)
	t.Cleanup(func() { run(t, "losetup", "--detach", loop) })
	return loop
}

func sparse(t testing.TB, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

// An image made on a disk with sectors of 4 KiB fits a larger one of that kind, and no other.
func TestSectorsOf4KiB(t *testing.T) {
	small := sparse(t, "small", 16<<20)
	loop := loopOf(t, small, "4096")
	run(t, "sgdisk", "--clear", "--new=1:256:511", "--typecode=1:ef00", "--new=2:512:767", loop)
	run(t, "sync", loop)
	image, err := os.ReadFile(small)
	if err != nil {
		t.Fatal(err)
	}
	s := serveFile(t, image)
	big := loopOf(t, sparse(t, "big", 64<<20), "4096")
	d := openDevice(t, big)
	if d.SectorSize() != 4096 {
		t.Fatalf("sectors of %d", d.SectorSize())
	}
	if _, err := write(t, s, d, imageOf(s.URL, "raw", image), pack(t, isoDrive(t))); err != nil {
		t.Fatal(err)
	}
	table, err := readGPT(d, d.Size(), 4096)
	if err != nil {
		t.Fatal(err)
	}
	e := table.partitions()[3]
	if e.Name != configDriveName || e.Last-e.First+1 != 256 || e.Last > table.u64(atLastUsable) {
		t.Errorf("config drive: %+v", e)
	}
	// ISO 9660 cannot be read from sectors of 4 KiB: the drive is a FAT file system with such sectors.
	out := run(t, "blkid", "--probe", "--offset", fmt.Sprint(e.First*4096), "-o", "export", big)
	if !strings.Contains(out, "LABEL=config-2") || !strings.Contains(out, "TYPE=vfat") {
		t.Errorf("blkid: %s", out)
	}
	drive := make([]byte, 1<<20)
	if _, err := d.ReadAt(drive, e.First*4096); err != nil {
		t.Fatal(err)
	}
	fat := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(fat, drive, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "mtype", "-i", fat, "::/openstack/latest/meta_data.json"); got != `{"hostname":"one"}` {
		t.Errorf("the drive's metadata: %q", got)
	}
	d.Close()
	if out := run(t, "sgdisk", "--verify", big); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	wrong := dirtyDisk(t, 64<<20)
	_, err = write(t, s, wrong, imageOf(s.URL, "raw", image), "")
	wantError(t, err, "made for sectors of 4096 bytes, but the disk has sectors of 512")
	untouched(t, wrong)
}

// A table on more than 2 TiB: the protective partition says "all there is" and GPT goes to the end.
func TestDisksBeyondTwoTiB(t *testing.T) {
	for _, size := range []int64{2<<40 - 512, 2 << 40, 2<<40 + 512, 3<<40 + 4096} {
		path := sparse(t, "huge", size)
		d := openDevice(t, path)
		image := partitioned(t, 8<<20)
		if _, err := d.WriteAt(image, 0); err != nil {
			t.Fatal(err)
		}
		if err := fitTable(d, int64(len(image))); err != nil {
			t.Fatal(err)
		}
		where, err := placeConfigDrive(d, 3<<20)
		if err != nil {
			t.Fatal(err)
		}
		if where.length != 3<<20 || where.offset%mebibyte != 0 || size-where.offset > 5<<20 {
			t.Errorf("%d: config drive at %+v", size, where)
		}
		verify(t, d)
		m, err := readMBR(d)
		if err != nil || m.entry(0).kind != 0xee || m.entry(0).sectors != min(size/512-1, 0xffffffff) {
			t.Errorf("%d: protective partition %+v, %v", size, m.entry(0), err)
		}
	}
}

// An MBR ends at 2 TiB: the config drive lies in front of that, where 32 bits reach it.
func TestMBROnADiskBeyondTwoTiB(t *testing.T) {
	d := openDevice(t, sparse(t, "huge", 3<<40))
	if _, err := d.WriteAt(dosImage(t, 2), 0); err != nil {
		t.Fatal(err)
	}
	where, err := placeConfigDrive(d, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if end := where.offset + where.length; end > mbrMaxSectors*512 || end < mbrMaxSectors*512-3<<20 {
		t.Errorf("it lies at %+v", where)
	}
	run(t, "sfdisk", "--verify", d.Path())
}

// A hybrid table is for firmware that reads the MBR: its entries must not come to overlap.
func TestHybridTableStays(t *testing.T) {
	d := dirtyDisk(t, 20<<20)
	if _, err := d.WriteAt(partitioned(t, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	run(t, "sgdisk", "--hybrid=1:2", d.Path())
	before := contents(t, d)[:512]
	if m, err := readMBR(d); err != nil || m.used() != 3 {
		t.Fatalf("sgdisk made no hybrid table: %+v, %v", m, err)
	}
	if err := fitTable(d, 8<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, d)[:512], before) {
		t.Error("the hybrid MBR was changed")
	}
	if out := run(t, "sgdisk", "--verify", d.Path()); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	if err := addConfigDrive(d, isoDrive(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, d)[:512], before) {
		t.Error("the config drive changed the hybrid MBR")
	}
}

// Small disks, and images that leave no room at their end.
func TestNoRoomForTheBackupTable(t *testing.T) {
	image := partitioned(t, 8<<20)
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
		err := fitTable(d, 8<<20)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%d bytes: %v", tt.size, err)
		}
	}
	table, err := readGPT(bytes.NewReader(image), 8<<20, 512)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.fit(6144 * 512); err == nil || !strings.Contains(err.Error(), "partition 2 ends in sector 6143, which leaves no room for the backup partition table: sector 6110 is the last that may be used") {
		t.Error(err)
	}
}

// earlierFAT is the beginning of a FAT file system with a label.
func earlierFAT(label string, at int) []byte {
	b := make([]byte, 1<<20)
	copy(b[at:], label)
	b[510], b[511] = 0x55, 0xaa
	return b
}

// Images made of deployed machines carry an earlier config drive. The system must find one only: ours.
func TestAnEarlierConfigDriveIsNotFoundBesideTheNew(t *testing.T) {
	iso := isoDrive(t)
	for _, tt := range []struct {
		name    string
		earlier []byte
		size    int64 // of the new one
		reused  bool
	}{
		{"ISO, large enough", iso, 900 << 10, true},
		{"ISO, too small", iso, 1100 << 10, false},
		{"FAT16, large enough", earlierFAT("CONFIG-2   ", 43), 900 << 10, true},
		{"FAT32, too small", earlierFAT("config-2   ", 71), 1100 << 10, false},
	} {
		for _, kind := range []string{"mbr", "gpt"} {
			t.Run(tt.name+" in "+kind, func(t *testing.T) {
				d := dirtyDisk(t, 20<<20)
				image := dosImage(t, 2)
				if kind == "gpt" {
					image = partitioned(t, 8<<20)
				}
				if _, err := d.WriteAt(image, 0); err != nil {
					t.Fatal(err)
				}
				if err := fitTable(d, 8<<20); err != nil {
					t.Fatal(err)
				}
				const at = 2 << 20 // the second partition
				if _, err := d.WriteAt(tt.earlier, at); err != nil {
					t.Fatal(err)
				}
				where, err := placeConfigDrive(d, tt.size)
				if err != nil {
					t.Fatal(err)
				}
				found, err := holdsDrive(d, span{at, 1 << 20})
				if err != nil || (where.offset == at) != tt.reused || found != tt.reused {
					t.Errorf("the new one lies at %d, the earlier one is found: %v, %v", where.offset, found, err)
				}
			})
		}
	}
}

func TestOtherFileSystemsAreNoConfigDrive(t *testing.T) {
	d := dirtyDisk(t, 4<<20)
	for name, content := range map[string][]byte{
		"dirt": nil, "another label": earlierFAT("EFI        ", 43), "no signature": append(make([]byte, 43), "CONFIG-2   "...),
	} {
		content = append(content, make([]byte, 1<<20-len(content))...)
		if _, err := d.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		if found, err := holdsDrive(d, span{0, 1 << 20}); found || err != nil {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	for _, outside := range []span{{-512, 1 << 20}, {4 << 20, 1 << 20}, {0, 512}, {3 << 20, 2 << 20}} {
		if found, err := holdsDrive(d, outside); found || err != nil {
			t.Errorf("%+v: %v, %v", outside, found, err)
		}
	}
}

// What tells the kinds of table apart: sfdisk and we agree on images of each kind.
func TestPartitionsAgreeWithSfdisk(t *testing.T) {
	for name, script := range map[string]string{
		"dos":      "label: dos\n2048,4096,L\n8192,2048,ef,*\n",
		"extended": "label: dos\n2048,4096,L\n8192,16384,E\n10240,2048,L\n14336,1024,L\n",
		"gpt":      "label: gpt\n2048,4096,U\n8192,2048,L\n",
	} {
		path := sparse(t, name, 16<<20)
		feed(t, script, "sfdisk", "--quiet", path)
		d := openDevice(t, path)
		got := partitions(d)
		want := []span{{2048 * 512, 4096 * 512}, {8192 * 512, 2048 * 512}}
		if name == "extended" {
			want[1].length = 16384 * 512
			want = append(want, span{10240 * 512, 2048 * 512}, span{14336 * 512, 1024 * 512})
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if err := EraseMetadata(d); err != nil {
			t.Fatal(err)
		}
		if out, err := tryRun("blkid", "--probe", path); err == nil || out != "" { // it finds nothing, and fails
			t.Errorf("%s: after erasing blkid finds %q", name, out)
		}
		if got := partitions(d); len(got) != 0 {
			t.Errorf("%s: after erasing %+v", name, got)
		}
	}
}

// A partition that claims to end behind the disk is not followed there.
func TestPartitionsBehindTheEnd(t *testing.T) {
	b := dosImage(t, 1)
	binary.LittleEndian.PutUint32(b[446+12:], 1<<31)
	d := dirtyDisk(t, 8<<20)
	if _, err := d.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if got := partitions(d); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if err := EraseMetadata(d); err != nil {
		t.Error(err)
	}
}
