package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// The machine has been waited for 600 s under a phase of 110 s and a firmware time of 1500 s; its console was
// heard.
func TestStalledByItsConsole(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	said := func(s int, text string) node.Line { return node.Line{At: ago(s), Text: text} }
	at := func(s int, service string, kind node.BootKind, file node.BootFile, what string) node.BootEvent {
		return node.BootEvent{MAC: mac1, Service: service, Kind: kind, File: file, Proof: node.ProofNeighbour, What: what, At: ago(s)}
	}
	asked := func(s int, kind node.BootKind, who node.BootWho, what string) node.BootEvent {
		return node.BootEvent{MAC: mac1, Service: "dhcp", Kind: kind, Who: who, Proof: node.ProofHandshake, What: what, At: ago(s)}
	}
	first := node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}
	const timedOut = "x... Connection timed out (https://ipxe.org/4c0a6092)"
	dhcp := func(s int) node.BootEvent {
		return asked(s, node.DHCPOffered, node.AskedFirmware, "DISCOVER from iPXE on x86-64 BIOS (arch 0): offered 10.0.0.9")
	}
	for _, tt := range []struct {
		name   string
		agent  node.Agent
		events []node.BootEvent
		lines  []node.Line
		want   string // a part; "" when it may go on
	}{
		{"no DHCP, and iPXE says so again and again", node.Agent{}, nil,
			[]node.Line{said(130, "No configuration methods succeeded (http://ipxe.org/040ee186)"),
				said(60, "No configuration methods succeeded (http://ipxe.org/040ee186)"), said(3, "Configuring net0")},
			`130 s after iPXE said that it cannot go on: ` + noDHCP + ` On its console iPXE said 60 s ago: "No configuration methods succeeded ` +
				`(http://ipxe.org/040ee186)".`},
		{"no DHCP, and then silence", node.Agent{}, nil, []node.Line{said(115, "No bootable device.")},
			`115 s after the firmware said that it cannot go on: ` + noDHCP + ` On its console the firmware said 115 s ago: "No bootable device.".`},
		{"a complaint, and other lines since", node.Agent{}, nil, []node.Line{said(115, "PXE-E61: Media test failure, check cable"),
			said(20, "Trying the next card")}, ""},
		{"a complaint not long ago", node.Agent{}, nil, []node.Line{said(100, "No bootable device."), said(50, "No bootable device.")}, ""},
		{"a complaint of an earlier boot", node.Agent{}, nil, []node.Line{said(700, "No bootable device."), said(650, "No bootable device.")},
			""},
		{"it came further since", node.Agent{}, []node.BootEvent{dhcp(100)},
			[]node.Line{said(200, "No bootable device."), said(150, "No bootable device.")}, ""},
		{"it came no further since", node.Agent{}, []node.BootEvent{dhcp(300), dhcp(150), dhcp(20)},
			[]node.Line{said(200, timedOut), said(90, timedOut), said(10, timedOut)},
			`200 s after iPXE said that it cannot go on: DHCP answered 52:54:00:00:00:01 3 times (last 20 s ago), but no boot file`},
		{"loading goes on", node.Agent{},
			[]node.BootEvent{dhcp(300), at(250, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent")},
			[]node.Line{said(200, timedOut), said(90, timedOut)}, ""},
		{"the agent finds no service", node.Agent{},
			[]node.BootEvent{at(200, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes"),
				asked(190, node.DHCPOffered, node.AskedSystem, "DISCOVER from an operating system: offered 10.0.0.9")},
			[]node.Line{said(180, `level=WARN msg=lookup error="no route to host"`), said(20, `level=WARN msg=lookup error="no route to host"`)},
			`180 s after the agent said that it cannot go on: kernel and ramdisk were fetched, and the system in it got an address over DHCP ` +
				`(last 190 s ago), but the agent never called: does the ramdisk have an agent, and is there a route from there to the API? ` +
				`On its console the agent said 20 s ago: "level=WARN msg=lookup error=\"no route to host\"".`},
		{"the agent found it in the end", node.Agent{TokenGiven: true},
			[]node.BootEvent{at(200, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes")},
			[]node.Line{said(180, "msg=lookup error=x"), said(120, "msg=lookup error=x")}, ""},
		{"the loader is signed by nobody", node.Agent{},
			[]node.BootEvent{dhcp(130), at(125, "tftp", node.FileSent, node.LoaderFile, "snponly.efi: complete, 173792 bytes in 9ms"), dhcp(80),
				at(79, "http", node.FileSent, node.LoaderFile, "loader snponly.efi: complete")},
			[]node.Line{said(124, `BdsDxe: failed to load Boot0001 "UEFI PXEv4": Access Denied`),
				said(78, `BdsDxe: failed to load Boot0003 "UEFI HTTPv4": Access Denied`)},
			`124 s after Secure Boot refused to start something: the machine said 78 s ago: "BdsDxe: failed to load Boot0003 \"UEFI ` +
				`HTTPv4\": Access Denied". ` +
				`Secure Boot is on, so what it is given over the network must be signed by somebody whom the firmware trusts: set boot_interface to ` +
				`pxe, and install shim-signed and grub-efi-amd64-signed, which then start it, or switch Secure Boot off in the firmware. ` +
				`(Seen so far: boot files were asked for (last 79 s ago: loader snponly.efi: complete), ` + neverTaken + `)`},
		{"a disk's loader is refused, and the network boot goes on", node.Agent{},
			[]node.BootEvent{dhcp(150), at(145, "tftp", node.FileSent, node.LoaderFile, "shimx64.efi.signed: complete"),
				at(20, "tftp", node.FileSent, node.KernelFile, "boot/…/kernel: complete")},
			[]node.Line{said(160, `BdsDxe: failed to load Boot0003 "debian": Access Denied`), said(20, "EFI stub: UEFI Secure Boot is enabled.")},
			""},
		{"silence after the ramdisk, with a last line", node.Agent{},
			[]node.BootEvent{at(331, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes")},
			[]node.Line{said(320, "[  1.0] Run /init as init process")},
			`331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), but the agent never called, ` +
				`and no address was asked for: did the kernel panic, or has the ramdisk no driver for this machine's network card? The last line on ` +
				`its console, 320 s ago: "Run /init as init process".`},
		{"an inspection that the service never gets", node.Agent{},
			[]node.BootEvent{at(200, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes"),
				asked(190, node.DHCPOffered, node.AskedSystem, "DISCOVER from an operating system: offered 10.0.0.9")},
			[]node.Line{said(180, `level=WARN msg="inspection data not taken" error=x`),
				said(20, `level=WARN msg="inspection data not taken" error=x`)},
			`180 s after the agent said that it cannot go on: kernel and ramdisk were fetched`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := diagnosis.Evidence{WaitedFor: first, Waited: 600 * time.Second, MACs: []string{mac1}, Agent: tt.agent, Events: tt.events,
				Now: now, StepBegan: ago(1000),
				Serial: node.MachineLines{Lines: tt.lines}, BootPhaseTimeout: 110 * time.Second, FirmwareTimeout: 1500 * time.Second}
			got := diagnosis.Judge(e).Stalled
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			e.Listens = ago(30)
			if got := diagnosis.Judge(e).Stalled; got != "" {
				t.Errorf("half a minute after this service was started again: %s", got)
			}
		})
	}
}

func TestPanicked(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	const panics = "[    1.5] Kernel panic - not syncing: No working init found."
	for _, tt := range []struct {
		name  string
		waits node.Await
		at    int
		agent node.Agent
		want  bool
	}{
		{"while it boots", heartbeat, 20, node.Agent{}, true},
		{"before it was switched on", heartbeat, 70, node.Agent{}, false},
		{"before the step that works", works, 110, node.Agent{}, false},
		{"while it works", works, 70, node.Agent{LastHeartbeat: ago(90)}, true},
		{"it has called since", works, 70, node.Agent{LastHeartbeat: ago(60)}, false},
	} {
		e := diagnosis.Evidence{WaitedFor: tt.waits, Waited: 60 * time.Second, StepBegan: ago(100), Now: now, Agent: tt.agent,
			Serial: node.MachineLines{Lines: []node.Line{{At: ago(tt.at), Text: panics}, {At: now, Text: "end"}}}}
		got := e.Panicked()
		if (got != "") != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got != "" &&
			!strings.Contains(got, `: the machine's kernel panicked `+diagnosis.Spell(time.Duration(tt.at)*time.Second)+` ago: "Kernel panic - `+
				`not syncing: No working init found.". Is the deploy ramdisk whole`) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
