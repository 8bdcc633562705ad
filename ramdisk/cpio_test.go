package ramdisk

import (
	"bytes"
	"io/fs"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

var someFiles = []File{
	{Path: "modules/b.ko", Mode: 0o644, Data: []byte("bb")},
	{Path: "init", Mode: 0o755, Data: []byte("#!/x\n")},
	{Path: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
	{Path: "proc", Mode: fs.ModeDir | 0o555},
	{Path: "sbin/init", Mode: fs.ModeSymlink | 0o777, Data: []byte("../init")},
	{Path: "empty", Mode: 0o600},
}

// The real cpio is the judge of our bytes.
func TestArchiveReadsWithCpio(t *testing.T) {
	data, err := archive(someFiles)
	if err != nil {
		t.Fatal(err)
	}
	list := pipe(t, data, "cpio", "-tv", "--quiet", "--numeric-uid-gid")
	// mode, links, owner, group, size or device, date, name
	want := `
drwxr-xr-x   2 0        0               0 Jan  1  1970 dev
crw-------   1 0        0          5,   1 Jan  1  1970 dev/console
-rw-------   1 0        0               0 Jan  1  1970 empty
-rwxr-xr-x   1 0        0               5 Jan  1  1970 init
drwxr-xr-x   2 0        0               0 Jan  1  1970 modules
-rw-r--r--   1 0        0               2 Jan  1  1970 modules/b.ko
dr-xr-xr-x   2 0        0               0 Jan  1  1970 proc
drwxr-xr-x   2 0        0               0 Jan  1  1970 sbin
lrwxrwxrwx   1 0        0               7 Jan  1  1970 sbin/init -> ../init
`
	if diff := cmp.Diff(words(want), words(list)); diff != "" {
		t.Errorf("cpio lists otherwise (-want +got):\n%s", diff)
	}
	if got := pipe(t, data, "cpio", "-i", "--quiet", "--to-stdout", "modules/b.ko"); got != "bb" {
		t.Errorf("modules/b.ko holds %q, want bb", got)
	}
}

func TestArchiveBytes(t *testing.T) {
	got, err := archive([]File{{Path: "ab", Mode: 0o644, Data: []byte("xyz")}})
	if err != nil {
		t.Fatal(err)
	}
	want := "070701" + "00000001" + "000081A4" + "00000000" + "00000000" + "00000001" + "00000000" + "00000003" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000003" + "00000000" + "ab\x00" + "\x00\x00\x00" + "xyz\x00" +
		"070701" + "00000000" + "00008000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

func TestPackIsReproducible(t *testing.T) {
	first, err := pack(someFiles)
	if err != nil {
		t.Fatal(err)
	}
	turned := append(append([]File{}, someFiles[3:]...), someFiles[:3]...)
	second, err := pack(turned)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same files in another order gave other bytes")
	}
	var header zstd.Header
	if err := header.Decode(first); err != nil || header.Skippable {
		t.Fatalf("no zstd frame: %v", err)
	}
	if plain := pipe(t, first, "zstd", "-dc"); !strings.HasPrefix(plain, "070701") {
		t.Errorf("zstd -d gives %.10q, want a cpio archive", plain)
	}
}

func TestArchiveRefuses(t *testing.T) {
	for _, c := range []struct {
		files []File
		want  string
	}{
		{[]File{{Path: "/init"}}, `packing the ramdisk: "/init" is not a relative path`},
		{[]File{{Path: "a/../../b"}}, `packing the ramdisk: "a/../../b" is not a relative path`},
		{[]File{{Path: ""}}, `packing the ramdisk: "" is not a relative path`},
		{[]File{{Path: "init"}, {Path: "init"}}, `packing the ramdisk: init is there twice`},
	} {
		_, err := archive(c.files)
		if err == nil || err.Error() != c.want {
			t.Errorf("archive(%v) = %v, want %s", c.files, err, c.want)
		}
	}
}

func words(lines string) []string {
	var out []string
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}

// pipe runs a real program; a missing one fails the test and says where it comes from.
func pipe(t *testing.T, in []byte, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s (apt-get install %s)", name, err, said.String(), name)
	}
	return string(out)
}
