package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/billet-metal/billet/agent/scsi"
)

func TestEraseMetadata(t *testing.T) {
	for _, tt := range []struct {
		name  string
		image []byte
		zeros []span // beside the disk's own ends
	}{
		{"gpt", partitioned(t, 24<<20), []span{{1 << 20, 2 << 20}}}, // two partitions of 1 MiB each
		{"mbr", dosImage(t, 1), []span{{1 << 20, 1 << 20}}},
		{"no table", pattern(8 << 20), nil},
		{"damaged table", func() []byte { b := partitioned(t, 24<<20); b[600] ^= 1; return b }(), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 24 << 20
			d := dirtyDisk(t, size)
			if _, err := d.WriteAt(tt.image, 0); err != nil {
				t.Fatal(err)
			}
			want := contents(t, d)
			for _, s := range append(tt.zeros, span{0, 1 << 20}, span{size - 1<<20, 1 << 20}) {
				clear(want[s.offset : s.offset+s.length])
			}
			if err := EraseMetadata(d); err != nil {
				t.Fatal(err)
			}
			if i := firstDifference(contents(t, d), want); i >= 0 {
				t.Errorf("differs at %d", i)
			}
		})
	}
}

func TestErase(t *testing.T) {
	d := dirtyDisk(t, 3<<20+512)
	var told []string
	got, err := Erase(t.Context(), d, Hardware{}, EraseOptions{ATA: true, NVMe: true}, func(method string, done int64) { told = append(told, fmt.Sprint(method, done)) })
	if err != nil || got.String() != "overwritten with zeros, 64 samples read back" {
		t.Fatal(got, err)
	}
	if !bytes.Equal(contents(t, d), make([]byte, 3<<20+512)) {
		t.Error("something is left")
	}
	if len(told) != 1 || told[0] != "overwriting3146240" {
		t.Errorf("progress was %v", told)
	}
}

func silent(string, int64) {}

func TestEraseStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("asked to"))
	d := dirtyDisk(t, 4<<20)
	before := contents(t, d)
	f := &flash{d: d, oacs: 2, sanicap: 3}
	_, err := Erase(ctx, d, Hardware{NVMe: f, NSID: 1}, EraseOptions{NVMe: true}, silent)
	wantError(t, err, "nothing was erased: asked to")
	if !bytes.Equal(contents(t, d), before) || len(f.commands) > 0 {
		t.Errorf("a disk that was to be left alone was changed; its controller was told %x", f.commands)
	}
}

func TestOverwriteStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Erase(ctx, dirtyDisk(t, 4<<20), Hardware{SCSI: stopping{func() { cancel(errors.New("asked to")) }}}, EraseOptions{ATA: true}, silent)
	wantError(t, err, "asked to")
}

// stopping is a disk without methods of its own, while whose asking the erase is stopped.
type stopping struct{ stop func() }

func (s stopping) Do(scsi.Command) error {
	s.stop()
	return &scsi.Sense{Status: 2, Key: 5, ASC: 0x20}
}

// liar is a disk that takes zeros and keeps what it had.
type liar struct{ Disk }

func (liar) Zero(int64, int64) error { return nil }

func TestEraseChecksTheDisk(t *testing.T) {
	_, err := Erase(t.Context(), liar{dirtyDisk(t, 4<<20)}, Hardware{}, EraseOptions{}, silent)
	wantError(t, err, "byte 0 of the disk is not zero after it was overwritten")
}

func TestEraseExpress(t *testing.T) {
	d := dirtyDisk(t, 8<<20)
	discarded, err := EraseExpress(d)
	if err != nil || discarded {
		t.Errorf("%v, %v: a file cannot be discarded", discarded, err)
	}
	wiped(t, d)
}
