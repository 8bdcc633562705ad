package bootable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/disk/efi"
)

// crowd is enough files with long names that a folder takes many clusters.
func crowd(folder string) []string {
	var out []string
	for i := range 60 {
		out = append(out, fmt.Sprintf("%s/a file with a rather long name, number %d.txt", folder, i))
	}
	return out
}

func TestFindLoader(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bits  int
		size  int64
		files []string
		want  string
	}{
		{"fallback alone", 12, 1 << 20, []string{"EFI/BOOT/BOOTX64.EFI"}, `\EFI\BOOT\BOOTX64.EFI`},
		{"shim before GRUB and fallback", 16, 8 << 20,
			[]string{"EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi", "EFI/debian/shimx64.efi"}, `\EFI\debian\shimx64.efi`},
		{"GRUB of a vendor before the fallback", 32, 40 << 20, []string{"EFI/BOOT/BOOTX64.EFI", "EFI/ubuntu/grubx64.efi"},
			`\EFI\ubuntu\grubx64.efi`},
		{"systemd-boot", 12, 1 << 20, []string{"EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"}, `\EFI\systemd\systemd-bootx64.efi`},
		{"folder over many clusters, FAT12", 12, 2 << 20,
			append(crowd("EFI/vendor with a long name"), "EFI/vendor with a long name/shimx64.efi"), `\EFI\vendor with a long name\shimx64.efi`},
		{"folder over many clusters, FAT16", 16, 8 << 20, append(crowd("EFI/vendor"), "EFI/vendor/shimx64.efi"), `\EFI\vendor\shimx64.efi`},
		{"folder over many clusters, FAT32", 32, 40 << 20, append(crowd("EFI/vendor"), "EFI/vendor/shimx64.efi"), `\EFI\vendor\shimx64.efi`},
		{"SUSE's names", 12, 1 << 20, []string{"EFI/BOOT/BOOTX64.EFI", "EFI/sles/grub.efi", "EFI/sles/shim.efi", "EFI/sles/MokManager.efi"},
			`\EFI\sles\shim.efi`},
		{"GRUB by its short name", 12, 1 << 20, []string{"EFI/BOOT/BOOTX64.EFI", "EFI/vendor/GRUB.EFI"}, `\EFI\vendor\GRUB.EFI`},
		{"a vendor without a loader", 12, 1 << 20, []string{"EFI/aaa/readme.txt", "EFI/Boot/bootx64.efi"}, `\EFI\Boot\bootx64.efi`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := openFAT(bytes.NewReader(disktest.FATImage(t, tt.bits, tt.size, tt.files...)))
			if err != nil {
				t.Fatal(err)
			}
			if f.bits != tt.bits {
				t.Errorf("FAT%d", f.bits)
			}
			got, _, err := f.loader("amd64")
			if err != nil || got != tt.want {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
}

// A vendor's list of loaders names what has no name that is known; a shim still goes first.
func TestLoadersOfBootCSV(t *testing.T) {
	utf16le := func(text string, bom bool) []byte {
		var b []byte
		if bom {
			b = []byte{0xff, 0xfe}
		}
		for _, u := range utf16.Encode([]rune(text)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return b
	}
	const suse = "Shim.EFI,sles,,Das ist der Startlader für SLES\n"
	swapped := utf16le(suse, true)
	for i := 0; i+1 < len(swapped); i += 2 {
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	for _, tt := range []struct {
		name, file string
		list       []byte
		files      []string
		want       string
	}{
		{"UTF-16 with a mark", "BOOT.CSV", utf16le("loader.efi,mine,,My system\r\n", true), []string{"loader.efi"}, "loader.efi"},
		{"UTF-16 without", "boot.csv", utf16le("loader.efi,mine,,My system\n", false), []string{"loader.efi"}, "loader.efi"},
		{"UTF-16 the other way round", "boot.csv", swapped, []string{"shim.efi", "grub.efi"}, "shim.efi"},
		{"with the architecture's name", "BOOTX64.CSV", utf16le(suse, true), []string{"shim.efi", "grub.efi"}, "shim.efi"},
		{"plain text", "boot.csv", []byte("loader.efi,mine\n"), []string{"loader.efi", "grubx64.efi"}, "loader.efi"},
		{"UTF-8 with a mark", "boot.csv", []byte("\xef\xbb\xbfloader.efi,mine\n"), []string{"loader.efi"}, "loader.efi"},
		{"shim before the GRUB that is listed", "boot.csv", utf16le("grubx64.efi,mine\n", true),
			[]string{"grubx64.efi", "shimx64.efi"}, "shimx64.efi"},
		{"shim that is listed after GRUB", "boot.csv", utf16le("grub.efi,a\nshim-15.efi,b\n", true),
			[]string{"grub.efi", "shim-15.efi"}, "shim-15.efi"},
		{"listed files that are not there", "boot.csv", utf16le("gone.efi,a\n\\..\\x.efi,b\n", true), []string{"grubx64.efi"}, "grubx64.efi"},
		{"rubbish", "boot.csv", disktest.Pattern(3000), []string{"grubx64.efi"}, "grubx64.efi"},
		{"far too large", "boot.csv", append(utf16le("loader.efi,mine\n", true), make([]byte, 70<<10)...),
			[]string{"loader.efi", "grub.efi"}, "grub.efi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := []string{"EFI/BOOT/BOOTX64.EFI"}
			for _, f := range tt.files {
				files = append(files, "EFI/vendor/"+f)
			}
			path := filepath.Join(t.TempDir(), "fat")
			list := filepath.Join(t.TempDir(), "list")
			for name, content := range map[string][]byte{path: disktest.FATImage(t, 12, 1<<20, files...), list: tt.list} {
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			disktest.Run(t, "mcopy", "-i", path, list, "::/EFI/vendor/"+tt.file)
			f, err := openFAT(bytes.NewReader(disktest.Read(t, path)))
			if err != nil {
				t.Fatal(err)
			}
			got, removable, err := f.loader("amd64")
			if err != nil || !strings.EqualFold(got, `\EFI\vendor\`+tt.want) || !strings.EqualFold(removable, `\EFI\BOOT\BOOTX64.EFI`) {
				t.Errorf("found %q and %q, %v", got, removable, err)
			}
		})
	}
}

func TestNoLoader(t *testing.T) {
	for _, tt := range []struct {
		files []string
		want  string
	}{
		{nil, `it has no folder \EFI`},
		{[]string{"EFI/BOOT/BOOTIA32.EFI"}, `there is neither \EFI\BOOT\BOOTX64.EFI nor a shim, GRUB or systemd-boot`},
	} {
		f, err := openFAT(bytes.NewReader(disktest.FATImage(t, 12, 1<<20, tt.files...)))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = f.loader("amd64")
		disktest.WantError(t, err, tt.want)
	}
	_, err := openFAT(bytes.NewReader(make([]byte, 512)))
	disktest.WantError(t, err, "there is no FAT file system")
}

// withLoader is a disk with an EFI system partition that holds a loader.
func withLoader(t testing.TB) *disk.Device {
	t.Helper()
	d := dirtyDisk(t, 8<<20)
	if _, err := d.WriteAt(disktest.Partitioned(t, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt(disktest.FATImage(t, 12, 1<<20, "EFI/BOOT/BOOTX64.EFI", "EFI/debian/shimx64.efi"), 2048*512); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestInstallLoader(t *testing.T) {
	d := withLoader(t)
	info := disktest.Run(t, "sgdisk", "--info=1", d.Path())
	_, guid, _ := strings.Cut(info, "Partition unique GUID: ")
	guid = strings.ToLower(guid[:36])
	v := efi.Variables{Dir: t.TempDir()}
	l, n, err := InstallLoader(d, v)
	if err != nil {
		t.Fatal(err)
	}
	if n != 0 || l.Path != `\EFI\debian\shimx64.efi` || l.PartUUID != guid || disk.ESP(d) != guid {
		t.Errorf("entry %d, %+v; sgdisk says %s", n, l, guid)
	}
	raw, err := os.ReadFile(filepath.Join(v.Dir, "Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := efi.Decode(raw[4:])
	if err != nil || o.Description != "Billet instance" || o.Partition.Number != 1 || o.Partition.Start != 2048 ||
		o.Partition.Sectors != 2048 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestNoESP(t *testing.T) {
	for name, image := range map[string][]byte{"no table": disktest.Pattern(4 << 20), "mbr without one": disktest.DOSImage(t, 1)} {
		d := dirtyDisk(t, 8<<20)
		if _, err := d.WriteAt(image, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := FindLoader(d); err != disk.ErrNoESP {
			t.Errorf("%s: %v", name, err)
		}
		if disk.ESP(d) != "" || disk.PReP(d) != "" {
			t.Errorf("%s: found %q and %q", name, disk.ESP(d), disk.PReP(d))
		}
	}
	broken := dirtyDisk(t, 8<<20)
	if _, err := broken.WriteAt(disktest.Partitioned(t, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	_, err := FindLoader(broken)
	disktest.WantError(t, err, "reading the EFI system partition (partition 1): there is no FAT file system")
}

func TestESPInAnMBR(t *testing.T) {
	image := disktest.DOSImage(t, 1)
	image[446+4] = 0xef
	binary.LittleEndian.PutUint32(image[440:], 0xcafe1234)
	copy(image[2048*512:], disktest.FATImage(t, 12, 1<<20, "EFI/BOOT/BOOTX64.EFI"))
	d := dirtyDisk(t, 8<<20)
	if _, err := d.WriteAt(image, 0); err != nil {
		t.Fatal(err)
	}
	l, err := FindLoader(d)
	want := efi.Partition{Number: 1, Start: 2048, Sectors: 2048, MBR: true, Signature: [16]byte{0x34, 0x12, 0xfe, 0xca}}
	if err != nil || l.Partition != want {
		t.Errorf("%+v, %v", l, err)
	}
}

func FuzzFAT(f *testing.F) {
	for _, bits := range []int{12, 16} {
		size := map[int]int64{12: 256 << 10, 16: 4300 << 10}[bits]
		f.Add(disktest.FATImage(f, bits, size, "EFI/BOOT/BOOTX64.EFI", "EFI/debian/shimx64.efi")[:64<<10])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 512 {
			return
		}
		fs, err := openFAT(bytes.NewReader(b))
		if err != nil {
			return
		}
		if path, _, err := fs.loader("amd64"); err == nil && !strings.HasPrefix(path, `\`) {
			t.Errorf("found %q", path)
		}
	})
}

// Every disk of a mirror has its entry, the first disk's first; entries of disks that an earlier
// deployment had more are gone, and an ordinary deployment leaves but its own.
func TestInstallLoaders(t *testing.T) {
	v := efi.Variables{Dir: t.TempDir()}
	one, two, three := withLoader(t), withLoader(t), withLoader(t)
	entries := func() string {
		order, err := v.BootOrder()
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(v.Dir, "Boot0*"))
		if err != nil || len(files) != len(order) {
			t.Errorf("the firmware has the entries %v, but the order %v (%v)", files, order, err)
		}
		var texts []string
		for _, n := range order {
			raw, err := os.ReadFile(filepath.Join(v.Dir, fmt.Sprintf("Boot%04X-8be4df61-93ca-11d2-aa0d-00e098032b8c", n)))
			if err != nil {
				t.Fatal(err)
			}
			text, err := efi.Description(raw[4:])
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, "; ")
	}
	for _, tt := range []struct {
		disks []disk.Disk
		want  string
	}{
		{[]disk.Disk{one, two, three}, "Billet instance; Billet instance, disk 2; Billet instance, disk 3"},
		{[]disk.Disk{three, one}, "Billet instance; Billet instance, disk 2"},
		{[]disk.Disk{three, one}, "Billet instance; Billet instance, disk 2"},
	} {
		loaders, numbers, err := InstallLoaders(tt.disks, v)
		if err != nil || len(loaders) != len(tt.disks) || len(numbers) != len(tt.disks) {
			t.Fatalf("%v, %v, %v", loaders, numbers, err)
		}
		order, err := v.BootOrder()
		if got := entries(); err != nil || got != tt.want || fmt.Sprint(order) != fmt.Sprint(numbers) {
			t.Errorf("entries %s in the order %v, want %s in the order %v (%v)", got, order, tt.want, numbers, err)
		}
		for i, d := range tt.disks {
			if loaders[i].PartUUID != disk.ESP(d) {
				t.Errorf("loader %d is on %s, want %s", i, loaders[i].PartUUID, disk.ESP(d))
			}
		}
	}
	if _, _, err := InstallLoader(one, v); err != nil || entries() != "Billet instance" {
		t.Errorf("an ordinary deployment leaves %s, %v", entries(), err)
	}
	before := entries()
	_, _, err := InstallLoaders([]disk.Disk{one, dirtyDisk(t, 8<<20)}, v)
	disktest.WantError(t, err, "disk 2 of 2: the image has no EFI system partition")
	if entries() != before {
		t.Error("entries were made though one disk cannot boot")
	}
}
