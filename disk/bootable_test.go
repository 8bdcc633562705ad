package disk

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// mbrOf is an image of 8 MiB with a table by sfdisk and boot code from a file.
func mbrOf(t testing.TB, script, code string) []byte {
	b := tabled(t, script)
	copy(b[:440], read(t, code))
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
	fat := fatImage(t, 12, 1<<20)
	byParted := func(flag string) []byte {
		path := sparse(t, "image", 8<<20)
		run(t, "parted", "--script", path, "mklabel", "msdos", "mkpart", "primary", "ext4", "2048s", "6143s", "set", "1", "boot", flag)
		return read(t, path)
	}
	gpt := func(code string) []byte {
		b := partitioned(t, 8<<20)
		copy(b[:440], read(t, code))
		return b
	}
	core := func(b []byte) []byte { b[512] = 0x52; return b }
	for _, tt := range []struct {
		name  string
		image []byte
		want  string // "" starts
	}{
		{"nothing at all", make([]byte, 1<<20), "its first sector is no boot sector"},
		{"a table alone", tabled(t, marked), "its boot sector holds no boot code"},
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
		{"syslinux for GPT", func() []byte { b := gpt(syslinuxGPT); b[1024+48] = 4; reseal(b); return b }(), ""},
		{"parted's own code, none active", byParted("off"), "none of its partitions is active"},
		{"parted's own code, active and empty", byParted("on"), "the active partition 1: its first sector is no boot sector"},
		{"mkfs.vfat without table", fat, "its boot sector only says \"This is not a bootable disk\""},
		{"a boot sector without table", withCode(make([]byte, 1<<20)), ""},
		{"code that nobody knows", withCode(tabled(t, one)), ""},
		{"hybrid by xorriso", hybrid(t, "xorriso"), ""},
		{"hybrid by isohybrid for UEFI", hybrid(t, "isohybrid --uefi"), ""},
		{"hybrid by isohybrid", hybrid(t, "isohybrid"), ""},
		{"a DVD", hybrid(t, "plain"), "its first sector is no boot sector"},
	} {
		d := openDevice(t, sparse(t, "disk", int64(len(tt.image)+511)&^511))
		if _, err := d.WriteAt(tt.image, 0); err != nil {
			t.Fatal(err)
		}
		err := Bootable(d, "bios", "amd64")
		if tt.want == "" && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want != "" {
			t.Run(tt.name, func(t *testing.T) { wantError(t, err, tt.want) })
		}
		if err := Bootable(d, "bios", "arm64"); err != nil {
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
	d := openDevice(t, sparse(t, "disk", 1<<20))
	if err := Bootable(d, "", ""); err != nil {
		t.Error(err)
	}
	wantError(t, Bootable(d, "UEFI", "amd64"), "has no EFI system partition")
}

// An image that nothing starts from is written when that is asked for.
func TestAnyBootWritesAllTheSame(t *testing.T) {
	file := pattern(3 << 20)
	s := serveFile(t, file)
	d := dirtyDisk(t, 8<<20)
	w := writer(s)
	w.AnyBoot = true
	img := imageOf(s.URL, "raw", file)
	img.BootMode = "bios"
	if _, err := w.WriteImage(context.Background(), d, img, ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(contents(t, d), file) {
		t.Error("it was not written")
	}
}

// The firmware is asked: SeaBIOS starts hybrid images once they are written with a config drive.
func TestHybridImagesStart(t *testing.T) {
	for _, kind := range []string{"xorriso", "isohybrid --uefi"} {
		file := hybrid(t, kind)
		s := serveFile(t, file)
		d := dirtyDisk(t, 20<<20)
		img := imageOf(s.URL, "raw", file)
		img.BootMode = "bios"
		if _, err := write(t, s, d, img, pack(t, isoDrive(t))); err != nil {
			t.Fatal(err)
		}
		if said := seaBIOS(t, d.Path(), "ISOLINUX 6", "No bootable device"); !strings.Contains(said, "ISOLINUX 6") {
			t.Errorf("%s: %s", kind, said)
		}
	}
}

// What is refused for BIOS would not start: SeaBIOS says so too.
func TestSeaBIOSAgrees(t *testing.T) {
	path := sparse(t, "disk", 1<<20)
	if err := os.WriteFile(path, pattern(1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := seaBIOS(t, path, "No bootable device"); !strings.Contains(said, "No bootable device") {
		t.Error(said)
	}
	wantError(t, Bootable(openDevice(t, path), "bios", "amd64"), "its first sector is no boot sector")
}

// seaBIOS starts a machine from a disk and returns what it and its firmware said, up to one of the words.
func seaBIOS(t *testing.T, disk string, until ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := os.CreateTemp(t.TempDir(), "said")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "pc", "-accel", "tcg", "-m", "64",
		"-chardev", "file,id=said,append=on,path="+out.Name(), "-serial", "chardev:said",
		"-chardev", "file,id=log,append=on,path="+out.Name()+".log", "-device", "isa-debugcon,iobase=0x402,chardev=log",
		"-drive", "file="+disk+",format=raw,if=ide,snapshot=on")
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (apt-get install qemu-system-x86)", err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	for ctx.Err() == nil {
		said := string(read(t, out.Name()))
		if log, err := os.ReadFile(out.Name() + ".log"); err == nil {
			said += string(log)
		}
		for _, words := range until {
			if strings.Contains(said, words) {
				return said
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return string(read(t, out.Name())) + string(read(t, out.Name()+".log"))
}
