package erase

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/disk/scsi"
)

func TestEraseMetadata(t *testing.T) {
	for _, tt := range []struct {
		name  string
		image []byte
		zeros []stretch // beside the disk's own ends
	}{
		{"gpt", disktest.Partitioned(t, 24<<20), []stretch{{1 << 20, 2 << 20}}}, // two partitions of 1 MiB each
		{"mbr", disktest.DOSImage(t, 1), []stretch{{1 << 20, 1 << 20}}},
		{"no table", disktest.Pattern(8 << 20), nil},
		{"damaged table", func() []byte { b := disktest.Partitioned(t, 24<<20); b[600] ^= 1; return b }(), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 24 << 20
			d := dirtyDisk(t, size)
			if _, err := d.WriteAt(tt.image, 0); err != nil {
				t.Fatal(err)
			}
			want := contents(t, d)
			for _, s := range append(tt.zeros, stretch{0, 1 << 20}, stretch{size - 1<<20, 1 << 20}) {
				clear(want[s.offset : s.offset+s.length])
			}
			if err := Metadata(d); err != nil {
				t.Fatal(err)
			}
			if i := disktest.FirstDifference(contents(t, d), want); i >= 0 {
				t.Errorf("differs at %d", i)
			}
		})
	}
}

func TestErase(t *testing.T) {
	d := dirtyDisk(t, 3<<20+512)
	var told []string
	got, err := Disk(t.Context(), d, Hardware{}, Options{ATA: true, NVMe: true},
		func(method string, done int64) { told = append(told, fmt.Sprint(method, done)) })
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
	_, err := Disk(ctx, d, Hardware{NVMe: f, NSID: 1}, Options{NVMe: true}, silent)
	disktest.WantError(t, err, "nothing was erased: asked to")
	if !bytes.Equal(contents(t, d), before) || len(f.commands) > 0 {
		t.Errorf("a disk that was to be left alone was changed; its controller was told %x", f.commands)
	}
}

func TestOverwriteStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Disk(ctx, dirtyDisk(t, 4<<20), Hardware{SCSI: stopping{func() { cancel(errors.New("asked to")) }}},
		Options{ATA: true}, silent)
	disktest.WantError(t, err, "asked to")
}

// stopping is a disk without methods of its own, while whose asking the erase is stopped.
type stopping struct{ stop func() }

func (s stopping) Do(scsi.Command) error {
	s.stop()
	return &scsi.Sense{Status: 2, Key: 5, ASC: 0x20}
}

// liar is a disk that takes zeros and keeps what it had.
type liar struct{ disk.Disk }

func (liar) Zero(int64, int64) error { return nil }

func TestEraseChecksTheDisk(t *testing.T) {
	_, err := Disk(t.Context(), liar{dirtyDisk(t, 4<<20)}, Hardware{}, Options{}, silent)
	disktest.WantError(t, err, "byte 0 of the disk is not zero after it was overwritten")
	_, err = Disk(t.Context(), liar{blankDisk(t, 4<<20)}, Hardware{}, Options{Passes: Passes{Random: 1}}, silent)
	disktest.WantError(t, err, "byte 0 of the disk is not zero after it was overwritten")
}

// An express erase leaves no metadata behind on any disk. What it says of the rest was tried out.
func TestEraseExpress(t *testing.T) {
	const unsupportedSanitize = "NVMe sanitize: not supported: the controller knows neither crypto nor block erase (SANICAP 0x0)"
	const noFormat = "NVMe format: not supported: the controller has no Format NVM (OACS 0x0)"
	const noDiscard = "metadata overwritten with zeros, read back; not by discard: operation not supported"
	for _, tt := range []struct {
		name  string
		flash *flash
		o     Options
		wrap  func(*disk.Device) disk.Disk
		want  string
		err   string
		zero  bool // the whole disk
	}{
		{"a file", nil, Options{}, nil, noDiscard, "", false},
		{"NVMe format first", &flash{oacs: 2, sanicap: 3}, Options{NVMe: true}, nil, "NVMe format (user data erase), 64 marks gone",
			"", true},
		{"NVMe sanitize", &flash{sanicap: 3}, Options{NVMe: true}, nil,
			"NVMe sanitize (crypto erase), 64 marks gone; not by " + noFormat, "", true},
		{"NVMe with neither", &flash{}, Options{NVMe: true}, nil,
			"metadata overwritten with zeros, read back; not by " + noFormat + ", not by " + unsupportedSanitize + ", not by discard: " +
				"operation not supported", "", false},
		{"NVMe that may not", &flash{oacs: 2, sanicap: 3}, Options{}, nil, noDiscard, "", false},
		{"NVMe that fails", &flash{oacs: 2, broken: true}, Options{NVMe: true}, nil, "",
			"NVMe format: formatting (user data erase): NVMe status 0x6: internal error", false},
		{"NVMe that fails and may", &flash{oacs: 2, broken: true}, Options{NVMe: true, Overwrite: true}, nil,
			"metadata overwritten with zeros, read back; not by NVMe format: formatting (user data erase): NVMe status 0x6: internal " +
				"error, not by " + unsupportedSanitize + ", not by discard: operation not supported", "", false},
		{"forgets", nil, Options{}, func(d *disk.Device) disk.Disk { return forgets{d} },
			"metadata overwritten with zeros, the rest discarded, read back, 64 marks gone", "", true},
		{"says that it forgets", nil, Options{}, func(d *disk.Device) disk.Disk { return remembers{d} },
			"metadata overwritten with zeros, read back; not by discard: byte 0 of the disk is as before though it says that it was " +
				"erased (discard): it lies", "", false},
		{"takes no zeros", nil, Options{}, func(d *disk.Device) disk.Disk { return liar{d} }, "",
			"erasing metadata: byte 0 of the disk is not zero after it was overwritten: the disk is failing or lies", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 8 << 20
			dev := dirtyDisk(t, size)
			var d disk.Disk = dev
			if tt.wrap != nil {
				d = tt.wrap(dev)
			}
			var hw Hardware
			if tt.flash != nil {
				tt.flash.d = dev
				hw = Hardware{NVMe: tt.flash, NSID: 1}
			}
			got, err := Express(t.Context(), d, hw, tt.o, silent)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("got  %v\nwant %s", err, tt.err)
				}
				return
			}
			if err != nil || got.String() != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
			if zero := bytes.Equal(contents(t, dev), make([]byte, size)); zero != tt.zero {
				t.Errorf("empty afterwards: %v", zero)
			}
			const end = 1 << 20
			b := contents(t, dev)
			if !bytes.Equal(b[:end], make([]byte, end)) || !bytes.Equal(b[len(b)-end:], make([]byte, end)) {
				t.Error("the disk still has something in its first or last MiB")
			}
		})
	}
}

// forgets discards at once.
type forgets struct{ *disk.Device }

func (f forgets) Discard() error { return f.Zero(0, f.Size()) }

// remembers takes a discard and does nothing.
type remembers struct{ *disk.Device }

func (remembers) Discard() error { return nil }

func TestEraseExpressStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("asked to"))
	d := dirtyDisk(t, 4<<20)
	before := contents(t, d)
	_, err := Express(ctx, d, Hardware{}, Options{}, silent)
	disktest.WantError(t, err, "nothing was erased: asked to")
	if !bytes.Equal(contents(t, d), before) {
		t.Error("a disk that was to be left alone was changed")
	}
}

// halfLiar takes zeros at its beginning only.
type halfLiar struct{ disk.Disk }

func (h halfLiar) Zero(at, length int64) error {
	if at > 0 {
		return nil
	}
	return h.Disk.Zero(at, length)
}

// What stands at the end of a disk, such as the second GPT, is read back too.
func TestEraseMetadataReadsBack(t *testing.T) {
	disktest.WantError(t, Metadata(halfLiar{dirtyDisk(t, 8<<20)}),
		"erasing metadata: byte 7340032 of the disk is not zero after it was overwritten: the disk is failing or lies")
}

// What tells the kinds of table apart: sfdisk and we agree on images of each kind.
func TestPartitionsAgreeWithSfdisk(t *testing.T) {
	for name, script := range map[string]string{
		"dos":      "label: dos\n2048,4096,L\n8192,2048,ef,*\n",
		"extended": "label: dos\n2048,4096,L\n8192,16384,E\n10240,2048,L\n14336,1024,L\n",
		"gpt":      "label: gpt\n2048,4096,U\n8192,2048,L\n",
	} {
		path := disktest.Sparse(t, name, 16<<20)
		disktest.Feed(t, script, "sfdisk", "--quiet", path)
		d := openDevice(t, path)
		var got []stretch
		for _, p := range disk.Areas(d) {
			got = append(got, stretch{p.Offset, p.Length})
		}
		want := []stretch{{2048 * 512, 4096 * 512}, {8192 * 512, 2048 * 512}}
		if name == "extended" {
			want[1].length = 16384 * 512
			want = append(want, stretch{10240 * 512, 2048 * 512}, stretch{14336 * 512, 1024 * 512})
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if err := Metadata(d); err != nil {
			t.Fatal(err)
		}
		if out, err := disktest.TryRun("blkid", "--probe", path); err == nil || out != "" { // it finds nothing, and fails
			t.Errorf("%s: after erasing blkid finds %q", name, out)
		}
		if got := disk.Areas(d); len(got) != 0 {
			t.Errorf("%s: after erasing %+v", name, got)
		}
	}
}

// A partition that claims to end behind the disk is not followed there.
func TestPartitionsBehindTheEnd(t *testing.T) {
	b := disktest.DOSImage(t, 1)
	binary.LittleEndian.PutUint32(b[446+12:], 1<<31)
	d := dirtyDisk(t, 8<<20)
	if _, err := d.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if got := disk.Areas(d); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if err := Metadata(d); err != nil {
		t.Error(err)
	}
}
