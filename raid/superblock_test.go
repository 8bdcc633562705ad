package raid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/ramdisk"
)

// put writes a superblock of version 1, with its checksum, as md does (md_p.h; the sum of its 32-bit
// words, folded).
func put(b []byte, at int64, level, members int32, uuid, name string) {
	s := b[at:][:256+2*8]
	u32, u64 := binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	u32(s, magic)
	u32(s[4:], 1)
	for i := range 16 {
		s[16+i] = uuid[i]
	}
	copy(s[32:64], name)
	u32(s[72:], uint32(level))
	u64(s[80:], 2048) // size
	u32(s[92:], uint32(members))
	u64(s[136:], 2048) // data_size
	u64(s[144:], uint64(at/512))
	u32(s[220:], 8) // max_dev: 16 bytes of roles follow
	var sum uint64
	for i := 0; i < len(s); i += 4 {
		sum += uint64(binary.LittleEndian.Uint32(s[i:]))
	}
	u32(s[216:], uint32(sum)+uint32(sum>>32))
}

// program takes the ramdisk's mdadm out of its package, and returns how to call it here.
func program(t *testing.T) []string {
	t.Helper()
	files, err := ramdisk.Programs(t.Context(), ramdisk.Options{}, []string{"mdadm", "libudev1", "libc6"}, []string{"sbin/mdadm"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.Data, f.Mode)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{filepath.Join(dir, "lib64/ld-linux-x86-64.so.2"), "--library-path", filepath.Join(dir, "lib/x86_64-linux-gnu"),
		filepath.Join(dir, "sbin/mdadm")}
}

func TestReadSuperblock(t *testing.T) {
	const size = 4<<20 + 3*512
	mdadm := program(t)
	end := int64((size/512 - 16) / 8 * 8 * 512)
	for minor, at := range map[int]int64{0: end, 1: 0, 2: 4096} {
		disk := make([]byte, size)
		put(disk, at, 1, 2, "0123456789abcdef", "any:root")
		s, err := ReadSuperblock(bytes.NewReader(disk), size)
		want := Superblock{UUID: "30313233:34353637:38396162:63646566", Name: "any:root", Level: 1, Members: 2, Minor: minor}
		if err != nil || s != want {
			t.Errorf("version 1.%d: %+v, %v; want %+v", minor, s, err, want)
		}
		// mdadm reads the same in it.
		file := filepath.Join(t.TempDir(), "member")
		if err := os.WriteFile(file, disk, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(mdadm[0], append(mdadm[1:], "--examine", file)...).CombinedOutput()
		if err != nil {
			t.Fatalf("mdadm: %v: %s", err, out)
		}
		for _, word := range []string{"Array UUID : " + want.UUID, "Name : any:root", "Raid Level : raid1", "Raid Devices : 2"} {
			if !strings.Contains(string(out), word) {
				t.Errorf("version 1.%d: mdadm does not say %q: %s", minor, word, out)
			}
		}
	}
	old := make([]byte, size)
	at := int64(size/512&^127-128) * 512
	binary.LittleEndian.PutUint32(old[at:], magic)
	if s, err := ReadSuperblock(bytes.NewReader(old), size); err != nil || s.Minor != -1 {
		t.Errorf("version 0.90: %+v, %v", s, err)
	}
}

func TestNoSuperblock(t *testing.T) {
	const size = 1 << 20
	moved := make([]byte, size) // a copy of one that lay elsewhere
	put(moved, 4096, 1, 2, "0123456789abcdef", "x")
	copy(moved, moved[4096:8192])
	clear(moved[4096:8192])
	for name, disk := range map[string][]byte{"zeros": make([]byte, size), "nothing": {}, "a sector": make([]byte, 512), "a copy": moved} {
		if s, err := ReadSuperblock(bytes.NewReader(disk), int64(len(disk))); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := ReadSuperblock(broken{}, size); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("a disk that cannot be read: %v", err)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("medium error") }

func FuzzReadSuperblock(f *testing.F) {
	disk := make([]byte, 128<<10)
	put(disk, 4096, 1, 2, "0123456789abcdef", "any:root")
	f.Add(disk)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, disk []byte) {
		s, err := ReadSuperblock(bytes.NewReader(disk), int64(len(disk)))
		if err == nil && s.Minor >= 0 && !isUUID(s.UUID) {
			t.Errorf("%+v", s)
		}
	})
}

func TestUUIDs(t *testing.T) {
	for range 3 {
		if u := NewUUID(); !isUUID(u) || u == NewUUID() {
			t.Errorf("%q", u)
		}
	}
	for _, s := range []string{"", "any", "30313233:34353637:38396162:6364656", "3031323334353637:38396162:63646566",
		"g0313233:34353637:38396162:63646566", "--uuid=x"} {
		if isUUID(s) {
			t.Errorf("%q counts as a UUID", s)
		}
	}
}
