package bootable

import (
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

// mbrOf is an image of 8 MiB with a table by sfdisk and boot code from a file.
func mbrOf(t testing.TB, script, code string) []byte {
	b := disktest.Tabled(t, script)
	copy(b[:440], disktest.Read(t, code))
	return b
}

// withVBR gives the partition at sector 2048 a boot sector.
func withVBR(b []byte, code string) []byte {
	copy(b[2048<<9:], code)
	b[2048<<9+510], b[2048<<9+511] = 0x55, 0xaa
	return b
}

const (
	syslinuxMBR = "/usr/lib/syslinux/mbr/mbr.bin"
	syslinuxGPT = "/usr/lib/syslinux/mbr/gptmbr.bin"
	grubMBR     = "/usr/lib/grub/i386-pc/boot.img"
)

// What a BIOS would start, and what it would not, with the boot code of real programs.
func TestStartsOnBIOS(t *testing.T) {
	const one, marked = "label: dos\n2048,4096,L\n", "label: dos\n2048,4096,L,*\n"
	fat := disktest.FATImage(t, 12, 1<<20)
	byParted := func(flag string) []byte {
		path := disktest.Sparse(t, "image", 8<<20)
		disktest.Run(t, "parted", "--script", path, "mklabel", "msdos", "mkpart", "primary", "ext4", "2048s", "6143s", "set", "1", "boot", flag)
		return disktest.Read(t, path)
	}
	gpt := func(code string) []byte {
		b := disktest.Partitioned(t, 8<<20)
		copy(b[:440], disktest.Read(t, code))
		return b
	}
	core := func(b []byte) []byte { b[512] = 0x52; return b }
	for _, tt := range []struct {
		name  string
		image []byte
		want  string // "" starts
	}{
		{"nothing at all", make([]byte, 1<<20), "its first sector is no boot sector"},
		{"a table alone", disktest.Tabled(t, marked), "its boot sector holds no boot code"},
		{"GRUB", core(mbrOf(t, one, grubMBR)), ""},
		{"GRUB without its core", mbrOf(t, one, grubMBR), "looks for its core image in sector 1, which is empty"},
		{"GRUB, its core past the end", func() []byte { b := mbrOf(t, one, grubMBR); b[0x5f] = 1; return b }(),
			"in sector 16777217, but the disk has 16384"},
		{"syslinux, active", withVBR(mbrOf(t, marked, syslinuxMBR), "\xeb\x58code"), ""},
		{"syslinux, none active", withVBR(mbrOf(t, one, syslinuxMBR), "\xeb\x58code"), "none of its partitions is active"},
		{"syslinux, active without boot sector", mbrOf(t, marked, syslinuxMBR), "the active partition 1: its first sector is no boot sector"},
		{"syslinux, active is mkfs.vfat's", func() []byte { b := mbrOf(t, marked, syslinuxMBR); copy(b[2048<<9:], fat); return b }(),
			"the active partition 1: its boot sector only says"},
		{"syslinux for GPT, none marked", gpt(syslinuxGPT), "none has it"},
		{"syslinux for GPT", func() []byte { b := gpt(syslinuxGPT); b[1024+48] = 4; disktest.Reseal(b); return b }(), ""},
		{"parted's own code, none active", byParted("off"), "none of its partitions is active"},
		{"parted's own code, active and empty", byParted("on"), "the active partition 1: its first sector is no boot sector"},
		{"mkfs.vfat without table", fat, "its boot sector only says \"This is not a bootable disk\""},
		{"a boot sector without table", withCode(make([]byte, 1<<20)), ""},
		{"code that nobody knows", withCode(disktest.Tabled(t, one)), ""},
		{"hybrid by xorriso", disktest.Hybrid(t, "xorriso"), ""},
		{"hybrid by isohybrid for UEFI", disktest.Hybrid(t, "isohybrid --uefi"), ""},
		{"hybrid by isohybrid", disktest.Hybrid(t, "isohybrid"), ""},
		{"a DVD", disktest.Hybrid(t, "plain"), "its first sector is no boot sector"},
	} {
		d := openDevice(t, disktest.Sparse(t, "disk", int64(len(tt.image)+511)&^511))
		if _, err := d.WriteAt(tt.image, 0); err != nil {
			t.Fatal(err)
		}
		err := Check(d, "bios", "amd64")
		if tt.want == "" && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want != "" {
			t.Run(tt.name, func(t *testing.T) { disktest.WantError(t, err, tt.want) })
		}
		if err := Check(d, "bios", "arm64"); err != nil {
			t.Errorf("%s: of a machine without BIOS: %v", tt.name, err)
		}
	}
}

func withCode(b []byte) []byte {
	copy(b, "\xeb\x3e\x90code")
	b[510], b[511] = 0x55, 0xaa
	return b
}

// Without a mode nothing is asked of a disk.
func TestBootableInNoMode(t *testing.T) {
	d := openDevice(t, disktest.Sparse(t, "disk", 1<<20))
	if err := Check(d, "", ""); err != nil {
		t.Error(err)
	}
	disktest.WantError(t, Check(d, "UEFI", "amd64"), "has no EFI system partition")
}
