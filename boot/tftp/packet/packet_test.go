package packet

import (
	"errors"
	"reflect"
	"testing"
)

func TestParseRequest(t *testing.T) {
	tests := []struct {
		in   string
		want Request
		err  string
	}{
		{"\x00\x01f\x00OCTET\x00", Request{File: "f", Mode: "octet", Options: map[string]string{}, Order: nil}, ""},
		{
			"\x00\x01f\x00octet\x00BlkSize\x001432\x00tsize\x000\x00blksize\x00512\x00",
			Request{File: "f", Mode: "octet", Options: map[string]string{"blksize": "512", "tsize": "0"}, Order: []string{"blksize", "tsize"}}, "",
		},
		{"\x00\x01f\x00octet\x00odd\x00", Request{File: "f", Mode: "octet", Options: map[string]string{}, Order: nil}, ""},
		{"\x00\x02f\x00octet\x00", Request{}, "operation 2: not a read request"},
		// nothing says that more was to come
		{"\x00\x01f\x00octet", Request{File: "f", Mode: "octet", Options: map[string]string{}, Order: nil}, ""},
		{"\x00\x01f\x00", Request{}, "no file name and mode"},
		{"\x00\x01\x00octet\x00", Request{}, "no file name and mode"},
		{"\x00", Request{}, "shorter than an operation code"},
		{"", Request{}, "shorter than an operation code"},
	}
	for _, tt := range tests {
		got, err := ParseRequest([]byte(tt.in))
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: error %v, want %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
	if _, err := ParseRequest([]byte{0, OpWrite}); !errors.Is(err, ErrNotRead) {
		t.Errorf("a write: %v, want ErrNotRead", err)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want Packet
		ok   bool
	}{
		{"\x00\x04\x01\x02", Packet{Op: OpAck, Number: 0x102}, true},
		{"\x00\x05\x00\x08no\x00rest", Packet{Op: OpError, Number: 8, Text: "no"}, true},
		{"\x00\x05\x00\x00", Packet{Op: OpError}, true},
		{"\x00\x05\x00\x00\xff", Packet{Op: OpError, Text: "?"}, true},
		{"\x00\x03\x00\x01data", Packet{Op: OpData, Number: 1, Data: []byte("data")}, true},
		{"\x00\x06blksize\x00512\x00", Packet{Op: OpOptionAck, Number: 0x626c}, false},
		{"\x00\x04\x01", Packet{}, false},
	}
	for _, tt := range tests {
		if got, ok := Parse([]byte(tt.in)); !reflect.DeepEqual(got, tt.want) || ok != tt.ok {
			t.Errorf("%q: %+v, %v; want %+v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x04\x00\x01"))
	f.Add([]byte("\x00\x05\x00\x01no\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := Parse(b); ok && r.Op != OpAck && r.Op != OpError && r.Op != OpData {
			t.Errorf("%q is taken as operation %d", b, r.Op)
		}
	})
}
