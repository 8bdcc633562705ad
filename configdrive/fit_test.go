package configdrive

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// plant writes files where other programs make an image of them.
func plant(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// novaFiles are what Nova puts on a drive: several versions of the metadata format, and injected files.
func novaFiles() map[string]string {
	files := map[string]string{"openstack/content/0000": "\x00\x01 injected", "ec2/latest/meta-data.json": "{}"}
	for _, version := range []string{"2012-08-10", "2018-08-27", "latest"} {
		for name, text := range map[string]string{"meta_data.json": `{"uuid":"x"}`, "user_data": long, "empty": ""} {
			files["openstack/"+version+"/"+name] = text
		}
	}
	name := strings.Repeat("a-long-name-", 20)
	files["openstack/latest/"+name] = name
	return files
}

func genisoimage(t testing.TB, files map[string]string, options ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "drive.iso")
	run(t, "genisoimage", append(options, "-quiet", "-V", Label, "-o", out, plant(t, files))...)
	return load(t, out)
}

func load(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mkfs makes a FAT file system with mkfs.vfat and mtools.
func mkfs(t testing.TB, files map[string]string, mib int, options ...string) []byte {
	t.Helper()
	out := save(t, make([]byte, mib<<20))
	run(t, "mkfs.vfat", append(options, "-n", Label, out)...)
	entries, err := os.ReadDir(plant(t, files))
	if err != nil {
		t.Fatal(err)
	}
	dir := plant(t, files)
	for _, e := range entries {
		run(t, "mcopy", "-s", "-i", out, filepath.Join(dir, e.Name()), "::/"+e.Name())
	}
	return load(t, out)
}

// mustBeFAT has others look at a FAT file system: the checker finds nothing to mend, and GRUB and
// mtools read the files.
func mustBeFAT(t *testing.T, image []byte, sector int64, files map[string]string) {
	t.Helper()
	file := save(t, image)
	run(t, "fsck.vfat", "-n", "-V", file)
	if out := run(t, "blkid", "-p", "-o", "export", file); !strings.Contains(out, "\nLABEL=config-2\n") ||
		!strings.Contains(out, "\nTYPE=vfat\n") ||
		!strings.Contains(out, fmt.Sprintf("\nFSBLOCKSIZE=%d\n", sector)) && strings.Contains(out, "FSBLOCKSIZE") {
		t.Errorf("blkid: %s", out)
	}
	if got := fatSector(image); got != sector {
		t.Errorf("sectors of %d bytes, want %d", got, sector)
	}
	for name, want := range files {
		if got := run(t, "grub-fstest", file, "cat", "(loop0)/"+name); got != want {
			t.Errorf("to GRUB %s holds %.100q, want %.100q", name, got, want)
		}
		if got := run(t, "mtype", "-i", file, "::/"+name); got != want {
			t.Errorf("to mtools %s holds %.100q, want %.100q", name, got, want)
		}
	}
}

// Whatever drive comes, what is written to a disk has no sectors or blocks smaller than the disk's.
func TestADriveIsMadeForItsDisk(t *testing.T) {
	nova := novaFiles()
	short := map[string]string{"openstack/latest/meta_data.json": "{}", "openstack/latest/user_data": long}
	for _, tt := range []struct {
		name   string
		drive  []byte
		files  map[string]string
		sector int64 // of the disk
		same   bool
	}{
		{"built, on 512", built(t, wholeDrive(), &node.Node{UUID: uuidA, Name: "rack1-u7"}), wholeFiles, 512, true},
		{"built, on 2048", built(t, wholeDrive(), &node.Node{UUID: uuidA, Name: "rack1-u7"}), wholeFiles, 2048, true},
		{"built, on 4096", built(t, wholeDrive(), &node.Node{UUID: uuidA, Name: "rack1-u7"}), wholeFiles, 4096, false},
		{"Rock Ridge and Joliet", genisoimage(t, nova, "-r", "-J", "-joliet-long"), nova, 4096, false},
		{"Rock Ridge", genisoimage(t, nova, "-r"), nova, 4096, false},
		{"Joliet", genisoimage(t, short, "-J"), short, 4096, false},
		{"plain ISO 9660", genisoimage(t, short, "-l", "-allow-leading-dots"), short, 4096, false},
		{"FAT12", mkfs(t, short, 2, "-F", "12"), short, 4096, false},
		{"FAT16", mkfs(t, nova, 20, "-F", "16"), nova, 4096, false},
		{"FAT32", mkfs(t, nova, 64, "-F", "32", "-s", "1"), nova, 4096, false},
		{"FAT of large sectors", mkfs(t, short, 4, "-S", "4096"), short, 4096, true},
		{"FAT of large sectors on 512", mkfs(t, short, 4, "-S", "4096"), short, 512, true},
		{"FAT on 512", mkfs(t, short, 4), short, 512, true},
		{"nobody's, on 512", []byte("whatever"), nil, 512, true},
		{"none", nil, nil, 4096, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Fit(tt.drive, tt.sector)
			if err != nil {
				t.Fatal(err)
			}
			if same := bytes.Equal(got, tt.drive); same != tt.same {
				t.Fatalf("the drive stays the same: %v, want %v", same, tt.same)
			}
			if tt.same {
				return
			}
			mustBeFAT(t, got, tt.sector, tt.files)
			again, err := readFAT(got)
			if diff := cmp.Diff(tt.files, contents(again)); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

// A drive of the largest size fits too: FAT16 then, and 64 MiB in a file.
func TestALargeDriveIsMadeForItsDisk(t *testing.T) {
	files := map[string]string{"openstack/latest/user_data": strings.Repeat("x", 40<<20), "openstack/latest/meta_data.json": "{}"}
	got, err := Fit(genisoimage(t, files, "-r"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	mustBeFAT(t, got, 4096, files)
}

func TestWhatCanNotBeMadeForADisk(t *testing.T) {
	link := plant(t, map[string]string{"openstack/latest/meta_data.json": "{}"})
	if err := os.Symlink("latest", filepath.Join(link, "openstack/link")); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(t.TempDir(), "iso")
	run(t, "genisoimage", "-quiet", "-r", "-V", Label, "-o", linked, link)
	ext := save(t, make([]byte, 4<<20))
	run(t, "mke2fs", "-q", "-b", "1024", ext)
	big := save(t, make([]byte, 4<<20))
	run(t, "mke2fs", "-q", "-b", "4096", big)
	cut := genisoimage(t, novaFiles(), "-r")
	for _, tt := range []struct {
		name  string
		drive []byte
		want  string
	}{
		{"a link", load(t, linked), "a symbolic link"},
		{"two of a name", genisoimage(t, map[string]string{"a/x": "", "a/X": ""}, "-r"), `FAT does not tell the names "X" apart`},
		{"a name that FAT does not have", genisoimage(t, map[string]string{"a/x:y": "1"}, "-r"), `FAT can not have a file of the name "x:y"`},
		{"ext2 of small blocks", load(t, ext),
			"is an ext4 file system with blocks of 1024 bytes, which cannot be read from this disk's sectors of 4096 bytes"},
		{"nobody's", []byte("whatever"),
			"is not known to be readable from it: give one with an ISO 9660, FAT or ext4 file system labelled config-2"},
		{"one that is cut off", cut[:len(cut)-400<<10], "are past its end"},
	} {
		if got, err := Fit(tt.drive, 4096); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d bytes, %v; want %s", tt.name, len(got), err, tt.want)
		}
	}
	if got, err := Fit(load(t, big), 4096); err != nil || len(got) != 4<<20 {
		t.Errorf("ext2 of large blocks: %d bytes, %v", len(got), err)
	}
}

// A drive is a user's: whatever it holds, the agent neither ends nor runs on.
func FuzzFit(f *testing.F) {
	small := map[string]string{"openstack/latest/meta_data.json": "{}", "openstack/latest/user_data": "#!"}
	iso := genisoimage(f, small, "-r", "-J")
	f.Add(iso[:60<<10])
	f.Add(mkfs(f, small, 1, "-F", "12")[:64<<10])
	f.Fuzz(func(t *testing.T, drive []byte) {
		got, err := Fit(drive, 4096)
		if err == nil && len(drive) > 0 && fatSector(got) != 4096 && extBlock(got) < 4096 {
			t.Errorf("%d bytes became %d that cannot be mounted", len(drive), len(got))
		}
		if err == nil && len(got) > 4*MaxSize {
			t.Errorf("%d bytes became %d", len(drive), len(got))
		}
	})
}

// Damage anywhere in what a reader goes by ends in a drive or in an error, never in a panic or without end.
func TestDamagedDrives(t *testing.T) {
	small := map[string]string{"openstack/latest/meta_data.json": "{}", "openstack/latest/user_data": "#!", "ec2/x": "y"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, drive := range map[string][]byte{
		"Rock Ridge": genisoimage(t, small, "-r"), "Joliet": genisoimage(t, small, "-J"), "FAT12": mkfs(t, small, 1, "-F", "12"),
		"FAT16": mkfs(t, small, 20, "-F", "16"), "FAT32": mkfs(t, small, 64, "-F", "32", "-s", "1"),
	} {
		var used []int // bytes that say something
		for i, b := range drive {
			if b != 0 && len(used) < 20000 {
				used = append(used, i)
			}
		}
		for range 300 {
			hurt := bytes.Clone(drive[:min(len(drive), 4<<20)])
			for range 1 + rnd.IntN(6) {
				if at := used[rnd.IntN(len(used))]; at < len(hurt) {
					hurt[at] = byte(rnd.Uint32())
				}
			}
			if got, err := Fit(hurt, 4096); err == nil && len(got) > 4*MaxSize {
				t.Fatalf("%s: %d bytes became %d", name, len(hurt), len(got))
			}
		}
	}
}
