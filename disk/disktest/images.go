package disktest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// made keeps images: sgdisk takes a second for each.
var made = map[int64][]byte{}

// Partitioned is a disk image with a GPT made by sgdisk: an EFI system partition and a root.
func Partitioned(t testing.TB, size int64) []byte {
	t.Helper()
	if b := made[size]; b != nil {
		return bytes.Clone(b)
	}
	path := filepath.Join(t.TempDir(), "image")
	content := Pattern(int(size)) // with room for the table at both ends
	clear(content[:1<<20])
	clear(content[len(content)-64<<10:])
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, "sgdisk", "--clear", "--new=1:2048:4095", "--typecode=1:ef00", "--new=2:4096:6143", path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	made[size] = b
	return bytes.Clone(b)
}

// Reseal puts both checksums of a primary table right after a test damaged its content.
func Reseal(b []byte) {
	h := b[512:]
	count, size := binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	if n := uint64(count) * uint64(size); n <= uint64(len(b)-1024) {
		binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(b[1024:1024+n]))
	}
	clear(h[16:20])
	length := binary.LittleEndian.Uint32(h[12:])
	if length < 92 || int(length) > len(h) {
		length = 92
	}
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:length]))
}

// Tabled is an image of 8 MiB with a table made by sfdisk.
func Tabled(t testing.TB, script string) []byte {
	t.Helper()
	path := Sparse(t, "image", 8<<20)
	Feed(t, script, "sfdisk", "--quiet", path)
	return Read(t, path)
}

// Odd is a table made by sgdisk that somebody changed.
func Odd(t testing.TB, change func(b []byte)) []byte {
	b := Partitioned(t, 8<<20)
	change(b)
	Reseal(b)
	return b
}

func Put64(at int, v uint64) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
}

// Hybrid makes an image that starts from DVD and from disk, as distributions make them.
func Hybrid(t testing.TB, kind string) []byte {
	t.Helper()
	dir := t.TempDir()
	cd, iso, esp := filepath.Join(dir, "cd"), filepath.Join(dir, "iso"), filepath.Join(dir, "cd/efi.img")
	if err := os.MkdirAll(filepath.Join(cd, "isolinux"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{
		"isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin", "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
	} {
		Run(t, "cp", from, filepath.Join(cd, "isolinux", to))
	}
	config := []byte("SERIAL 0 115200\nPROMPT 1\n")
	if err := os.WriteFile(filepath.Join(cd, "isolinux/isolinux.cfg"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(esp, FATImage(t, 12, 2<<20, "EFI/BOOT/BOOTX64.EFI"), 0o644); err != nil {
		t.Fatal(err)
	}
	isolinux := []string{"-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"}
	withEFI := append(isolinux, "-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", cd)
	switch kind {
	case "xorriso": // Debian live
		Run(t, "xorriso", append([]string{"-as", "mkisofs", "-quiet", "-o", iso, "-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin",
			"-isohybrid-gpt-basdat"}, withEFI...)...)
	case "isohybrid --uefi": // Fedora, as it was
		Run(t, "genisoimage", append([]string{"-quiet", "-o", iso}, withEFI...)...)
		Run(t, "isohybrid", "--uefi", iso)
	case "isohybrid":
		Run(t, "genisoimage", append([]string{"-quiet", "-o", iso}, append(isolinux, cd)...)...)
		Run(t, "isohybrid", iso)
	case "appended GPT": // Ubuntu
		Run(t, "xorriso", append([]string{"-as", "mkisofs", "-quiet", "-o", iso, "--grub2-mbr",
			"/usr/lib/grub/i386-pc/boot_hybrid.img", "-partition_offset", "16",
			"--mbr-force-bootable", "-append_partition", "2", "28732ac11ff8d211ba4b00a0c93ec93b", esp, "-appended_part_as_gpt"},
			append(isolinux, cd)...)...)
	default:
		Run(t, "genisoimage", append([]string{"-quiet", "-o", iso}, append(isolinux, cd)...)...)
	}
	return Read(t, iso)
}

// FATImage is a FAT file system made by mkfs.vfat and mtools, with empty files at the given paths.
func FATImage(t testing.TB, bits int, size int64, files ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, "mkfs.vfat", "-F", fmt.Sprint(bits), "-s", "1", path)
	folders := map[string]bool{}
	for _, f := range files {
		at := ""
		for folder := range strings.SplitSeq(filepath.Dir(f), "/") {
			at += "/" + folder
			if !folders[strings.ToLower(at)] {
				Run(t, "mmd", "-i", path, "::"+at)
			}
			folders[strings.ToLower(at)] = true
		}
		Run(t, "mcopy", "-i", path, "/dev/null", "::/"+f)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// DOSImage has an MBR partition table with parts used entries.
func DOSImage(t testing.TB, parts int) []byte {
	t.Helper()
	b := Pattern(8 << 20)
	clear(b[:512])
	b[510], b[511] = 0x55, 0xaa
	for i := range parts {
		e := b[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(2048*(i+1)))
		binary.LittleEndian.PutUint32(e[12:], 2048)
	}
	return b
}

const RootUUID = "6f0cbb5f-7a3a-4d2b-9a3a-0123456789ab"

// RootImage is a root file system of 8 MiB, made by the program that people make them with.
func RootImage(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root")
	Run(t, "mke2fs", "-q", "-t", "ext4", "-L", "root", "-U", RootUUID, path, "8M")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
