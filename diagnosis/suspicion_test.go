package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// What a booting machine that was quiet for a while is suspected of, under a phase of 110 s and a firmware time of
// 500 s; the step's deadline is 1800 s away.
func TestSuspicion(t *testing.T) {
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
	loaded := func(s int) []node.BootEvent {
		return []node.BootEvent{offer(s + 3), at(s+1, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent"),
			at(s, "http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes in 1s")}
	}
	first, report := node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"},
		node.Await{For: node.Report, Text: "the inspection report"}
	target := node.Await{For: node.DeployInfo, Text: "the deploy ramdisk's pass_deploy_info"}
	for _, tt := range []struct {
		name   string
		waits  node.Await
		waited int
		agent  node.Agent
		events []node.BootEvent
		listen int // since when this process hears machines; 0: for ever
		known  *diagnosis.Suspicion
		phase  string
		want   []string
	}{
		{"just switched on", first, 89, node.Agent{}, nil, 0, nil, "", nil},
		{"firmware that shows nothing", first, 90, node.Agent{}, nil, 0, nil, "firmware",
			[]string{"nothing for 90 s, since 11:58:30 UTC (nothing seen yet). Most likely: " + noDHCP, "ends at 12:06:50 UTC"}},
		{"an earlier boot is none of it", first, 80, node.Agent{}, loaded(95), 0, nil, "", nil},
		{"DHCP a moment ago", first, 200, node.Agent{}, []node.BootEvent{offer(89)}, 0, nil, "", nil},
		{"DHCP, then nothing", first, 200, node.Agent{}, []node.BootEvent{offer(91)}, 0, nil, "dhcp",
			[]string{"91 s, since 11:58:29 UTC (DHCP)", noLoader, "ends at 12:00:19 UTC"}},
		{"DHCP in circles", first, 200, node.Agent{}, []node.BootEvent{offer(95), offer(60), offer(1)}, 0, nil, "dhcp",
			[]string{"95 s, since", "ends at 12:00:15 UTC"}},
		{"a large ramdisk", first, 600, node.Agent{},
			[]node.BootEvent{offer(400), at(390, "http", node.FileBegun, node.RamdiskFile, "ramdisk: first byte sent")}, 0, nil, "", nil},
		{"whole ramdisk", first, 600, node.Agent{}, loaded(100), 0, nil, "whole ramdisk",
			[]string{"100 s, since 11:58:20 UTC (whole ramdisk)", noAddress, "ends at 12:03:50 UTC"}},
		{"whole ramdisk twice", first, 600, node.Agent{}, append(loaded(60), loaded(2)...), 0, nil, "starting over",
			[]string{"loaded its ramdisk 2 times", "does its kernel panic"}},
		{"the ramdisk has its address", first, 600, node.Agent{},
			append(loaded(120), asked(100, node.DHCPAcked, node.AskedSystem, "REQUEST from an operating system: 10.0.0.9")), 0, nil,
			"dhcp of the ramdisk", []string{noRoute, "ends at 12:03:50 UTC"}},
		{"an inspecting agent", report, 600, node.Agent{},
			append(loaded(120), asked(100, node.DHCPAcked, node.AskedSystem, "REQUEST from an operating system: 10.0.0.9")), 0, nil,
			"dhcp of the ramdisk", []string{noRoute, "ends at 12:30:00 UTC"}},
		{"an iSCSI ramdisk", target, 600, node.Agent{},
			append(loaded(120), asked(100, node.DHCPAcked, node.AskedSystem, "REQUEST from an operating system: 10.0.0.9")), 0, nil,
			"dhcp of the ramdisk", []string{noRoute, "ends at 12:30:00 UTC"}},
		{"looked up a moment ago", first, 600, node.Agent{TokenGiven: true, TokenGivenAt: ago(30)}, loaded(120), 0, nil, "", nil},
		{"looked up and quiet", first, 600, node.Agent{TokenGiven: true, TokenGivenAt: ago(95)}, loaded(120), 0, nil, "lookup",
			[]string{"95 s, since 11:58:25 UTC (lookup)", "got its token, but sent no heartbeat", "ends at 12:03:30 UTC"}},
		{"the agent has called", first, 600, node.Agent{LastHeartbeat: ago(100)}, loaded(120), 0, nil, "", nil},
		{"another wait", works, 600, node.Agent{}, loaded(120), 0, nil, "", nil},
		{"this service was away", first, 600, node.Agent{}, loaded(300), 30, nil, "", nil},
		{"this service was away, and had said so before", first, 600, node.Agent{}, loaded(300), 30,
			&diagnosis.Suspicion{Since: ago(300), Phase: "whole ramdisk"}, "whole ramdisk", []string{"300 s, since", "ends at 12:05:00 UTC"}},
		{"said of an earlier sign of life", first, 600, node.Agent{}, loaded(60), 0,
			&diagnosis.Suspicion{Since: ago(300), Phase: "whole ramdisk"}, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := diagnosis.Evidence{WaitedFor: tt.waits, Waited: time.Duration(tt.waited) * time.Second, MACs: []string{mac1}, Agent: tt.agent,
				Events: tt.events, Now: now, StepBegan: ago(1000),
				Deadline: now.Add(30 * time.Minute), BootPhaseTimeout: 110 * time.Second, FirmwareTimeout: 500 * time.Second}
			if tt.listen > 0 {
				e.Listens = ago(tt.listen)
			}
			if tt.known != nil {
				e.Known = *tt.known
			}
			got := diagnosis.Judge(e).Suspect
			if got.Phase != tt.phase {
				t.Fatalf("phase %q, want %q: %s", got.Phase, tt.phase, got.Text)
			}
			for _, part := range tt.want {
				if !strings.Contains(got.Text, part) {
					t.Errorf("%s\nwant %s", got.Text, part)
				}
			}
			unwatched, unread := e, e
			unwatched.BootPhaseTimeout, unwatched.FirmwareTimeout, unread.Unread = 0, 0, true
			for what, s := range map[string]diagnosis.Suspicion{"phases off": diagnosis.Judge(unwatched).Suspect,
				"unread": diagnosis.Judge(unread).Suspect} {
				if s.Phase != "" {
					t.Errorf("%s: %s", what, s.Text)
				}
			}
		})
	}
}
