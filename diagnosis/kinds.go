package diagnosis

import (
	"fmt"
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// kindOfEvent is what the diagnosis makes of one kind of boot event.
type kindOfEvent struct {
	phase    int    // where in its boot a machine is that DHCP told this; the file says it of other events
	answered bool   // DHCP gave the machine an address, a boot file or both
	trouble  string // why a machine that saw this last does not get on, and the mend; %s is what was seen. "": it does get on
}

// eventKinds has a row for each of node.BootKinds.
var eventKinds = map[node.BootKind]kindOfEvent{
	node.DHCPOffered:  {phase: dhcpPhase, answered: true},
	node.DHCPAcked:    {phase: dhcpPhase, answered: true},
	node.DHCPInformed: {phase: dhcpPhase, answered: true},
	node.OwnDisk: {dhcpPhase, true,
		"Billet told it to start its own disk, as it is not to boot over the network from there now (%s): " +
			"is pxe_enabled set for the port with this MAC address, or should the firmware boot from another of the node's ports?"},
	node.NoLoader: {dhcpPhase, true,
		"DHCP answered it, but Billet has no boot loader for it (%s): when that is put right, it boots at its next try."},
	node.DHCPRefused: {trouble: "DHCP refused the address that it insists on (%s): does it keep an address of another network, " +
		"or was its lease deleted? It must ask for a new one; power it off and on."},
	node.OtherServer: {trouble: "another DHCP server answers on its network, and the machine took that one's offer (%s): " +
		"switch that server off there, or set dhcp_mode to proxy, so that Billet adds the boot file to what the other server gives."},
	node.NoAddress: {trouble: "DHCP has no address for it (%s): make dhcp_range larger, or dhcp_lease_time shorter, " +
		"and delete what is not used any more."},
	node.NoRange: {trouble: "its DHCP requests come from a network without a range of addresses (%s): " +
		"add that network to dhcp_ranges, or correct the relay's address."},
	node.UnknownMAC: {trouble: "its DHCP requests came when no node had a port with this MAC address (%s): " +
		"that is so no more, and its next request is answered; power it off and on if it has given up."},
	node.NotEthernet: {trouble: "its DHCP requests come from hardware that is not Ethernet, which Billet does not serve (%s): " +
		"have it boot from an Ethernet card."},
	node.Malformed: {trouble: "its DHCP requests cannot be read (%s): is its firmware up to date, " +
		"and does something between change or cut what it sends?"},
	node.Overloaded:    {trouble: "its DHCP requests were dropped, as too many came at once (%s): what asks so often on this network?"},
	node.ServiceFault:  {trouble: "Billet could not answer its DHCP requests (%s): the log of this service has the reason."},
	node.OtherAnswers:  {},
	node.PeerAnswers:   {},
	node.DHCPPointless: {},
	node.DHCPReleased:  {},
	node.DHCPDeclined: {trouble: "the machine found another one at the address that DHCP gave it (%s): " +
		"which machine has that address by hand? The range must be Billet's alone."},

	node.FileBegun:   {},
	node.FileSending: {},
	node.FileSized:   {},
	node.FileSent:    {},
	node.FileBroken:  {trouble: "it broke off a download (%s): is its network sound, and has it enough memory?"},
	node.FileMissing: {trouble: "it asked for a file that Billet does not have (%s): is the package with that boot loader installed, " +
		"and are the deploy kernel and ramdisk still where they were?"},
	node.FileRefused: {trouble: "it asked for a file in a way that Billet does not serve (%s): " +
		"is its firmware's boot file name set by somebody else?"},
	node.FileFailed: {trouble: "Billet could not get the file that it asked for (%s): is the file, or the server that has it, " +
		"there and readable? The log of this service has the reason."},
	node.NotItsOwn: {trouble: "another than the machine asked for what it boots, and was refused (%s): " +
		"if it was the machine itself, its address is not the one that it is known by: " +
		"set boot_address_check to false, or find out who asks."},
	node.BootEnded: {trouble: "it asked for the files of a boot that has ended (%s): it still runs what an earlier flow gave it; " +
		"power it off and on."},
}

// needed reports whether a machine cannot boot without the file. Loaders ask for many others that need not be there.
func needed(f node.BootFile) bool {
	switch f {
	case node.LoaderFile, node.GRUBFile, node.ScriptFile, node.KernelFile, node.MediumFile, node.RamdiskFile:
		return true
	}
	return false
}

// trouble is the event that tells why the machine does not get on; nil when none does. What DHCP said before the newest
// file was asked for did not hold the machine up.
func (e Evidence) trouble() *node.BootEvent {
	files, dhcp := withoutStrangers(e.of("tftp", "http")), e.of("dhcp")
	if len(files) == 0 {
		return dhcpTrouble(dhcp)
	}
	newest := files[len(files)-1].At
	dhcp = slices.DeleteFunc(dhcp, func(ev node.BootEvent) bool { return ev.At.Before(newest) })
	if t := dhcpTrouble(dhcp); t != nil {
		return t
	}
	return fileTrouble(files)
}

// withoutStrangers leaves out who asked for the machine's script in vain, when the machine itself got what it asked for.
func withoutStrangers(files []node.BootEvent) []node.BootEvent {
	served := slices.ContainsFunc(files, func(ev node.BootEvent) bool {
		return ev.Bound() && phaseOf(ev) >= scriptPhase && ev.Kind != node.FileMissing
	})
	if !served {
		return files
	}
	return slices.DeleteFunc(files, func(ev node.BootEvent) bool { return ev.Kind == node.NotItsOwn })
}

// fileTrouble is the newest event of a file that went wrong, unless that file, or one that comes after it in a boot, was
// sent since.
func fileTrouble(files []node.BootEvent) *node.BootEvent {
	reached := nowhere
	for i := len(files) - 1; i >= 0; i-- {
		ev := &files[i]
		if eventKinds[ev.Kind].trouble != "" && (needed(ev.File) || ev.Kind == node.OwnDisk) && phaseOf(*ev) > reached {
			return ev
		}
		switch ev.Kind {
		case node.FileSent, node.FileBegun, node.FileSending, node.OwnDisk:
			reached = max(reached, phaseOf(*ev))
		}
	}
	return nil
}

// dhcpTrouble is the last event in which a machine was not helped; nil when a port was given a boot file since, or was
// not troubled at all: what DHCP says to a machine's other ports does not hold it up then.
func dhcpTrouble(dhcp []node.BootEvent) *node.BootEvent {
	var found *node.BootEvent
	settled, offered := map[string]bool{}, map[string]bool{}
	for i := len(dhcp) - 1; i >= 0; i-- {
		ev := &dhcp[i]
		switch {
		case settled[ev.MAC]:
		case ev.Kind == node.DHCPAcked && ev.Who != node.AskedSystem:
			return nil
		case ev.Kind == node.DHCPAcked || ev.Kind == node.DHCPInformed:
			settled[ev.MAC] = true
		case ev.Kind == node.DHCPOffered:
			offered[ev.MAC] = true
		case eventKinds[ev.Kind].trouble == "" || offered[ev.MAC] && ev.Kind != node.OtherServer && ev.Kind != node.DHCPDeclined:
		default:
			settled[ev.MAC] = true
			if found == nil {
				found = ev
			}
		}
	}
	return found
}

// explain is the cause that an event tells.
func (e Evidence) explain(ev *node.BootEvent) string {
	return fmt.Sprintf(eventKinds[ev.Kind].trouble, fmt.Sprintf("last %s: %s", e.ago(ev.At), ev.What))
}

// troubledSince is when the machine met its trouble first.
func (e Evidence) troubledSince(t *node.BootEvent) time.Time {
	for _, ev := range e.Events {
		if ev.Kind == t.Kind && ev.MAC == t.MAC && ev.File == t.File {
			return ev.At
		}
	}
	return t.At
}
