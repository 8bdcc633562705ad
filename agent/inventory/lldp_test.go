package inventory

import (
	"bytes"
	"context"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tlv is a field of a frame: 7 bits of type, 9 of length.
func tlv(kind int, value string) string {
	return string([]byte{byte(kind<<1 | len(value)>>8), byte(len(value))}) + value
}

// toSwitches is the header of a frame to the nearest bridge.
const toSwitches = "\x01\x80\xc2\x00\x00\x0e" + "\x00\x1c\x73\x00\x00\x01"

// announcement is what a switch says: chassis, port, time to live, port description, name.
var announcement = toSwitches + "\x88\xcc" + tlv(1, "\x04\x00\x1c\x73\xaa\xbb\xcc") + tlv(2, "\x05Ethernet7") + tlv(3, "\x00\x78") +
	tlv(4, strings.Repeat("d", 300)) + tlv(5, "leaf1") + tlv(0, "") + "\x00\x00\x00\x00padding"

var announced = []TLV{{1, "04001c73aabbcc"}, {2, "0545746865726e657437"}, {3, "0078"}, {4, strings.Repeat("64", 300)}, {5, "6c65616631"}}

func TestParseLLDP(t *testing.T) {
	for _, tt := range []struct {
		name, frame string
		want        []TLV
	}{
		{"a switch", announcement, announced},
		{"through a VLAN", announcement[:12] + "\x81\x00\x00\x05" + announcement[12:], announced},
		{"without an end", toSwitches + "\x88\xcc" + tlv(5, "x"), []TLV{{5, "78"}}},
		{"an organisation's own, empty", toSwitches + "\x88\xcc" + tlv(127, ""), []TLV{{127, ""}}},
		{"nothing but the end", toSwitches + "\x88\xcc" + tlv(0, ""), nil},
		{"a field that is longer than the frame", toSwitches + "\x88\xcc" + tlv(5, "name")[:4], nil},
		{"something else", toSwitches + "\x08\x00" + tlv(5, "x"), nil},
		{"too short", toSwitches[:9], nil},
		{"tags and no more", toSwitches + "\x81\x00\x00\x05", nil},
		{"empty", "", nil},
	} {
		if diff := cmp.Diff(tt.want, parseLLDP([]byte(tt.frame))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestLLDPIsBounded(t *testing.T) {
	if got := parseLLDP([]byte(toSwitches + "\x88\xcc" + strings.Repeat(tlv(9, ""), 1000))); len(got) != maxTLVs {
		t.Errorf("%d fields kept", len(got))
	}
}

// What is parsed can be put together again: nothing of a field is lost or made up.
func FuzzParseLLDP(f *testing.F) {
	f.Add([]byte(announcement))
	f.Add([]byte(toSwitches + "\x88\xcc\xff\xff"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var again strings.Builder
		for _, field := range parseLLDP(frame) {
			value, err := hex.DecodeString(field[1].(string))
			if err != nil || len(value) > 511 {
				t.Fatalf("%v: %v", field, err)
			}
			again.WriteString(tlv(field[0].(int), string(value)))
		}
		if !bytes.Contains(frame, []byte(again.String())) {
			t.Errorf("%x is not in %x", again.String(), frame)
		}
	})
}

// cable makes a cable in a network of the test's own: the ends "nic" and "switch".
func cable(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine, and its network too
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network of its own: %v; run the test as root", err)
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nic"}, PeerName: "switch"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nic", "switch"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
}

// speak sends a frame from an interface until ctx ends: a listener may not be there yet.
func speak(ctx context.Context, t *testing.T, name, frame string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer unix.Close(fd)
		for ctx.Err() == nil {
			_ = unix.Sendto(fd, []byte(frame), 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index})
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

func TestListenLLDP(t *testing.T) {
	cable(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	speak(ctx, t, "nic", toSwitches+"\x88\xcc"+tlv(5, "myself")+tlv(0, "")) // what this machine says is not its neighbour
	speak(ctx, t, "switch", toSwitches+"\x88\xcc"+tlv(5, "torn")[:3])
	speak(ctx, t, "switch", announcement)
	got, err := listenLLDP(ctx, "nic")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(announced, got); diff != "" {
		t.Error(diff)
	}
}

func TestLLDPWhereNobodySpeaks(t *testing.T) {
	cable(t)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if got, err := listenLLDP(ctx, "nic"); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Together: an interface that is gone spoils nothing for the others.
func TestLLDPOnSeveral(t *testing.T) {
	got, err := LLDP(t.Context(), []string{"lo", "gone9"}, 300*time.Millisecond)
	if len(got) != 0 || err == nil || !strings.Contains(err.Error(), "listening for LLDP on gone9: ") ||
		strings.Contains(err.Error(), "on lo") {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := LLDP(t.Context(), nil, time.Hour); len(got) != 0 || err != nil {
		t.Errorf("nothing to listen on: %v, %v", got, err)
	}
}
