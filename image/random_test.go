package image

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// maker writes qcow2 images by the specification, with data in no order at all: what no version of
// qemu-img makes, but a reader must take.
type maker struct {
	rnd      *rand.Rand
	bits     uint
	version  int
	zstd     bool
	clusters int // of the disk

	file []byte
	disk []byte
}

// make builds the image; disk is what must be read from it.
func (m *maker) make() {
	size := 1 << m.bits
	perTable := size / 8
	tables := (m.clusters + perTable - 1) / perTable
	m.disk = make([]byte, m.clusters*size-m.rnd.IntN(size))
	free := m.reserve(1 + (tables*8+size-1)/size + tables + m.clusters + 4)
	h := tiny(m.file)
	l1 := 1
	first := 1 + (tables*8+size-1)/size
	free = slices.DeleteFunc(free, func(c int) bool { return c < first })
	m.header(h, l1, tables)
	places := free
	take := func() int { c := places[0]; places = places[1:]; return c * size }
	h.put64(48, uint64(take())) // QEMU wants a table of reference counts, be it empty
	h.put32(56, 1)
	var packed []byte // the compressed clusters, put in a run of clusters at the end
	var later []func(base int)
	for t := range tables {
		table := take()
		h.put64(l1*size+8*t, uint64(table)|entryCopied)
		for i := range perTable {
			guest := t*perTable + i
			if guest >= m.clusters {
				break
			}
			at := table + 8*i
			switch m.rnd.IntN(5) {
			case 0: // never written
			case 1: // a zero cluster, here and there with space kept for it
				if m.version == 3 {
					h.put64(at, entryZero)
				}
			case 2:
				start := len(packed)
				packed = append(packed, m.compress(guest)...)
				length := len(packed) - start
				later = append(later, func(base int) {
					from := base + start
					sectors := (from+length-1)/512 - from/512
					h := tiny(m.file)
					h.put64(at, entryCompressed|uint64(sectors)<<(62-(m.bits-8))|uint64(from))
				})
			default:
				place := take()
				m.fill(m.file[place:place+size], guest)
				h.put64(at, uint64(place)|entryCopied)
			}
		}
	}
	base := len(m.file)
	m.file = append(m.file, packed...)
	for _, put := range later {
		put(base)
	}
}

// reserve makes room for n clusters and returns their numbers, shuffled.
func (m *maker) reserve(n int) []int {
	m.file = make([]byte, n<<m.bits)
	return m.rnd.Perm(n)
}

func (m *maker) header(h tiny, l1, tables int) {
	copy(h, qcow2Magic)
	h.put32(4, uint32(m.version))
	h.put32(20, uint32(m.bits))
	h.put64(24, uint64(len(m.disk)))
	h.put32(36, uint32(tables))
	h.put64(40, uint64(l1<<m.bits))
	if m.version == 3 {
		h.put32(96, 4)
		h.put32(100, 112)
		if m.zstd {
			h.put64(72, featureCompression)
			h[104] = 1
		}
	}
}

// fill puts a cluster's content into the file and the disk.
func (m *maker) fill(cluster []byte, guest int) {
	for i := range cluster {
		cluster[i] = byte(m.rnd.Uint32())
	}
	copy(m.disk[min(guest<<m.bits, len(m.disk)):], cluster)
}

// compress makes a cluster that compresses well and returns its stored form.
func (m *maker) compress(guest int) []byte {
	cluster := bytes.Repeat(fmt.Appendf(nil, "%08d", m.rnd.IntN(1e8)), 1<<m.bits/8)
	copy(m.disk[min(guest<<m.bits, len(m.disk)):], cluster)
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	if m.zstd {
		w, err = zstd.NewWriter(&out)
	} else {
		w, err = flate.NewWriter(&out, 6)
	}
	if err == nil {
		_, err = w.Write(cluster)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// TestRandomImages reads images with their data in any order, and lets QEMU read them too.
func TestRandomImages(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(24) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		m := &maker{rnd: rnd, bits: 9 + uint(seed%8), version: 3 - int(seed%3)/2, clusters: 1 + rnd.IntN(300)}
		m.zstd = m.version == 3 && seed%2 == 1
		name := fmt.Sprintf("seed %d: version %d, clusters of 2^%d, zstd %v", seed, m.version, m.bits, m.zstd)
		t.Run(name, func(t *testing.T) {
			m.make()
			path := writeFile(t, filepath.Join(dir, fmt.Sprintf("%d.qcow2", seed)), m.file)
			got, l := disk(t, path)
			if !bytes.Equal(got, m.disk) {
				t.Fatalf("the disk differs at byte %d of %d", firstDifference(got, m.disk), len(m.disk))
			}
			checkOrder(t, l)
			if seed%5 == 0 {
				readByQEMU(t, path, m.disk)
			}
		})
	}
}

// readByQEMU shows that the maker keeps to the specification. QEMU cuts a disk to whole sectors.
func readByQEMU(t *testing.T, path string, want []byte) {
	t.Helper()
	run(t, "qemu-img", "convert", "-t", "unsafe", "-f", "qcow2", "-O", "raw", path, path+".raw")
	got, err := os.ReadFile(path + ".raw")
	if err != nil {
		t.Fatal(err)
	}
	want = want[:len(want)&^511]
	if !bytes.Equal(got, want) {
		t.Errorf("QEMU reads it otherwise, from byte %d (%d bytes of %d)", firstDifference(got, want), len(got), len(want))
	}
}

// checkOrder checks what a writer relies on.
func checkOrder(t *testing.T, l *Layout) {
	t.Helper()
	guest := slices.SortedFunc(slices.Values(l.Extents), func(a, b Extent) int { return int(a.GuestOffset - b.GuestOffset) })
	for i := 1; i < len(guest); i++ {
		if a := guest[i-1]; a.GuestOffset+a.GuestLength > guest[i].GuestOffset {
			t.Errorf("%+v and %+v overlap on the disk", a, guest[i])
		}
	}
	for i := 1; i < len(l.Extents); i++ {
		if l.Extents[i-1].FileOffset >= l.Extents[i].FileOffset {
			t.Errorf("%+v comes before %+v", l.Extents[i-1], l.Extents[i])
		}
	}
	for i := 1; i < len(l.Metadata); i++ {
		if a := l.Metadata[i-1]; a.Offset+a.Length > l.Metadata[i].Offset {
			t.Errorf("tables %+v and %+v are out of order", a, l.Metadata[i])
		}
	}
}

// TestRandomDamage changes one byte of a good image at a time. Whatever is still accepted keeps to
// the file and to the disk.
func TestRandomDamage(t *testing.T) {
	m := &maker{rnd: rand.New(rand.NewPCG(3, 3)), bits: 9, version: 3, clusters: 100}
	m.make()
	accepted, refused := 0, 0
	for range 5000 {
		b := bytes.Clone(m.file)
		b[m.rnd.IntN(len(b))] ^= byte(1 << m.rnd.IntN(8))
		l, err := ReadLayout(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if _, ok := errors.AsType[*Refusal](err); !ok {
				t.Fatalf("not a refusal: %v", err)
			}
			refused++
			continue
		}
		accepted++
		checkOrder(t, l)
		for _, e := range l.Extents {
			if e.FileOffset+e.FileLength > int64(len(b)) || e.GuestOffset+e.GuestLength > l.VirtualSize {
				t.Fatalf("%+v leaves the file or the disk", e)
			}
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d accepted, %d refused: the test does not test", accepted, refused)
	}
}

// TestTooManyPieces: memory stays bounded, whatever a table of a few bytes per cluster claims.
func TestTooManyPieces(t *testing.T) {
	const bits, perTable = 21, 1 << 18
	const tables = MaxExtents/perTable + 1
	file := make(tiny, (2+tables)<<bits)
	data := len(file)
	file = append(file, make(tiny, MaxExtents+1)...)
	file.put32(4, 2)
	copy(file, qcow2Magic)
	file.put32(20, bits)
	file.put64(24, tables*perTable<<bits)
	file.put32(36, tables)
	file.put64(40, 1<<bits)
	for i := range tables {
		file.put64(1<<bits+8*i, uint64((2+i)<<bits))
	}
	for i := range MaxExtents + 1 {
		file.put64(2<<bits+8*i, entryCompressed|uint64(data+i))
	}
	_, err := ReadLayout(bytes.NewReader(file), int64(len(file)))
	want := "qcow2 image refused: its data lies in more than 2097152 pieces; rewrite it with larger clusters (qemu-img convert -o " +
		"cluster_size=2M)"
	if errText(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	file.put64(2<<bits+8*MaxExtents, 0)
	l, err := ReadLayout(bytes.NewReader(file), int64(len(file)))
	if err != nil || len(l.Extents) != MaxExtents {
		t.Errorf("one fewer: %v", err)
	}
}

// TestReadErrors has the reads fail one after the other: each says what was being read.
func TestReadErrors(t *testing.T) {
	b := newTiny()
	broken := errors.New("disk broken")
	wants := []string{
		"reading the image's first 2560 bytes: disk broken",
		"reading the image's last 512 bytes: disk broken",
		"reading the L1 table at byte 512: disk broken",
		"reading the L2 table at byte 1024: disk broken",
		"",
	}
	for good, want := range wants {
		r := &failing{Reader: bytes.NewReader(b), good: good, err: broken}
		_, err := ReadLayout(r, int64(len(b)))
		if errText(err) != want || want != "" && !errors.Is(err, broken) {
			t.Errorf("after %d reads: got %v, want %s", good, err, want)
		}
	}
	// A file that has become shorter than it was said to be.
	_, err := ReadLayout(bytes.NewReader(b), int64(len(b))+1)
	if want := "reading the image's first 2561 bytes: unexpected EOF"; errText(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// failing fails all reads after the first good ones.
type failing struct {
	*bytes.Reader
	good int
	err  error
}

func (f *failing) ReadAt(p []byte, at int64) (int, error) {
	if f.good--; f.good < 0 {
		return 0, f.err
	}
	return f.Reader.ReadAt(p, at)
}
