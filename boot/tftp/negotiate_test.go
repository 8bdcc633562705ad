package tftp

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot/tftp/packet"
)

func FuzzNegotiate(f *testing.F) {
	f.Add([]byte("\x00\x01pxelinux.0\x00octet\x00blksize\x001408\x00tsize\x000\x00"))
	f.Add([]byte("\x00\x01boot/x/kernel\x00netascii\x00windowsize\x0065535\x00timeout\x00255\x00"))
	f.Add([]byte("\x00\x02up\x00octet\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := packet.ParseRequest(b)
		if err != nil {
			return
		}
		if r.File == "" || len(r.Order) != len(r.Options) {
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
