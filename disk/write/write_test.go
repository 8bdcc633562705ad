package write

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

const imageSize = 12 << 20

// rawImage has a partition table, data, and long stretches of zeros.
func rawImage(t testing.TB) []byte {
	b := disktest.Partitioned(t, imageSize)
	clear(b[4<<20 : 7<<20+123])
	clear(b[9<<20 : 10<<20])
	clear(b[1<<20+300<<10 : 1<<20+301<<10])
	return b
}

// convert makes another format of a raw image with QEMU.
func convert(t testing.TB, raw []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "raw"), filepath.Join(dir, "converted")
	if err := os.WriteFile(from, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "qemu-img", append(append([]string{"convert", "-f", "raw"}, args...), from, to)...)
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fitted is what a disk must hold after raw was written to it: the table moved to its end, all that
// is not the image's left alone, but for the last MiB.
func fitted(t testing.TB, raw []byte, size int64) []byte {
	t.Helper()
	d := dirtyDisk(t, size)
	if _, err := d.WriteAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Zero(max(int64(len(raw)), size-headSize), min(headSize, size-int64(len(raw)))); err != nil {
		t.Fatal(err)
	}
	if err := disk.FitTable(d, int64(len(raw))); err != nil {
		t.Fatal(err)
	}
	return contents(t, d)
}

func TestWriteImageGivesTheImageByteForByte(t *testing.T) {
	raw := rawImage(t)
	for _, tt := range []struct {
		name, format string
		file         []byte
		diskSize     int64
	}{
		{"raw", "raw", raw, 20 << 20},
		{"raw as large as the disk", "raw", raw, imageSize},
		{"raw declared as gpt", "gpt", raw, 20 << 20},
		{"qcow2", "qcow2", convert(t, raw, "-O", "qcow2"), 20 << 20},
		{"qcow2 as large as the disk", "qcow2", convert(t, raw, "-O", "qcow2"), imageSize},
		{"qcow2 version 2", "qcow2", convert(t, raw, "-O", "qcow2", "-o", "compat=0.10"), 20 << 20},
		{"qcow2 with deflate", "qcow2", convert(t, raw, "-c", "-O", "qcow2"), 20 << 20},
		{"qcow2 with zstd", "qcow2", convert(t, raw, "-c", "-O", "qcow2", "-o", "compression_type=zstd"), 20 << 20},
		{"qcow2, clusters of 512 bytes", "qcow2", convert(t, raw, "-O", "qcow2", "-o", "cluster_size=512"), 20 << 20},
		{"qcow2, clusters of 2 MiB", "qcow2", convert(t, raw, "-O", "qcow2", "-o", "cluster_size=2M"), 20 << 20},
		{"qcow2 with deflate, clusters of 2 MiB", "qcow2", convert(t, raw, "-c", "-O", "qcow2", "-o", "cluster_size=2M"), 20 << 20},
		{"qcow2 with subclusters", "qcow2", convert(t, raw, "-O", "qcow2", "-o", "extended_l2=on"), 20 << 20},
		{"qcow2 with subclusters, deflate", "qcow2", convert(t, raw, "-c", "-O", "qcow2", "-o", "extended_l2=on"), 20 << 20},
		{"qcow2 with subclusters, zstd, 2 MiB", "qcow2",
			convert(t, raw, "-c", "-O", "qcow2", "-o", "extended_l2=on,cluster_size=2M,compression_type=zstd"), 20 << 20},
		{"qcow2, everything allocated", "qcow2", convert(t, raw, "-S", "0", "-O", "qcow2"), 20 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := fitted(t, raw, tt.diskSize)
			s := serveFile(t, tt.file)
			d := dirtyDisk(t, tt.diskSize)
			done, err := write(t, s, d, imageOf(s.URL+"/image", tt.format, tt.file), "")
			if err != nil {
				t.Fatal(err)
			}
			if done.FileSize != int64(len(tt.file)) || done.Size != imageSize {
				t.Errorf("%+v", done)
			}
			if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
				t.Errorf("the disk differs at byte %d", i)
			}
		})
	}
}

// A raw image may end anywhere, in the middle of a sector.
func TestWriteImageOfAnOddSize(t *testing.T) {
	raw := disktest.Pattern(3<<20 + 777)
	s := serveFile(t, raw)
	d := dirtyDisk(t, 8<<20)
	if _, err := write(t, s, d, imageOf(s.URL, "raw", raw), ""); err != nil {
		t.Fatal(err)
	}
	got := contents(t, d)
	if i := disktest.FirstDifference(got[:len(raw)], raw); i >= 0 {
		t.Errorf("differs at %d", i)
	}
	if !bytes.Equal(got[len(raw):7<<20], bytes.Repeat([]byte{disktest.Dirt}, 7<<20-len(raw))) {
		t.Error("the disk behind the image was changed")
	}
}

// untouched fails unless the disk holds what it held.
func untouched(t testing.TB, d *disk.Device) {
	t.Helper()
	if b := contents(t, d); bytes.Count(b, []byte{disktest.Dirt}) != len(b) {
		t.Error("the disk was changed")
	}
}

// wiped fails unless nothing on the disk could boot.
func wiped(t testing.TB, d *disk.Device) {
	t.Helper()
	b := contents(t, d)
	if !bytes.Equal(b[:headSize], make([]byte, headSize)) || !bytes.Equal(b[len(b)-headSize:], make([]byte, headSize)) {
		t.Error("the disk still has something in its first or last MiB")
	}
}

func TestWrongChecksumLeavesTheDiskUnbootable(t *testing.T) {
	raw := rawImage(t)
	for _, format := range []string{"raw", "qcow2"} {
		file := raw
		if format == "qcow2" {
			file = convert(t, raw, "-O", "qcow2")
		}
		s := serveFile(t, file)
		d := dirtyDisk(t, 20<<20)
		img := imageOf(s.URL+"/debian.img?signature=secret", format, file)
		right := img.HashValue
		img.HashValue = strings.Repeat("0123456789abcdef", 4)
		_, err := write(t, s, d, img, "")
		disktest.WantError(t, err, "the image from "+s.URL+"/debian.img has the wrong sha256 checksum: expected "+img.HashValue+", got "+right)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the URL's signature: %v", err)
		}
		wiped(t, d)
	}
}

func TestRefusedBeforeAnythingIsWritten(t *testing.T) {
	raw := rawImage(t)
	qcow2 := convert(t, raw, "-O", "qcow2")
	backed := filepath.Join(t.TempDir(), "backed.qcow2")
	disktest.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-u", "-b", "/etc/shadow", backed, "10M")
	stolen, err := os.ReadFile(backed)
	if err != nil {
		t.Fatal(err)
	}
	md5sum := md5.Sum(raw)
	for _, tt := range []struct {
		name   string
		file   []byte
		change func(*wire.ImageInfo)
		drive  string
		want   []string
	}{
		{name: "larger than the disk", file: convert(t, make([]byte, 60<<20), "-O", "qcow2"),
			want: []string{"image the-image needs 62914560 bytes (60.0 MiB), but the disk has 20971520 (20.0 MiB)"}},
		{name: "declared as raw", file: qcow2, change: func(i *wire.ImageInfo) { i.DiskFormat = "raw" },
			want: []string{"declared as raw but its content is qcow2"}},
		{name: "declared as qcow2", file: raw, want: []string{"declared as qcow2 but its content is gpt"}},
		{name: "backing file", file: stolen, want: []string{"inspecting image the-image", "backing file"}},
		{name: "no checksum", file: qcow2, change: func(i *wire.ImageInfo) { i.HashValue = "" },
			want: []string{"image the-image has no checksum", "os_hash_algo"}},
		{name: "unknown checksum", file: qcow2, change: func(i *wire.ImageInfo) { i.HashAlgo = "crc32" },
			want: []string{`"crc32"`, "allowed are sha512, sha3_512"}},
		{name: "short checksum", file: qcow2, change: func(i *wire.ImageInfo) { i.HashValue = "abcd" }, want: []string{"must be 64 hex digits"}},
		{name: "MD5", file: qcow2, change: func(i *wire.ImageInfo) { i.HashValue = ""; i.Checksum = hex.EncodeToString(md5sum[:]) },
			want: []string{"only an MD5 checksum"}},
		{name: "no URL", file: qcow2, change: func(i *wire.ImageInfo) { i.URLs = nil }, want: []string{"image the-image has no URL"}},
		{name: "file URL", file: qcow2, change: func(i *wire.ImageInfo) { i.URLs = []string{"file:///etc/shadow"} },
			want: []string{"http and https are allowed"}},
		{name: "not there", file: qcow2, change: func(i *wire.ImageInfo) { i.URLs[0] += "/404" },
			want: []string{"/404: the server answered 404 Not Found"}},
		{name: "partition image", file: qcow2, change: func(i *wire.ImageInfo) { i.ImageType = "partition" },
			want: []string{"a partition image needs root_mb"}},
		{name: "config drive in clear", file: qcow2, drive: "not base64!", want: []string{"the config drive is not base64"}},
		{name: "config drive not packed", file: qcow2, drive: "AAAA", want: []string{"the config drive is not gzipped"}},
		{name: "empty file", file: nil, want: []string{"does not say how long the image is, or it is empty"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("/image", func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(tt.file))
			})
			s := httptest.NewServer(mux)
			defer s.Close()
			d := dirtyDisk(t, 20<<20)
			img := imageOf(s.URL+"/image", "qcow2", tt.file)
			if tt.change != nil {
				tt.change(&img)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err := writer(s).WriteImage(ctx, d, img, tt.drive)
			disktest.WantError(t, err, tt.want...)
			if !bytes.Equal(contents(t, d), bytes.Repeat([]byte{disktest.Dirt}, 20<<20)) {
				t.Error("the disk was changed")
			}
		})
	}
}

func TestPermittedFormats(t *testing.T) {
	raw := rawImage(t)
	qcow2 := convert(t, raw, "-O", "qcow2")
	for _, tt := range []struct {
		format string
		file   []byte
		permit []string
		want   string
	}{
		{"qcow2", qcow2, []string{"raw"}, "image the-image is qcow2; this service permits [raw]"},
		{"raw", raw, []string{"qcow2"}, "image the-image is gpt; this service permits [qcow2]"},
		{"raw", raw, []string{"raw"}, ""},
		{"qcow2", qcow2, []string{"raw", "qcow2"}, ""},
	} {
		s := serveFile(t, tt.file)
		w := writer(s)
		w.Formats = tt.permit
		_, err := w.WriteImage(t.Context(), dirtyDisk(t, 20<<20), imageOf(s.URL, tt.format, tt.file), "")
		if tt.want != "" {
			disktest.WantError(t, err, tt.want)
		} else if err != nil {
			t.Errorf("%s with %v: %v", tt.format, tt.permit, err)
		}
	}
}

func TestChecksumForms(t *testing.T) {
	raw := rawImage(t)
	long, short := sha512.Sum512(raw), md5.Sum(raw)
	s := serveFile(t, raw)
	for _, tt := range []struct {
		name string
		set  func(*wire.ImageInfo)
	}{
		{"sha512 by name", func(i *wire.ImageInfo) { i.HashAlgo, i.HashValue = "sha512", hex.EncodeToString(long[:]) }},
		{"sha512 by length", func(i *wire.ImageInfo) { i.HashAlgo, i.HashValue, i.Checksum = "", "", hex.EncodeToString(long[:]) }},
		{"sha256 by length, in capitals", func(i *wire.ImageInfo) { i.Checksum, i.HashAlgo, i.HashValue = strings.ToUpper(i.HashValue), "", "" }},
		{"md5 where allowed", func(i *wire.ImageInfo) { i.HashAlgo, i.HashValue, i.Checksum = "", "", hex.EncodeToString(short[:]) }},
		{"os_hash beats md5", func(i *wire.ImageInfo) { i.Checksum = strings.Repeat("0", 32) }},
	} {
		img := imageOf(s.URL, "raw", raw)
		tt.set(&img)
		w := writer(s)
		w.MD5 = true
		if _, err := w.WriteImage(t.Context(), dirtyDisk(t, 20<<20), img, ""); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestProgressIsTold(t *testing.T) {
	raw := rawImage(t)
	s := serveFile(t, raw)
	var last atomic.Value
	var before int64
	w := writer(s)
	w.Progress = func(detail string, done, total int64) {
		if done < before || total != int64(len(raw)) {
			t.Errorf("%s: %d of %d after %d", detail, done, total, before)
		}
		before = done
		last.Store(fmt.Sprintf("%s: %d of %d", detail, done, total))
	}
	if _, err := w.WriteImage(t.Context(), dirtyDisk(t, 20<<20), imageOf(s.URL, "raw", raw), ""); err != nil {
		t.Fatal(err)
	}
	if got := last.Load(); got != "checksum verified: 12582912 of 12582912" {
		t.Errorf("the last was %q", got)
	}
}
