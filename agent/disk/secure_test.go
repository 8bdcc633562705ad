package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/billet-metal/billet/agent/nvme"
	"github.com/billet-metal/billet/agent/scsi"
)

// flash is an NVMe controller whose one namespace is a test's disk: Format NVM and Sanitize empty it
// unless it lies.
type flash struct {
	d        *Device
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
	both := EraseOptions{ATA: true, NVMe: true}
	for _, tt := range []struct {
		name     string
		flash    *flash
		bareSCSI *bareSCSI
		o        EraseOptions
		want     string
		err      string
		zero     bool
	}{
		{"sanitize", &flash{sanicap: 3, oacs: 2}, nil, both, "NVMe sanitize (crypto erase), 64 marks gone", "", true},
		{"format", &flash{oacs: 2}, nil, both,
			"NVMe format (user data erase), 64 marks gone; not by NVMe sanitize: not supported: the controller knows neither crypto nor block erase (SANICAP 0x0)", "", true},
		{"neither", &flash{}, nil, both,
			"overwritten with zeros, 64 samples read back; not by NVMe sanitize: not supported: the controller knows neither crypto nor block erase (SANICAP 0x0), not by NVMe format: not supported: the controller has no Format NVM (OACS 0x0)", "", true},
		{"not allowed to", &flash{sanicap: 3, oacs: 2}, nil, EraseOptions{ATA: true}, "overwritten with zeros, 64 samples read back", "", true},
		{"fails", &flash{oacs: 2, broken: true}, nil, both, "", "NVMe format: formatting (user data erase): NVMe status 0x6: internal error", false},
		{"fails, then overwritten", &flash{oacs: 2, broken: true}, nil, EraseOptions{NVMe: true, Overwrite: true},
			"overwritten with zeros, 64 samples read back; not by NVMe sanitize: not supported: the controller knows neither crypto nor block erase (SANICAP 0x0), not by NVMe format: formatting (user data erase): NVMe status 0x6: internal error", "", true},
		{"lies", &flash{sanicap: 1, lies: true}, nil, both, "", "NVMe sanitize: byte 0 of the disk is as before though it says that it was erased (crypto erase): it lies", false},
		{"SCSI without any", nil, &bareSCSI{}, both,
			"overwritten with zeros, 64 samples read back; not by ATA security erase: not supported: it is no ATA disk: illegal request (sense 0x05, 0x20/0x00), not by SCSI sanitize: not supported: the disk does not tell its commands: illegal request (sense 0x05, 0x20/0x00)", "", true},
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
			got, err := Erase(t.Context(), d, hw, tt.o, silent)
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

// A stop is not a reason to go on with overwriting.
func TestEraseStoppedInAMethod(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	d := dirtyDisk(t, 4<<20)
	f := &flash{d: d, oacs: 2, broken: true, stop: func() { cancel(errors.New("asked to")) }}
	_, err := Erase(ctx, d, Hardware{NVMe: f, NSID: 1}, EraseOptions{NVMe: true, Overwrite: true}, silent)
	if err == nil || !strings.HasPrefix(err.Error(), "NVMe format: ") {
		t.Errorf("%v", err)
	}
}

// locked is an ATA disk whose password is not known here.
type locked struct{}

func (locked) Do(c scsi.Command) error {
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
	wantError(t, Hardware{SCSI: locked{}}.Unlock(t.Context()), "the disk is locked with a password that is not the one of an interrupted erase")
}

func TestAFileHasNoHardware(t *testing.T) {
	if hw, err := dirtyDisk(t, 1<<20).Hardware(); err != nil || hw != (Hardware{}) {
		t.Errorf("%+v, %v", hw, err)
	}
}
