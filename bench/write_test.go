package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/wire"
)

// targetSize is the disk written to: a little larger than the image, as disks are.
const targetSize = diskSize + 64<<20

// BenchmarkWrite deploys an image as the agent does (over HTTP, hashed, past the page cache, sparse
// ranges zeroed, flushed) onto a used disk, and reports how its time compares with a tool that does
// less: x-dd for `dd oflag=direct bs=1M` of the raw file, which neither downloads nor hashes, and
// x-qemu for `qemu-img convert -n -t none` of the local qcow2. For raw, x-tools compares with the
// tools that do the same work: curl, sha256sum and dd on one pipe.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []struct{ name, format, peer string }{
		{"raw", "raw", "x-dd"}, {"qcow2", "qcow2", "x-qemu"}, {"zlib", "qcow2", "x-qemu"}, {"zstd", "qcow2", "x-qemu"},
	} {
		b.Run(kind.name, func(b *testing.B) {
			raw, err := source()
			if err != nil {
				b.Fatal(err)
			}
			img := imageFile(b, kind.name, raw)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, img) }))
			defer server.Close()
			info := wire.ImageInfo{ID: kind.name, URLs: []string{server.URL}, DiskFormat: kind.format, HashAlgo: "sha256", HashValue: sumOf(b, img)}
			ours, theirs := usedDisk(b), usedDisk(b)
			b.SetBytes(diskSize)
			var our, their, tools times
			for b.Loop() {
				b.StopTimer()
				start := time.Now()
				peer(b, kind.format, img, theirs)
				their.add(start)
				if kind.format == "raw" {
					start = time.Now()
					sameWork(b, server.URL, theirs)
					tools.add(start)
				}
				b.StartTimer()
				start = time.Now()
				deploy(b, server.Client(), info, ours)
				our.add(start)
			}
			b.StopTimer()
			compareDisk(b, ours, raw)
			b.ReportMetric(our.median()/their.median(), kind.peer)
			if len(tools) > 0 {
				b.ReportMetric(our.median()/tools.median(), "x-tools")
			}
		})
	}
}

// BenchmarkPace writes the raw image to disks of a given speed and reports by how much it takes longer than
// the disk itself needs for as many bytes, zeros included: x-disk 1.1 is 10 % more. The disk keeps nothing.
// That is the agent's own share where, as on most machines, the disk is what is waited for; the server runs
// on the same processors.
func BenchmarkPace(b *testing.B) {
	for _, mb := range []float64{100, 250, 500, 1000} {
		b.Run(fmt.Sprintf("%vMBps", mb), func(b *testing.B) {
			raw, err := source()
			if err != nil {
				b.Fatal(err)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, raw) }))
			defer server.Close()
			info := wire.ImageInfo{ID: "raw", URLs: []string{server.URL}, DiskFormat: "raw", HashAlgo: "sha256", HashValue: sumOf(b, raw)}
			var took times
			for b.Loop() {
				d := &paced{perByte: float64(time.Second) / (mb * 1e6)}
				w := write.Writer{Client: server.Client(), Log: slog.New(slog.DiscardHandler)}
				start := time.Now()
				if _, err := w.WriteImage(context.Background(), d, info, ""); err != nil {
					b.Fatal(err)
				}
				took.add(start)
				if d.bytes < diskSize {
					b.Fatalf("%d bytes reached the disk, of %d", d.bytes, diskSize)
				}
			}
			b.ReportMetric(took.median()/(diskSize/(mb*1e6)), "x-disk")
		})
	}
}

// paced is a disk that takes so much a second, and reads as zeros.
type paced struct {
	perByte float64 // nanoseconds
	mu      sync.Mutex
	free    time.Time // when it has done all that it was given
	bytes   int64
}

func (p *paced) take(n int64) {
	p.mu.Lock()
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) * p.perByte))
	p.bytes += n
	until := p.free
	p.mu.Unlock()
	time.Sleep(time.Until(until))
}

func (p *paced) Depth() int                             { return 4 }
func (p *paced) Size() int64                            { return targetSize }
func (p *paced) SectorSize() int64                      { return 512 }
func (p *paced) Sync() error                            { return nil }
func (p *paced) Zero(_, n int64) error                  { p.take(n); return nil }
func (p *paced) WriteAt(b []byte, _ int64) (int, error) { p.take(int64(len(b))); return len(b), nil }
func (p *paced) ReadAt(b []byte, _ int64) (int, error)  { clear(b); return len(b), nil }

// times are compared by their medians: what else runs on the machine hits some rounds and not others.
type times []time.Duration

func (t *times) add(start time.Time) { *t = append(*t, time.Since(start)) }

func (t times) median() float64 {
	slices.Sort(t)
	return t[len(t)/2].Seconds()
}

// imageFile is the source in the format asked for.
func imageFile(b *testing.B, kind, raw string) string {
	b.Helper()
	if kind == "raw" {
		return raw
	}
	options := map[string][]string{"zlib": {"-c"}, "zstd": {"-c", "-o", "compression_type=zstd"}}[kind]
	img := filepath.Join(b.TempDir(), "disk.qcow2")
	qemu(b, append(append([]string{"convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2"}, options...), raw, img)...)
	return img
}

// usedDisk is a file that is full of something else.
func usedDisk(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	dirt := bytes.Repeat([]byte{0xa5}, 1<<20)
	for range targetSize >> 20 {
		if _, err := f.Write(dirt); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return path
}

func peer(b *testing.B, format, img, target string) {
	b.Helper()
	if format == "qcow2" {
		qemu(b, "convert", "-n", "-t", "none", "-f", "qcow2", "-O", "raw", img, target)
	} else if out, err := exec.Command("dd", "if="+img, "of="+target, "oflag=direct", "bs=1M",
		"conv=notrunc,fsync").CombinedOutput(); err != nil {
		b.Fatalf("dd: %v\n%s", err, out)
	}
}

// sameWork downloads, hashes and writes with the ordinary tools.
func sameWork(b *testing.B, url, target string) {
	b.Helper()
	script := `set -o pipefail; curl -sf "$1" | tee >(sha256sum >/dev/null) | dd iflag=fullblock oflag=direct bs=1M conv=notrunc,fsync of="$2"`
	if out, err := exec.Command("bash", "-c", script, "bash", url, target).CombinedOutput(); err != nil {
		b.Fatalf("curl, tee, sha256sum and dd: %v\n%s", err, out)
	}
}

func deploy(b *testing.B, client *http.Client, info wire.ImageInfo, target string) {
	b.Helper()
	d, err := disk.Open(target)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	w := write.Writer{Client: client, Log: slog.New(slog.DiscardHandler)}
	if _, err := w.WriteImage(context.Background(), d, info, ""); err != nil {
		b.Fatal(err)
	}
}

func sumOf(b *testing.B, path string) string {
	b.Helper()
	h := sha256.New()
	if err := stream(h, path); err != nil {
		b.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// compareDisk compares the whole image with what is on the disk.
func compareDisk(b *testing.B, target, raw string) {
	b.Helper()
	f, err := os.Open(target)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, f, diskSize); err != nil {
		b.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sumOf(b, raw) {
		b.Fatal("the disk differs from the image")
	}
}
