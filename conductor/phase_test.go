package conductor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

const (
	noDHCP     = "no DHCP request was seen from any of the node's ports (52:54:00:00:00:01): is the machine on and set to boot from the network, is the cable on the provisioning network, and is the MAC address right?"
	noAddress  = "but the agent never called, and no address was asked for: did the kernel panic, or has the ramdisk no driver for this machine's network card? Its console says more."
	noRoute    = "but the agent never called: does the ramdisk have an agent, and is there a route from there to the API? Its console says more."
	noLoader   = "but no boot file was fetched over TFTP or HTTP: is the boot server reachable from the machine's network, and do firewalls let UDP port 69 and the boot server's HTTP port through?"
	neverTaken = "but never the ramdisk: does the firmware accept the boot loader (with Secure Boot only a signed one), and can it reach the boot server over HTTP?"
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
			at(s+1, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"), at(s, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes in 1s")}
	}
	first, report := node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}, node.Await{For: node.Report, Text: "the inspection report"}
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
		{"firmware never ends after an earlier boot", first, 501, node.Agent{}, loaded(700), "without a sign of life from the machine: " + noDHCP},
		{"another wait", works, 600, node.Agent{}, loaded(400), ""},

		{"DHCP a moment ago", first, 600, node.Agent{}, []node.BootEvent{offer(110)}, ""},
		{"DHCP once, then nothing", first, 600, node.Agent{}, []node.BootEvent{offer(111)},
			"111 s after the machine's last sign of life: DHCP answered 52:54:00:00:00:01 once (last 111 s ago), " + noLoader},
		{"DHCP again and again", first, 600, node.Agent{}, []node.BootEvent{offer(112), offer(60), offer(9)},
			"112 s after DHCP was answered first: DHCP answered 52:54:00:00:00:01 3 times (last 9.0 s ago), " + noLoader},
		{"DHCP again, not for long yet", first, 600, node.Agent{}, []node.BootEvent{offer(100), offer(9)}, ""},
		{"DHCP that is left to another server", first, 600, node.Agent{}, []node.BootEvent{asked(300, node.OtherAnswers, node.AskedFirmware, "DISCOVER: left to the other DHCP server"), asked(9, node.OtherAnswers, node.AskedFirmware, "DISCOVER: left to the other DHCP server")}, ""},
		{"DHCP again after a boot loader", first, 600, node.Agent{}, []node.BootEvent{offer(300), at(290, "tftp", node.FileSent, node.LoaderFile, "undionly.kpxe: complete, 9 bytes"), offer(9)}, ""},

		{"a stranger names its MAC address", first, 499, node.Agent{}, forged(loaded(400)...), ""},
		{"a stranger has it load its ramdisk all the time", first, 499, node.Agent{}, forged(slices.Concat(loaded(130), loaded(90), loaded(50), loaded(10))...), ""},
		{"a stranger keeps no dead machine alive", first, 600, node.Agent{}, append([]node.BootEvent{offer(300), at(120, "tftp", node.FileSent, node.LoaderFile, "ipxe.efi: complete, 9 bytes")}, forged(at(5, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"))...),
			"120 s after the machine's last sign of life: the ramdisk was asked for but never sent whole (last 5.0 s ago: ramdisk: first byte sent): does the machine have enough memory, and is its network sound?"},
		{"a lone DISCOVER, which anybody can send", first, 499, node.Agent{}, forged(offer(300), offer(200)), ""},

		{"boot loader and silence", first, 600, node.Agent{}, []node.BootEvent{offer(300), at(120, "tftp", node.FileSent, node.LoaderFile, "ipxe.efi: complete, 9 bytes")},
			"120 s after the machine's last sign of life: boot files were asked for (last 120 s ago: ipxe.efi: complete, 9 bytes), " + neverTaken},
		{"a large ramdisk over HTTP", first, 600, node.Agent{}, []node.BootEvent{offer(400), at(390, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent")}, ""},
		{"a large ramdisk over TFTP", first, 600, node.Agent{}, []node.BootEvent{offer(400), at(19, "tftp", node.FileSending, node.RamdiskFile, "boot/…/ramdisk: still being sent")}, ""},
		{"a broken download", first, 600, node.Agent{}, []node.BootEvent{offer(400), at(390, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"), at(120, "http", node.FileBroken, node.RamdiskFile, "ramdisk: broken off after 5 of 9 bytes in 1s")},
			"120 s after the machine's last sign of life: the ramdisk was asked for but never sent whole (last 120 s ago: ramdisk: broken off after 5 of 9 bytes in 1s): does the machine have enough memory, and is its network sound?"},

		{"the kernel starts", first, 600, node.Agent{}, loaded(329), ""},
		{"loaded three times", first, 600, node.Agent{}, slices.Concat(loaded(90), loaded(50), loaded(10)), ""},
		{"kernel panic", first, 600, node.Agent{}, loaded(331),
			"331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), " + noAddress},
		{"kernel panic at each start", first, 600, node.Agent{}, slices.Concat(loaded(130), loaded(90), loaded(50), loaded(10)),
			"in which the machine loaded its ramdisk 4 times: it starts over each time: does its kernel panic, or does something reset the machine? Its console says more."},
		{"loaded twice", first, 600, node.Agent{}, append(loaded(90), loaded(10)...), ""},
		{"no route", first, 600, node.Agent{}, append(loaded(390), address(340)),
			"340 s after the machine's last sign of life: kernel and ramdisk were fetched, and the system in it got an address over DHCP (last 340 s ago), " + noRoute},
		{"an inventory takes long", report, 600, node.Agent{}, append(loaded(400), address(390)), ""},
		{"no report after a panic", report, 600, node.Agent{}, loaded(331),
			"331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), " + noAddress},
		{"no iSCSI target after a panic", target, 600, node.Agent{}, loaded(331),
			"331 s after the machine's last sign of life: kernel and ramdisk were fetched (last 331 s ago), " + noAddress},
		{"an iSCSI target waits for its disk", target, 600, node.Agent{}, append(loaded(400), address(390)), ""},
		{"an iSCSI target's boot loader", node.Await{For: node.LoaderInfo, Text: "the deploy ramdisk's pass_bootloader_install_info"}, 600, node.Agent{}, loaded(400), ""},

		{"looked up a while ago", first, 600, node.Agent{TokenGiven: true}, append(loaded(329), offer(329)), ""},
		{"looked up and gone", first, 600, node.Agent{TokenGiven: true}, append(loaded(340), offer(331)),
			"331 s after the machine's last sign of life: the agent asked for its node and got its token, but sent no heartbeat: can the API reach the agent, and does its console show an error?"},
		{"called", first, 600, node.Agent{URL: "https://10.0.0.5:9999", LastHeartbeat: ago(400)}, loaded(450), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := evidence{waitedFor: tt.waits, waited: time.Duration(tt.waited) * time.Second, macs: []string{mac1},
				agent: tt.agent, events: tt.events, now: now, stepBegan: ago(1000)}
			want := tt.want
			if want != "" {
				want = "Gave up after " + spell(e.waited) + " of waiting for " + tt.waits.Text + ", " + want
			}
			if got := e.stalled(110*time.Second, 500*time.Second); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			unread, restarted := e, e
			unread.unread, restarted.listens = true, ago(30)
			if got := unread.stalled(110*time.Second, 500*time.Second); got != "" {
				t.Errorf("without knowing what was seen: %s", got)
			}
			if got := restarted.stalled(110*time.Second, 500*time.Second); got != "" && !strings.Contains(got, "times: it starts over") {
				t.Errorf("half a minute after this service was started again: %s", got)
			}
			if got := e.stalled(24*time.Hour, 0); got != "" && !strings.Contains(got, "4 times: it starts over") {
				t.Errorf("without a limit: %s", got)
			}
		})
	}
}

// A machine that stops on its way fails its flow minutes before the step's deadline, also when nobody polls
// the step; one that goes on is waited for.
func TestAFlowFailsWhenAPhaseStalls(t *testing.T) {
	for _, tt := range []struct {
		name            string
		phase, firmware time.Duration
		says            time.Duration // how long the machine shows signs of life; 0: never
		from, to        time.Duration // when the flow fails
		want            string
	}{
		{"never seen", 110 * time.Second, 5 * time.Minute, 0, 5 * time.Minute, 5*time.Minute + 15*time.Second, "without a sign of life from the machine: no DHCP"},
		{"panic after a minute", 110 * time.Second, 5 * time.Minute, time.Minute, time.Minute + 330*time.Second, time.Minute + 345*time.Second, "last sign of life: kernel and ramdisk were fetched"},
		{"slow but alive", 110 * time.Second, 5 * time.Minute, 20 * time.Minute, 20*time.Minute + 330*time.Second, 20*time.Minute + 345*time.Second, "last sign of life: kernel and ramdisk were fetched"},
		{"not watched", 0, 5 * time.Minute, time.Minute, 30 * time.Minute, 30*time.Minute + 15*time.Second, "Timed out after 18"},
		{"firmware not watched", 110 * time.Second, 0, 0, 30 * time.Minute, 30*time.Minute + 15*time.Second, "Timed out after 18"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = tt.phase, tt.firmware
				c, _ := w.start(w.cfg)
				began := time.Now()
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				for time.Since(began) < tt.says {
					time.Sleep(min(20*time.Second, tt.says-time.Since(began)))
					kind, what := node.FileSending, "boot/…/ramdisk: still being sent"
					if time.Since(began) >= tt.says {
						kind, what = node.FileSent, "boot/…/ramdisk: complete, 9 bytes in 1s"
					}
					w.saw(node.BootEvent{Service: "tftp", Kind: kind, File: node.RamdiskFile, What: what})
				}
				n := w.reach(node.DeployFailed)
				took := time.Since(began)
				if took < tt.from || took > tt.to {
					t.Errorf("failed after %s, want between %s and %s", took, tt.from, tt.to)
				}
				if !strings.Contains(n.LastError, tt.want) {
					t.Errorf("last_error: %s\nwant %s", n.LastError, tt.want)
				}
				if w.m.count("tidy_up") == 0 {
					t.Error("the machine was not tidied up")
				}
			})
		})
	}
}

// Somebody who looks at a machine in maintenance is not rushed: its phases are counted anew afterwards.
func TestMaintenancePausesThePhases(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 5*time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.edit(func(n *node.Node) { n.Maintenance = true })
		time.Sleep(20 * time.Minute)
		synctest.Wait() // a look at the node that is under way would save what it read before the edit
		w.wantState(w.node(), node.DeployWait)
		w.edit(func(n *node.Node) { n.Maintenance = false })
		ended := time.Now()
		time.Sleep(4 * time.Minute)
		w.wantState(w.node(), node.DeployWait)
		w.reach(node.DeployFailed)
		if took := time.Since(ended); took < 4*time.Minute+40*time.Second || took > 5*time.Minute+15*time.Second {
			t.Errorf("failed %s after the maintenance", took)
		}
	})
}

// A machine that is off although it was switched on is not waited for long; one that is off for a moment is, and so is
// one whose BMC does not answer.
func TestAMachineThatIsSwitchedOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		off   func(after time.Duration) (node.PowerState, error) // what the BMC says
		seen  bool                                               // DHCP hears the machine all the time
		after time.Duration                                      // when the flow fails, a poll more or less
		want  string
	}{
		{"off", func(time.Duration) (node.PowerState, error) { return node.PowerOff, nil }, false, 100 * time.Second,
			"of waiting for the agent's first heartbeat, in which the machine was switched off: its BMC has said so for 60 s: did it lose its power, or did somebody switch it off?"},
		{"on", func(time.Duration) (node.PowerState, error) { return node.PowerOn, nil }, false, 25 * time.Minute, "without a sign of life"},
		{"off for a moment", func(after time.Duration) (node.PowerState, error) {
			if after > 80*time.Second {
				return node.PowerOn, nil
			}
			return node.PowerOff, nil
		}, false, 25 * time.Minute, "without a sign of life"},
		{"nobody knows", func(time.Duration) (node.PowerState, error) { return node.PowerUnknown, errors.New("no answer") }, false, 25 * time.Minute, "without a sign of life"},
		{"it lives whatever its BMC says", func(time.Duration) (node.PowerState, error) { return node.PowerOff, nil }, true, 30 * time.Minute, "Timed out after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
				w.m.onDo = func(what string, n *node.Node) {
					if what == "boot_deploy" {
						n.Power = node.PowerOn
					}
				}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				began := time.Now()
				w.m.mu.Lock()
				w.m.power = func() (node.PowerState, error) { return tt.off(time.Since(began)) }
				w.m.mu.Unlock()
				for tt.seen && time.Since(began) < 29*time.Minute {
					w.store.mu.Lock()
					w.store.boots = append(w.store.boots, node.BootEvent{MAC: mac1, Service: "tftp", Kind: node.FileSending, File: node.RamdiskFile, Proof: node.ProofNeighbour, What: "boot/…/ramdisk: still being sent", At: node.Now()})
					w.store.mu.Unlock()
					time.Sleep(20 * time.Second)
				}
				n := w.reach(node.DeployFailed)
				if took := time.Since(began); took < tt.after-15*time.Second || took > tt.after+15*time.Second {
					t.Errorf("failed after %s, want %s", took, tt.after)
				}
				if !strings.Contains(n.LastError, tt.want) {
					t.Errorf("last_error: %s", n.LastError)
				}
			})
		})
	}
}
