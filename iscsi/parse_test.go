package iscsi

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestPDU(t *testing.T) {
	for _, d := range []digests{{}, {header: true}, {data: true}, {true, true}} {
		for _, n := range []int{0, 1, 3, 4, 511, 4096} {
			p := &pdu{data: bytes.Repeat([]byte{0xa5}, n)}
			p.bhs[0], p.bhs[40] = opDataIn, 7
			raw := appendPDU(nil, p, d)
			if len(raw)%4 != 0 {
				t.Errorf("%+v, %d bytes: not padded", d, n)
			}
			got, err := readPDU(bytes.NewReader(raw), d)
			if err != nil || got.bhs != p.bhs || !bytes.Equal(got.data, p.data) {
				t.Errorf("%+v, %d bytes: %v", d, n, err)
			}
			if d.header && n > 0 {
				raw[3] ^= 1
				if _, err := readPDU(bytes.NewReader(raw), d); err == nil || !strings.Contains(err.Error(), "header digest") {
					t.Errorf("a damaged header is taken: %v", err)
				}
			}
		}
	}
}

// The digest's byte order, against the example of RFC 7143 appendix A.4: 32 bytes of zeros.
func TestDigestOfTheRFC(t *testing.T) {
	if got, want := digest(make([]byte, 32)), [4]byte{0xaa, 0x36, 0x91, 0x8a}; got != want {
		t.Errorf("got % x, want % x", got, want)
	}
}

// RFC 1994 is MD5 over identifier, secret and challenge; this value was made with openssl md5.
func TestCHAPResponse(t *testing.T) {
	if got, want := formatBinary(chapResponse(1, "secret", []byte{1, 2, 3})), "0x"+chapExample; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParams(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		says       string
		check      func(p params) bool
	}{
		{"MaxBurstLength", "0", "512 to 16777215", nil},
		{"MaxRecvDataSegmentLength", "-5", "512 to 16777215", nil},
		{"FirstBurstLength", "many", "512 to 16777215", nil},
		{"MaxBurstLength", "0x10000", "", func(p params) bool { return p.maxBurst == 65536 }},
		{"MaxRecvDataSegmentLength", "16777215", "", func(p params) bool { return p.targetSegment == 1<<20 }},
		{"ImmediateData", "No", "", func(p params) bool { return !p.immediateData }},
		{"DataDigest", "CRC32C", "", func(p params) bool { return p.digests.data && !p.digests.header }},
	} {
		p := defaultParams()
		err := p.take(tt.key, tt.value)
		if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s=%s: %v", tt.key, tt.value, err)
		}
		if tt.says == "" && (err != nil || !tt.check(p)) {
			t.Errorf("%s=%s: %v, %+v", tt.key, tt.value, err, p)
		}
	}
}

func TestSense(t *testing.T) {
	fixed := []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0}
	for _, tt := range []struct {
		status  byte
		sense   []byte
		want    string
		passing bool
	}{
		{0x02, fixed, "the disk says: illegal request (code 20/00)", false},
		{0x02, []byte{0x72, 6, 0x29, 0, 0, 0, 0, 0}, "the disk says: unit attention (code 29/00)", true},
		{0x02, []byte{0x70, 0, 3}, "the disk says: no sense (code 00/00)", false},
		{0x08, nil, "the disk answers with status 0x08", true},
	} {
		e := verdict(tt.status, tt.sense).(*scsiError)
		if e.Error() != tt.want || e.passing() != tt.passing {
			t.Errorf("%q, passing %v; want %q, %v", e, e.passing(), tt.want, tt.passing)
		}
	}
}

func TestWireLUN(t *testing.T) {
	for lun, want := range map[uint64]uint64{0: 0, 1: 0x0001 << 48, 255: 0x00ff << 48, 256: 0x4100 << 48} {
		if got := wireLUN(lun); got != want {
			t.Errorf("LUN %d is %016x, want %016x", lun, got, want)
		}
	}
}

func FuzzPDU(f *testing.F) {
	f.Add(appendPDU(nil, &pdu{data: []byte("abc")}, digests{}), false)
	f.Add(appendPDU(nil, &pdu{data: []byte("abcd")}, digests{true, true}), true)
	f.Fuzz(func(t *testing.T, raw []byte, sums bool) {
		p, err := readPDU(bytes.NewReader(raw), digests{sums, sums})
		if err != nil {
			return
		}
		p.bhs[4] = 0 // additional headers are read over
		again, err := readPDU(bytes.NewReader(appendPDU(nil, p, digests{sums, sums})), digests{sums, sums})
		if err != nil || again.bhs != p.bhs || !bytes.Equal(again.data, p.data) {
			t.Errorf("it does not come back as it was: %v", err)
		}
		_ = response(p)
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("HeaderDigest=None\x00MaxBurstLength=262144\x00"))
	f.Add([]byte("CHAP_A=5\x00CHAP_I=1\x00CHAP_C=0x0102\x00"))
	f.Add([]byte("CHAP_C=0bAAAA\x00=\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := parseText(raw)
		if err != nil {
			return
		}
		var pairs []pair
		p := defaultParams()
		for k, v := range keys {
			pairs = append(pairs, pair{k, v})
			_ = p.take(k, v)
		}
		if p.maxBurst < 512 || p.targetSegment < 512 || p.firstBurst < 512 {
			t.Errorf("limits that never end: %+v", p)
		}
		again, err := parseText(formatText(pairs))
		if err != nil || !reflect.DeepEqual(again, keys) {
			t.Errorf("%v, %v", again, err)
		}
		c := &chapLogin{CHAP: &CHAP{User: "u", Secret: "s", MutualSecret: "m"}}
		if _, err := c.answer(keys); err == nil && c.verify(keys) == nil {
			t.Error("a target that knows no secret is taken")
		}
	})
}

// chapExample is printf '\x01secret\x01\x02\x03' | openssl md5
const chapExample = "9067fecf94f4c5654f2d992d9b7ce3fd"
