package ipmi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func testSession(suite int) *session {
	s := &session{suite: cipherSuites[suite], consoleID: 7, bmcID: 7}
	s.deriveKeys(padKey(nil), []byte("mine"), []byte("theirs"), []byte("who"))
	return s
}

func TestSealAndOpen(t *testing.T) {
	for suite := range cipherSuites {
		s := testSession(suite)
		for n := range 40 {
			msg := bytes.Repeat([]byte{byte(n)}, n)
			f, err := unwrap(s.seal(payloadIPMI, msg))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.open(f); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("suite %d: % x came back as % x, %v", suite, msg, got, err)
			}
			if s.sequence != uint32(n+1) {
				t.Errorf("sequence number %d for packet %d", s.sequence, n+1)
			}
		}
	}
}

func TestUnpackResponse(t *testing.T) {
	good := []byte{0x81, 0x1C, 0x63, 0x20, 0x04, 0x01, 0x00, 0x20, 0xBB}
	if data, err := unpackResponse(good, 6, 1, 1, false); err != nil || !bytes.Equal(data, []byte{0x20}) {
		t.Errorf("% x, %v", data, err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 4
		if _, err := unpackResponse(bad, 6, 1, 1, false); !errors.Is(err, errNotOurs) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := unpackResponse(good, 6, 1, 2, false); !errors.Is(err, errNotOurs) {
		t.Errorf("another sequence number: %v", err)
	}
	if _, err := unpackResponse([]byte{0x81, 0x1C, 0x63, 0x20, 0x04, 0x01, 0xC1, 0x1A}, 6, 1, 1, false); fmt.Sprint(err) !=
		"completion code 0xc1, invalid command" {
		t.Errorf("a completion code: %v", err)
	}
	if got := completion(0x9A).Error(); got != "completion code 0x9a" {
		t.Errorf("an unknown completion code: %s", got)
	}
}

func TestSuiteIDs(t *testing.T) {
	for _, tt := range []struct {
		records []byte
		want    []int
	}{
		{nil, nil},
		{[]byte{0xC0, 17, 3, 0x44, 0x81, 0xC0, 3, 1, 0x41, 0x81}, []int{17, 3}},
		{[]byte{0xC0, 0, 0x00, 0x40, 0x80, 0xC1, 0x80, 1, 2, 3, 0x00, 0x40, 0x80, 0xC0, 3, 1}, []int{0, 3}},
		{[]byte{0xC1, 1}, nil},
		{[]byte{0xC0}, nil},
	} {
		if got := suiteIDs(tt.records); !slices.Equal(got, tt.want) {
			t.Errorf("% x: %v, want %v", tt.records, got, tt.want)
		}
	}
}

// FuzzUnwrap plays a BMC that sends anything, also with the right keys.
func FuzzUnwrap(f *testing.F) {
	f.Add(wrapPlain([]byte{0x81, 0x1C, 0x63, 0x20, 0x04, 0x01, 0x00, 0x20, 0xBB}))
	f.Add(testSession(3).seal(payloadIPMI, []byte{1, 2, 3}))
	f.Add(wrapPlus(payloadOpen+1, 0, 0, make([]byte, 36)))
	f.Add([]byte{0x81, 0x1C, 0x63, 0x20, 0x04, 0x01, 0xC1, 0x1A})
	f.Add([]byte{0xC0, 17, 3, 0x44, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := testSession(17)
		if p, err := unwrap(b); err == nil {
			if len(p.payload) > len(b) {
				t.Error("a payload longer than its packet")
			}
			if _, err := s.open(p); err == nil {
				t.Error("a packet without the keys was taken for genuine")
			}
		}
		sealed, err := unwrap(s.seal(payloadIPMI, b[:min(len(b), 4096)]))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := s.open(sealed); err != nil || !bytes.Equal(plain, b[:len(plain)]) {
			t.Errorf("% x came back as % x, %v", b, plain, err)
		}
		// The genuine keys around ciphertext that is no ciphertext.
		forged := wrapPlus(payloadIPMI|encrypted|authenticated, s.consoleID, 1, b)
		forged = append(forged, 0, 7)
		forged = append(forged, s.suite.mac(s.k1, forged[4:])[:s.suite.codeLen]...)
		if p, err := unwrap(forged); err == nil {
			s.open(p)
		}
		unpackResponse(b, 6, 1, 1, false)
		suiteIDs(b)
	})
}
