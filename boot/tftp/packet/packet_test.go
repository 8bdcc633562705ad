package packet_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/billet-metal/billet/boot/tftp/packet"
)

func TestParseRequest(t *testing.T) {
	tests := []struct {
		in   string
		want packet.Request
		err  string
	}{
		{"\x00\x01f\x00OCTET\x00", packet.Request{File: "f", Mode: "octet", Options: map[string]string{}, Order: nil}, ""},
		{
			"\x00\x01f\x00octet\x00BlkSize\x001432\x00tsize\x000\x00blksize\x00512\x00",
			packet.Request{File: "f", Mode: "octet", Options: map[string]string{"blksize": "512", "tsize": "0"},
				Order: []string{"blksize", "tsize"}}, "",
		},
		{"\x00\x01f\x00octet\x00odd\x00", packet.Request{File: "f", Mode: "octet", Options: map[string]string{}, Order: nil}, ""},
		{"\x00\x02f\x00octet\x00", packet.Request{}, "operation 2: not a read request"},
		// nothing says that more was to come
		{"\x00\x01f\x00octet", packet.Request{File: "f", Mode: "octet", Options: map[string]string{}, Order: nil}, ""},
		{"\x00\x01f\x00", packet.Request{}, "no file name and mode"},
		{"\x00\x01\x00octet\x00", packet.Request{}, "no file name and mode"},
		{"\x00", packet.Request{}, "shorter than an operation code"},
		{"", packet.Request{}, "shorter than an operation code"},
	}
	for _, tt := range tests {
		got, err := packet.ParseRequest([]byte(tt.in))
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
	if _, err := packet.ParseRequest([]byte{0, packet.OpWrite}); !errors.Is(err, packet.ErrNotRead) {
		t.Errorf("a write: %v, want ErrNotRead", err)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want packet.Packet
		ok   bool
	}{
		{"\x00\x04\x01\x02", packet.Packet{Op: packet.OpAck, Number: 0x102}, true},
		{"\x00\x05\x00\x08no\x00rest", packet.Packet{Op: packet.OpError, Number: 8, Text: "no"}, true},
		{"\x00\x05\x00\x00", packet.Packet{Op: packet.OpError}, true},
		{"\x00\x05\x00\x00\xff", packet.Packet{Op: packet.OpError, Text: "?"}, true},
		{"\x00\x03\x00\x01data", packet.Packet{Op: packet.OpData, Number: 1, Data: []byte("data")}, true},
		{"\x00\x06blksize\x00512\x00", packet.Packet{Op: packet.OpOptionAck, Number: 0x626c}, false},
		{"\x00\x04\x01", packet.Packet{}, false},
	}
	for _, tt := range tests {
		if got, ok := packet.Parse([]byte(tt.in)); !reflect.DeepEqual(got, tt.want) || ok != tt.ok {
			t.Errorf("%q: %+v, %v; want %+v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x04\x00\x01"))
	f.Add([]byte("\x00\x05\x00\x01no\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := packet.Parse(b); ok && r.Op != packet.OpAck && r.Op != packet.OpError && r.Op != packet.OpData {
			t.Errorf("%q is taken as operation %d", b, r.Op)
		}
	})
}
