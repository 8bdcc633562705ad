package write

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/disk/disktest"
)

// packedBy is what a real program makes of a file; the command reads standard input.
func packedBy(t testing.TB, file []byte, command string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "bash", "-ec", "set -o pipefail; cd "+dir+"; { "+command+"; } < in > out")
	b, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPackedImagesByteForByte: a disk holds the same after a packed image as after the image itself, and the
// checksum is the packed file's.
func TestPackedImagesByteForByte(t *testing.T) {
	raw := rawImage(t)
	odd := disktest.Pattern(3<<20 + 777)
	for _, tt := range []struct{ name, command string }{
		{"gzip, two pieces", "head -c 1000000 | gzip -1; tail -c +1000001 in | gzip -1"}, {"xz, many blocks", "xz -0 --block-size=1MiB"},
		{"zstd of a file", "zstd -q -1 -c in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := packedBy(t, raw, tt.command)
			s := serveFile(t, file)
			for _, format := range []string{"raw", "gpt"} {
				d := dirtyDisk(t, 20<<20)
				done, err := write(t, s, d, imageOf(s.URL+"/image", format, file), "")
				if err != nil {
					t.Fatal(err)
				}
				if done.FileSize != int64(len(file)) || done.Size != imageSize {
					t.Errorf("%+v", done)
				}
				if i := disktest.FirstDifference(contents(t, d), fitted(t, raw, 20<<20)); i >= 0 {
					t.Errorf("the disk differs at byte %d", i)
				}
			}
			file = packedBy(t, odd, tt.command)
			s = serveFile(t, file)
			d := dirtyDisk(t, 8<<20)
			if _, err := write(t, s, d, imageOf(s.URL, "raw", file), ""); err != nil {
				t.Fatal(err)
			}
			got := contents(t, d)
			if i := disktest.FirstDifference(got[:len(odd)], odd); i >= 0 || got[len(odd)] != disktest.Dirt {
				t.Errorf("an odd size: it differs at %d, %x behind it", i, got[len(odd)])
			}
		})
	}
}

// TestPackedImagesThatDoNotFit: a bomb is refused by what comes out of it. What says its size is refused before
// anything is written; of another no byte past the room is written, and the disk is left unbootable.
func TestPackedImagesThatDoNotFit(t *testing.T) {
	large := make([]byte, 64<<20)
	copy(large, rawImage(t)[:2<<20])
	for _, tt := range []struct {
		name, command string
		before        bool // nothing was written
		want          string
	}{
		{"gzip", "gzip", false, "packed with gzip, holds more than the 20971520 bytes (20.0 MiB) there are for it; the disk was left unbootable"},
		{"xz", "xz -0", true, "image the-image needs 67108864 bytes (64.0 MiB), but the disk has 20971520 (20.0 MiB)"},
		{"xz, which says less", "head -c 1000000 | xz -0 > ../a; xz -0 < in > ../b; cat ../b ../a",
			false, "packed with xz, holds more than the 20971520 bytes"},
		{"zstd", "zstd -q", false, "packed with zstd, holds more than the 20971520 bytes"},
		{"zstd of a file", "zstd -q -c in", true, "but the disk has 20971520"},
		{"zstd, pieces that say their sizes", "zstd -q -c in | cat - <(head -c 100 in | zstd -q)", true, "but the disk has 20971520"},
		{"a thousand to one", "dd if=/dev/zero bs=1M count=300 status=none | gzip", false, "holds more than the 20971520 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := packedBy(t, large, tt.command)
			s := serveFile(t, file)
			d := dirtyDisk(t, 20<<20)
			_, err := write(t, s, d, imageOf(s.URL, "raw", file), "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			got := contents(t, d)
			if untouched := bytes.Equal(got, bytes.Repeat([]byte{disktest.Dirt}, len(got))); untouched != tt.before {
				t.Errorf("nothing was written: %v", untouched)
			}
			if !tt.before && !bytes.Equal(got[:512], make([]byte, 512)) {
				t.Error("the disk may still be bootable")
			}
		})
	}
}

// TestPackedImagesThatAreDamaged: never done when what came was not what was asked for.
func TestPackedImagesThatAreDamaged(t *testing.T) {
	raw := rawImage(t)[:4<<20]
	file := packedBy(t, raw, "zstd -q -1 --check")
	gz, xz := packedBy(t, raw, "gzip -1"), packedBy(t, raw, "xz -0")
	flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
	for _, tt := range []struct {
		name string
		file []byte
		sum  []byte // the checksum is this one's
		want string
	}{
		{"another checksum", file, gz, "the image from "},
		{"gzip, a byte", flip(gz, len(gz)/2), nil, "unpacking it (gzip): "},
		{"gzip, its own sum", flip(gz, len(gz)-6), nil, "unpacking it (gzip): "},
		{"xz, a byte", flip(xz, len(xz)/2), nil, "unpacking it (xz): "},
		{"zstd, a byte", flip(file, len(file)/2), nil, "unpacking it (zstd): "},
		{"gzip, cut", gz[:len(gz)-100], nil, "unpacking it (gzip): "},
		{"xz, cut", xz[:len(xz)-100], nil, "unpacking it (xz): "},
		{"zstd, cut", file[:len(file)-100], nil, "unpacking it (zstd): "},
		{"gzip, something behind", append(bytes.Clone(gz), "something behind"...), nil, "unpacking it (gzip): "},
		{"zstd, something behind", append(bytes.Clone(file), "something behind"...), nil, "unpacking it (zstd): "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveFile(t, tt.file)
			d := dirtyDisk(t, 20<<20)
			sum := tt.sum
			if sum == nil {
				sum = tt.file
			}
			_, err := write(t, s, d, imageOf(s.URL, "raw", sum), "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			got := contents(t, d)
			if untouched := bytes.Equal(got, bytes.Repeat([]byte{disktest.Dirt}, len(got))); !untouched &&
				!bytes.Equal(got[:512], make([]byte, 512)) {
				t.Error("the disk may still be bootable")
			}
		})
	}
}

// TestPackedImageOverABrokenLine: a download that breaks goes on where it broke.
func TestPackedImageOverABrokenLine(t *testing.T) {
	raw := rawImage(t)
	file := packedBy(t, raw, "gzip -1")
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if strings.HasSuffix(r.Header.Get("Range"), "-") || r.Header.Get("Range") == "" {
			if asked.Add(1) < 4 {
				w = &shortAnswer{w, 1 << 20}
			}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}))
	t.Cleanup(s.Close)
	d := dirtyDisk(t, 20<<20)
	if _, err := write(t, s, d, imageOf(s.URL, "raw", file), ""); err != nil {
		t.Fatal(err)
	}
	if i := disktest.FirstDifference(contents(t, d), fitted(t, raw, 20<<20)); i >= 0 {
		t.Errorf("the disk differs at byte %d", i)
	}
	if asked.Load() < 4 {
		t.Errorf("the line broke %d times", asked.Load()-1)
	}
}

// shortAnswer breaks a connection off after so many bytes.
type shortAnswer struct {
	http.ResponseWriter
	left int
}

func (s *shortAnswer) Write(p []byte) (int, error) {
	if s.left < len(p) {
		s.ResponseWriter.Write(p[:s.left])
		s.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	s.left -= len(p)
	return s.ResponseWriter.Write(p)
}

// TestPackedImageAndConfigDrive: the config drive gets its place behind what was unpacked, and an image that leaves
// none is refused by its real size.
func TestPackedImageAndConfigDrive(t *testing.T) {
	raw := rawImage(t)
	file := packedBy(t, raw, "gzip")
	s := serveFile(t, file)
	for size, fits := range map[int64]bool{20 << 20: true, imageSize: false} {
		d := dirtyDisk(t, size)
		_, err := write(t, s, d, imageOf(s.URL, "raw", file), pack(t, disktest.Pattern(300<<10)))
		if (err == nil) != fits {
			t.Errorf("a disk of %d bytes: %v", size, err)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("holds more than the %d bytes", size-300<<10)) &&
			!strings.Contains(err.Error(), "config drive") {
			t.Errorf("a disk of %d bytes: %v", size, err)
		}
	}
}
