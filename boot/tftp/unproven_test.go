package tftp

import (
	"fmt"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot/tftp/packet"
)

// Until its client has answered, a transfer sends little: anybody can ask in somebody else's name.
func TestAnUnprovenSourceGetsLittle(t *testing.T) {
	for name, options := range map[string][]string{
		"no options": nil, "large blocks": {"blksize", "1468", "windowsize", "64", "tsize", "0"}, "a long time": {"timeout", "255"},
	} {
		_, addr, trace := start(t, 20*time.Millisecond)
		c := dial(t)
		c.ask(addr, "huge", options...)
		sent, packets := 0, 0
		if err := c.conn.SetReadDeadline(time.Now().Add(8 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 4096); ; packets++ {
			n, _, err := c.conn.ReadFrom(buf)
			if err != nil {
				break
			}
			sent += n
			if packets == unprovenTries-1 {
				_ = c.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			}
		}
		if packets != unprovenTries || sent > unprovenTries*516 {
			t.Errorf("%s: %d packets, %d bytes", name, packets, sent)
		}
		trace.next(t)
	}
}

// So many transfers at once of one address, and of addresses that have not answered: the rest is as if it was lost.
func TestUnprovenTransfersAreBounded(t *testing.T) {
	s, addr, trace := start(t, time.Hour)
	for range maxOfOne + 20 {
		dial(t).ask(addr, "huge")
	}
	dial(t).ask(addr, "empty")
	time.Sleep(200 * time.Millisecond)
	s.mu.Lock()
	if len(s.active) > maxOfOne || s.unproven > maxOfOne {
		t.Errorf("%d transfers of one address, %d unproven", len(s.active), s.unproven)
	}
	s.mu.Unlock()
	for range maxOfOne { // each ends by itself, and soon
		trace.next(t)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		left := fmt.Sprint(len(s.active), s.of, s.unproven)
		s.mu.Unlock()
		if left == "0 map[] 0" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left over: %s", left)
		}
	}
}

// Firmware reads option 67 as text with a zero at its end, writes names in capitals, with slashes, backslashes and blanks.
func TestNamesThatFirmwareGarbles(t *testing.T) {
	_, addr, trace := start(t, 0)
	for _, name := range []string{
		"snponly.efi", "snponly.efi\xff", "snponly.efi\xff\xff\x03abc", "/snponly.efi", "//snponly.efi", `\snponly.efi`, `.\snponly.efi`,
		"SNPONLY.EFI", "SnpOnly.efi\xaf", " snponly.efi ", "snponly.efi\r\n", "snponly.efi\t", "./snponly.efi", "snponly.efi\u00ff",
	} {
		c := dial(t)
		c.ask(addr, name)
		if got := c.get(512, 1); len(got) != 100_000 {
			t.Errorf("%q: %d bytes", name, len(got))
		}
		trace.next(t)
	}
	for _, name := range []string{"../outside", `..\outside`, "\xffsnponly.efi", "snponly", "snponly.efi.bak", "/../../etc/passwd", " "} {
		c := dial(t)
		c.ask(addr, name)
		if b := c.read(); b[1] != packet.OpError || b[3] != packet.CodeNotFound {
			t.Errorf("%q: % x", name, b[:4])
		}
		trace.next(t)
	}
}
