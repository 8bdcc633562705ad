package tftp

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// A transfer that takes long is told of while it lasts, and no more once it has ended.
func TestALongTransferIsToldOf(t *testing.T) {
	trace := fakeTrace{make(chan string, 1000)}
	s, _, _ := start(t, 0)
	s.Trace, s.tellEvery = trace, time.Millisecond
	stop := s.stillSending(subject{client: s.Addr.Addr(), kind: node.RamdiskFile, name: "boot/…/ramdisk"})
	for range 2 {
		if got, want := trace.next(t), ourMAC+" tftp: boot/…/ramdisk: still being sent"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	stop()
	for len(trace.said) > 0 {
		<-trace.said
	}
	select {
	case said := <-trace.said:
		t.Errorf("told after the end: %s", said)
	case <-time.After(20 * time.Millisecond):
	}
	if s.tellEvery = time.Hour; strings.Contains(s.quickTransfer(t, trace), "still") {
		t.Error("a short transfer is told of")
	}
}

// quickTransfer begins and ends at once, and returns what was told of it.
func (s *Server) quickTransfer(t *testing.T, trace fakeTrace) string {
	t.Helper()
	s.stillSending(subject{client: s.Addr.Addr(), kind: node.RamdiskFile, name: "one-block"})()
	if len(trace.said) == 0 {
		return ""
	}
	return trace.next(t)
}
