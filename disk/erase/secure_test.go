package erase

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/disk/nvme"
	"github.com/billet-metal/billet/disk/scsi"
)

// flash is an NVMe controller whose one namespace is a test's disk: Format NVM and Sanitize empty it
// unless it lies.
type flash struct {
	d        *disk.Device
	sanicap  uint32
	oacs     uint16
	lies     bool
	broken   bool // formats fail
	stop     func()
	commands []byte
}

func (f *flash) Do(c nvme.Command) error {
	f.commands = append(f.commands, c.Opcode)
	switch c.Opcode {
	case 0x06: // Identify
		if c.CDW10 == 1 {
			binary.LittleEndian.PutUint16(c.Data[256:], f.oacs)
			binary.LittleEndian.PutUint32(c.Data[328:], f.sanicap)
		} else if c.CDW10 == 2 {
			c.Data[0] = 1
		}
	case 0x02: // the sanitize log
		c.Data[2] = 1
	case 0x80, 0x84:
		if f.stop != nil {
			f.stop()
		}
		if f.broken && c.Opcode == 0x80 {
			return nvme.Status(6)
		}
		if !f.lies {
			return f.d.Zero(0, f.d.Size())
		}
	}
	return nil
}

// bareSCSI is a SCSI disk that has nothing to erase itself with.
type bareSCSI struct{ commands []byte }

func (p *bareSCSI) Do(c scsi.Command) error {
	p.commands = append(p.commands, c.CDB[0])
	return &scsi.Sense{Status: 2, Key: 5, ASC: 0x20}
}

func TestEraseChoosesTheBestMethod(t *testing.T) {
	both := Options{ATA: true, NVMe: true}
	for _, tt := range []struct {
		name     string
		flash    *flash
		bareSCSI *bareSCSI
		o        Options
		want     string
		err      string
		zero     bool
	}{
		{"sanitize", &flash{sanicap: 3, oacs: 2}, nil, both, "NVMe sanitize (crypto erase), 64 marks gone", "", true},
		{"format", &flash{oacs: 2}, nil, both,
			"NVMe format (user data erase), 64 marks gone; not by NVMe sanitize: not supported: the controller knows neither crypto " +
				"nor block erase (SANICAP 0x0)", "", true},
		{"neither", &flash{}, nil, both,
			"overwritten with zeros, 64 samples read back; not by NVMe sanitize: not supported: the controller knows neither crypto " +
				"nor block erase (SANICAP 0x0), not by NVMe format: not supported: the controller has no Format NVM (OACS 0x0)", "", true},
		{"not allowed to", &flash{sanicap: 3, oacs: 2}, nil, Options{ATA: true}, "overwritten with zeros, 64 samples read back", "", true},
		{"fails", &flash{oacs: 2, broken: true}, nil, both, "",
			"NVMe format: formatting (user data erase): NVMe status 0x6: internal error", false},
		{"fails, then overwritten", &flash{oacs: 2, broken: true}, nil, Options{NVMe: true, Overwrite: true},
			"overwritten with zeros, 64 samples read back; not by NVMe sanitize: not supported: the controller knows neither crypto " +
				"nor block erase (SANICAP 0x0), not by NVMe format: formatting (user data erase): NVMe status 0x6: internal error", "", true},
		{"lies", &flash{sanicap: 1, lies: true}, nil, both, "",
			"NVMe sanitize: byte 0 of the disk is as before though it says that it was erased (crypto erase): it lies", false},
		{"SCSI without any", nil, &bareSCSI{}, both,
			"overwritten with zeros, 64 samples read back; not by ATA security erase: not supported: it is no ATA disk: illegal " +
				"request (sense 0x05, 0x20/0x00), not by SCSI sanitize: not supported: the disk does not tell its commands: illegal " +
				"request (sense 0x05, 0x20/0x00)", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 4 << 20
			d := dirtyDisk(t, size)
			var hw Hardware
			if tt.flash != nil {
				tt.flash.d = d
				hw = Hardware{NVMe: tt.flash, NSID: 1}
			}
			if tt.bareSCSI != nil {
				hw.SCSI = tt.bareSCSI
			}
			got, err := Disk(t.Context(), d, hw, tt.o, silent)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got %v\nwant %s", err, tt.err)
				}
			} else if err != nil || got.String() != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
			if zero := bytes.Equal(contents(t, d), make([]byte, size)); zero != tt.zero {
				t.Errorf("empty afterwards: %v", zero)
			}
		})
	}
}

// card is an eMMC whose secure discard empties it, unless it lies or has none.
type card struct {
	d   *disk.Device
	how string
}

func (c card) SecureDiscard() error {
	switch c.how {
	case "has none":
		return unix.EOPNOTSUPP
	case "fails":
		return unix.EIO
	case "lies":
		return nil
	}
	return c.d.Zero(0, c.d.Size())
}

func TestSecureDiscard(t *testing.T) {
	for how, want := range map[string]string{
		"well":     "secure discard (by erase blocks), 64 marks gone",
		"has none": "overwritten with zeros, 64 samples read back; not by secure discard: operation not supported",
		"fails":    "error: secure discard: input/output error",
		"lies":     "error: secure discard: byte 0 of the disk is as before though it says that it was erased (by erase blocks): it lies",
	} {
		d := dirtyDisk(t, 4<<20)
		got, err := Disk(t.Context(), d, Hardware{Purge: card{d, how}}, Options{}, silent)
		text := got.String()
		if err != nil {
			text = "error: " + err.Error()
		}
		if text != want {
			t.Errorf("%s: %s, want %s", how, text, want)
		}
	}
	if err := dirtyDisk(t, 1<<20).SecureDiscard(); err != unix.EOPNOTSUPP {
		t.Errorf("a file: %v", err)
	}
}

// A stop is not a reason to go on with overwriting.
func TestEraseStoppedInAMethod(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	d := dirtyDisk(t, 4<<20)
	f := &flash{d: d, oacs: 2, broken: true, stop: func() { cancel(errors.New("asked to")) }}
	_, err := Disk(ctx, d, Hardware{NVMe: f, NSID: 1}, Options{NVMe: true, Overwrite: true}, silent)
	if err == nil || !strings.HasPrefix(err.Error(), "NVMe format: ") {
		t.Errorf("%v", err)
	}
}

// locked is an ATA disk whose password is not known here.
type locked struct{}

func (locked) Do(c scsi.Command) error {
	if c.CDB[0] == 0x03 { // REQUEST SENSE: nothing to tell
		return nil
	}
	if c.CDB[14] == 0xec {
		c.Data[2*128] = 7
		return nil
	}
	return &scsi.Sense{Status: 2, Key: 0x0b}
}

func TestUnlock(t *testing.T) {
	for name, hw := range map[string]Hardware{"none": {}, "no ATA disk": {SCSI: &bareSCSI{}}} {
		if err := hw.Unlock(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	disktest.WantError(t, Hardware{SCSI: locked{}}.Unlock(t.Context()),
		"the disk is locked with a password that is not the one of an interrupted erase")
}

// busySCSI is a SCSI disk in a sanitize that an earlier erase began: until it has ended, and its failure was
// left, the disk takes no write.
type busySCSI struct {
	*disk.Device
	senses [][2]byte // additional sense codes, one a question
	exits  int
	refuse bool // to leave the failure
}

func (b *busySCSI) Do(c scsi.Command) error {
	switch {
	case c.CDB[0] == 0x03:
		if len(b.senses) > 0 {
			c.Data[0], c.Data[12], c.Data[13] = 0x70, b.senses[0][0], b.senses[0][1]
			c.Data[2] = map[byte]byte{0x04: 2, 0x29: 6, 0x31: 3}[b.senses[0][0]]
			if b.senses[0][0] != 0x31 {
				b.senses = b.senses[1:]
			}
		}
		return nil
	case c.CDB[0] == 0x48 && c.CDB[1] == 0x1f && !b.refuse:
		b.exits, b.senses = b.exits+1, nil
		return nil
	}
	return &scsi.Sense{Status: 2, Key: 5, ASC: 0x20}
}

func (b *busySCSI) Zero(at, length int64) error {
	if len(b.senses) > 0 {
		return errors.New("not ready: sanitize in progress")
	}
	return b.Device.Zero(at, length)
}

// A disk in an earlier sanitize is waited for before anything of it is written, and the failure of one is left.
func TestUnlockEndsAnEarlierSanitize(t *testing.T) {
	inProgress, switchedOn, failed := [2]byte{0x04, 0x1b}, [2]byte{0x29, 0}, [2]byte{0x31, 3}
	for _, tt := range []struct {
		name   string
		senses [][2]byte
		refuse bool
		exits  int
		err    string
	}{
		{"none", nil, false, 0, ""},
		{"switched on", [][2]byte{switchedOn}, false, 0, ""},
		{"goes on after power loss", [][2]byte{switchedOn, inProgress}, false, 0, ""},
		{"failed", [][2]byte{switchedOn, failed}, false, 1, ""},
		{"cannot be left", [][2]byte{failed}, true, 0, "leaving the failure of an earlier sanitize: illegal request (sense 0x05, 0x20/0x00)"},
	} {
		d := &busySCSI{Device: dirtyDisk(t, 4<<20), senses: tt.senses, refuse: tt.refuse}
		hw := Hardware{SCSI: d}
		err := hw.Unlock(t.Context())
		if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err || d.exits != tt.exits {
			t.Errorf("%s: %v, left %d times", tt.name, err, d.exits)
		}
		if tt.err == "" {
			if err := Metadata(d); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}

func TestAFileHasNoHardware(t *testing.T) {
	if hw, err := HardwareOf(dirtyDisk(t, 1<<20)); err != nil || hw != (Hardware{}) {
		t.Errorf("%+v, %v", hw, err)
	}
}
