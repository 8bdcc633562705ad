package bootable

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

var mediaKinds = []string{"iso", "rock", "joliet", "fat12", "fat16", "fat32"}

// A token is found on each kind of medium, whatever lies beside it.
func TestMediaFile(t *testing.T) {
	for _, kind := range mediaKinds {
		t.Run(kind, func(t *testing.T) {
			files := map[string]string{"token": strings.Repeat("t", 4000), "empty": ""}
			for _, name := range []string{"params.txt", "token2", "atoken", "token.txt"} {
				files[name] = "not this"
			}
			for i := range 60 { // the directory goes over a block
				files["f"+strings.Repeat("x", 5)+string(rune('a'+i/26))+string(rune('a'+i%26))] = "x"
			}
			r := bytes.NewReader(disktest.Medium(t, kind, "ir-vfd-dev", files))
			for name, want := range files {
				got, found, err := MediaFile(r, "IR-VFD-DEV", name)
				if err != nil || !found || string(got) != want {
					t.Errorf("%s: %d bytes, %v, %v", name, len(got), found, err)
				}
			}
			for _, tt := range []struct{ label, name string }{{"ir-vfd-dev", "other"}, {"config-2", "token"}, {"", "token"}} {
				if _, found, err := MediaFile(r, tt.label, tt.name); found || err != nil {
					t.Errorf("%q on %q: %v, %v", tt.name, tt.label, found, err)
				}
			}
		})
	}
}

func TestNoMedium(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil, "one byte": {1}, "blank": make([]byte, 64<<10), "dirt": bytes.Repeat([]byte{disktest.Dirt}, 128<<10),
		"a disk": partitionedForMedia(),
	} {
		if _, found, err := MediaFile(bytes.NewReader(data), "ir-vfd-dev", "token"); found || err != nil {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

func partitionedForMedia() []byte {
	b := make([]byte, 64<<10)
	b[446+4], b[446+8], b[446+12], b[510], b[511] = 0x83, 1, 9, 0x55, 0xaa
	return b
}

// A medium that is labelled right but damaged is an error, and reading it ends.
func TestDamagedMedia(t *testing.T) {
	iso := disktest.Medium(t, "iso", "ir-vfd-dev", map[string]string{"token": "secret"})
	fat := disktest.Medium(t, "fat16", "ir-vfd-dev", map[string]string{"token": "secret"})
	root := int(binary.LittleEndian.Uint32(iso[16*isoSector+158:])) * isoSector
	record := root + bytes.Index(iso[root:], []byte("TOKEN")) - 33
	entry := bytes.Index(fat, []byte("TOKEN      "))
	for _, tt := range []struct {
		name   string
		data   []byte
		change func(b []byte)
		says   string
	}{
		{"ISO: large root", iso, func(b []byte) { binary.LittleEndian.PutUint32(b[16*isoSector+166:], 1<<31) },
			"reading the root directory: it has 2147483648 bytes"},
		{"ISO: root past the end", iso, func(b []byte) { binary.LittleEndian.PutUint32(b[16*isoSector+158:], 1<<20) },
			"reading the root directory: 0 of 2048 bytes"},
		{"ISO: short record", iso, func(b []byte) { b[root] = 5 }, "a record of 5 bytes at 0"},
		{"ISO: name longer than its record", iso, func(b []byte) { b[record+32] = 200 }, "the root directory is damaged"},
		{"ISO: large file", iso, func(b []byte) { binary.LittleEndian.PutUint32(b[record+10:], 1<<20) },
			"reading the file token: it has 1048576 bytes; 65536 are the most"},
		{"ISO: file past the end", iso, func(b []byte) { binary.LittleEndian.PutUint32(b[record+2:], 1<<30) },
			"reading the file token: 0 of 6 bytes"},
		{"FAT: large file", fat, func(b []byte) { binary.LittleEndian.PutUint32(b[entry+28:], 1<<20) },
			"the file token has 1048576 bytes; 65536 are the most"},
		{"FAT: ends too early", fat, func(b []byte) { binary.LittleEndian.PutUint32(b[entry+28:], 60<<10) }, "a file ends before its length"},
		{"FAT: no cluster", fat, func(b []byte) { binary.LittleEndian.PutUint16(b[entry+26:], 0) }, "the FAT is damaged"},
		{"FAT: cluster past the end", fat, func(b []byte) { binary.LittleEndian.PutUint16(b[entry+26:], 0xfff0) }, "the FAT is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(tt.data)
			tt.change(b)
			_, _, err := MediaFile(bytes.NewReader(b), "ir-vfd-dev", "token")
			disktest.WantError(t, err, tt.says)
		})
	}
}

// FuzzMediaFile: media come from whoever has the BMC; reading one never panics and stays small.
func FuzzMediaFile(f *testing.F) {
	for _, kind := range []string{"iso", "fat12"} {
		data := disktest.Medium(f, kind, "ir-vfd-dev", map[string]string{"token": "secret"})
		f.Add(data[:min(len(data), 64<<10)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		data, found, err := MediaFile(bytes.NewReader(b), "ir-vfd-dev", "token")
		if len(data) > maxMediaFile || !found && len(data) > 0 || !found && err == nil && data != nil {
			t.Errorf("%d bytes, %v, %v", len(data), found, err)
		}
	})
}

// A medium's links and names lead nowhere: it is read by its blocks, and what it holds never becomes a path here.
func TestMediaLeadNowhere(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "medium")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "genisoimage", "-R", "-quiet", "-V", "ir-vfd-dev", "-o", path, dir)
	if data, _, err := MediaFile(bytes.NewReader(disktest.Read(t, path)), "ir-vfd-dev", "token"); len(data) > 0 || err != nil {
		t.Errorf("a link was followed: %q, %v", data, err)
	}
	iso := disktest.Medium(t, "iso", "ir-vfd-dev", map[string]string{"token": "secret"})
	at := bytes.Index(iso, []byte("TOKEN.;1"))
	copy(iso[at:], "../../x;")
	for _, name := range []string{"token", "../../x", "x"} {
		if data, found, err := MediaFile(bytes.NewReader(iso), "ir-vfd-dev", name); found && name != "../../x" ||
			err != nil || found && string(data) != "secret" {
			t.Errorf("%s: %q, %v, %v", name, data, found, err)
		}
	}
}
