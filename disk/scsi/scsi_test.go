package scsi

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// disk answers as SPC-5 and SBC-4 say.
type disk struct {
	knows   map[byte]byte // service action of SANITIZE → support
	deaf    bool          // has no REPORT SUPPORTED OPERATION CODES
	senses  [][]byte      // of REQUEST SENSE, one an answer; the last stays
	refuses bool
	told    []string
}

func (d *disk) Do(c Command) error {
	switch c.CDB[0] {
	case 0xa3:
		if d.deaf {
			return &Sense{Status: 2, Key: 5, ASC: 0x20}
		}
		if c.CDB[1] != 0x0c || c.CDB[2] != 2 || c.CDB[3] != 0x48 || len(c.CDB) != 12 {
			return fmt.Errorf("asked % x", c.CDB)
		}
		c.Data[1] = d.knows[c.CDB[5]]
	case 0x03:
		copy(c.Data, d.senses[0])
		if len(d.senses) > 1 {
			d.senses = d.senses[1:]
		}
	default:
		d.told = append(d.told, fmt.Sprintf("% x", c.CDB))
		if d.refuses {
			return &Sense{Status: 2, Key: 7, ASC: 0x27}
		}
	}
	return nil
}

func fixed(key, asc, ascq byte, progress ...byte) []byte {
	b := make([]byte, 18)
	b[0], b[2], b[7], b[12], b[13] = 0x70, key, 10, asc, ascq
	if len(progress) == 2 {
		b[15], b[16], b[17] = 0x80, progress[0], progress[1]
	}
	return b
}

func TestSanitize(t *testing.T) {
	good, busy, failed, attention := fixed(0, 0, 0), fixed(2, 4, 0x1b, 0x80, 0), fixed(3, 0x31, 3), fixed(6, 0x29, 0)
	for _, tt := range []struct {
		name           string
		d              disk
		how, err, told string
	}{
		{"crypto", disk{knows: map[byte]byte{3: 3, 2: 3}, senses: [][]byte{good, busy, good}}, "crypto erase", "",
			"48 a3 00 00 00 00 00 00 00 00"},
		{"block", disk{knows: map[byte]byte{3: 1, 2: 3}, senses: [][]byte{good, busy, busy, good}}, "block erase", "",
			"48 a2 00 00 00 00 00 00 00 00"},
		{"neither", disk{knows: map[byte]byte{}}, "", "not supported: the disk has no such SANITIZE (support 0)", ""},
		{"cannot tell", disk{deaf: true}, "", "not supported: the disk does not tell its commands: illegal request (sense 0x05, 0x20/0x00)", ""},
		{"an earlier one failed", disk{knows: map[byte]byte{2: 3}, senses: [][]byte{failed, good}}, "block erase", "",
			"48 1f 00 00 00 00 00 00 00 00, 48 a2 00 00 00 00 00 00 00 00"},
		{"an earlier one goes on", disk{knows: map[byte]byte{2: 3}, senses: [][]byte{attention, busy, good}}, "block erase", "",
			"48 a2 00 00 00 00 00 00 00 00"},
		{"a unit attention is not the end", disk{knows: map[byte]byte{3: 3},
			senses: [][]byte{good, attention, busy, attention, attention, busy, failed}}, "",
			"sanitizing (crypto erase): medium error (sense 0x03, 0x31/0x03)", "48 a3 00 00 00 00 00 00 00 00"},
		{"attentions without end", disk{knows: map[byte]byte{3: 3}, senses: [][]byte{good, attention}}, "",
			"sanitizing (crypto erase): asking how far it is: the disk tells again and again: unit attention (sense 0x06, 0x29/0x00)",
			"48 a3 00 00 00 00 00 00 00 00"},
		{"what an earlier command left", disk{knows: map[byte]byte{3: 3}, senses: [][]byte{good, fixed(5, 0x24, 0)}}, "crypto erase", "",
			"48 a3 00 00 00 00 00 00 00 00"},
		{"fails", disk{knows: map[byte]byte{3: 3}, senses: [][]byte{good, busy, failed}}, "",
			"sanitizing (crypto erase): medium error (sense 0x03, 0x31/0x03)", "48 a3 00 00 00 00 00 00 00 00"},
		{"stands still", disk{knows: map[byte]byte{3: 3}, senses: [][]byte{good, busy}}, "",
			"sanitizing (crypto erase): it has stood at 32768 of 65536 for 1m0s", "48 a3 00 00 00 00 00 00 00 00"},
		{"refused", disk{knows: map[byte]byte{3: 3}, senses: [][]byte{good}, refuses: true},
			"", "starting to sanitize (crypto erase): data protect (sense 0x07, 0x27/0x00)", "48 a3 00 00 00 00 00 00 00 00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				how, err := Sanitize(t.Context(), &tt.d, time.Minute, func(int64, int64) {})
				if how != tt.how || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
					t.Errorf("got %q, %v\nwant %q, %s", how, err, tt.how, tt.err)
				}
				if errors.Is(err, ErrUnsupported) != strings.HasPrefix(tt.err, "not supported") {
					t.Errorf("unsupported? %v", err)
				}
				if got := strings.Join(tt.d.told, ", "); got != tt.told {
					t.Errorf("told %q, want %q", got, tt.told)
				}
			})
		})
	}
}

// mute refuses every question in its own way.
type mute struct {
	err  error
	asks int
}

func (m *mute) Do(c Command) error { m.asks++; return m.err }

// Recover asks a disk that cannot be asked no more than it must, and lets it be.
func TestRecover(t *testing.T) {
	good, busy, failed, attention := fixed(0, 0, 0), fixed(2, 4, 0x1b, 0x80, 0), fixed(3, 0x31, 3), fixed(6, 0x29, 0)
	for _, tt := range []struct {
		name string
		d    disk
		err  string
		told string
	}{
		{"idle", disk{senses: [][]byte{good}}, "", ""},
		{"switched on", disk{senses: [][]byte{attention, good}}, "", ""},
		{"under way", disk{senses: [][]byte{attention, busy, busy, good}}, "", ""},
		{"stands still", disk{senses: [][]byte{busy}}, "looking for an earlier sanitize: it has stood at 32768 of 65536 for 1m0s", ""},
		{"failed", disk{senses: [][]byte{busy, failed, good}}, "", "48 1f 00 00 00 00 00 00 00 00"},
		{"failed for good", disk{senses: [][]byte{failed}},
			"after leaving the failure of an earlier sanitize: medium error (sense 0x03, 0x31/0x03)", "48 1f 00 00 00 00 00 00 00 00"},
		{"failed and cannot be left", disk{senses: [][]byte{failed}, refuses: true},
			"leaving the failure of an earlier sanitize: data protect (sense 0x07, 0x27/0x00)", "48 1f 00 00 00 00 00 00 00 00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := Recover(t.Context(), &tt.d, time.Minute, func(int64, int64) {})
				if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				if got := strings.Join(tt.d.told, ", "); got != tt.told {
					t.Errorf("told %q, want %q", got, tt.told)
				}
			})
		})
	}
	for name, tt := range map[string]struct {
		err  error
		asks int
	}{
		"no SCSI disk":        {errors.New("inappropriate ioctl"), 1},
		"no REQUEST SENSE":    {&Sense{Status: 2, Key: 5, ASC: 0x20}, 1},
		"attentions only":     {&Sense{Status: 2, Key: 6, ASC: 0x29}, attentions + 1},
		"a reservation stops": {&Sense{Status: 0x18}, 1},
	} {
		m := &mute{err: tt.err}
		if err := Recover(t.Context(), m, time.Minute, func(int64, int64) {}); err != nil || m.asks != tt.asks {
			t.Errorf("%s: %v after %d questions", name, err, m.asks)
		}
	}
}

func TestParseSense(t *testing.T) {
	descriptor := []byte{0x72, 2, 4, 0x1b, 0, 0, 0, 8, 2, 6, 0, 0, 0x80, 0x12, 0x34, 0}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"fixed", fixed(2, 4, 0x1b, 0x12, 0x34), "&{2 2 4 27 4660}"},
		{"fixed, no progress", fixed(5, 0x24, 0), "&{2 5 36 0 -1}"},
		{"descriptor", descriptor, "&{2 2 4 27 4660}"},
		{"short", []byte{0x70, 0, 5}, "<nil>"},
		{"none", make([]byte, 18), "<nil>"},
	} {
		got := "<nil>"
		if s := ParseSense(tt.in); s != nil {
			got = fmt.Sprint(&struct {
				Status, Key, ASC, ASCQ byte
				Progress               int64
			}{s.Status, s.Key, s.ASC, s.ASCQ, s.Progress})
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := (&Sense{Status: 0x18}).Error(); got != "SCSI status 0x18" {
		t.Error(got)
	}
}

func FuzzParseSense(f *testing.F) {
	f.Add(fixed(2, 4, 0x1b, 1, 2))
	f.Add([]byte{0x72, 2, 4, 0x1b, 0, 0, 0, 8, 2, 6, 0, 0, 0x80, 0x12, 0x34, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := ParseSense(b); s != nil && (s.Progress < -1 || s.Progress > 65535 || s.Key > 15) {
			t.Errorf("%+v", s)
		}
	})
}

// The kernel's structure has 88 bytes on 64-bit machines.
func TestHeaderSize(t *testing.T) {
	if size := unsafe.Sizeof(sgHeader{}); size != 88 {
		t.Errorf("%d bytes", size)
	}
	if at := unsafe.Offsetof(sgHeader{}.status); at != 64 {
		t.Errorf("status at %d", at)
	}
}
