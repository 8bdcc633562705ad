package nvme

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// controller is a controller by the specification's tables: what it answers, and what it was told.
type controller struct {
	sanicap    uint32
	oacs       uint16
	fna, cmic  byte
	namespaces uint32
	detached   uint32 // more namespaces, attached to nothing
	stuck      bool   // its lists never rise
	nlbaf      byte   // LBA formats, less one
	flbas, dps byte
	nmic       byte
	log        [][2]uint16 // progress and status of the sanitize log, one a look; the last stays
	refuse     map[byte]error
	told       []string
}

func (c *controller) Do(cmd Command) error {
	if err := c.refuse[cmd.Opcode]; err != nil {
		return err
	}
	le := binary.LittleEndian
	switch {
	case cmd.Opcode == 0x06 && cmd.CDW10 == 1:
		cmd.Data[76], cmd.Data[524] = c.cmic, c.fna
		le.PutUint16(cmd.Data[256:], c.oacs)
		le.PutUint32(cmd.Data[328:], c.sanicap)
	case cmd.Opcode == 0x06 && (cmd.CDW10 == 2 || cmd.CDW10 == 0x10):
		if c.oacs&8 == 0 && cmd.CDW10 == 0x10 {
			return Status(2)
		}
		n := c.namespaces
		if cmd.CDW10 == 0x10 {
			n += c.detached
		}
		at := 0
		for i := cmd.NSID + 1; i <= n && at < len(cmd.Data); i++ {
			next := i
			if c.stuck {
				next = 1
			}
			le.PutUint32(cmd.Data[at:], next)
			at += 4
		}
	case cmd.Opcode == 0x06:
		cmd.Data[25], cmd.Data[26], cmd.Data[29], cmd.Data[30] = c.nlbaf, c.flbas, c.dps, c.nmic
	case cmd.Opcode == 0x02:
		if cmd.NSID != 0xffffffff || cmd.CDW10 != 0x007f0081 || len(cmd.Data) != 512 {
			return fmt.Errorf("wrong log page: %+v", cmd)
		}
		now := c.log[0]
		if len(c.log) > 1 {
			c.log = c.log[1:]
		}
		le.PutUint16(cmd.Data, now[0])
		le.PutUint16(cmd.Data[2:], now[1])
	default:
		c.told = append(c.told, fmt.Sprintf("%#x nsid %d cdw10 %#x", cmd.Opcode, cmd.NSID, cmd.CDW10))
	}
	return nil
}

func idle(int64, int64) {}

func TestSanitize(t *testing.T) {
	never, done, failed, running := [2]uint16{0, 0}, [2]uint16{0xffff, 1}, [2]uint16{0, 3}, [2]uint16{1000, 2}
	for _, tt := range []struct {
		name string
		c    controller
		how  string
		err  string
		told string
	}{
		{"crypto", controller{sanicap: 7, namespaces: 1, log: [][2]uint16{never, running, done}}, "crypto erase", "", "0x84 nsid 0 cdw10 0xc"},
		{"block", controller{sanicap: 2, namespaces: 1, log: [][2]uint16{never, running, {0xffff, 4}}}, "block erase", "",
			"0x84 nsid 0 cdw10 0xa"},
		{"only overwrite", controller{sanicap: 4, namespaces: 1}, "",
			"not supported: the controller knows neither crypto nor block erase (SANICAP 0x4)", ""},
		{"two namespaces", controller{sanicap: 3, namespaces: 2}, "", "not supported: it would erase all 2 namespaces of the controller", ""},
		{"one that is attached to nothing", controller{sanicap: 3, oacs: 8, namespaces: 1, detached: 2}, "",
			"not supported: it would erase all 3 namespaces of the subsystem, of which 2 are attached to nothing here", ""},
		{"manages namespaces and has one", controller{sanicap: 1, oacs: 8, namespaces: 1, log: [][2]uint16{never, done}}, "crypto erase",
			"", "0x84 nsid 0 cdw10 0xc"},
		{"more controllers", controller{sanicap: 3, namespaces: 1, cmic: 2}, "",
			"not supported: the subsystem has other controllers, whose namespaces it would erase too", ""},
		{"an earlier one goes on", controller{sanicap: 1, namespaces: 1, log: [][2]uint16{running, done, running, done}}, "crypto erase",
			"", "0x84 nsid 0 cdw10 0xc"},
		{"an earlier one failed", controller{sanicap: 1, namespaces: 1, log: [][2]uint16{failed, done}}, "crypto erase", "",
			"0x84 nsid 0 cdw10 0x1, 0x84 nsid 0 cdw10 0xc"},
		{"fails", controller{sanicap: 1, namespaces: 1, log: [][2]uint16{never, running, failed}}, "",
			"sanitizing (crypto erase): the disk ended it with status 3 of its sanitize log", "0x84 nsid 0 cdw10 0xc, 0x84 nsid 0 cdw10 0x1"},
		{"stands still", controller{sanicap: 1, namespaces: 1, log: [][2]uint16{never, running}},
			"", "sanitizing (crypto erase): it has stood at 1000 of 65536 for 1m0s", "0x84 nsid 0 cdw10 0xc"},
		{"refused", controller{sanicap: 1, namespaces: 1, log: [][2]uint16{never}, refuse: map[byte]error{0x84: Status(0x401d)}}, "",
			"starting to sanitize (crypto erase): NVMe status 0x1d: sanitize in progress", ""},
		{"no log", controller{sanicap: 1, namespaces: 1, refuse: map[byte]error{0x02: Status(2)}}, "",
			"looking for an earlier sanitize: reading the sanitize log: NVMe status 0x2: invalid field in command", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id, err := Identify(&tt.c, 1)
				if err != nil {
					t.Fatal(err)
				}
				how, err := Sanitize(t.Context(), &tt.c, id, time.Minute, idle)
				check(t, how, err, tt.how, tt.err)
				if got := strings.Join(tt.c.told, ", "); got != tt.told {
					t.Errorf("the controller was told %q, want %q", got, tt.told)
				}
			})
		})
	}
}

func check(t *testing.T, how string, err error, wantHow, wantErr string) {
	t.Helper()
	if got := fmt.Sprint(err); how != wantHow || got != wantErr && !(err == nil && wantErr == "") {
		t.Errorf("got %q, %v; want %q, %s", how, err, wantHow, wantErr)
	}
	if unsupported := errors.Is(err, ErrUnsupported); unsupported != strings.HasPrefix(wantErr, "not supported") {
		t.Errorf("unsupported: %v of %v", unsupported, err)
	}
}

// A disk in the middle of an earlier sanitize, or after one that failed, is brought to answer before anything
// is written to it; others are only asked.
func TestRecover(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    controller
		err  string
		told string
	}{
		{"no Sanitize", controller{}, "", ""},
		{"never", controller{sanicap: 3, log: [][2]uint16{{0, 0}}}, "", ""},
		{"done", controller{sanicap: 3, log: [][2]uint16{{0xffff, 1}}}, "", ""},
		{"goes on and ends", controller{sanicap: 1, log: [][2]uint16{{10, 2}, {20, 2}, {0xffff, 1}}}, "", ""},
		{"goes on and fails", controller{sanicap: 1, log: [][2]uint16{{10, 2}, {0, 3}}}, "", "0x84 nsid 0 cdw10 0x1"},
		{"failed", controller{sanicap: 2, log: [][2]uint16{{0, 3}}}, "", "0x84 nsid 0 cdw10 0x1"},
		{"stands still", controller{sanicap: 2, log: [][2]uint16{{10, 2}}},
			"looking for an earlier sanitize: it has stood at 10 of 65536 for 1m0s", ""},
		{"stays failed", controller{sanicap: 2, log: [][2]uint16{{0, 3}}, refuse: map[byte]error{0x84: Status(0x1c)}},
			"leaving the failure mode of an earlier sanitize: NVMe status 0x1c: sanitize failed", ""},
		{"says nothing", controller{refuse: map[byte]error{0x06: Status(6)}}, "identifying the controller: NVMe status 0x6: internal error", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := ""
				if err := Recover(t.Context(), &tt.c, time.Minute, idle); err != nil {
					got = err.Error()
				}
				if got != tt.err {
					t.Errorf("got  %s\nwant %s", got, tt.err)
				}
				if told := strings.Join(tt.c.told, ", "); told != tt.told {
					t.Errorf("told %s\nwant %s", told, tt.told)
				}
			})
		})
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		name      string
		c         controller
		how, err  string
		told      string
		namespace uint32
	}{
		{"user data", controller{oacs: 2, namespaces: 1}, "user data erase", "", "0x80 nsid 1 cdw10 0x200", 1},
		{"crypto", controller{oacs: 2, fna: 4, namespaces: 1}, "crypto erase", "", "0x80 nsid 1 cdw10 0x400", 1},
		{"keeps format and protection", controller{oacs: 2, namespaces: 1, flbas: 0x13, dps: 0x0a}, "user data erase", "",
			"0x80 nsid 1 cdw10 0x353", 1},
		{"one of two", controller{oacs: 2, namespaces: 2}, "user data erase", "", "0x80 nsid 2 cdw10 0x200", 2},
		{"one of two, but all go", controller{oacs: 2, fna: 2, namespaces: 2}, "",
			"not supported: it would erase all 2 namespaces of the controller", "", 2},
		{"one of two, and a detached one would go", controller{oacs: 2 | 8, fna: 1, namespaces: 1, detached: 1},
			"", "not supported: it would erase all 2 namespaces of the subsystem, of which 1 are attached to nothing here", "", 1},
		{"beside a detached one", controller{oacs: 2 | 8, namespaces: 1, detached: 1}, "user data erase", "", "0x80 nsid 1 cdw10 0x200", 1},
		{"the 38th of 64 formats", controller{oacs: 2, namespaces: 1, nlbaf: 63, flbas: 0x45}, "user data erase", "", "0x80 nsid 1 cdw10 0x2205",
			1},
		{"the last of 64 formats", controller{oacs: 2, namespaces: 1, nlbaf: 63, flbas: 0x7f}, "user data erase", "", "0x80 nsid 1 cdw10 0x321f",
			1},
		{"bits that mean nothing", controller{oacs: 2, namespaces: 1, nlbaf: 15, flbas: 0x65}, "user data erase", "", "0x80 nsid 1 cdw10 0x205",
			1},
		{"shared", controller{oacs: 2, cmic: 2, nmic: 1, namespaces: 1}, "", "not supported: other controllers share the namespace", "", 1},
		{"no format", controller{namespaces: 1}, "", "not supported: the controller has no Format NVM (OACS 0x0)", "", 1},
		{"refused", controller{oacs: 2, namespaces: 1, refuse: map[byte]error{0x80: Status(0x10a)}}, "",
			"formatting (user data erase): NVMe status 0x10a: invalid format", "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := Identify(&tt.c, tt.namespace)
			if err != nil {
				t.Fatal(err)
			}
			how, err := Format(t.Context(), &tt.c, id, idle)
			check(t, how, err, tt.how, tt.err)
			if got := strings.Join(tt.c.told, ", "); got != tt.told {
				t.Errorf("the controller was told %q, want %q", got, tt.told)
			}
		})
	}
}

func TestIdentifyFails(t *testing.T) {
	c := &controller{refuse: map[byte]error{0x06: Status(6)}}
	if _, err := Identify(c, 1); err == nil || err.Error() != "identifying the controller: NVMe status 0x6: internal error" {
		t.Error(err)
	}
	c = &controller{namespaces: 3, stuck: true}
	if _, err := Identify(c, 1); err == nil ||
		err.Error() != "listing the controller's namespaces: namespace 1 follows 1 in a list that must rise" {
		t.Error(err)
	}
	c = &controller{namespaces: 3000, oacs: 8, detached: 1500}
	if id, err := Identify(c, 1); err != nil || id.Namespaces != 4500 || id.Detached != 1500 {
		t.Errorf("%+v, %v", id, err)
	}
	if got := Status(0x0fff).Error(); got != "NVMe status 0x7ff" {
		t.Error(got)
	}
}

// slow is a controller that formats for an hour.
type slow struct{ *controller }

func (s slow) Do(c Command) error {
	if c.Opcode == 0x80 {
		time.Sleep(time.Hour)
	}
	return s.controller.Do(c)
}

func TestFormatTellsThatItGoesOnAndStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := slow{&controller{oacs: 2, namespaces: 1}}
		id := Identity{NSID: 1, OACS: 2, Namespaces: 1}
		told := 0
		if _, err := Format(t.Context(), c, id, func(int64, int64) { told++ }); err != nil || told < 1700 {
			t.Errorf("told %d times in an hour, %v", told, err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("aborted"))
		defer cancel()
		if _, err := Format(ctx, c, id, idle); err == nil || err.Error() != "aborted" {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour) // the command's goroutine ends
	})
}

// The kernel's structure has 72 bytes; the number of the ioctl says so too.
func TestPassthruSize(t *testing.T) {
	if size := unsafe.Sizeof(passthru{}); size != ioctlAdmin>>16&0x3fff {
		t.Errorf("%d bytes", size)
	}
	if at := unsafe.Offsetof(passthru{}.cdw10); at != 40 {
		t.Errorf("cdw10 at %d", at)
	}
}
