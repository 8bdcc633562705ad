package diagnosis_test

import (
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

func TestWhyAMachineDidNotCall(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	event := func(service string, kind node.BootKind, file node.BootFile, what string, s int) node.BootEvent {
		return node.BootEvent{MAC: mac1, Service: service, Kind: kind, File: file, What: what, At: ago(s)}
	}
	asked := func(s int, kind node.BootKind, who node.BootWho, what string) node.BootEvent {
		return node.BootEvent{MAC: mac1, Service: "dhcp", Kind: kind, Who: who, What: what, At: ago(s)}
	}
	first := node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}
	for _, tt := range []struct {
		name string
		e    diagnosis.Evidence
		want string
	}{
		{"not about the machine",
			diagnosis.Evidence{WaitedFor: node.Await{For: node.Pause, Text: "the fake machine's erase_devices"}, MACs: []string{mac1}},
			"Timed out after 120 s waiting for the fake machine's erase_devices."},
		{"no ports", diagnosis.Evidence{WaitedFor: first},
			"Timed out after 120 s waiting for the agent's first heartbeat: the node has no ports, so no boot service can know the machine: " +
				"add a port with its MAC address."},
		{"nothing seen", diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1, "52:54:00:00:00:02"}},
			"Timed out after 120 s waiting for the agent's first heartbeat: no DHCP request was seen from any of the node's ports " +
				"(52:54:00:00:00:01, 52:54:00:00:00:02): is the machine on and set to boot from the network, is the cable on the provisioning " +
				"network, and is the MAC address right?"},
		{"DHCP only",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{asked(90, node.DHCPOffered, node.AskedFirmware, "DISCOVER"),
					asked(60, node.DHCPAcked, node.AskedFirmware, "REQUEST"), asked(9, node.DHCPOffered, node.AskedFirmware, "DISCOVER")}},
			"Timed out after 120 s waiting for the agent's first heartbeat: DHCP answered 52:54:00:00:00:01 3 times (last 9.0 s ago), " +
				"but no boot file was fetched over TFTP or HTTP: is the boot server reachable from the machine's network, and do firewalls let UDP " +
				"port 69 and the boot server's HTTP port through?"},
		{"DHCP silent",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{asked(90, node.DHCPPointless, node.AskedFirmware,
					"DISCOVER from x86-64 UEFI: ignored: it asks for no address")}},
			"Timed out after 120 s waiting for the agent's first heartbeat: its DHCP requests were seen, but not answered by Billet (last 90 s " +
				"ago: DISCOVER from x86-64 UEFI: ignored: it asks for no address)."},
		{"DHCP once",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{asked(90, node.DHCPOffered, node.AskedFirmware, "DISCOVER: 10.0.0.9 and ipxe.efi"),
					asked(80, node.OtherAnswers, node.AskedFirmware, "INFORM: left to the other DHCP server")}},
			"Timed out after 120 s waiting for the agent's first heartbeat: DHCP answered 52:54:00:00:00:01 once (last 90 s ago), " +
				"but no boot file was fetched over TFTP or HTTP: is the boot server reachable from the machine's network, and do firewalls let UDP " +
				"port 69 and the boot server's HTTP port through?"},
		{"boot loader only",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{asked(90, node.DHCPOffered, node.AskedFirmware, "DISCOVER"),
					event("tftp", node.FileSent, node.LoaderFile, "ipxe.efi: complete", 80)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: boot files were asked for (last 80 s ago: ipxe.efi: complete), " +
				"but never the ramdisk: does the firmware accept the boot loader (with Secure Boot only a signed one), and can it reach the " +
				"boot server over HTTP?"},
		{"GRUB only",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{event("tftp", node.FileSent, node.LoaderFile, "shimx64.efi.signed: complete", 85),
					event("tftp", node.FileSent, node.GRUBFile, "grubx64.efi: complete, 3843520 bytes in 6.3s", 80)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: GRUB was fetched (last 80 s ago: grubx64.efi: complete, " +
				"3843520 bytes in 6.3s), but never its configuration: does the firmware accept it (with Secure Boot only a signed one), and, " +
				"where another DHCP server gives the addresses, does that one name this server as its next server?"},
		{"half of GRUB",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{event("tftp", node.FileBroken, node.GRUBFile, "grubnetx64.efi: the client stopped", 80)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: it broke off a download (last 80 s ago: grubnetx64.efi: " +
				"the client stopped): is its network sound, and has it enough memory?"},
		{"GRUB's configuration",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{event("tftp", node.FileSent, node.GRUBFile, "grubx64.efi: complete", 80),
					event("tftp", node.FileSent, node.MenuFile, "/grub/grub.cfg: complete", 79)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: boot files were asked for (last 79 s ago: /grub/grub.cfg: complete), " +
				"but never the ramdisk: does the firmware accept the boot loader (with Secure Boot only a signed one), and can it reach the " +
				"boot server over HTTP?"},
		{"script only",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{event("http", node.FileSent, node.ScriptFile, "script: load kernel and ramdisk", 80)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: boot files were asked for (last 80 s ago: script: load kernel and " +
				"ramdisk), but never the ramdisk: does the firmware accept the boot loader (with Secure Boot only a signed one), and can it reach " +
				"the boot server over HTTP?"},
		{"half a ramdisk",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{event("http", node.FileSent, node.KernelFile, "kernel: complete", 80),
					event("http", node.FileBroken, node.RamdiskFile, "ramdisk: broken off after 5 of 9 bytes", 70)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: the ramdisk was asked for but never sent whole (last 70 s ago: " +
				"ramdisk: broken off after 5 of 9 bytes): does the machine have enough memory, and is its network sound?"},
		{"kernel and ramdisk",
			diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1},
				Events: []node.BootEvent{event("http", node.FileSent, node.KernelFile, "kernel: complete", 80),
					event("http", node.FileSent, node.RamdiskFile, "ramdisk: complete, 9 bytes", 70)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: kernel and ramdisk were fetched (last 70 s ago), but the agent never " +
				"called, and no address was asked for: did the kernel panic, or has the ramdisk no driver for this machine's network card? " +
				"Its console says more."},
		{"lookup only", diagnosis.Evidence{WaitedFor: first, MACs: []string{mac1}, Agent: node.Agent{TokenGiven: true},
			Events: []node.BootEvent{event("http", node.FileSent, node.RamdiskFile, "ramdisk: complete", 70)}},
			"Timed out after 120 s waiting for the agent's first heartbeat: the agent asked for its node and got its token, " +
				"but sent no heartbeat: can the API reach the agent, and does its console show an error?"},
		{"agent silent",
			diagnosis.Evidence{WaitedFor: works, MACs: []string{mac1}, Agent: node.Agent{URL: "https://10.0.0.5:9999", LastHeartbeat: ago(150)}},
			"Timed out after 120 s waiting for the agent to finish write_image: the agent at https://10.0.0.5:9999 called last 150 s ago, " +
				"and no more since this step began: was the machine powered off, or did it lose its network?"},
		{"agent alive",
			diagnosis.Evidence{WaitedFor: works, MACs: []string{mac1}, Agent: node.Agent{URL: "https://10.0.0.5:9999", LastHeartbeat: ago(20)}},
			"Timed out after 120 s waiting for the agent to finish write_image: the agent at https://10.0.0.5:9999 still calls (last 20 s ago), " +
				"but this never came: what does its console say?"},
		{"no report", diagnosis.Evidence{WaitedFor: node.Await{For: node.Report, Text: "the machine's inspection report"}, MACs: []string{mac1}},
			"Timed out after 120 s waiting for the machine's inspection report: no DHCP request was seen from any of the node's ports " +
				"(52:54:00:00:00:01): is the machine on and set to boot from the network, is the cable on the provisioning network, " +
				"and is the MAC address right?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.e.Now, tt.e.Waited, tt.e.StepBegan = now, 2*time.Minute, ago(120)
			if got := diagnosis.Judge(tt.e).TimedOut; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
