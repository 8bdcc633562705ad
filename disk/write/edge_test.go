package write

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// An image made on a disk with sectors of 4 KiB fits a larger one of that kind, and no other.
func TestSectorsOf4KiB(t *testing.T) {
	small := disktest.Sparse(t, "small", 16<<20)
	loop := disktest.Loop(t, small, "4096")
	disktest.Run(t, "sgdisk", "--clear", "--new=1:256:511", "--typecode=1:ef00", "--new=2:512:767", loop)
	disktest.Run(t, "sync", loop)
	image, err := os.ReadFile(small)
	if err != nil {
		t.Fatal(err)
	}
	s := serveFile(t, image)
	big := disktest.Loop(t, disktest.Sparse(t, "big", 64<<20), "4096")
	d := openDevice(t, big)
	if d.SectorSize() != 4096 {
		t.Fatalf("sectors of %d", d.SectorSize())
	}
	if _, err := write(t, s, d, imageOf(s.URL, "raw", image), pack(t, isoDrive(t))); err != nil {
		t.Fatal(err)
	}
	table, err := disk.ReadGPT(d, d.Size(), 4096)
	if err != nil {
		t.Fatal(err)
	}
	e := table.Entry(3)
	_, last := table.Usable()
	if e.Name != configDriveName || e.Last-e.First+1 != 256 || e.Last > last {
		t.Errorf("config drive: %+v", e)
	}
	// ISO 9660 cannot be read from sectors of 4 KiB: the drive is a FAT file system with such sectors.
	out := disktest.Run(t, "blkid", "--probe", "--offset", fmt.Sprint(e.First*4096), "-o", "export", big)
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
	if got := disktest.Run(t, "mtype", "-i", fat, "::/openstack/latest/meta_data.json"); got != `{"hostname":"one"}` {
		t.Errorf("the drive's metadata: %q", got)
	}
	d.Close()
	if out := disktest.Run(t, "sgdisk", "--verify", big); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	wrong := dirtyDisk(t, 64<<20)
	_, err = write(t, s, wrong, imageOf(s.URL, "raw", image), "")
	disktest.WantError(t, err, "made for sectors of 4096 bytes, but the disk has sectors of 512")
	untouched(t, wrong)
}

// A table on more than 2 TiB: the protective partition says "all there is" and GPT goes to the end.
func TestDisksBeyondTwoTiB(t *testing.T) {
	for _, size := range []int64{2<<40 - 512, 2 << 40, 2<<40 + 512, 3<<40 + 4096} {
		path := disktest.Sparse(t, "huge", size)
		d := openDevice(t, path)
		image := disktest.Partitioned(t, 8<<20)
		if _, err := d.WriteAt(image, 0); err != nil {
			t.Fatal(err)
		}
		if err := disk.FitTable(d, int64(len(image))); err != nil {
			t.Fatal(err)
		}
		where, err := placeConfigDrive(d, 3<<20)
		if err != nil {
			t.Fatal(err)
		}
		if where.length != 3<<20 || where.offset%mebibyte != 0 || size-where.offset > 5<<20 {
			t.Errorf("%d: config drive at %+v", size, where)
		}
		disktest.Verify(t, d.Path())
		m, err := disk.ReadMBR(d)
		if err != nil || m.Entry(0).Kind != 0xee || m.Entry(0).Sectors != min(size/512-1, 0xffffffff) {
			t.Errorf("%d: protective partition %+v, %v", size, m.Entry(0), err)
		}
	}
}

// An MBR ends at 2 TiB: the config drive lies in front of that, where 32 bits reach it.
func TestMBROnADiskBeyondTwoTiB(t *testing.T) {
	d := openDevice(t, disktest.Sparse(t, "huge", 3<<40))
	if _, err := d.WriteAt(disktest.DOSImage(t, 2), 0); err != nil {
		t.Fatal(err)
	}
	where, err := placeConfigDrive(d, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if end := where.offset + where.length; end > mbrMaxSectors*512 || end < mbrMaxSectors*512-3<<20 {
		t.Errorf("it lies at %+v", where)
	}
	disktest.Run(t, "sfdisk", "--verify", d.Path())
}

// A hybrid table is for firmware that reads the MBR: its entries must not come to overlap.
func TestHybridTableStays(t *testing.T) {
	d := dirtyDisk(t, 20<<20)
	if _, err := d.WriteAt(disktest.Partitioned(t, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "sgdisk", "--hybrid=1:2", d.Path())
	before := contents(t, d)[:512]
	if m, err := disk.ReadMBR(d); err != nil || m.Entry(2).Sectors == 0 {
		t.Fatalf("sgdisk made no hybrid table: %+v, %v", m, err)
	}
	if err := disk.FitTable(d, 8<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, d)[:512], before) {
		t.Error("the hybrid MBR was changed")
	}
	if out := disktest.Run(t, "sgdisk", "--verify", d.Path()); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	if err := addConfigDrive(d, isoDrive(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, d)[:512], before) {
		t.Error("the config drive changed the hybrid MBR")
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
				image := disktest.DOSImage(t, 2)
				if kind == "gpt" {
					image = disktest.Partitioned(t, 8<<20)
				}
				if _, err := d.WriteAt(image, 0); err != nil {
					t.Fatal(err)
				}
				if err := disk.FitTable(d, 8<<20); err != nil {
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
