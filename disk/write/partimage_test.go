package write

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

const mib = 1 << 20

// partitionInfo is the image_info of a partition image.
func partitionInfo(url, format string, file []byte, p wire.PartitionImage) wire.ImageInfo {
	img := imageOf(url, format, file)
	img.ImageType, img.BootMode, img.PartitionImage = "partition", "bios", &p
	return img
}

// table is what sfdisk says of a disk, without what is random.
func table(t testing.TB, d *disk.Device) string {
	t.Helper()
	out := disktest.Run(t, "sfdisk", "--dump", d.Path())
	out = regexp.MustCompile(`(?m)^(label-id|device|unit|sector-size|grain):.*\n`).ReplaceAllString(out, "")
	out = regexp.MustCompile(`, uuid=[0-9A-F-]+`).ReplaceAllString(out, "")
	out = regexp.MustCompile(` +`).ReplaceAllString(strings.ReplaceAll(out, d.Path(), "disk"), " ")
	return strings.TrimSpace(out)
}

// TestPartitions writes partition images in every layout and has other programs judge them.
func TestPartitions(t *testing.T) {
	root := disktest.RootImage(t)
	qcow2 := convert(t, root, "-O", "qcow2")
	const (
		linux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
		swap  = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
	)
	for _, tt := range []struct {
		name, mode, label, option string
		sizes                     wire.PartitionImage
		want                      []string
	}{
		{"bios", "bios", "", "local", wire.PartitionImage{RootMB: 16},
			[]string{"label: dos", "disk1 : start= 2048, size= 32768, type=83, bootable"}},
		{"bios, all there is", "bios", "msdos", "local", wire.PartitionImage{RootMB: 16, SwapMB: 4, EphemeralMB: 8}, []string{
			"disk1 : start= 2048, size= 16384, type=83", "disk2 : start= 18432, size= 8192, type=82",
			"disk3 : start= 26624, size= 32768, type=83, bootable"}},
		{"bios on gpt", "bios", "gpt", "local", wire.PartitionImage{RootMB: 16, SwapMB: 4, EphemeralMB: 8}, []string{
			"label: gpt",
			`disk1 : start= 2048, size= 2048, type=21686148-6449-6E6F-744E-656564454649, name="bios_grub"`,
			`disk2 : start= 4096, size= 16384, type=` + linux + `, name="ephemeral"`,
			`disk3 : start= 20480, size= 8192, type=` + swap + `, name="swap"`,
			`disk4 : start= 28672, size= 32768, type=` + linux + `, name="root"`}},
		{"uefi", "uefi", "", "local", wire.PartitionImage{RootMB: 16, SwapMB: 4}, []string{
			`disk1 : start= 2048, size= 409600, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="esp"`,
			`disk2 : start= 411648, size= 8192, type=` + swap + `, name="swap"`,
			`disk3 : start= 419840, size= 32768, type=` + linux + `, name="root"`}},
		{"uefi on msdos", "uefi", "msdos", "local", wire.PartitionImage{RootMB: 16},
			[]string{"disk1 : start= 2048, size= 409600, type=ef", "disk2 : start= 411648, size= 32768, type=83, bootable"}},
		{"netboot", "uefi", "", "netboot", wire.PartitionImage{RootMB: 16},
			[]string{`disk1 : start= 2048, size= 32768, type=` + linux + `, name="root"`}},
	} {
		for format, file := range map[string][]byte{"raw": root, "qcow2": qcow2} {
			t.Run(tt.name+" "+format, func(t *testing.T) {
				s := serveFile(t, file)
				size := int64(64 * mib)
				if tt.mode == "uefi" {
					size = 240 * mib
				}
				d := dirtyDisk(t, size)
				img := partitionInfo(s.URL, format, file, tt.sizes)
				img.BootMode, img.DiskLabel, img.BootOption = tt.mode, tt.label, tt.option
				done, err := write(t, s, d, img, "")
				if err != nil {
					t.Fatal(err)
				}
				if done.Root != (disk.FS{Type: "ext4", UUID: disktest.RootUUID}) {
					t.Errorf("root %+v", done.Root)
				}
				got := table(t, d)
				for _, line := range tt.want {
					if !strings.Contains(got, line) {
						t.Errorf("sfdisk does not say %q:\n%s", line, got)
					}
				}
				if tt.label == "gpt" {
					disktest.Verify(t, d.Path())
				}
				judge(t, d, done, root)
			})
		}
	}
}

// judge has mkfs's own checkers look at each partition.
func judge(t *testing.T, d *disk.Device, done Written, root []byte) {
	t.Helper()
	whole := contents(t, d)
	for _, p := range done.Parts {
		part := filepath.Join(t.TempDir(), string(p.Role))
		data := whole[p.Offset : p.Offset+p.Length]
		if err := os.WriteFile(part, data, 0o600); err != nil {
			t.Fatal(err)
		}
		switch p.Role {
		case disk.Root:
			if i := disktest.FirstDifference(data[:len(root)], root); i >= 0 {
				t.Errorf("the root partition differs at byte %d", i)
			}
			disktest.Run(t, "e2fsck", "-f", "-n", part)
			if found, _, err := disk.RootFS(d, disktest.RootUUID); err != nil || found.Number != p.Number || found.Offset != p.Offset {
				t.Errorf("RootFS finds %+v, %v", found, err)
			}
		case disk.ESPRole:
			disktest.Run(t, "fsck.vfat", "-n", part)
			if got := disktest.Run(t, "blkid", "--probe", "-o", "export", part); !strings.Contains(got, "LABEL=ESP") ||
				!strings.Contains(got, "VERSION=FAT16") {
				t.Errorf("blkid: %s", got)
			}
			disktest.Run(t, "mmd", "-i", part, "::/EFI")
			if f, err := disk.FindESP(d); err != nil || f != p {
				t.Errorf("FindESP finds %+v, %v", f, err)
			}
		case disk.Swap:
			if got := disktest.Run(t, "blkid", "--probe", "-o", "export", part); !strings.Contains(got, "TYPE=swap") ||
				!strings.Contains(got, "LABEL=swap1") {
				t.Errorf("blkid: %s", got)
			}
		case disk.Ephemeral:
			if !bytes.Equal(data[:mib], make([]byte, mib)) {
				t.Error("the ephemeral partition still has an earlier user's signatures")
			}
		}
	}
}

// An ephemeral partition is formatted in its place; a rebuild that keeps it changes none of its bytes.
func TestEphemeral(t *testing.T) {
	root := disktest.RootImage(t)
	s := serveFile(t, root)
	for _, label := range []string{"gpt", "msdos"} {
		t.Run(label, func(t *testing.T) {
			d := dirtyDisk(t, 64*mib)
			img := partitionInfo(s.URL, "raw", root, wire.PartitionImage{RootMB: 16, EphemeralMB: 12})
			img.DiskLabel = label
			done, err := write(t, s, d, img, "")
			if err != nil {
				t.Fatal(err)
			}
			before := contents(t, d)
			p, _ := find(done.Parts, disk.Ephemeral)
			if err := FormatEphemeral(t.Context(), d.Path(), p, "ext3"); err != nil {
				t.Fatal(err)
			}
			formatted := contents(t, d)
			outside := append(bytes.Clone(formatted[:p.Offset]), formatted[p.Offset+p.Length:]...)
			if i := disktest.FirstDifference(outside, append(bytes.Clone(before[:p.Offset]), before[p.Offset+p.Length:]...)); i >= 0 {
				t.Fatalf("formatting changed the disk outside of the partition, at %d", i)
			}
			offset := fmt.Sprint(p.Offset)
			if got := disktest.Run(t, "blkid", "--probe", "--offset", offset, "-o", "export", d.Path()); !strings.Contains(got,
				"LABEL=ephemeral0") || !strings.Contains(got, "TYPE=ext3") {
				t.Errorf("blkid: %s", got)
			}
			disktest.Run(t, "e2fsck", "-f", "-n", d.Path()+"?offset="+offset)

			img.PreserveEphemeral = true
			if _, err := write(t, s, d, img, configDriveText(t)); err != nil {
				t.Fatal(err)
			}
			if i := disktest.FirstDifference(contents(t, d)[p.Offset:p.Offset+p.Length], formatted[p.Offset:p.Offset+p.Length]); i >= 0 {
				t.Errorf("the rebuild changed byte %d of the ephemeral partition", i)
			}

			// A rebuild that fails half-way leaves it findable for the next.
			wrong := img
			wrong.HashValue = strings.Repeat("ab", 32)
			if _, err := write(t, s, d, wrong, ""); err == nil {
				t.Fatal("a wrong checksum was taken")
			}
			if got := table(t, d); strings.Contains(got, "root") || strings.Contains(got, "bootable") ||
				!strings.Contains(got, fmt.Sprint("start= ", p.Offset/512)) {
				t.Errorf("after a failure the table is\n%s", got)
			}
			if _, err := write(t, s, d, img, ""); err != nil {
				t.Error(err)
			}
			if i := disktest.FirstDifference(contents(t, d)[p.Offset:p.Offset+p.Length], formatted[p.Offset:p.Offset+p.Length]); i >= 0 {
				t.Errorf("the second try changed byte %d of the ephemeral partition", i)
			}
		})
	}
}

// configDriveText is a config drive of 70 KiB that is no file system.
func configDriveText(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(disktest.Pattern(70 << 10)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestPartitionImagesRefusedBeforeAnythingIsWritten(t *testing.T) {
	root := disktest.RootImage(t)
	big := convert(t, make([]byte, 20*mib), "-O", "qcow2")
	s, bigServer, wholeServer := serveFile(t, root), serveFile(t, big), serveFile(t, rawImage(t))
	for _, tt := range []struct {
		name  string
		sizes wire.PartitionImage
		edit  func(*wire.ImageInfo)
		drive string
		want  string
	}{
		{name: "no root", want: "a partition image needs root_mb"},
		{name: "negative", sizes: wire.PartitionImage{RootMB: 16, SwapMB: -1}, want: "swap_mb is -1"},
		{name: "larger than the disk", sizes: wire.PartitionImage{RootMB: 60, SwapMB: 4},
			want: "the partitions asked for (swap 4 MiB, root 60 MiB) need 69206016 bytes (66.0 MiB), but the disk has 67108864 (64.0 MiB)"},
		{name: "no room for the config drive", sizes: wire.PartitionImage{RootMB: 62}, drive: configDriveText(t), want: "need 68157440 bytes"},
		{name: "label", sizes: wire.PartitionImage{RootMB: 16}, edit: func(i *wire.ImageInfo) { i.DiskLabel = "bsd" },
			want: `disk_label is "bsd"; gpt and msdos are allowed`},
		{name: "format", sizes: wire.PartitionImage{RootMB: 16, EphemeralMB: 4, EphemeralFormat: "ntfs"},
			want: `ephemeral_format is "ntfs"; this agent makes [ext4 ext3 ext2 vfat]`},
		{name: "vfat, too small", sizes: wire.PartitionImage{RootMB: 16, EphemeralMB: 4, EphemeralFormat: "vfat"},
			want: "ephemeral_format: a partition of 4194304 bytes (4.0 MiB) cannot be vfat (FAT32), which holds 32.6 MiB to 2.0 TiB"},
		{name: "image larger than root", sizes: wire.PartitionImage{RootMB: 16}, edit: func(i *wire.ImageInfo) {
			*i = partitionInfo(bigServer.URL, "qcow2", big, *i.PartitionImage)
		}, want: "image the-image needs 20971520 bytes (20.0 MiB), but the root partition (root_gb) has 16777216 (16.0 MiB)"},
		{name: "whole disk", sizes: wire.PartitionImage{RootMB: 16}, edit: func(i *wire.ImageInfo) {
			*i = partitionInfo(wholeServer.URL, "raw", rawImage(t), *i.PartitionImage)
		}, want: "it holds a whole disk with partitions of its own: set image_type to whole-disk"},
		{name: "nothing to keep", sizes: wire.PartitionImage{RootMB: 16, EphemeralMB: 4, PreserveEphemeral: true},
			want: "the disk has no partition of 4194304 bytes at byte 1048576 (it has 0 partitions): nothing was written"},
		{name: "keep without a size", sizes: wire.PartitionImage{RootMB: 16, PreserveEphemeral: true},
			want: "preserve_ephemeral is set, but ephemeral_mb is 0"},
		{name: "five in an MBR", sizes: wire.PartitionImage{RootMB: 1, SwapMB: 1, EphemeralMB: 1}, drive: configDriveText(t),
			edit: func(i *wire.ImageInfo) {
				i.BootMode, i.DiskLabel = "uefi", "msdos"
			}, want: "the disk has 67108864"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dirtyDisk(t, 64*mib)
			img := partitionInfo(s.URL, "raw", root, tt.sizes)
			if tt.edit != nil {
				tt.edit(&img)
			}
			_, err := write(t, s, d, img, tt.drive)
			disktest.WantError(t, err, tt.want)
			if !bytes.Equal(contents(t, d), bytes.Repeat([]byte{disktest.Dirt}, 64*mib)) {
				t.Error("the disk was changed")
			}
		})
	}
}

// What is no root file system is refused before the first byte.
func TestNoRootFileSystem(t *testing.T) {
	wholeQcow2 := convert(t, rawImage(t), "-O", "qcow2")
	for name, tt := range map[string]struct {
		file   []byte
		format string
		want   string
	}{
		"nothing": {disktest.Pattern(2 * mib), "raw",
			"it holds no file system that is known; a root file system is wanted: [ext4 xfs btrfs]"},
		"whole disk in qcow2": {wholeQcow2, "qcow2", "it holds a whole disk with partitions of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveFile(t, tt.file)
			d := dirtyDisk(t, 64*mib)
			_, err := write(t, s, d, partitionInfo(s.URL, tt.format, tt.file, wire.PartitionImage{RootMB: 16}), "")
			disktest.WantError(t, err, tt.want)
			untouched(t, d)
		})
	}
}

// sized is a disk of which only its size is asked.
type sized struct {
	disk.Disk
	size, sector int64
}

func (s sized) Size() int64       { return s.size }
func (s sized) SectorSize() int64 { return s.sector }

func TestPlanLimits(t *testing.T) {
	img := wire.ImageInfo{BootMode: "uefi", DiskLabel: "msdos", PartitionImage: &wire.PartitionImage{RootMB: 1024, SwapMB: 1, EphemeralMB: 1}}
	_, err := planDisk(img, sized{nil, 8 << 30, 512}, 1)
	disktest.WantError(t, err, "are 5, but an MBR holds 4: set the capability disk_label to gpt")
	img = wire.ImageInfo{BootMode: "bios", PartitionImage: &wire.PartitionImage{RootMB: 3 << 20}}
	_, err = planDisk(img, sized{nil, 8 << 40, 512}, 0)
	disktest.WantError(t, err, "reach past 2.0 TiB")
	if _, err = planDisk(img, sized{nil, 8 << 40, 4096}, 0); err != nil {
		t.Error(err)
	}
	img.DiskLabel = "gpt"
	if _, err = planDisk(img, sized{nil, 8 << 40, 512}, 0); err != nil {
		t.Error(err)
	}
}

func TestFormatEphemeralRefusesOthers(t *testing.T) {
	err := FormatEphemeral(context.Background(), "/nowhere", disk.Partition{Role: disk.Root, Length: mib}, "ext4")
	disktest.WantError(t, err, "it is no ephemeral partition")
}
