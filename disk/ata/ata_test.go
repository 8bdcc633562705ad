package ata

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/disk/scsi"
)

// disk is an ATA disk's Security feature set by ACS-4, behind SAT's translation.
type disk struct {
	word128       uint16
	word89        uint16
	word90        uint16
	password      []byte // 32 bytes; nil: none
	fails         map[byte]bool
	eraseTakes    time.Duration
	keepsPassword bool // lies: an erase does nothing
	told          []string
}

func (d *disk) Do(c scsi.Command) error {
	if len(c.CDB) != 16 || c.CDB[0] != 0x85 {
		return fmt.Errorf("not ATA PASS-THROUGH (16): % x", c.CDB)
	}
	op, out := c.CDB[14], c.Direction == scsi.ToDevice
	want := map[scsi.Direction][3]byte{scsi.NoData: {0x06, 0, 0}, scsi.FromDevice: {0x08, 0x0e, 1},
		scsi.ToDevice: {0x0a, 0x06, 1}}[c.Direction]
	if got := [3]byte{c.CDB[1], c.CDB[2], c.CDB[6]}; got != want {
		return fmt.Errorf("command %#x travels as % x, want % x", op, got, want)
	}
	if out && len(c.Data) != 512 {
		return fmt.Errorf("command %#x with %d bytes", op, len(c.Data))
	}
	refused := &scsi.Sense{Status: 2, Key: 0x0b}
	if op != 0xec {
		d.told = append(d.told, fmt.Sprintf("%02x", op))
	}
	if d.fails[op] || d.word128&8 != 0 && op != 0xec {
		return refused
	}
	right := func() bool { return bytes.Equal(c.Data[2:34], d.password) }
	switch op {
	case 0xec:
		for at, word := range map[int]uint16{128: d.word128, 89: d.word89, 90: d.word90} {
			c.Data[2*at], c.Data[2*at+1] = byte(word), byte(word>>8)
		}
	case 0xf1:
		d.password = bytes.Clone(c.Data[2:34])
		d.word128 |= 2
	case 0xf2:
		if !right() {
			return refused
		}
		d.word128 &^= 4
	case 0xf4:
		time.Sleep(d.eraseTakes)
		if !right() || (c.Data[0]&2 != 0) != (d.word128&32 != 0) {
			return refused
		}
		if !d.keepsPassword {
			d.word128, d.password = d.word128&^2, nil
		}
	case 0xf6:
		if !right() || d.word128&4 != 0 {
			return refused
		}
		d.word128, d.password = d.word128&^2, nil
	}
	return nil
}

const frozen = "the disk's security is frozen: firmware freezes disks at boot; switch that off in its set-up, or power cycle the disk"

func TestErase(t *testing.T) {
	ours, theirs := make([]byte, 32), bytes.Repeat([]byte{'x'}, 32)
	for _, tt := range []struct {
		name string
		d    disk
		how  string
		err  string
		told string
		left uint16 // word 128 afterwards
	}{
		{"normal", disk{word128: 1}, "normal", "", "f1 f3 f4", 1},
		{"enhanced", disk{word128: 33}, "enhanced", "", "f1 f3 f4", 33},
		{"locked by an interrupted erase", disk{word128: 7, password: ours}, "normal", "", "f2 f6 f1 f3 f4", 1},
		{"ours, not locked", disk{word128: 3, password: ours}, "normal", "", "f6 f1 f3 f4", 1},
		{"none", disk{}, "", "not supported: the disk has no Security feature set", "", 0},
		{"no ATA disk", disk{fails: map[byte]bool{0xec: true}}, "", "not supported: it is no ATA disk: aborted command (sense 0x0b, 0x00/0x00)",
			"", 0},
		{"frozen", disk{word128: 9}, "", frozen, "", 9},
		{"frozen with a password", disk{word128: 11, password: ours}, "",
			"the disk has a password and its security is frozen: firmware freezes " +
				"disks at boot; switch that off in its set-up, or power cycle the disk", "", 11},
		{"locked by somebody", disk{word128: 7, password: theirs}, "",
			"the disk is locked with a password that is not the one of an interrupted erase: aborted command (sense 0x0b, 0x00/0x00)", "f2", 7},
		{"somebody's password", disk{word128: 3, password: theirs},
			"", "the disk has a password that is not the one of an interrupted erase: aborted command (sense 0x0b, 0x00/0x00)", "f6", 3},
		{"too many tries", disk{word128: 23, password: ours}, "",
			"the disk has a password and counts too many wrong ones: power cycle the machine", "", 23},
		{"no password taken", disk{word128: 1, fails: map[byte]bool{0xf1: true}}, "",
			"setting the password: aborted command (sense 0x0b, 0x00/0x00)", "f1", 1},
		{"erase fails, unlocked again", disk{word128: 1, fails: map[byte]bool{0xf4: true}}, "",
			"security erase (normal): aborted command (sense 0x0b, 0x00/0x00)", "f1 f3 f4 f6", 1},
		{"prepare fails, unlocked again", disk{word128: 33, fails: map[byte]bool{0xf3: true}}, "",
			"security erase (enhanced): preparing: aborted command (sense 0x0b, 0x00/0x00)", "f1 f3 f6", 33},
		{"neither", disk{word128: 1, fails: map[byte]bool{0xf4: true, 0xf6: true}}, "", "security erase (normal): aborted command (sense 0x0b, " +
			"0x00/0x00); and then it could not be unlocked: the disk has a password that is not the one of an interrupted erase: aborted command " +
			"(sense 0x0b, 0x00/0x00)", "f1 f3 f4 f6", 3},
		{"lies", disk{word128: 1, keepsPassword: true}, "",
			"security erase (normal): the disk says it is done but kept its password, so it was not erased", "f1 f3 f4 f6", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			how, err := Erase(t.Context(), &tt.d, func(int64, int64) {})
			if how != tt.how || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got %q, %v\nwant %q, %s", how, err, tt.how, tt.err)
			}
			if errors.Is(err, ErrUnsupported) != strings.HasPrefix(tt.err, "not supported") {
				t.Errorf("unsupported? %v", err)
			}
			if got := strings.Join(tt.d.told, " "); got != tt.told || tt.d.word128 != tt.left {
				t.Errorf("told %q, left %d; want %q, %d", got, tt.d.word128, tt.told, tt.left)
			}
		})
	}
}

func TestEraseTellsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{word128: 1, word89: 30, eraseTakes: 30 * time.Minute}
		var done, all int64
		if _, err := Erase(t.Context(), d, func(d, a int64) { done, all = d, a }); err != nil {
			t.Fatal(err)
		}
		if all != int64(time.Hour) || done < int64(29*time.Minute) || done > int64(30*time.Minute) {
			t.Errorf("told %s of %s", time.Duration(done), time.Duration(all))
		}
	})
}

func TestTimes(t *testing.T) {
	for w, want := range map[uint16]time.Duration{0: 0, 5: 10 * time.Minute, 255: 510 * time.Minute, 0x8000 | 600: 20 * time.Hour} {
		if got := eraseTime(w); got != want {
			t.Errorf("%#x: %s, want %s", w, got, want)
		}
	}
}

func TestUnlockOfAnOpenDiskDoesNothing(t *testing.T) {
	d := &disk{word128: 1}
	if was, err := Unlock(d); was || err != nil || d.told != nil {
		t.Error(was, err, d.told)
	}
}
