package diagnosis_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

const (
	noDHCP = "no DHCP request was seen from any of the node's ports (52:54:00:00:00:01): is the machine on and set to boot from the " +
		"network, is the cable on the provisioning network, and is the MAC address right?"
	noAddress = "but the agent never called, and no address was asked for: did the kernel panic, or has the ramdisk no driver for this " +
		"machine's network card? Its console says more."
	noRoute = "but the agent never called: does the ramdisk have an agent, and is there a route from there to the " +
		"API? Its console says more."
	noLoader = "but no boot file was fetched over TFTP or HTTP: is the boot server reachable from the machine's network, " +
		"and do firewalls let UDP port 69 and the boot server's HTTP port through?"
	neverTaken = "but never the ramdisk: does the firmware accept the boot loader (with Secure Boot only a signed one), and can it reach " +
		"the boot server over HTTP?"
)

const mac1 = "52:54:00:00:00:01"

var (
	heartbeat = node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}
	works     = node.Await{For: node.Command, Text: "the agent to finish write_image"}
)

// The machine has been waited for 600 s, since 600 s ago, under a phase of 110 s and a firmware time of 500 s.
func TestStalledPhases(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	at := func(s int, service string, kind node.BootKind, file node.BootFile, what string) node.BootEvent {
		return node.BootEvent{MAC: mac1, Service: service, Kind: kind, File: file, Proof: node.ProofNeighbour, What: what, At: ago(s)}
	}
	asked := func(s int, kind node.BootKind, who node.BootWho, what string) node.BootEvent {
		return node.BootEvent{MAC: mac1, Service: "dhcp", Kind: kind, Who: who, Proof: node.ProofHandshake, What: what, At: ago(s)}
	}
	offer := func(s int) node.BootEvent {
		return asked(s, node.DHCPOffered, node.AskedFirmware, "DISCOVER from x86-64 BIOS: 10.0.0.9 and undionly.kpxe")
	}
	address := func(s int) node.BootEvent {
		return asked(s, node.DHCPAcked, node.AskedSystem, "REQUEST from an operating system: lent 10.0.0.9")
	}
	loaded := func(s int) []node.BootEvent {
		return []node.BootEvent{offer(s + 3), at(s+2, "http", node.FileSent, node.ScriptFile, "script: load kernel and ramdisk"),
			at(s+1, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"),
			at(s, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes in 1s")}
	}
	first, report := node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"},
		node.Await{For: node.Report, Text: "the inspection report"}
	target := node.Await{For: node.DeployInfo, Text: "the deploy ramdisk's pass_deploy_info"}
	forged := func(events ...node.BootEvent) []node.BootEvent {
		for i := range events {
			events[i].Proof = ""
		}
		return events
	}
	for _, tt := range []struct {
		name   string
		waits  node.Await
		waited int
		agent  node.Agent
		events []node.BootEvent
		want   string // without "Gave up after N s of waiting for X, "
	}{
		{"firmware takes its time", first, 499, node.Agent{}, nil, ""},
		{"firmware never ends", first, 600, node.Agent{}, nil, "without a sign of life from the machine: " + noDHCP},
		{"firmware after an earlier boot", first, 300, node.Agent{}, loaded(400), ""},
		{"firmware never ends after an earlier boot", first, 501, node.Agent{}, loaded(700),
			"without a sign of life from the machine: " + noDHCP},
		{"another wait", works, 600, node.Agent{}, loaded(400), ""},

		{"DHCP a moment ago", first, 600, node.Agent{}, []node.BootEvent{offer(110)}, ""},
		{"DHCP once, then nothing", first, 600, node.Agent{}, []node.BootEvent{offer(111)},
			"111 s after the machine's last sign of life: DHCP answered 52:54:00:00:00:01 once (last 111 s ago), " + noLoader},
		{"DHCP again and again", first, 600, node.Agent{}, []node.BootEvent{offer(112), offer(60), offer(9)},
			"112 s after DHCP was answered first: DHCP answered 52:54:00:00:00:01 3 times (last 9.0 s ago), " + noLoader},
		{"DHCP again, not for long yet", first, 600, node.Agent{}, []node.BootEvent{offer(100), offer(9)}, ""},
		{"DHCP that is left to another server", first, 600, node.Agent{},
			[]node.BootEvent{asked(300, node.OtherAnswers, node.AskedFirmware, "DISCOVER: left to the other DHCP server"),
				asked(9, node.OtherAnswers, node.AskedFirmware, "DISCOVER: left to the other DHCP server")}, ""},
		{"DHCP again after a boot loader", first, 600, node.Agent{},
			[]node.BootEvent{offer(300), at(290, "tftp", node.FileSent, node.LoaderFile, "undionly.kpxe: complete, 9 bytes"), offer(9)}, ""},

		{"a stranger names its MAC address", first, 499, node.Agent{}, forged(loaded(400)...), ""},
		{"a stranger has it load its ramdisk all the time", first, 499, node.Agent{},
			forged(slices.Concat(loaded(130), loaded(90), loaded(50), loaded(10))...), ""},
		{"a stranger keeps no dead machine alive", first, 600, node.Agent{},
			append([]node.BootEvent{offer(300), at(120, "tftp", node.FileSent, node.LoaderFile, "ipxe.efi: complete, 9 bytes")},
				forged(at(5, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"))...),
			"120 s after the machine's last sign of life: the ramdisk was asked for but never sent whole (last 5.0 s ago: ramdisk: " +
				"first byte sent): does the machine have enough memory, and is its network sound?"},
		{"a lone DISCOVER, which anybody can send", first, 499, node.Agent{}, forged(offer(300), offer(200)), ""},

		{"boot loader and silence", first, 600, node.Agent{},
			[]node.BootEvent{offer(300), at(120, "tftp", node.FileSent, node.LoaderFile, "ipxe.efi: complete, 9 bytes")},
			"120 s after the machine's last sign of life: boot files were asked for (last 120 s ago: ipxe.efi: complete, 9 bytes), " + neverTaken},
		{"a large ramdisk over HTTP", first, 600, node.Agent{},
			[]node.BootEvent{offer(400), at(390, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent")}, ""},
		{"a large ramdisk over TFTP", first, 600, node.Agent{},
			[]node.BootEvent{offer(400), at(19, "tftp", node.FileSending, node.RamdiskFile, "boot/…/ramdisk: still being sent")}, ""},
		{"a broken download", first, 600, node.Agent{},
			[]node.BootEvent{offer(400), at(390, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"),
				at(120, "http", node.FileBroken, node.RamdiskFile, "ramdisk: broken off after 5 of 9 bytes in 1s")},
			"120 s after the machine's last sign of life: the ramdisk was asked for but never sent whole (last 120 s ago: ramdisk: " +
				"broken off after 5 of 9 bytes in 1s): does the machine have enough memory, and is its network sound?"},

		{"the kernel starts", first, 600, node.Agent{}, loaded(329), ""},
		{"loaded three times", first, 600, node.Agent{}, slices.Concat(loaded(90), loaded(50), loaded(10)), ""},
		{"kernel panic", first, 600, node.Agent{}, loaded(331),
			"331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), " + noAddress},
		{"kernel panic at each start", first, 600, node.Agent{}, slices.Concat(loaded(130), loaded(90), loaded(50), loaded(10)),
			"in which the machine loaded its ramdisk 4 times: it starts over each time: does its kernel panic, or does something reset the " +
				"machine? Its console says more."},
		{"loaded twice", first, 600, node.Agent{}, append(loaded(90), loaded(10)...), ""},
		{"no route", first, 600, node.Agent{}, append(loaded(390), address(340)),
			"340 s after the machine's last sign of life: kernel and ramdisk were fetched, and the system in it got an address over DHCP (last " +
				"340 s ago), " + noRoute},
		{"an inventory takes long", report, 600, node.Agent{}, append(loaded(400), address(390)), ""},
		{"no report after a panic", report, 600, node.Agent{}, loaded(331),
			"331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), " + noAddress},
		{"no iSCSI target after a panic", target, 600, node.Agent{}, loaded(331),
			"331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), " + noAddress},
		{"an iSCSI target waits for its disk", target, 600, node.Agent{}, append(loaded(400), address(390)), ""},
		{"an iSCSI target's boot loader", node.Await{For: node.LoaderInfo, Text: "the deploy ramdisk's pass_bootloader_install_info"}, 600,
			node.Agent{}, loaded(400), ""},

		{"looked up a while ago", first, 600, node.Agent{TokenGiven: true}, append(loaded(329), offer(329)), ""},
		{"looked up and gone", first, 600, node.Agent{TokenGiven: true}, append(loaded(340), offer(331)),
			"331 s after the machine's last sign of life: the agent asked for its node and got its token, but sent no heartbeat: " +
				"can the API reach the agent, and does its console show an error?"},
		{"called", first, 600, node.Agent{URL: "https://10.0.0.5:9999", LastHeartbeat: ago(400)}, loaded(450), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := diagnosis.Evidence{WaitedFor: tt.waits, Waited: time.Duration(tt.waited) * time.Second, MACs: []string{mac1},
				Agent: tt.agent, Events: tt.events, Now: now, StepBegan: ago(1000), BootPhaseTimeout: 110 * time.Second,
				FirmwareTimeout: 500 * time.Second}
			want := tt.want
			if want != "" {
				want = "Gave up after " + diagnosis.Spell(e.Waited) + " of waiting for " + tt.waits.Text + ", " + want
			}
			if got := diagnosis.Judge(e).Stalled; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			unread, restarted := e, e
			unread.Unread, restarted.Listens = true, ago(30)
			if got := diagnosis.Judge(unread).Stalled; got != "" {
				t.Errorf("without knowing what was seen: %s", got)
			}
			if got := diagnosis.Judge(restarted).Stalled; got != "" && !strings.Contains(got, "times: it starts over") {
				t.Errorf("half a minute after this service was started again: %s", got)
			}
			e.BootPhaseTimeout, e.FirmwareTimeout = 24*time.Hour, 0
			if got := diagnosis.Judge(e).Stalled; got != "" && !strings.Contains(got, "4 times: it starts over") {
				t.Errorf("without a limit: %s", got)
			}
		})
	}
}
