package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// run calls a program of qemu-utils and fails the test, saying what to install, without it.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed to compare with: apt-get install qemu-utils", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rawFile writes a sparse raw image with runs of noise, text, zeros and holes.
func rawFile(t testing.TB, dir string, size int64) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("source-%d.raw", size))
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, uint64(size)))
	for at := int64(0); at < size; {
		length := min(int64(512+rnd.IntN(150_000)), size-at)
		piece := make([]byte, length)
		switch rnd.IntN(4) {
		case 0: // noise does not compress
			for i := range piece {
				piece[i] = byte(rnd.Uint32())
			}
		case 1: // text does
			copy(piece, bytes.Repeat(fmt.Appendf(nil, "line %d of the disk\n", at), len(piece)/18+1))
		case 2: // zeros, written
		case 3: // a hole
			at += length
			continue
		}
		if _, err := f.WriteAt(piece, at); err != nil {
			t.Fatal(err)
		}
		at += length
	}
	return path
}

// open opens an image for reading until the test ends.
func open(t testing.TB, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, st.Size()
}

// disk assembles the whole disk of an image, as a writer would.
func disk(t testing.TB, path string) ([]byte, *Layout) {
	t.Helper()
	f, size := open(t, path)
	l, err := ReadLayout(f, size)
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(path), err)
	}
	whole := make([]byte, l.VirtualSize)
	for _, e := range l.Extents {
		src := make([]byte, e.FileLength)
		if err := readAt(f, src, e.FileOffset); err != nil {
			t.Fatalf("%s: %+v: %v", filepath.Base(path), e, err)
		}
		if err := e.Decode(whole[e.GuestOffset:e.GuestOffset+e.GuestLength], src); err != nil {
			t.Fatalf("%s: %v", filepath.Base(path), err)
		}
	}
	return whole, l
}

// TestAgainstQEMU makes images of every shape with qemu-img and reads each back to the same bytes
// as qemu-img does.
func TestAgainstQEMU(t *testing.T) {
	dir := t.TempDir()
	type shape struct {
		size     int64
		options  string
		compress bool
	}
	var shapes []shape
	for _, cluster := range []string{"512", "4k", "64k", "2M"} {
		for _, compat := range []string{"0.10", "1.1"} {
			shapes = append(shapes, shape{3<<20 + 1536, "compat=" + compat + ",cluster_size=" + cluster, false})
			shapes = append(shapes, shape{3<<20 + 512, "compat=" + compat + ",cluster_size=" + cluster, true})
		}
		shapes = append(shapes, shape{3<<20 + 512, "compression_type=zstd,cluster_size=" + cluster, true})
	}
	for _, cluster := range []string{"16k", "64k", "2M"} {
		for _, kind := range []string{"", ",compression_type=zstd"} {
			shapes = append(shapes, shape{3<<20 + 512, "extended_l2=on,cluster_size=" + cluster + kind, false},
				shape{3<<20 + 512, "extended_l2=on,cluster_size=" + cluster + kind, true})
		}
	}
	shapes = append(shapes,
		shape{1 << 20, "compat=0.10,cluster_size=1k,preallocation=metadata", false},
		shape{3 << 20, "cluster_size=2M,preallocation=metadata", false},
		shape{3<<20 + 512, "preallocation=falloc", false},
		shape{3<<20 + 512, "preallocation=full", false},
		shape{20 << 20, "cluster_size=4k", false}, // many L2 tables
		shape{20 << 20, "cluster_size=4k", true},
		shape{512, "cluster_size=2M", false},
		shape{1 << 20, "lazy_refcounts=on,refcount_bits=1", false},
		shape{1 << 20, "refcount_bits=64", false},
	)
	for _, s := range shapes {
		name := fmt.Sprintf("%d %s compressed=%v", s.size, s.options, s.compress)
		t.Run(name, func(t *testing.T) {
			source := rawFile(t, dir, s.size)
			path := filepath.Join(t.TempDir(), "image.qcow2")
			args := []string{"convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2", "-o", s.options}
			if s.compress {
				args = append(args, "-c")
			}
			run(t, "qemu-img", append(args, source, path)...)
			layout := compareWithQEMU(t, path)
			if strings.Contains(s.options, "extended_l2") {
				return // qemu-img map says where subclusters would be that are not there
			}
			if g, w := placesOf(layout), placesByQEMU(t, path); !slices.Equal(g, w) {
				t.Errorf("data lies at\n%v\nqemu-img map says\n%v", g, w)
			}
		})
	}
}

// compareWithQEMU checks that the whole disk is what qemu-img convert makes of the image.
func compareWithQEMU(t *testing.T, path string) *Layout {
	t.Helper()
	got, layout := disk(t, path)
	raw := path + ".raw"
	run(t, "qemu-img", "convert", "-t", "unsafe", "-f", "qcow2", "-O", "raw", path, raw)
	want, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the disk differs from qemu-img's at byte %d of %d (qemu-img has %d)", firstDifference(got, want), len(got), len(want))
	}
	return layout
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// place is where a run of disk bytes lies; File is -1 for compressed ones, as qemu-img map does
// not say.
type place struct{ Guest, Length, File int64 }

func placesOf(l *Layout) []place {
	var ps []place
	for _, e := range l.Extents {
		p := place{e.GuestOffset, e.GuestLength, e.FileOffset}
		if e.Compression != None {
			p.File = -1
		}
		ps = append(ps, p)
	}
	return join(ps)
}

func placesByQEMU(t *testing.T, path string) []place {
	t.Helper()
	var runs []struct {
		Start, Length int64
		Data, Zero    bool
		Offset        *int64
	}
	if err := json.Unmarshal([]byte(run(t, "qemu-img", "map", "-f", "qcow2", "--output=json", path)), &runs); err != nil {
		t.Fatal(err)
	}
	var ps []place
	for _, r := range runs {
		switch {
		case r.Zero && r.Offset == nil: // a hole, or a zero cluster
		case r.Offset == nil && r.Data:
			ps = append(ps, place{r.Start, r.Length, -1})
		case r.Offset != nil && (r.Data || r.Zero):
			// Allocated, though the file may have a hole there.
			ps = append(ps, place{r.Start, r.Length, *r.Offset})
		}
	}
	return join(ps)
}

func join(ps []place) []place {
	slices.SortFunc(ps, func(a, b place) int { return int(a.Guest - b.Guest) })
	var joined []place
	for _, p := range ps {
		if n := len(joined); n > 0 {
			last := &joined[n-1]
			together := last.File == -1 && p.File == -1 || last.File >= 0 && p.File == last.File+last.Length
			if together && last.Guest+last.Length == p.Guest {
				last.Length += p.Length
				continue
			}
		}
		joined = append(joined, p)
	}
	return joined
}

// TestImagesMadeByWriting covers what convert never makes: snapshots, zero clusters over data,
// discarded clusters, compressed next to plain ones.
func TestImagesMadeByWriting(t *testing.T) {
	tests := []struct {
		name, options string
		steps         []string // qemu-io commands; "snapshot" is qemu-img's
	}{
		{"scattered writes", "", []string{"write -P 1 9M 1M", "write -P 2 0 64k", "write -P 3 5M 512"}},
		{"zeros over data", "", []string{"write -P 1 0 4M", "write -z 1M 1M", "write -z -u 3M 64k"}},
		{"discarded", "", []string{"write -P 1 0 4M", "discard 1M 1M"}},
		{"old format, discarded", "compat=0.10", []string{"write -P 1 0 4M", "discard 1M 1M"}},
		{"compressed among plain", "", []string{"write -c -P 7 0 64k", "write -P 1 64k 1M", "write -c -P 8 2M 64k"}},
		{"snapshot, then changed", "", []string{"write -P 1 0 2M", "snapshot", "write -P 2 1M 2M"}},
		{"subclusters", "extended_l2=on",
			[]string{"write -P 1 9M 1M", "write -P 2 2k 2k", "write -P 3 5M 512", "write -P 4 5261312 6k", "write -P 5 10485760 1024"}},
		{"subclusters of zeros", "extended_l2=on",
			[]string{"write -P 1 0 4M", "write -z 1M 6k", "write -z -u 2054k 2k", "discard 3M 1M", "write -P 2 3147776 2k"}},
		{"subclusters, all places taken", "extended_l2=on,preallocation=metadata",
			[]string{"write -P 1 4k 2k", "write -P 2 1M 1M", "write -z 1M 2k"}},
		{"subclusters, compressed among plain", "extended_l2=on,compression_type=zstd",
			[]string{"write -c -P 7 0 64k", "write -P 1 66k 2k", "write -c -P 8 2M 64k"}},
		{"subclusters, snapshot", "extended_l2=on,cluster_size=16k",
			[]string{"write -P 1 0 2M", "snapshot", "write -P 2 1M 2M", "write -P 3 512 512"}},
		{"last cluster cut", "", []string{"write -P 9 10485760 1024"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.qcow2")
			args := []string{"create", "-f", "qcow2"}
			if tt.options != "" {
				args = append(args, "-o", tt.options)
			}
			run(t, "qemu-img", append(args, path, "10486784")...)
			for _, step := range tt.steps {
				if step == "snapshot" {
					run(t, "qemu-img", "snapshot", "-c", "before", path)
					continue
				}
				run(t, "qemu-io", "-t", "unsafe", "-f", "qcow2", "-c", step, path)
			}
			compareWithQEMU(t, path)
		})
	}
}
