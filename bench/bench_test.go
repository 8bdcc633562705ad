// Package bench owns the figures that Billet promises: how fast it reads images, next to
// qemu-img in the same run, so that a slow machine does not look like slow code.
package bench

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/image"
)

// diskSize is the virtual size of the image that is read.
const diskSize = 256 << 20

// qemu runs qemu-img and says what to install without it.
func qemu(b *testing.B, args ...string) {
	b.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		b.Fatal("qemu-img is needed to compare with: apt-get install qemu-utils")
	} else if err != nil {
		b.Fatalf("qemu-img %v: %v\n%s", args, err, out)
	}
}

// source makes a disk like an installed system's: 60 % data, of which half compresses well.
var source = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "billet-bench-*")
	if err != nil {
		return "", err
	}
	sourceDir = dir
	f, err := os.Create(filepath.Join(dir, "disk.raw"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	piece := make([]byte, 1<<20)
	for at := int64(0); at < diskSize; at += int64(len(piece)) {
		kind := rnd.IntN(10)
		if kind >= 6 {
			continue
		}
		for i := range piece {
			piece[i] = byte(rnd.Uint32())
			if kind < 3 && i%8 != 0 {
				piece[i] = piece[i&^7]
			}
		}
		if _, err := f.WriteAt(piece, at); err != nil {
			return "", err
		}
	}
	return f.Name(), f.Truncate(diskSize)
})

// sourceDir is removed at the end; "" when no benchmark needed it.
var sourceDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if sourceDir != "" {
		os.RemoveAll(sourceDir)
	}
	os.Exit(code)
}

// BenchmarkRead turns a qcow2 image into a raw file, as `qemu-img convert -O raw` does, and reports
// how the times compare: x-qemu 0.5 means half of qemu-img's time.
func BenchmarkRead(b *testing.B) {
	for _, kind := range []struct {
		name string
		args []string
	}{
		{"plain", nil},
		{"zlib", []string{"-c"}},
		{"zstd", []string{"-c", "-o", "compression_type=zstd"}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			raw, err := source()
			if err != nil {
				b.Fatal(err)
			}
			dir := b.TempDir()
			img, ours, theirs := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "ours.raw"), filepath.Join(dir, "theirs.raw")
			qemu(b, append(append([]string{"convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2"}, kind.args...), raw, img)...)
			b.SetBytes(diskSize)
			var our, their time.Duration
			for b.Loop() {
				b.StopTimer()
				start := time.Now()
				qemu(b, "convert", "-t", "unsafe", "-f", "qcow2", "-O", "raw", img, theirs)
				their += time.Since(start)
				b.StartTimer()
				start = time.Now()
				if err := convert(img, ours); err != nil {
					b.Fatal(err)
				}
				our += time.Since(start)
			}
			if err := same(ours, raw); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(our.Seconds()/their.Seconds(), "x-qemu")
		})
	}
}

// convert reads an image extent by extent in file order, as the agent does, with two workers.
func convert(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	l, err := image.ReadLayout(in, st.Size())
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	work := make(chan image.Extent, 16)
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() { errs <- writeAll(in, out, work) }()
	}
	for _, e := range pieces(l.Extents) {
		work <- e
	}
	close(work)
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	return errors.Join(err, out.Truncate(l.VirtualSize))
}

// pieces cuts long plain extents into what one buffer holds.
func pieces(extents []image.Extent) []image.Extent {
	const most = 1 << 20
	var cut []image.Extent
	for _, e := range extents {
		for e.Compression == image.None && e.FileLength > most {
			head := e
			head.FileLength, head.GuestLength = most, most
			cut = append(cut, head)
			e.FileOffset, e.GuestOffset = e.FileOffset+most, e.GuestOffset+most
			e.FileLength, e.GuestLength = e.FileLength-most, e.GuestLength-most
		}
		cut = append(cut, e)
	}
	return cut
}

// writeAll empties work to its end even after an error, so that nobody waits for it.
func writeAll(in io.ReaderAt, out io.WriterAt, work <-chan image.Extent) (err error) {
	src, dst := make([]byte, 4<<20), make([]byte, 2<<20)
	for e := range work {
		if err != nil {
			continue
		}
		s, d := src[:e.FileLength], dst[:e.GuestLength]
		if _, err = in.ReadAt(s, e.FileOffset); err != nil {
			continue
		}
		if err = e.Decode(d, s); err == nil {
			_, err = out.WriteAt(d, e.GuestOffset)
		}
	}
	return err
}

// same compares two files by their SHA-256.
func same(a, b string) error {
	var sums [2][32]byte
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		h.Sum(sums[i][:0])
	}
	if sums[0] != sums[1] {
		return errors.New("the disk read differs from the disk the image was made of")
	}
	return nil
}

// BenchmarkLayout reads the tables alone: the cost of inspecting an image before a deploy.
func BenchmarkLayout(b *testing.B) {
	raw, err := source()
	if err != nil {
		b.Fatal(err)
	}
	img := filepath.Join(b.TempDir(), "disk.qcow2")
	qemu(b, "convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2", "-c", raw, img)
	f, err := os.Open(img)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := image.ReadLayout(f, st.Size()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHash streams a file through the checksums that images have.
func BenchmarkHash(b *testing.B) {
	raw, err := source()
	if err != nil {
		b.Fatal(err)
	}
	for _, algo := range []string{"sha256", "sha512", "md5"} {
		b.Run(algo, func(b *testing.B) {
			b.SetBytes(diskSize)
			for b.Loop() {
				h, err := image.NewHash(algo)
				if err != nil {
					b.Fatal(err)
				}
				if err := stream(h, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func stream(h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	_, err = io.CopyBuffer(h, struct{ io.Reader }{f}, buf)
	return err
}
