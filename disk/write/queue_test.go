package write

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/image"
)

// watched is a disk that takes several requests at a time and remembers them. Before, when set, is called
// ahead of each write and may fail it.
type watched struct {
	disk.Disk
	depth  int
	before func(off, n int64) error

	mu       sync.Mutex
	running  int
	most     int      // requests at one time
	done     []string // in the order in which they ended
	complete []span
}

func (w *watched) Depth() int { return w.depth }

func (w *watched) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running++
	w.most = max(w.most, w.running)
}

func (w *watched) leave(what string, off, n int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	if err == nil {
		w.done = append(w.done, fmt.Sprintf("%s %d+%d", what, off, n))
		w.complete = append(w.complete, span{off, n})
	}
}

func (w *watched) WriteAt(p []byte, off int64) (n int, err error) {
	w.enter()
	defer func() { w.leave("write", off, int64(len(p)), err) }()
	if w.before != nil {
		if err := w.before(off, int64(len(p))); err != nil {
			return 0, err
		}
	}
	return w.Disk.WriteAt(p, off)
}

func (w *watched) Zero(off, n int64) (err error) {
	w.enter()
	defer func() { w.leave("zero", off, n, err) }()
	return w.Disk.Zero(off, n)
}

func (w *watched) Sync() (err error) {
	w.enter()
	defer func() { w.leave("sync", 0, 0, err) }()
	if w.running > 1 {
		return errors.New("flushed while a write was under way")
	}
	return w.Disk.Sync()
}

// holds reports whether all requests of a range have ended.
func (w *watched) holds(from, to int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for moved := true; moved && from < to; {
		moved = false
		for _, s := range w.complete {
			if s.offset <= from && from < s.offset+s.length {
				from, moved = s.offset+s.length, true
			}
		}
	}
	return from >= to
}

// leftBehind fails when goroutines of a write still run.
func leftBehind(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, name := range []string{"disk.newQueue", "disk.pipeline", "disk.fill"} {
		if bytes.Contains(stacks, []byte(name)) {
			t.Errorf("%s still runs:\n%s", name, stacks)
			return
		}
	}
}

// slowly lets writes end in another order than they began.
func slowly(off, _ int64) error {
	time.Sleep(time.Duration(off>>20*7919%13) * time.Millisecond / 2)
	return nil
}

// As many writes as the disk takes are under way at a time, and never more.
func TestWritesOverlap(t *testing.T) {
	for _, depth := range []int{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			w := &watched{Disk: &memory{make([]byte, 64<<20)}, depth: depth, before: func(int64, int64) error {
				time.Sleep(time.Second)
				return nil
			}}
			ctx, cancel := context.WithCancelCause(t.Context())
			q := newQueue(w, cancel)
			start := time.Now()
			for i := range 16 {
				r, err := q.get()
				if err != nil {
					t.Fatal(err)
				}
				dst, err := r.room(joinSize)
				if err != nil {
					t.Fatal(err)
				}
				copy(dst, bytes.Repeat([]byte{byte(i)}, joinSize))
				r.at = int64(i) << 20
				if err := q.submit(r); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.wait(); err != nil {
				t.Fatal(err)
			}
			q.close()
			if took, want := time.Since(start), time.Duration(16/depth)*time.Second; took != want || w.most != depth || ctx.Err() != nil {
				t.Errorf("depth %d: %s with %d at a time, want %s", depth, took, w.most, want)
			}
			for i := range 16 {
				if got := w.Disk.(*memory).content[i<<20]; got != byte(i) {
					t.Errorf("MiB %d holds %d", i, got)
				}
			}
		})
	}
}

// What has ended counts once everything before it in the file has ended too.
func TestWrittenCountsTheBeginningOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := [4]chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
		w := &watched{Disk: &memory{make([]byte, 4<<20)}, depth: 4, before: func(off, _ int64) error {
			<-gates[off>>20]
			return nil
		}}
		q := newQueue(w, func(error) {})
		defer q.close()
		for i := range int64(4) {
			r, err := q.get()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.room(4096); err != nil {
				t.Fatal(err)
			}
			r.at, r.upto = i<<20, (i+1)*100
			if err := q.submit(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			open int
			want int64
		}{{2, 0}, {1, 0}, {0, 300}, {3, 400}} {
			close(gates[step.open])
			synctest.Wait()
			if got := q.written(); got != step.want {
				t.Errorf("after request %d: %d, want %d", step.open, got, step.want)
			}
		}
	})
}

// One of several writes under way fails: that error comes out, what waits is dropped, and the others'
// ends are waited for.
func TestOneOfSeveralWritesFails(t *testing.T) {
	broken := errors.New("medium error")
	for _, bad := range []int64{0, 3, 9} {
		synctest.Test(t, func(t *testing.T) {
			w := &watched{Disk: &memory{make([]byte, 32<<20)}, depth: 4}
			var begun atomic.Int32
			w.before = func(off, _ int64) error {
				begun.Add(1)
				if off>>20 == bad {
					time.Sleep(time.Millisecond)
					return broken
				}
				time.Sleep(time.Second)
				return nil
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			q := newQueue(w, cancel)
			var err error
			for i := int64(0); i < 32 && err == nil; i++ {
				var r *request
				if r, err = q.get(); err != nil {
					break
				}
				if _, err = r.room(joinSize); err != nil {
					t.Fatal(err)
				}
				r.at, r.upto = i<<20, (i+1)<<20
				err = q.submit(r)
			}
			if !errors.Is(err, broken) || !errors.Is(context.Cause(ctx), broken) {
				t.Errorf("bad MiB %d: %v; the others were told %v", bad, err, context.Cause(ctx))
			}
			if err := q.wait(); !errors.Is(err, broken) {
				t.Errorf("waiting: %v", err)
			}
			q.close()
			if n := int64(begun.Load()); n > bad+4 || w.running != 0 {
				t.Errorf("bad MiB %d: %d writes were begun, %d still run", bad, n, w.running)
			}
			if got := q.written(); got > bad<<20 {
				t.Errorf("bad MiB %d: %d bytes count as written", bad, got)
			}
		})
	}
}

// A disk that takes less than it was given has failed, even if it says nothing.
func TestShortWrite(t *testing.T) {
	q := newQueue(short{&memory{make([]byte, 4<<20)}}, func(error) {})
	defer q.close()
	r, err := q.get()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.room(8192); err != nil {
		t.Fatal(err)
	}
	r.at = 1 << 20
	if err := q.submit(r); err != nil {
		t.Fatal(err)
	}
	err = q.wait()
	disktest.WantError(t, err, "writing 8192 bytes at 1048576 of the disk: 4096 were written")
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

type short struct{ disk.Disk }

func (s short) WriteAt(p []byte, off int64) (int, error) { return s.Disk.WriteAt(p[:len(p)/2], off) }

// Requests that share a sector with others run alone; those that do not, together.
func TestUnalignedRequestsRunAlone(t *testing.T) {
	for _, tt := range []struct {
		off   int64
		n     int
		alone bool
	}{{512, 4096, true}, {0, 4095, true}, {4096, 4096, false}, {8192, 512, true}, {1 << 20, 1 << 20, false}} {
		synctest.Test(t, func(t *testing.T) {
			w := &watched{Disk: &memory{make([]byte, 8<<20)}, depth: 4, before: func(int64, int64) error {
				time.Sleep(time.Second)
				return nil
			}}
			q := newQueue(w, func(error) {})
			defer q.close()
			for _, at := range []span{{4 << 20, 4096}, {tt.off, int64(tt.n)}, {5 << 20, 4096}} {
				r, err := q.get()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.room(int(at.length)); err != nil {
					t.Fatal(err)
				}
				r.at = at.offset
				if err := q.submit(r); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.wait(); err != nil {
				t.Fatal(err)
			}
			if alone := w.most == 1; alone != tt.alone {
				t.Errorf("%d bytes at %d: %d requests at a time", tt.n, tt.off, w.most)
			}
		})
	}
}

func TestDepths(t *testing.T) {
	d := dirtyDisk(t, 4<<20)
	h, err := hold(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		d    disk.Disk
		want int
	}{
		{"a device", d, 4},
		{"held", h, 4},
		{"a partition", disk.Within(h, 1<<20, 1<<20), 4},
		{"a partition that is not aligned", disk.Within(h, 1<<20+512, 1<<20), 1},
		{"a disk that says nothing", &memory{}, 1},
		{"a partition of it", disk.Within(&memory{}, 1<<20, 1<<20), 1},
		{"nonsense", &watched{depth: -3}, 1},
	} {
		if got := disk.DepthOf(tt.d); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// packed is a layout of everything there is, in the file's order: compressed clusters packed byte by byte,
// plain ones, zeros written out, pieces of odd lengths, and gaps.
func packed(t *testing.T, rnd *rand.Rand, cluster int64, clusters int) (*image.Layout, []byte, []byte) {
	t.Helper()
	l, want := &image.Layout{VirtualSize: cluster * int64(clusters), ClusterSize: cluster}, make([]byte, cluster*int64(clusters))
	var file bytes.Buffer
	file.Write(make([]byte, 1024))
	for _, i := range rnd.Perm(clusters) {
		at := int64(i) * cluster
		content := want[at : at+cluster]
		kind := rnd.IntN(6)
		if i%16 < 12 && kind < 2 {
			kind = 2 + i%2
		}
		if kind == 0 {
			continue // a gap
		}
		if kind > 1 {
			copy(content, disktest.Pattern(int(cluster)-rnd.IntN(int(cluster)/2)))
			for j := 0; kind > 3 && j < len(content); j += 3 {
				content[j] = byte(i)
			}
		}
		e := image.Extent{FileOffset: int64(file.Len()), FileLength: cluster, GuestOffset: at, GuestLength: cluster}
		if kind < 4 {
			file.Write(content)
		} else {
			w, err := flate.NewWriter(&file, flate.BestSpeed)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(content)
			w.Close()
			e.FileLength, e.Compression = int64(file.Len())-e.FileOffset, image.Zlib
			if over := rnd.Int64N(3) * 100; over > 0 { // what follows is the sector's rest
				file.Write(make([]byte, over))
				e.FileLength += over
			}
		}
		l.Extents = append(l.Extents, e)
	}
	return l, file.Bytes(), want
}

// However requests overtake each other, and however the file is cut, the disk holds what it must.
func TestQueueIsLikeMemory(t *testing.T) {
	for seed, cluster := range []int64{512, 4096, 64 << 10, 2 << 20, 1536, 3000} {
		rnd := rand.New(rand.NewPCG(uint64(seed), 3))
		l, file, want := packed(t, rnd, cluster, int(min(3000, 24<<20/cluster)))
		size := (l.VirtualSize+1<<20)/512*512 + 512*int64(seed%2)
		d := dirtyDisk(t, size)
		if err := zeroGaps(d, l, t.Context().Err); err != nil {
			t.Fatal(err)
		}
		w := &watched{Disk: d, depth: 4, before: slowly}
		ctx, cancel := context.WithCancelCause(t.Context())
		q := newQueue(w, cancel)
		s := &sink{queue: q, extents: append([]image.Extent(nil), l.Extents...)}
		in := iotestReader(rnd, file)
		err := pipeline(ctx, testPool(t), reading(in), func(*chunk) error { return nil }, s.take)
		if err == nil {
			err = s.finish()
		}
		q.close()
		if err != nil {
			t.Fatalf("clusters of %d: %v", cluster, err)
		}
		got := contents(t, d)
		if i := disktest.FirstDifference(got[:len(want)], want); i >= 0 {
			t.Errorf("clusters of %d: differs at %d", cluster, i)
		}
		if !bytes.Equal(got[len(want):], bytes.Repeat([]byte{disktest.Dirt}, len(got)-len(want))) {
			t.Errorf("clusters of %d: the disk behind the image was changed", cluster)
		}
		last := l.Extents[len(l.Extents)-1]
		if w.most > 4 || q.written() != last.FileOffset+last.FileLength {
			t.Errorf("clusters of %d: %d at a time, %d of %d written", cluster, w.most, q.written(), len(file))
		}
	}
	leftBehind(t)
}

// iotestReader gives a file in pieces of any size.
func iotestReader(rnd *rand.Rand, file []byte) io.Reader {
	r := bytes.NewReader(file)
	return readerFunc(func(p []byte) (int, error) { return r.Read(p[:1+rnd.IntN(len(p))]) })
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A cluster that is damaged is found by whichever worker decodes it.
func TestDamagedClusterAmongOthers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	l, file, _ := packed(t, rnd, 64<<10, 300)
	for _, e := range l.Extents[len(l.Extents)/2:] {
		if e.Compression != image.None {
			file[e.FileOffset] |= 6 // a block type that deflate does not have
			break
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	q := newQueue(&watched{Disk: &memory{make([]byte, l.VirtualSize)}, depth: 4}, cancel)
	s := &sink{queue: q, extents: l.Extents}
	err := pipeline(ctx, testPool(t), reading(bytes.NewReader(file)), func(*chunk) error { return nil }, s.take)
	if err == nil {
		err = s.finish()
	}
	q.close()
	if refused := (*image.Refusal)(nil); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	disktest.WantError(t, err, "is damaged")
}

// oddImage is a raw image without partitions, of any length.
func oddImage(n int) []byte {
	b := disktest.Pattern(n)
	clear(b[2<<20 : 3<<20])
	return b
}

// The last block may be of any length, on disks whose end is at any sector.
func TestLastBlockOfAnyLength(t *testing.T) {
	for _, over := range []int{1, 511, 512, 4095, 4097, 256<<10 + 1, 1<<20 - 1} {
		raw := oddImage(5<<20 + over)
		s := serveFile(t, raw)
		for _, size := range []int64{8 << 20, 8<<20 + 512} {
			d := dirtyDisk(t, size)
			if _, err := write(t, s, &watched{Disk: d, depth: 4, before: slowly}, imageOf(s.URL, "raw", raw), ""); err != nil {
				t.Fatalf("%d bytes: %v", len(raw), err)
			}
			got := contents(t, d)
			if i := disktest.FirstDifference(got[:len(raw)], raw); i >= 0 {
				t.Errorf("%d bytes on a disk of %d: differs at %d", len(raw), size, i)
			}
			if !bytes.Equal(got[len(raw):size-headSize], bytes.Repeat([]byte{disktest.Dirt}, int(size)-headSize-len(raw))) {
				t.Errorf("%d bytes on a disk of %d: what follows was changed", len(raw), size)
			}
		}
	}
}

// While many writes are under way at a time, the first MiB is wiped before all of them and written after.
func TestFirstMiBWithWritesSideBySide(t *testing.T) {
	raw := rawImage(t)
	for _, format := range []string{"raw", "qcow2"} {
		file := raw
		if format == "qcow2" {
			file = convert(t, raw, "-c", "-O", "qcow2")
		}
		s := serveFile(t, file)
		d := dirtyDisk(t, 20<<20)
		w := &watched{Disk: d, depth: 4, before: slowly}
		if _, err := write(t, s, w, imageOf(s.URL, format, file), ""); err != nil {
			t.Fatal(err)
		}
		disktest.Verify(t, d.Path())
		if got := strings.Join(w.done[:3], "|"); got != "zero 0+1048576|zero 19922944+1048576|sync 0+0" {
			t.Errorf("%s: the start was %s", format, got)
		}
		if got := strings.Join(w.done[len(w.done)-5:], "|"); got != "sync 0+0|write 4096+1044480|sync 0+0|write 0+4096|sync 0+0" {
			t.Errorf("%s: the end was %s", format, got)
		}
		for _, op := range w.done[3 : len(w.done)-5] {
			var what string
			var off, n int64
			if _, err := fmt.Sscanf(op, "%s %d+%d", &what, &off, &n); err != nil || what != "sync" && off < headSize {
				t.Errorf("%s: %s touches the first MiB in the middle", format, op)
			}
		}
	}
}

// The disk's own words, with its name and the place, come out when the disk goes away in the middle.
func TestDiskGoesAwayWithWritesUnderWay(t *testing.T) {
	raw := disktest.Pattern(24 << 20)
	s := serveFile(t, raw)
	d := dirtyDisk(t, 32<<20)
	path := d.Path()
	w := &watched{Disk: d, depth: 4}
	w.before = func(off, _ int64) error {
		if off == 10<<20 {
			return d.Close()
		}
		return nil
	}
	_, err := write(t, s, w, imageOf(s.URL, "raw", raw), "")
	disktest.WantError(t, err, "writing the image: writing 1048576 bytes at ", " of "+path+": ")
	leftBehind(t)
	if head := contents(t, d)[:headSize]; !bytes.Equal(head, make([]byte, headSize)) {
		t.Error("the disk may boot")
	}
}

// Nothing is done to a disk any more when a write that was cancelled returns, and it stays unbootable.
func TestCancelledWithWritesUnderWay(t *testing.T) {
	raw := disktest.Pattern(24 << 20)
	s := serveFile(t, raw)
	d := dirtyDisk(t, 32<<20)
	asked := errors.New("asked to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	var after atomic.Int32
	w := &watched{Disk: d, depth: 4}
	w.before = func(off, _ int64) error {
		if ctx.Err() != nil {
			after.Add(1)
		}
		if off == 8<<20 {
			cancel(asked)
		}
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	_, err := writer(s).WriteImage(ctx, w, imageOf(s.URL, "raw", raw), "")
	if !errors.Is(err, asked) {
		t.Errorf("got %v", err)
	}
	w.mu.Lock()
	running, ended := w.running, len(w.done)
	w.mu.Unlock()
	if running != 0 || after.Load() > 8 {
		t.Errorf("%d writes still run, %d were begun after the end was asked for", running, after.Load())
	}
	time.Sleep(50 * time.Millisecond)
	if len(w.done) != ended {
		t.Error("the disk was written to after the write had ended")
	}
	leftBehind(t)
	if head := contents(t, d)[:headSize]; !bytes.Equal(head, make([]byte, headSize)) {
		t.Error("the disk may boot")
	}
}

// A disk that is slower than the network holds the download back: memory stays what it is.
func TestSlowDiskHoldsTheDownloadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 200 << 20
		var read, wrote atomic.Int64
		file := io.LimitReader(readerFunc(func(p []byte) (int, error) {
			for i := 0; i < len(p); i += 4096 {
				p[i] = 1
			}
			if ahead := read.Add(int64(len(p))) - wrote.Load(); ahead > chunks*chunkSize {
				t.Errorf("%d bytes were read ahead of the disk", ahead)
			}
			return len(p), nil
		}), size)
		w := &watched{Disk: nowhere{}, depth: 4}
		w.before = func(_, n int64) error {
			time.Sleep(time.Second)
			wrote.Add(n)
			return nil
		}
		q := newQueue(w, func(error) {})
		s := &sink{queue: q, extents: []image.Extent{{FileLength: size, GuestLength: size}}}
		start := time.Now()
		err := pipeline(t.Context(), testPool(t), reading(file), func(*chunk) error { return nil }, s.take)
		if err == nil {
			err = s.finish()
		}
		q.close()
		if err != nil || wrote.Load() != size || q.written() != size {
			t.Errorf("%d of %d written, %v", wrote.Load(), size, err)
		}
		if took := time.Since(start); took != 50*time.Second {
			t.Errorf("took %s: 200 writes of a second, 4 at a time, take 50", took)
		}
	})
}

// nowhere is a disk without content.
type nowhere struct{}

func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Size() int64                            { return 1 << 40 }
func (nowhere) SectorSize() int64                      { return 512 }
func (nowhere) Zero(offset, length int64) error        { return nil }
func (nowhere) Sync() error                            { return nil }

// What progress says is written is on the disk at that moment.
func TestProgressCountsWhatIsOnTheDisk(t *testing.T) {
	raw := disktest.Pattern(20 << 20)
	s := serveFile(t, raw)
	watch := &watched{Disk: dirtyDisk(t, 24<<20), depth: 4, before: slowly}
	w := writer(s)
	var last int64
	steps := 0
	w.Progress = func(detail string, done, total int64) {
		if detail != "writing" {
			return
		}
		if done > last {
			steps++
		}
		if done < last || !watch.holds(headSize, done) {
			t.Errorf("%d after %d is told, but not all of it is on the disk", done, last)
		}
		last = done
	}
	if _, err := w.WriteImage(t.Context(), watch, imageOf(s.URL, "raw", raw), ""); err != nil {
		t.Fatal(err)
	}
	if steps < 3 {
		t.Errorf("progress moved %d times over 20 MiB", steps)
	}
}

// An error of the disk ends a download that hangs, at once.
func TestDiskErrorEndsAHangingDownload(t *testing.T) {
	raw := disktest.Pattern(8 << 20)
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if r.Header.Get("Range") != "" {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
		w.Write(raw[:3<<20])
		w.(http.Flusher).Flush()
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	broken := errors.New("medium error")
	w := &watched{Disk: dirtyDisk(t, 16<<20), depth: 4, before: func(off, _ int64) error {
		if off >= headSize {
			time.Sleep(100 * time.Millisecond)
			return broken
		}
		return nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), stallTimeout/2)
	defer cancel()
	if _, err := writer(s).WriteImage(ctx, w, imageOf(s.URL, "raw", raw), ""); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	leftBehind(t)
}
