package write

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/image"
)

// mortal is a disk whose power fails after some operations that change it. What was asked for
// before is on the medium; with torn, half of the write under way is as well.
type mortal struct {
	disk.Disk
	left int
	torn bool
	done []string // the operations, for people
}

var errPower = errors.New("the power has failed")

func (m *mortal) spend(what string, off, n int64) bool {
	m.left--
	if m.left >= 0 {
		m.done = append(m.done, fmt.Sprintf("%s %d+%d", what, off, n))
	}
	return m.left >= 0
}

func (m *mortal) WriteAt(p []byte, off int64) (int, error) {
	if m.spend("write", off, int64(len(p))) {
		return m.Disk.WriteAt(p, off)
	}
	if m.torn && m.left == -1 {
		n := len(p) / 2 / 512 * 512
		if n, err := m.Disk.WriteAt(p[:n], off); err != nil {
			return n, err
		}
	}
	return 0, errPower
}

func (m *mortal) Zero(off, length int64) error {
	if m.spend("zero", off, length) {
		return m.Disk.Zero(off, length)
	}
	return errPower
}

func (m *mortal) Sync() error {
	if m.spend("sync", 0, 0) {
		return m.Disk.Sync()
	}
	return errPower
}

// Wherever the power fails, the disk either has no boot sector at all, or holds the whole image.
func TestPowerFailureAtEveryOperation(t *testing.T) {
	raw := rawImage(t)
	drive := pack(t, isoDrive(t))
	for _, tt := range []struct {
		format string
		file   []byte
		torn   bool
	}{{"raw", raw, true}, {"qcow2", convert(t, raw, "-c", "-O", "qcow2"), false}} {
		t.Run(fmt.Sprintf("%s, torn %v", tt.format, tt.torn), func(t *testing.T) {
			s := serveFile(t, tt.file)
			img := imageOf(s.URL, tt.format, tt.file)
			for left := range 200 {
				d := dirtyDisk(t, 16<<20)
				m := &mortal{Disk: d, left: left, torn: tt.torn}
				_, err := write(t, s, m, img, drive)
				if err == nil {
					disktest.Verify(t, d.Path())
					return
				}
				if !errors.Is(err, errPower) {
					t.Fatal(err)
				}
				judgeAfterPowerFailure(t, d, m, raw, left)
			}
			t.Fatal("the image was never written")
		})
	}
}

func judgeAfterPowerFailure(t *testing.T, d *disk.Device, m *mortal, raw []byte, left int) {
	t.Helper()
	got := contents(t, d)
	if left < 1 { // before the first wipe the disk is as it was
		return
	}
	if bytes.Equal(got[:512], make([]byte, 512)) {
		return
	}
	// A boot sector is there: then everything it leads to must be there as well.
	if i := disktest.FirstDifference(got[bootSize:len(raw)-headSize], raw[bootSize:len(raw)-headSize]); i >= 0 {
		t.Errorf("after %d operations (the last: %s) the disk has a boot sector, but differs at %d", left, m.done[len(m.done)-1], i+bootSize)
	}
}

// The last write is the boot sector's, alone, after everything before it was flushed.
func TestTheBootSectorIsWrittenLast(t *testing.T) {
	raw := rawImage(t)
	s := serveFile(t, raw)
	m := &mortal{Disk: dirtyDisk(t, 20<<20), left: 1 << 20}
	if _, err := write(t, s, m, imageOf(s.URL, "raw", raw), ""); err != nil {
		t.Fatal(err)
	}
	want := "sync 0+0|write 4096+1044480|sync 0+0|write 0+4096|sync 0+0"
	if got := strings.Join(m.done[len(m.done)-5:], "|"); got != want {
		t.Errorf("the end was %s, want %s", got, want)
	}
	if got := strings.Join(m.done[:3], "|"); got != "zero 0+1048576|zero 19922944+1048576|sync 0+0" {
		t.Errorf("the start was %s", got)
	}
}

// Writing again after the power failed gives the same disk as writing once.
func TestWritingAgainAfterAPowerFailure(t *testing.T) {
	raw := rawImage(t)
	s := serveFile(t, raw)
	img := imageOf(s.URL, "raw", raw)
	want := fitted(t, raw, 20<<20)
	for _, left := range []int{1, 9, 20} {
		d := dirtyDisk(t, 20<<20)
		if _, err := write(t, s, &mortal{Disk: d, left: left, torn: true}, img, ""); err == nil {
			continue
		}
		if _, err := write(t, s, d, img, ""); err != nil {
			t.Fatal(err)
		}
		if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
			t.Errorf("after a failure at operation %d and a second write: differs at %d", left, i)
		}
	}
}

// forgetful is a disk that takes a write and keeps something else.
type forgetful struct {
	disk.Disk
	at int64
}

func (f *forgetful) WriteAt(p []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(p)) {
		p = bytes.Clone(p)
		p[f.at-off] ^= 1
	}
	return f.Disk.WriteAt(p, off)
}

// The config drive is read back: a machine that boots without its keys and addresses is lost.
func TestConfigDriveOnAFailingDisk(t *testing.T) {
	raw := rawImage(t)
	s := serveFile(t, raw)
	d := dirtyDisk(t, 20<<20)
	_, err := write(t, s, &forgetful{d, 18<<20 + 5000}, imageOf(s.URL, "raw", raw), pack(t, isoDrive(t)))
	if err != nil {
		disktest.WantError(t, err, "the config drive reads back differently near byte", "the disk is failing")
		if !bytes.Equal(contents(t, d)[:headSize], make([]byte, headSize)) {
			t.Error("the disk may boot without its config drive")
		}
		return
	}
	t.Error("nobody noticed")
}

// A download that ends in the middle says so; it is not a wrong checksum.
func TestADownloadCutShortIsNotAnEnd(t *testing.T) {
	broken := fmt.Errorf("at byte 5 of 10: %w", io.ErrUnexpectedEOF)
	open := func(context.Context) io.Reader { return io.MultiReader(strings.NewReader("12345"), failing{broken}) }
	passed := 0
	err := pipeline(t.Context(), testPool(t), open, func(*chunk) error { return nil },
		func(c *chunk) error { passed += len(c.data); return nil })
	if !errors.Is(err, broken) {
		t.Errorf("ended with %v after %d bytes, want %v", err, passed, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A pipeline whose stages fail ends with their error and leaves nothing running.
func TestPipelineEndsWithTheFirstError(t *testing.T) {
	endless := func(context.Context) io.Reader { return zeros{} }
	wrong := errors.New("wrong")
	fail := func(after int) func(*chunk) error {
		return func(c *chunk) error {
			if c.off >= int64(after)<<20 {
				return wrong
			}
			return nil
		}
	}
	ok := func(*chunk) error { return nil }
	for _, after := range []int{0, 1, 20} {
		if err := pipeline(t.Context(), testPool(t), endless, fail(after), ok); !errors.Is(err, wrong) {
			t.Errorf("first stage after %d MiB: %v", after, err)
		}
		if err := pipeline(t.Context(), testPool(t), endless, ok, fail(after)); !errors.Is(err, wrong) {
			t.Errorf("second stage after %d MiB: %v", after, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := func(c *chunk) error {
		if c.off > 10<<20 {
			cancel(wrong)
		}
		return nil
	}
	if err := pipeline(ctx, testPool(t), endless, ok, stop); !errors.Is(err, wrong) {
		t.Errorf("cancelled: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Two million compressed clusters in order are one range to zero around, not two million.
func TestGuestRangesAreJoined(t *testing.T) {
	l := &image.Layout{}
	for i := range int64(1000) {
		l.Extents = append(l.Extents, image.Extent{GuestOffset: i << 16, GuestLength: 1 << 16, Compression: image.Zlib})
	}
	l.Extents = append(l.Extents, image.Extent{GuestOffset: 3000 << 16, GuestLength: 5}, image.Extent{GuestOffset: 2000 << 16, GuestLength: 7})
	want := []image.Range{{Offset: 0, Length: 1000 << 16}, {Offset: 2000 << 16, Length: 7}, {Offset: 3000 << 16, Length: 5}}
	if got := guestRanges(l); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
