package tftp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	tests := []struct {
		in   string
		want request
		err  string
	}{
		{"\x00\x01f\x00OCTET\x00", request{"f", "octet", map[string]string{}, nil}, ""},
		{
			"\x00\x01f\x00octet\x00BlkSize\x001432\x00tsize\x000\x00blksize\x00512\x00",
			request{"f", "octet", map[string]string{"blksize": "512", "tsize": "0"}, []string{"blksize", "tsize"}}, "",
		},
		{"\x00\x01f\x00octet\x00odd\x00", request{"f", "octet", map[string]string{}, nil}, ""},
		{"\x00\x02f\x00octet\x00", request{}, "operation 2: not a read request"},
		{"\x00\x01f\x00octet", request{"f", "octet", map[string]string{}, nil}, ""}, // nothing says that more was to come
		{"\x00\x01f\x00", request{}, "no file name and mode"},
		{"\x00\x01\x00octet\x00", request{}, "no file name and mode"},
		{"\x00", request{}, "shorter than an operation code"},
		{"", request{}, "shorter than an operation code"},
	}
	for _, tt := range tests {
		got, err := parseRequest([]byte(tt.in))
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
	if _, err := parseRequest([]byte{0, opWrite}); !errors.Is(err, errNotRead) {
		t.Errorf("a write: %v, want errNotRead", err)
	}
}

func TestParseReply(t *testing.T) {
	tests := []struct {
		in   string
		want reply
		ok   bool
	}{
		{"\x00\x04\x01\x02", reply{op: opAck, block: 0x102}, true},
		{"\x00\x05\x00\x08no\x00rest", reply{op: opError, block: 8, text: "no"}, true},
		{"\x00\x05\x00\x00", reply{op: opError}, true},
		{"\x00\x05\x00\x00\xff", reply{op: opError, text: "?"}, true},
		{"\x00\x03\x00\x01data", reply{op: opData, block: 1}, false},
		{"\x00\x04\x01", reply{}, false},
	}
	for _, tt := range tests {
		if got, ok := parseReply([]byte(tt.in)); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %+v, %v; want %+v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("\x00\x01pxelinux.0\x00octet\x00blksize\x001408\x00tsize\x000\x00"))
	f.Add([]byte("\x00\x01boot/x/kernel\x00netascii\x00windowsize\x0065535\x00timeout\x00255\x00"))
	f.Add([]byte("\x00\x02up\x00octet\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		if r.file == "" || len(r.order) != len(r.options) {
			t.Errorf("read as %+v", r)
		}
		s := &sender{block: defaultBlock, window: 1, timeout: 1}
		oack := s.negotiate(r, 1<<40)
		if s.block < 8 || s.block > maxBlock || s.window < 1 || s.window > maxWindow || s.timeout <= 0 {
			t.Errorf("agreed to blocks of %d, a window of %d, a timeout of %s", s.block, s.window, s.timeout)
		}
		for name := range strings.SplitSeq(string(oack), "\x00") {
			if len(name) > 40 {
				t.Errorf("the answer repeats what the client wrote: %q", oack)
			}
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte("\x00\x04\x00\x01"))
	f.Add([]byte("\x00\x05\x00\x01no\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := parseReply(b); ok && r.op != opAck && r.op != opError {
			t.Errorf("%q is taken as operation %d", b, r.op)
		}
	})
}
