package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// A machine whose BMC took the network boot and forgot it starts its own disk: that is said, and never a firewall.
func TestItStartedItsOwnDisk(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	system := node.BootEvent{MAC: mac1, Service: "dhcp", Kind: node.DHCPAcked, Who: node.AskedSystem,
		What: "REQUEST from an operating system: lent 10.0.0.9", At: ago(30)}
	left := system
	left.Kind, left.What = node.OtherAnswers, "DISCOVER from an operating system: left to the other DHCP server"
	firmware := node.BootEvent{MAC: mac1, Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware, What: "DISCOVER", At: ago(60)}
	loader := node.BootEvent{MAC: mac1, Service: "tftp", Kind: node.FileSent, File: node.LoaderFile,
		What: "snponly.efi: complete", At: ago(50)}
	const own = "it started its own disk ("
	for _, tt := range []struct {
		name   string
		events []node.BootEvent
		line   string
		want   []string
	}{
		{"only a system asked", []node.BootEvent{system, system}, "",
			[]string{own + "over DHCP only an operating system asked, and never its firmware; last 30 s ago: REQUEST from an operating system: " +
				"lent 10.0.0.9): the BMC accepted the network boot and did not do it"}},
		{"beside another server", []node.BootEvent{left}, "", []string{own, "left to the other DHCP server)"}},
		{"and its prompt", []node.BootEvent{system}, "host-7 login: ", []string{own, `; its console showed "host-7 login:" 10 s ago)`}},
		{"a static address", nil, "                 GNU GRUB  version 2.12",
			[]string{own + `nothing asked over DHCP; its console showed "GNU GRUB  version 2.12" 10 s ago)`}},
		{"BIOS", nil, "Booting from Hard Disk...", []string{own}},
		{"UEFI", nil, `BdsDxe: starting Boot0004 "debian" from HD(1,GPT,8B)/\EFI\debian\shimx64.efi`, []string{own}},
		{"its firmware asked too", []node.BootEvent{firmware, system}, "host-7 login:", []string{"no boot file was fetched"}},
		{"it was given a loader", []node.BootEvent{loader, system}, "host-7 login:", []string{"boot files were asked for"}},
		{"no cable: the network was tried first", nil, "No more network devices (https://ipxe.org/2c222087)\nBooting from Hard Disk...",
			[]string{"no DHCP request was seen"}},
		{"a switch that passes nothing at first", []node.BootEvent{system},
			">>Start PXE over IPv4.\n  PXE-E16: No valid offer received.\nhost-7 login:",
			[]string{"its firmware tried to boot over the network and no request of it was seen; its console showed " +
				`"PXE-E16: No valid offer received." 10 s ago; then it started its own disk, whose operating system asked over DHCP`, "portfast"}},
		{"nothing at all", nil, "Press F12", []string{"no DHCP request was seen"}},
	} {
		e := diagnosis.Evidence{WaitedFor: heartbeat, Waited: 100 * time.Second, MACs: []string{mac1}, Events: tt.events,
			Now: now, StepBegan: ago(100)}
		if tt.line != "" {
			for line := range strings.SplitSeq(tt.line, "\n") {
				e.Serial.Lines = append(e.Serial.Lines, node.Line{At: ago(10), Text: line})
			}
		}
		got := diagnosis.Judge(e).TimedOut
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

// What the BMC said of its boot device is part of the sentence: it forgot, or it still had it.
func TestTheSentenceSaysWhatTheBMCSaid(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		override diagnosis.Override
		want     string
	}{
		{diagnosis.Override{}, "the BMC accepted the network boot and did not do it, or the firmware went past it"},
		{diagnosis.Override{Device: "pxe", Answer: diagnosis.OverrideUntold},
			"the BMC accepted the network boot and did not do it, or the firmware went past it"},
		{diagnosis.Override{Device: "pxe", Answer: diagnosis.OverrideLost},
			"the BMC took the boot device pxe and forgot it, also when it was told again"},
		{diagnosis.Override{Device: "pxe", Answer: diagnosis.OverrideKept},
			"the BMC took the boot device pxe and still named it right before the start, so the firmware did not hear of it or went past it"},
	} {
		e := diagnosis.Evidence{WaitedFor: heartbeat, Override: tt.override, Now: at, Waited: time.Minute, MACs: []string{mac1},
			Events: []node.BootEvent{{MAC: mac1, Service: "dhcp", Kind: node.DHCPAcked, Who: node.AskedSystem,
				What: "REQUEST from an operating system", At: at}}}
		if got := diagnosis.Judge(e).TimedOut; !strings.Contains(got, ": it started its own disk (") ||
			!strings.Contains(got, "): "+tt.want+". Put network boot first") {
			t.Errorf("%+v: %s", tt.override, got)
		}
	}
}
