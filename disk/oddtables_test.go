package disk

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// hybrid makes an image that starts from DVD and from disk, as distributions make them.
func hybrid(t testing.TB, kind string) []byte {
	t.Helper()
	dir := t.TempDir()
	cd, iso, esp := filepath.Join(dir, "cd"), filepath.Join(dir, "iso"), filepath.Join(dir, "cd/efi.img")
	if err := os.MkdirAll(filepath.Join(cd, "isolinux"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{
		"isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin", "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
	} {
		run(t, "cp", from, filepath.Join(cd, "isolinux", to))
	}
	config := []byte("SERIAL 0 115200\nPROMPT 1\n")
	if err := os.WriteFile(filepath.Join(cd, "isolinux/isolinux.cfg"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(esp, fatImage(t, 12, 2<<20, "EFI/BOOT/BOOTX64.EFI"), 0o644); err != nil {
		t.Fatal(err)
	}
	isolinux := []string{"-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"}
	withEFI := append(isolinux, "-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", cd)
	switch kind {
	case "xorriso": // Debian live
		run(t, "xorriso", append([]string{"-as", "mkisofs", "-quiet", "-o", iso, "-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin",
			"-isohybrid-gpt-basdat"}, withEFI...)...)
	case "isohybrid --uefi": // Fedora, as it was
		run(t, "genisoimage", append([]string{"-quiet", "-o", iso}, withEFI...)...)
		run(t, "isohybrid", "--uefi", iso)
	case "isohybrid":
		run(t, "genisoimage", append([]string{"-quiet", "-o", iso}, append(isolinux, cd)...)...)
		run(t, "isohybrid", iso)
	case "appended GPT": // Ubuntu
		run(t, "xorriso", append([]string{"-as", "mkisofs", "-quiet", "-o", iso, "--grub2-mbr",
			"/usr/lib/grub/i386-pc/boot_hybrid.img", "-partition_offset", "16",
			"--mbr-force-bootable", "-append_partition", "2", "28732ac11ff8d211ba4b00a0c93ec93b", esp, "-appended_part_as_gpt"},
			append(isolinux, cd)...)...)
	default:
		run(t, "genisoimage", append([]string{"-quiet", "-o", iso}, append(isolinux, cd)...)...)
	}
	return read(t, iso)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tabled is an image of 8 MiB with a table made by sfdisk.
func tabled(t testing.TB, script string) []byte {
	t.Helper()
	path := sparse(t, "image", 8<<20)
	feed(t, script, "sfdisk", "--quiet", path)
	return read(t, path)
}

// odd is a table made by sgdisk that somebody changed.
func odd(t testing.TB, change func(b []byte)) []byte {
	b := partitioned(t, 8<<20)
	change(b)
	reseal(b)
	return b
}

func put64(at int, v uint64) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
}

const fourPrimaries = "label: dos\n2048,2048,L\n4096,2048,L\n6144,2048,L\n8192,2048,L\n"

// Tables that firmware and Linux read are taken, however odd; the config drive gets its place in the one
// that counts, which sfdisk and sgdisk say. Each is judged while the disk still holds what it held.
func TestOddTablesAreTaken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		image []byte
		label string // of the table that counts
		parts int    // with the config drive
		clean bool   // sgdisk and sfdisk find no fault in it
	}{
		{"hybrid by xorriso, its GPT at sector 0 and without protection", hybrid(t, "xorriso"), "dos", 3, false},
		{"hybrid by isohybrid for UEFI", hybrid(t, "isohybrid --uefi"), "dos", 3, false},
		{"hybrid by isohybrid", hybrid(t, "isohybrid"), "dos", 2, false},
		{"hybrid with a GPT", hybrid(t, "appended GPT"), "gpt", 4, true},
		{"first partition at sector 0", odd(t, put64(1024+32, 0)), "gpt", 3, false},
		{"overlapping partitions", odd(t, put64(1024+128+32, 3000)), "gpt", 3, false},
		{"extended and logical partitions", tabled(t, "label: dos\n2048,2048,L,*\n4096,8192,E\n6144,1024,L\n9216,1024,L\n"), "dos", 5, true},
		{"a backup that is missing", odd(t, func(b []byte) { clear(b[len(b)-64<<10:]) }), "gpt", 3, true},
		{"a backup elsewhere", odd(t, put64(512+32, 9000)), "gpt", 3, true},
		{"a table of a larger disk", partitioned(t, 40<<20)[:8<<20], "gpt", 3, true},
		{"a protective entry that is too small", odd(t, func(b []byte) { binary.LittleEndian.PutUint32(b[458:], 1) }), "gpt", 3, true},
		{"a protective entry that is too large", odd(t, func(b []byte) { binary.LittleEndian.PutUint32(b[458:], 0xffffffff) }), "gpt", 3, true},
		{"a longer header", odd(t, func(b []byte) { binary.LittleEndian.PutUint32(b[512+12:], 96) }), "gpt", 3, false},
	} {
		for format, file := range map[string][]byte{"raw": tt.image, "qcow2": convert(t, tt.image, "-c", "-O", "qcow2")} {
			t.Run(tt.name+", "+format, func(t *testing.T) {
				s := serveFile(t, file)
				d := dirtyDisk(t, 20<<20)
				if _, err := write(t, s, d, imageOf(s.URL, format, file), pack(t, isoDrive(t))); err != nil {
					t.Fatal(err)
				}
				if tt.clean {
					if out, err := tryRun("sfdisk", "--verify", d.Path()); err != nil {
						t.Errorf("sfdisk: %s", out)
					}
				}
				if tt.clean && tt.label == "gpt" {
					verify(t, d)
				}
				out := run(t, "sfdisk", "--dump", d.Path())
				if !strings.Contains(out, "label: "+tt.label) || strings.Count(out, "start=") != tt.parts {
					t.Errorf("want %d partitions:\n%s", tt.parts, out)
				}
				findDrive(t, d, 20<<20-driveRoom(tt.label))
			})
		}
	}
}

// driveRoom is how far from the end a config drive of less than a MiB lies.
func driveRoom(label string) int64 {
	if label == "gpt" {
		return 2 << 20 // the backup table takes the last MiB
	}
	return 1 << 20
}

// noRanges serves a file to those who read it from its start only.
func noRanges(t testing.TB, file []byte) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(file)))
		_, _ = w.Write(file)
	}))
	t.Cleanup(s.Close)
	return s
}

// What cannot be taken is refused before the first byte is written, whatever the image's format.
func TestWhatCannotBeTakenIsRefusedFirst(t *testing.T) {
	full := odd(t, func(b []byte) {
		for i := range 126 {
			copy(b[1024+(i+2)*128:], b[1024+128:1024+256])
		}
	})
	for _, tt := range []struct {
		name  string
		image []byte
		drive bool
		mode  string
		want  string
	}{
		{"no GPT behind a protective entry", odd(t, func(b []byte) { clear(b[512:1024]) }), false, "",
			"the boot sector says that there is a GUID partition table, but sector 1 holds none"},
		{"a GPT without protective entry", odd(t, func(b []byte) { clear(b[446:512]) }), false, "", "but the boot sector does not say so"},
		{"a damaged GPT", func() []byte { b := partitioned(t, 8<<20); b[1024] ^= 1; return b }(), false, "", "entries are damaged"},
		{"a partition past the end", odd(t, put64(1024+128+40, 50000)), false, "",
			"partition 2 lies in sectors 4096 to 50000, but the disk has 40960"},
		{"a partition where the backup belongs", odd(t, put64(1024+128+40, 40950)), false, "", "leaves no room for the backup partition table"},
		{"an MBR's partition past the end", func() []byte {
			b := tabled(t, "label: dos\n2048,2048,L\n")
			binary.LittleEndian.PutUint32(b[458:], 50000)
			return b
		}(), false, "", "partition 1 lies in sectors 2048 to 52047, but the disk has 40960"},
		{"no place in an MBR", tabled(t, fourPrimaries), true, "", "all four primary partitions"},
		{"no place in a GPT", full, true, "", "no free entry: all 128 are taken"},
		{"no table for a config drive", pattern(3 << 20), true, "", "there is no place for a config drive"},
		{"no room for a config drive", func() []byte {
			b := tabled(t, "label: dos\n2048,2048,L\n")
			binary.LittleEndian.PutUint32(b[458:], 38000)
			return b
		}(), true, "", "1.0 MiB are needed after the last partition, but only"},
		{"nothing to start", append(make([]byte, 1<<20), pattern(2<<20)...), false, "bios",
			"would not start in BIOS mode: its first sector is no boot sector"},
		{"a DVD that is no disk", hybrid(t, "plain"), false, "bios", "would not start in BIOS mode: its first sector is no boot sector"},
		{"a GPT without boot code", partitioned(t, 8<<20), false,
			"bios", "would not start in BIOS mode: its boot sector holds no boot code; it may be made for UEFI only"},
		{"no loader for UEFI", partitioned(t, 8<<20), false, "uefi",
			"would not start in UEFI mode: reading the EFI system partition (partition 1): there is no FAT file system"},
		{"no system partition", tabled(t, fourPrimaries), false, "uefi", "would not start in UEFI mode: the image has no EFI system partition"},
	} {
		for format, file := range map[string][]byte{
			"raw": tt.image, "qcow2": convert(t, tt.image, "-c", "-O", "qcow2"), "raw, packed": packedBy(t, tt.image, "gzip -1"),
		} {
			for how, serve := range map[string]func(testing.TB, []byte) *httptest.Server{"ranges": serveFile, "no ranges": noRanges} {
				t.Run(tt.name+", "+format+", "+how, func(t *testing.T) {
					s := serve(t, file)
					d := dirtyDisk(t, 20<<20)
					img := imageOf(s.URL, strings.TrimSuffix(format, ", packed"), file)
					img.BootMode = tt.mode
					drive := ""
					if tt.drive {
						drive = pack(t, isoDrive(t))
					}
					_, err := write(t, s, d, img, drive)
					wantError(t, err, tt.want)
					untouched(t, d)
				})
			}
		}
	}
}

// Linux numbers logical partitions from 5 on, in the order of their chain, which may lead in circles.
func TestLogicalPartitionsAreNumberedAsLinuxDoes(t *testing.T) {
	d := openDevice(t, sparse(t, "disk", 16<<20))
	feed(t, "label: dos\n2048,2048,L\n4096,16384,E\n6144,1024,L\n9216,1024,L\n12288,2048,L\n", "sfdisk", "--quiet", d.Path())
	want := []Partition{{"", 1, 2048 << 9, 2048 << 9}, {"", 2, 4096 << 9, 16384 << 9}, {"", 5, 6144 << 9, 1024 << 9},
		{"", 6, 9216 << 9, 1024 << 9}, {"", 7, 12288 << 9, 2048 << 9}}
	got := numbered(d)
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
	if got := numbered(d); len(got) != 5 {
		t.Errorf("%+v", got)
	}
	link(12288-2048, 9216-2048) // the one before
	if got := numbered(d); len(got) != 5 {
		t.Errorf("%+v", got)
	}
}
