package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// memTarget is a target in memory, of the kinds that no target on this machine is: with other
// sectors, limits and habits. It keeps to the protocol, so what goes wrong is the initiator's.
type memTarget struct {
	sector   int
	maxIO    uint32 // blocks of one command, as Block Limits says; 0: does not say
	sameRun  uint64 // blocks of one WRITE SAME, as Block Limits says
	noPages  bool   // vital product data is refused
	noSame   bool   // WRITE SAME is refused, whatever was promised
	noCache  bool   // SYNCHRONIZE CACHE is refused
	unmaps   bool   // LBPWS and LBPRZ
	segment  int    // MaxRecvDataSegmentLength; 0: 8192
	burst    int    // MaxBurstLength; 0: 262144
	late     bool   // takes no immediate data
	capacity []byte // the answer to READ CAPACITY (16), in the place of the true one
	inquiry  []byte // in the place of the true one
	hangUp   int    // closes the connection after every so many commands; 0: never
	stumble  int    // answers every so many commands with what passes; 0: never

	mu       sync.Mutex
	data     []byte
	seen     map[byte]int // commands by their code
	largest  int          // bytes of one READ or WRITE
	sames    []int64      // blocks of each WRITE SAME
	unmapped int
	logins   int
	count    int
}

// serve starts the target and returns its address.
func (m *memTarget) serve(t *testing.T, size int) string {
	t.Helper()
	m.data, m.seen = bytes.Repeat([]byte{0xa5}, size), map[byte]int{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer raw.Close()
				c := newConn(raw)
				c.expire(time.Minute)
				m.talk(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

func (m *memTarget) open(t *testing.T, size int) (*Disk, error) {
	t.Helper()
	d, err := Open(t.Context(), Options{Address: m.serve(t, size), Target: "iqn.2026-11.org.example:mem", CommandTimeout: 5 * time.Second,
		Patience: 10 * time.Second})
	if err == nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

// say answers one unit; the counters are kept so that the window is always open.
func (m *memTarget) say(c *conn, op, flags byte, to *pdu, change func(*pdu)) error {
	u := &pdu{}
	u.bhs[0], u.bhs[1] = op, flags
	u.set(atTag, to.u32(atTag))
	u.set(atTransfer, noTag)
	u.set(atSN, c.expStatSN)
	u.set(atExpSN, to.u32(atSN)+1)
	u.set(atMaxSN, to.u32(atSN)+8)
	if change != nil {
		change(u)
	}
	return c.send(u)
}

func (m *memTarget) talk(c *conn) {
	m.mu.Lock()
	m.logins++
	m.mu.Unlock()
	for {
		u, err := readPDU(c.in, c.digests)
		if err != nil {
			return
		}
		switch u.op() {
		case opLogin:
			err = m.login(c, u)
		case opNopOut:
			if u.u32(atTag) != noTag {
				err = m.say(c, opNopIn, final, u, nil)
			}
		case opLogout:
			m.say(c, opLogoutEnd, final, u, nil)
			return
		case opCommand:
			err = m.command(c, u)
		default:
			err = fmt.Errorf("operation 0x%02x", u.op())
		}
		if err != nil {
			return
		}
	}
}

func (m *memTarget) login(c *conn, u *pdu) error {
	var keys []pair
	if u.bhs[1]>>2&3 == stageOperational && len(u.data) > 0 {
		yes := map[bool]string{true: "Yes", false: "No"}
		keys = []pair{
			{"MaxRecvDataSegmentLength", fmt.Sprint(max(m.segment, 512))}, {"MaxBurstLength", fmt.Sprint(max(m.burst, 512))},
			{"FirstBurstLength", "65536"}, {"ImmediateData", yes[!m.late]}, {"InitialR2T", "Yes"}, {"HeaderDigest", "None"}, {"DataDigest", "None"},
		}
	}
	return m.say(c, opLoginResp, u.bhs[1]&0x8f, u, func(a *pdu) { a.data = formatText(keys) })
}

var illegal = sense(5, 0x20, 0)

// command carries out one SCSI command.
func (m *memTarget) command(c *conn, u *pdu) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	cdb := u.bhs[32:48]
	m.seen[cdb[0]]++
	status := func(s byte, sense []byte) error {
		return m.say(c, opResponse, final, u, func(a *pdu) { a.bhs[3], a.data = s, sense })
	}
	if m.hangUp > 0 && m.count%m.hangUp == 0 {
		return errors.New("hung up")
	}
	if m.stumble > 0 && m.count%m.stumble == 0 {
		if m.count%2 == 0 {
			return status(statusBusy, nil)
		}
		return status(statusCheck, sense(keyUnitAttention, 0x29, 0))
	}
	off := int64(binary.BigEndian.Uint64(cdb[2:])) * int64(m.sector)
	n := int64(binary.BigEndian.Uint32(cdb[10:])) * int64(m.sector)
	switch cdb[0] {
	case 0x00:
		return status(statusGood, nil)
	case 0x12:
		return m.tell(c, u, m.inquire(cdb), status)
	case 0x9e:
		capacity := m.capacity
		if capacity == nil {
			capacity = make([]byte, 32)
			binary.BigEndian.PutUint64(capacity, uint64(len(m.data)/m.sector-1))
			binary.BigEndian.PutUint32(capacity[8:], uint32(m.sector))
			if m.unmaps {
				capacity[14] = 0xc0
			}
		}
		return m.tell(c, u, capacity, status)
	case 0x88, 0x8a:
		if off < 0 || off+n > int64(len(m.data)) || m.maxIO > 0 && n > int64(m.maxIO)*int64(m.sector) || n == 0 {
			return status(statusCheck, illegal)
		}
		m.largest = max(m.largest, int(n))
		if cdb[0] == 0x88 {
			return m.tell(c, u, m.data[off:off+n], status)
		}
		if err := m.take(c, u, m.data[off:off+n]); err != nil {
			return err
		}
		return status(statusGood, nil)
	case 0x93:
		block := make([]byte, m.sector)
		if err := m.take(c, u, block); err != nil {
			return err
		}
		if m.noSame || off+n > int64(len(m.data)) || m.sameRun > 0 && n > int64(m.sameRun)*int64(m.sector) || cdb[1]&8 != 0 && !m.unmaps {
			return status(statusCheck, illegal)
		}
		m.sames = append(m.sames, n/int64(m.sector))
		m.unmapped += int(cdb[1] >> 3 & 1)
		for at := off; at < off+n; at += int64(m.sector) {
			copy(m.data[at:], block)
		}
		return status(statusGood, nil)
	case 0x91:
		if m.noCache {
			return status(statusCheck, illegal)
		}
		return status(statusGood, nil)
	}
	return status(statusCheck, illegal)
}

func (m *memTarget) inquire(cdb []byte) []byte {
	page := func(code byte, n int) []byte {
		b := make([]byte, n)
		b[1], b[3] = code, byte(n-4)
		return b
	}
	switch {
	case cdb[1]&1 == 0 && m.inquiry != nil:
		return m.inquiry
	case cdb[1]&1 == 0:
		return append(make([]byte, 8), "MEMORY  a disk          0001"...)
	case m.noPages:
		return nil
	case cdb[2] == 0xb0:
		b := page(0xb0, 64)
		binary.BigEndian.PutUint32(b[8:], m.maxIO)
		binary.BigEndian.PutUint64(b[36:], m.sameRun)
		return b
	case cdb[2] == 0xb2:
		b := page(0xb2, 8)
		if m.unmaps {
			b[5] = 0x40
		}
		return b
	}
	return nil
}

// tell sends data in segments; no data is what the unit does not have.
func (m *memTarget) tell(c *conn, u *pdu, data []byte, status func(byte, []byte) error) error {
	if data == nil {
		return status(statusCheck, illegal)
	}
	data = data[:min(len(data), int(u.u32(20)))]
	for at := 0; at < len(data); at += maxSegment {
		part := data[at:min(at+maxSegment, len(data))]
		if err := m.say(c, opDataIn, 0, u, func(a *pdu) { a.data = part; a.set(40, uint32(at)) }); err != nil {
			return err
		}
	}
	return status(statusGood, nil)
}

// take gathers the data of a write: what came with the command, then what is asked for.
func (m *memTarget) take(c *conn, u *pdu, into []byte) error {
	if m.late && len(u.data) > 0 {
		return errors.New("immediate data that was not agreed on")
	}
	got := copy(into, u.data)
	for got < len(into) {
		n := min(len(into)-got, max(m.burst, 512))
		err := m.say(c, opR2T, final, u, func(a *pdu) { a.set(atTransfer, 77); a.set(40, uint32(got)); a.set(44, uint32(n)) })
		if err != nil {
			return err
		}
		for end := got + n; got < end; {
			d, err := readPDU(c.in, c.digests)
			switch {
			case err != nil:
				return err
			case d.op() != opDataOut || d.u32(atTransfer) != 77 || int(d.u32(40)) != got || len(d.data) == 0 || len(d.data) > max(m.segment, 512) ||
				got+len(d.data) > end:
				return fmt.Errorf("data out of place: %x", d.bhs)
			case d.is(final) != (got+len(d.data) == end):
				return errors.New("the last segment is not marked as the last")
			}
			got += copy(into[got:], d.data)
		}
	}
	return nil
}

func (m *memTarget) content() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.data)
}

// TestDiskIsAByteSlice does the same to a disk and to a slice of bytes, at any offset and length;
// after each step they must not differ, whatever the disk is like and however often it breaks off.
func TestDiskIsAByteSlice(t *testing.T) {
	const size = 3 << 20
	tests := map[string]*memTarget{
		"512":                               {sector: 512, segment: 65536, burst: 262144},
		"4096":                              {sector: 4096, segment: 65536, burst: 262144, sameRun: 64},
		"a few blocks at a time":            {sector: 512, maxIO: 3, segment: 512, burst: 1024},
		"one large block at a time":         {sector: 4096, maxIO: 1, segment: 1024, burst: 4096},
		"no immediate data":                 {sector: 1024, late: true, segment: 700, burst: 2048},
		"unmaps":                            {sector: 512, unmaps: true, segment: 8192, burst: 65536},
		"promises WRITE SAME and has none":  {sector: 512, sameRun: 1000, noSame: true, segment: 8192, burst: 65536},
		"old, without any page or cache":    {sector: 2048, noPages: true, noCache: true, segment: 8192, burst: 65536},
		"hangs up every 7 commands":         {sector: 512, hangUp: 7, sameRun: 100, segment: 65536, burst: 262144},
		"busy and reset every 3 commands":   {sector: 512, stumble: 3, segment: 65536, burst: 262144},
		"hangs up in the middle of a write": {sector: 4096, hangUp: 3, stumble: 5, maxIO: 8, segment: 8192, burst: 8192},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := m.open(t, size)
			if err != nil {
				t.Fatal(err)
			}
			if d.Size() != size || d.SectorSize() != int64(m.sector) || d.Identity() != "MEMORY a disk 0001" {
				t.Errorf("%d bytes in sectors of %d, %q", d.Size(), d.SectorSize(), d.Identity())
			}
			rng := rand.New(rand.NewPCG(1, uint64(len(name))))
			model := bytes.Repeat([]byte{0xa5}, size)
			steps := 40
			if m.stumble > 0 || m.hangUp > 0 {
				steps = 12 // each retry waits
			}
			for i := range steps {
				off := rng.Int64N(size)
				n := rng.Int64N(min(size-off, 1+int64(1)<<rng.IntN(18))) + 1
				if rng.IntN(3) == 0 { // whole sectors as well
					off, n = off/4096*4096, min((n+4095)/4096*4096, size-off/4096*4096)
				}
				switch rng.IntN(3) {
				case 0:
					p := make([]byte, n)
					for j := range p {
						p[j] = byte(rng.Uint32())
					}
					copy(model[off:], p)
					if got, err := d.WriteAt(p, off); err != nil || got != len(p) {
						t.Fatalf("step %d: writing %d at %d: %d, %v", i, n, off, got, err)
					}
				case 1:
					clear(model[off : off+n])
					if err := d.Zero(off, n); err != nil {
						t.Fatalf("step %d: zeroing %d at %d: %v", i, n, off, err)
					}
				case 2:
					p := make([]byte, n)
					if got, err := d.ReadAt(p, off); err != nil || got != len(p) || !bytes.Equal(p, model[off:off+n]) {
						t.Fatalf("step %d: reading %d at %d: %d, %v, or other bytes", i, n, off, got, err)
					}
				}
			}
			if err := d.Sync(); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(m.content(), model) {
				t.Error("the disk holds something else")
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.maxIO > 0 && m.largest > int(m.maxIO)*m.sector || m.largest > maxTransfer {
				t.Errorf("a command moved %d bytes", m.largest)
			}
			if m.unmaps != (m.unmapped > 0) || m.noSame && m.seen[0x93] > 1 {
				t.Errorf("unmapped %d times, WRITE SAME %d times", m.unmapped, m.seen[0x93])
			}
			for _, n := range m.sames {
				if m.sameRun > 0 && n > int64(m.sameRun) || n*int64(m.sector) > maxZeroRun {
					t.Errorf("one WRITE SAME of %d blocks", n)
				}
			}
			if (m.hangUp > 0) != (m.logins > 1) {
				t.Errorf("%d log-ins", m.logins)
			}
		})
	}
}

// TestEndsOfADisk: reading goes to the end and no further; nothing is written or zeroed beyond it.
func TestEndsOfADisk(t *testing.T) {
	const size = 64 << 10
	m := &memTarget{sector: 4096, segment: 8192, burst: 65536, sameRun: 4}
	d, err := m.open(t, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{{size - 10, 10, 10, nil}, {size - 10, 11, 10, io.EOF}, {size, 1, 0, io.EOF}, {size, 0, 0, nil}, {0, size + 1, size, io.EOF},
		{0, 0, 0, nil}} {
		if n, err := d.ReadAt(make([]byte, tt.n), tt.off); n != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("reading %d at %d: %d, %v; want %d, %v", tt.n, tt.off, n, err, tt.want, tt.err)
		}
	}
	const beyond = "the disk ends at 65536"
	for _, off := range []int64{-1, size + 1, 1 << 62, -1 << 63} {
		if n, err := d.ReadAt(make([]byte, 2), off); n != 0 || err == nil || !strings.Contains(err.Error(), beyond) {
			t.Errorf("reading at %d: %d, %v", off, n, err)
		}
	}
	before := m.content()
	for _, r := range [][2]int64{{-1, 2}, {size - 1, 2}, {size, 1}, {0, size + 1}, {1<<63 - 1, 2}} {
		if r[1] > 0 && r[1] <= size+1 {
			if n, err := d.WriteAt(make([]byte, r[1]), r[0]); n != 0 || err == nil || !strings.Contains(err.Error(), beyond) {
				t.Errorf("writing %d at %d: %d, %v", r[1], r[0], n, err)
			}
		}
		if err := d.Zero(r[0], r[1]); err == nil || !strings.Contains(err.Error(), beyond) {
			t.Errorf("zeroing %d at %d: %v", r[1], r[0], err)
		}
	}
	if err := d.Zero(0, -1); err == nil {
		t.Error("zeroing less than nothing")
	}
	if !bytes.Equal(before, m.content()) {
		t.Error("something was written")
	}
}

// TestLogicalUnitsThatAreNone: what an inquiry or a capacity says that cannot be is refused at
// opening, before anything rests on it.
func TestLogicalUnitsThatAreNone(t *testing.T) {
	capacity := func(last uint64, sector uint32) []byte {
		b := make([]byte, 32)
		binary.BigEndian.PutUint64(b, last)
		binary.BigEndian.PutUint32(b[8:], sector)
		return b
	}
	tests := []struct {
		name string
		m    *memTarget
		want string
	}{
		{"a tape", &memTarget{inquiry: append([]byte{1}, make([]byte, 40)...)}, "it is no disk"},
		{"no unit of that number", &memTarget{inquiry: append([]byte{0x7f}, make([]byte, 40)...)}, "it is no disk"},
		{"a short inquiry", &memTarget{inquiry: make([]byte, 35)}, "it is no disk"},
		{"a short capacity", &memTarget{capacity: make([]byte, 15)}, "READ CAPACITY is too short"},
		{"sectors of nothing", &memTarget{capacity: capacity(100, 0)}, "it says it has 100 sectors of 0 bytes"},
		{"sectors of 520 bytes", &memTarget{capacity: capacity(100, 520)}, "it says it has 100 sectors of 520 bytes"},
		{"sectors of 256 bytes", &memTarget{capacity: capacity(100, 256)}, "sectors of 256 bytes"},
		{"sectors of 8 KiB", &memTarget{capacity: capacity(100, 8192)}, "sectors of 8192 bytes"},
		{"more than there is", &memTarget{capacity: capacity(1<<64-1, 512)}, "it says it has 18446744073709551615 sectors"},
		{"a size that would be negative", &memTarget{capacity: capacity(1<<62/512, 512)}, "sectors of 512 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.sector = 512
			d, err := tt.m.open(t, 1<<20)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "asking logical unit 0 what it is") {
				t.Errorf("%v, %v; want %q", d, err, tt.want)
			}
		})
	}
}

// TestDiskAfterItsEnd: a closed disk, and one whose context has ended, fail at once.
func TestDiskAfterItsEnd(t *testing.T) {
	for _, closed := range []bool{true, false} {
		m := &memTarget{sector: 512, segment: 8192, burst: 65536}
		ctx, cancel := context.WithCancelCause(t.Context())
		d, err := Open(ctx, Options{Address: m.serve(t, 1<<20), Target: "iqn.2026-11.org.example:mem"})
		if err != nil {
			t.Fatal(err)
		}
		want := "the deploy was aborted"
		if closed {
			want = "the session was closed"
			d.Close()
		}
		cancel(errors.New("the deploy was aborted"))
		began := time.Now()
		_, read := d.ReadAt(make([]byte, 1), 0)
		_, write := d.WriteAt(make([]byte, 1), 0)
		for what, err := range map[string]error{"read": read, "write": write, "zero": d.Zero(0, 512), "sync": d.Sync()} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
		d.Close() // again is no harm
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
}

// stream is a connection whose other side says the same whatever it hears.
type stream struct {
	io.Reader
	sent int
}

func (s *stream) Write(p []byte) (int, error)      { s.sent += len(p); return len(p), nil }
func (*stream) Close() error                       { return nil }
func (*stream) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (*stream) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (*stream) SetDeadline(time.Time) error        { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// units are what targets say, one after the other.
func units(list ...*pdu) []byte {
	var b []byte
	for _, u := range list {
		b = appendPDU(b, u, digests{})
	}
	return b
}

func unit(op, flags byte, tag uint32, change func(*pdu)) *pdu {
	u := &pdu{}
	u.bhs[0], u.bhs[1] = op, flags
	u.set(atTag, tag)
	u.set(atMaxSN, 100)
	if change != nil {
		change(u)
	}
	return u
}

// FuzzCommand: whatever a target says to a command, the buffers keep their bounds, no more is sent
// than was asked for, and a command that succeeded has ended.
func FuzzCommand(f *testing.F) {
	f.Add(units(unit(opDataIn, final|1, 1, func(u *pdu) { u.data = make([]byte, 1024) })), true)
	f.Add(units(unit(opDataIn, 0, 1, func(u *pdu) { u.data = make([]byte, 512) }), unit(opResponse, final, 1, nil)), true)
	f.Add(units(unit(opR2T, final, 1, func(u *pdu) { u.set(40, 512); u.set(44, 512) }), unit(opResponse, final, 1, nil)), false)
	f.Add(units(unit(opR2T, final, 1, func(u *pdu) { u.set(40, 0xffffff00); u.set(44, 0x1000) })), false)
	f.Add(units(unit(opNopIn, final, noTag, nil), unit(opAsync, final, noTag, nil), unit(opReject, final, noTag, nil)), false)
	f.Add(units(unit(opResponse, final, 1, func(u *pdu) { u.bhs[3], u.data = statusCheck, sense(6, 0x29, 0) })), false)
	f.Fuzz(func(t *testing.T, said []byte, read bool) {
		s := &stream{Reader: bytes.NewReader(said)}
		c := newConn(s)
		c.maxCmdSN = 100
		backing := bytes.Repeat([]byte{0x5a}, 2048)
		cmd := &command{out: backing[:1024:1024]}
		if read {
			cmd = &command{in: backing[:1024:1024]}
		}
		err := c.execute(cmd)
		if !bytes.Equal(backing[1024:], bytes.Repeat([]byte{0x5a}, 1024)) || cmd.got < 0 || cmd.got > len(cmd.in) {
			t.Errorf("%d bytes of %d came, or the memory behind was written", cmd.got, len(cmd.in))
		}
		// Each unit heard is answered by a burst at most.
		if most := (len(said)/headerSize + 1) * (1024 + 2*headerSize); s.sent > most {
			t.Errorf("%d bytes were sent for %d heard", s.sent, len(said))
		}
		if err == nil && c.broken {
			t.Error("it succeeded in the middle")
		}
	})
}

// FuzzLogin: a target that does not know the secret cannot be taken for ours, and none gets at the
// initiator's by what it says.
func FuzzLogin(f *testing.F) {
	says := func(flags byte, list ...pair) *pdu { return unit(opLoginResp, flags, 0, pairs(flags, list...)) }
	f.Add(units(says(final|stageOperational), says(final|stageOperational<<2|stageFull)))
	f.Add(units(says(final | stageFull)))
	f.Add(units(says(0, pair{"AuthMethod", "CHAP"}), says(0, pair{"CHAP_A", "5"}, pair{"CHAP_I", "1"}, pair{"CHAP_C", "0x0102"}),
		says(final|stageOperational, pair{"CHAP_N", "them"}, pair{"CHAP_R", "0x00"}), says(final|stageFull)))
	f.Add(units(says(0x40), says(0x40), says(0, pair{"TargetAddress", "x"})))
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, chap := range []*CHAP{nil, {User: "us", Secret: "a-secret-of-ours"},
			{User: "us", Secret: "a-secret-of-ours", MutualUser: "them", MutualSecret: "a-secret-of-theirs"}} {
			opts := &Options{Target: "iqn.2026-11.org.example:t", Address: "x", CHAP: chap}
			if err := opts.setDefaults(); err != nil {
				t.Fatal(err)
			}
			c := newConn(&stream{Reader: bytes.NewReader(said)})
			l := &login{conn: c, opts: opts, tag: 1}
			err := l.run()
			if err == nil && chap != nil && chap.MutualSecret != "" {
				t.Error("a target that proved nothing is let pass")
			}
			if err == nil && chap != nil && !l.chap.done() {
				t.Error("logged in without the authentication asked for")
			}
			if err != nil && strings.Contains(err.Error(), "a-secret") {
				t.Errorf("a secret is in the error: %v", err)
			}
			if p := c.params; p.targetSegment < 512 || p.maxBurst < 512 || p.firstBurst < 512 {
				t.Errorf("limits that never end: %+v", p)
			}
		}
	})
}
