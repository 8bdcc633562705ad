package write

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

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
		{"hybrid by xorriso, its GPT at sector 0 and without protection", disktest.Hybrid(t, "xorriso"), "dos", 3, false},
		{"hybrid by isohybrid for UEFI", disktest.Hybrid(t, "isohybrid --uefi"), "dos", 3, false},
		{"hybrid by isohybrid", disktest.Hybrid(t, "isohybrid"), "dos", 2, false},
		{"hybrid with a GPT", disktest.Hybrid(t, "appended GPT"), "gpt", 4, true},
		{"first partition at sector 0", disktest.Odd(t, disktest.Put64(1024+32, 0)), "gpt", 3, false},
		{"overlapping partitions", disktest.Odd(t, disktest.Put64(1024+128+32, 3000)), "gpt", 3, false},
		{"extended and logical partitions", disktest.Tabled(t, "label: dos\n2048,2048,L,*\n4096,8192,E\n6144,1024,L\n9216,1024,L\n"),
			"dos", 5, true},
		{"a backup that is missing", disktest.Odd(t, func(b []byte) { clear(b[len(b)-64<<10:]) }), "gpt", 3, true},
		{"a backup elsewhere", disktest.Odd(t, disktest.Put64(512+32, 9000)), "gpt", 3, true},
		{"a table of a larger disk", disktest.Partitioned(t, 40<<20)[:8<<20], "gpt", 3, true},
		{"a protective entry that is too small", disktest.Odd(t, func(b []byte) { binary.LittleEndian.PutUint32(b[458:], 1) }), "gpt", 3, true},
		{"a protective entry that is too large", disktest.Odd(t, func(b []byte) { binary.LittleEndian.PutUint32(b[458:], 0xffffffff) }),
			"gpt", 3, true},
		{"a longer header", disktest.Odd(t, func(b []byte) { binary.LittleEndian.PutUint32(b[512+12:], 96) }), "gpt", 3, false},
	} {
		for format, file := range map[string][]byte{"raw": tt.image, "qcow2": convert(t, tt.image, "-c", "-O", "qcow2")} {
			t.Run(tt.name+", "+format, func(t *testing.T) {
				s := serveFile(t, file)
				d := dirtyDisk(t, 20<<20)
				if _, err := write(t, s, d, imageOf(s.URL, format, file), pack(t, isoDrive(t))); err != nil {
					t.Fatal(err)
				}
				if tt.clean {
					if out, err := disktest.TryRun("sfdisk", "--verify", d.Path()); err != nil {
						t.Errorf("sfdisk: %s", out)
					}
				}
				if tt.clean && tt.label == "gpt" {
					disktest.Verify(t, d.Path())
				}
				out := disktest.Run(t, "sfdisk", "--dump", d.Path())
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
	full := disktest.Odd(t, func(b []byte) {
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
		{"no GPT behind a protective entry", disktest.Odd(t, func(b []byte) { clear(b[512:1024]) }), false, "",
			"the boot sector says that there is a GUID partition table, but sector 1 holds none"},
		{"a GPT without protective entry", disktest.Odd(t, func(b []byte) { clear(b[446:512]) }), false, "",
			"but the boot sector does not say so"},
		{"a damaged GPT", func() []byte { b := disktest.Partitioned(t, 8<<20); b[1024] ^= 1; return b }(), false, "", "entries are damaged"},
		{"a partition past the end", disktest.Odd(t, disktest.Put64(1024+128+40, 50000)), false, "",
			"partition 2 lies in sectors 4096 to 50000, but the disk has 40960"},
		{"a partition where the backup belongs", disktest.Odd(t, disktest.Put64(1024+128+40, 40950)), false, "",
			"leaves no room for the backup partition table"},
		{"an MBR's partition past the end", func() []byte {
			b := disktest.Tabled(t, "label: dos\n2048,2048,L\n")
			binary.LittleEndian.PutUint32(b[458:], 50000)
			return b
		}(), false, "", "partition 1 lies in sectors 2048 to 52047, but the disk has 40960"},
		{"no place in an MBR", disktest.Tabled(t, fourPrimaries), true, "", "all four primary partitions"},
		{"no place in a GPT", full, true, "", "no free entry: all 128 are taken"},
		{"no table for a config drive", disktest.Pattern(3 << 20), true, "", "there is no place for a config drive"},
		{"no room for a config drive", func() []byte {
			b := disktest.Tabled(t, "label: dos\n2048,2048,L\n")
			binary.LittleEndian.PutUint32(b[458:], 38000)
			return b
		}(), true, "", "1.0 MiB are needed after the last partition, but only"},
		{"nothing to start", append(make([]byte, 1<<20), disktest.Pattern(2<<20)...), false, "bios",
			"would not start in BIOS mode: its first sector is no boot sector"},
		{"a DVD that is no disk", disktest.Hybrid(t, "plain"), false, "bios", "would not start in BIOS mode: its first sector is no boot sector"},
		{"a GPT without boot code", disktest.Partitioned(t, 8<<20), false,
			"bios", "would not start in BIOS mode: its boot sector holds no boot code; it may be made for UEFI only"},
		{"no loader for UEFI", disktest.Partitioned(t, 8<<20), false, "uefi",
			"would not start in UEFI mode: reading the EFI system partition (partition 1): there is no FAT file system"},
		{"no system partition", disktest.Tabled(t, fourPrimaries), false, "uefi",
			"would not start in UEFI mode: the image has no EFI system partition"},
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
					disktest.WantError(t, err, tt.want)
					untouched(t, d)
				})
			}
		}
	}
}
