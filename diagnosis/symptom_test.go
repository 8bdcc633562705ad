package diagnosis

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func TestSymptoms(t *testing.T) {
	for _, tt := range []struct{ line, want string }{ // want: who, and ! when it is fatal
		{"[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "the kernel!"},
		{"<0>[   12.3][    T1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009", "the kernel!"},
		{"No configuration methods succeeded (http://ipxe.org/040ee186)", "iPXE"},
		{"http://10.0.0.1/boot/ipxe... Connection timed out (https://ipxe.org/4c0a6092)", "iPXE"},
		{"iPXE 1.21.1+ -- Open Source Network Boot Firmware -- https://ipxe.org", ""},
		{"Features: DNS HTTP iSCSI NFS TFTP VLAN ... see ipxe.org/appnote", ""},
		{"No bootable device.", "the firmware"},
		{"BdsDxe: No bootable option or device was found.", "the firmware"},
		{"PXE-E18: Server response timeout.", "the firmware"},
		{"PXE-M0F: Exiting Intel Boot Agent.", "the firmware"},
		{"Reboot and Select proper Boot device", "the firmware"},
		{`BdsDxe: failed to load Boot0001 "UEFI PXEv4 (MAC:525400123456)" from ` +
			`PciRoot(0x0)/Pci(0x1,0x0)/MAC(525400123456,0x1)/IPv4(0.0.0.0,0x0,DHCP): Access Denied`, "Secure Boot"},
		{`BdsDxe: failed to start Boot000A "debian" from HD(2,GPT)/\EFI\debian\grubx64.efi: Security Violation`, "Secure Boot"},
		{`BdsDxe: failed to load Boot0002 "UEFI HTTPv4 (MAC:525400123456)" from PciRoot(0x0): Not Found`, ""},
		{"Verification failed: (0x1A) Security Violation", "Secure Boot"},
		{"Secure Boot Violation", "Secure Boot"},
		{"error: prohibited by secure boot policy.", "Secure Boot"},
		{"error: bad shim signature.", "Secure Boot"},
		{"Failed to open \\EFI\\BOOT\\mmx64.efi - Not Found", ""},
		{"[    0.000000] secureboot: Secure boot enabled", ""},
		{"EFI stub: UEFI Secure Boot is enabled.", ""},
		{"[    3.275107] Lockdown: swapper/0: hibernation is restricted; see man kernel_lockdown.7", ""},
		{"grub rescue> ", "GRUB"},
		{"error: no such device: 1234-5678.", "GRUB"},
		{"error: unknown filesystem.", "GRUB"},
		{"Failed to load ldlinux.c32", "SYSLINUX"},
		{`time=2026-11-03T12:00:00Z level=WARN msg=lookup error="calling the service: dial tcp 10.0.0.1:6386: connect: no route to host"`,
			"the agent"},
		{`time=2026-11-03T12:00:00Z level=ERROR msg="the agent cannot go on; it tries again" error="no network"`, "the agent"},
		{`time=2026-11-03T12:00:00Z level=WARN msg="inspection data not taken" error="calling the service: dial tcp 10.0.0.1:6386: ` +
			`i/o timeout" again_in=1s`, "the agent"},
		{`time=2026-11-03T12:00:00Z level=WARN msg="heartbeat not taken" error="HTTP 500"`, "the agent"},
		{`time=2026-11-03T12:00:00Z level=WARN msg="fetching the token" error="tftp: no answer" again_in=1s`, "the agent"},
		{`time=2026-11-03T12:00:00Z level=WARN msg="telling the service pass_deploy_info" error="no route to host" again_in=1s`, "the agent"},
		{`time=2026-11-03T12:00:00Z level=INFO msg="inspection data sent" disks=1`, ""},
		{"Linux version 6.1.0 (gcc 12)", ""},
		{"[    0.5] ACPI: no bootable CPUs reported", ""},
		{"debian login:", ""},
	} {
		found := symptoms([]node.Line{{At: time.Unix(1, 0), Text: tt.line}}, time.Time{})
		got := ""
		if len(found) == 1 {
			got = found[0].who
			if found[0].fatal {
				got += "!"
			}
		}
		if got != tt.want || len(found) > 1 {
			t.Errorf("%s: %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestSymptomsAreCounted(t *testing.T) {
	at := func(s int, text string) node.Line { return node.Line{At: time.Unix(int64(s), 0), Text: text} }
	found := symptoms([]node.Line{
		at(1, "No bootable device."), at(10, "No bootable device."), at(20, "x (https://ipxe.org/4c0a6092)"), at(30, "Retrying"),
		at(40, "PXE-E18: timeout"),
		at(50, "[ 1.0] Kernel panic - not syncing: first"), at(51, "[ 1.1] ---[ end Kernel panic - not syncing: first ]---"),
	}, time.Unix(10, 0))
	var got []string
	for _, s := range found {
		got = append(got, s.who+" "+s.text+" "+strings.Repeat("i", s.times)+" "+s.last.Sub(s.first).String())
	}
	want := []string{"the firmware PXE-E18: timeout ii 30s", "iPXE x (https://ipxe.org/4c0a6092) i 0s",
		"the kernel Kernel panic - not syncing: first i 0s"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLinesOfSentences(t *testing.T) {
	for in, want := range map[string]string{
		"[    2.345678] Run /init as init process":    "Run /init as init process",
		"<6>[    2.345678][    T1] Run":               "Run",
		"time=2026-11-03T12:00:00Z level=INFO msg=hi": "level=INFO msg=hi",
		"  [x] kept":             "[x] kept",
		strings.Repeat("ö", 300): strings.Repeat("ö", 200) + "…",
	} {
		if got := bare(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestPhaseOfAnEvent(t *testing.T) {
	for _, tt := range []struct {
		kind node.BootKind
		file node.BootFile
		who  node.BootWho
		want int
	}{
		{node.DHCPOffered, "", node.AskedFirmware, dhcpPhase},
		{node.DHCPAcked, "", node.AskedIPXE, dhcpPhase},
		{node.NoLoader, "", node.AskedFirmware, dhcpPhase},
		{node.OwnDisk, "", node.AskedFirmware, dhcpPhase},
		{node.OtherAnswers, "", node.AskedFirmware, nowhere},
		{node.NoAddress, "", node.AskedFirmware, nowhere},
		{node.DHCPAcked, "", node.AskedSystem, addressPhase},
		{node.DHCPRefused, "", node.AskedSystem, nowhere},
		{node.FileSent, node.LoaderFile, "", loaderPhase},
		{node.FileBegun, node.GRUBFile, "", loaderPhase},
		{node.FileMissing, node.OtherFile, "", loaderPhase},
		{node.FileSent, node.MenuFile, "", scriptPhase},
		{node.OwnDisk, node.MenuFile, "", scriptPhase},
		{node.FileSent, node.ScriptFile, "", scriptPhase},
		{node.OwnDisk, node.ScriptFile, "", scriptPhase},
		{node.FileSent, node.KernelFile, "", kernelPhase},
		{node.FileSending, node.MediumFile, "", kernelPhase},
		{node.FileBegun, node.RamdiskFile, "", ramdiskPhase},
		{node.FileBroken, node.RamdiskFile, "", ramdiskPhase},
		{node.FileSent, node.RamdiskFile, "", wholePhase},
		{node.FileBegun, node.ImageFile, "", nowhere},
		{node.FileSent, node.TokenFile, "", nowhere},
		{"", "", "", nowhere}, // of before kinds were kept
	} {
		if got := phaseOf(node.BootEvent{Kind: tt.kind, File: tt.file, Who: tt.who}); got != tt.want {
			t.Errorf("%s %s %s: %d, want %d", tt.kind, tt.file, tt.who, got, tt.want)
		}
	}
}
