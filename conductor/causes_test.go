package conductor

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// Each kind of boot event has its row, and a row that tells of trouble says what was seen, once, and how it is mended.
func TestEveryKindOfBootEventHasItsRow(t *testing.T) {
	for _, kind := range node.BootKinds {
		row, ok := eventKinds[kind]
		if !ok {
			t.Errorf("no row for %q", kind)
		}
		if row.trouble != "" && (strings.Count(row.trouble, "%") != 1 || !strings.Contains(row.trouble, "(%s): ") || !strings.ContainsAny(row.trouble[len(row.trouble)-1:], ".?")) {
			t.Errorf("%q: %s", kind, row.trouble)
		}
	}
	for kind := range eventKinds {
		if !kind.Known() {
			t.Errorf("a row for %q, which is no kind", kind)
		}
	}
}

// A machine whose BMC took the network boot and forgot it starts its own disk: that is said, and never a firewall.
func TestItStartedItsOwnDisk(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	system := node.BootEvent{MAC: mac1, Service: "dhcp", Kind: node.DHCPAcked, Who: node.AskedSystem, What: "REQUEST from an operating system: lent 10.0.0.9", At: ago(30)}
	left := system
	left.Kind, left.What = node.OtherAnswers, "DISCOVER from an operating system: left to the other DHCP server"
	firmware := node.BootEvent{MAC: mac1, Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware, What: "DISCOVER", At: ago(60)}
	loader := node.BootEvent{MAC: mac1, Service: "tftp", Kind: node.FileSent, File: node.LoaderFile, What: "snponly.efi: complete", At: ago(50)}
	const own = "it started its own disk ("
	for _, tt := range []struct {
		name   string
		events []node.BootEvent
		line   string
		want   []string
	}{
		{"only a system asked", []node.BootEvent{system, system}, "", []string{own + "over DHCP only an operating system asked, and never its firmware; last 30 s ago: REQUEST from an operating system: lent 10.0.0.9): the BMC accepted the network boot and did not do it"}},
		{"beside another server", []node.BootEvent{left}, "", []string{own, "left to the other DHCP server)"}},
		{"and its prompt", []node.BootEvent{system}, "host-7 login: ", []string{own, `; its console showed "host-7 login:" 10 s ago)`}},
		{"a static address", nil, "                 GNU GRUB  version 2.12", []string{own + `nothing asked over DHCP; its console showed "GNU GRUB  version 2.12" 10 s ago)`}},
		{"BIOS", nil, "Booting from Hard Disk...", []string{own}},
		{"UEFI", nil, `BdsDxe: starting Boot0004 "debian" from HD(1,GPT,8B)/\EFI\debian\shimx64.efi`, []string{own}},
		{"its firmware asked too", []node.BootEvent{firmware, system}, "host-7 login:", []string{"no boot file was fetched"}},
		{"it was given a loader", []node.BootEvent{loader, system}, "host-7 login:", []string{"boot files were asked for"}},
		{"nothing at all", nil, "Press F12", []string{"no DHCP request was seen"}},
	} {
		e := evidence{waitedFor: heartbeat, waited: 100 * time.Second, macs: []string{mac1}, events: tt.events, now: now, stepBegan: ago(100)}
		if tt.line != "" {
			e.serial.Lines = []node.Line{{At: ago(10), Text: tt.line}}
		}
		got := e.sentence()
		for _, part := range tt.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %s\nwant %s", tt.name, got, part)
			}
		}
		if strings.Contains(got, own) != strings.HasPrefix(tt.want[0], own) || strings.Contains(got, own) && strings.Contains(got, "firewall") {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
