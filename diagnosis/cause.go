package diagnosis

import (
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// timedOut is the sentence when the deadline has passed.
func (e Evidence) timedOut() string {
	text := fmt.Sprintf("Timed out after %s waiting for %s", Spell(e.Waited), e.WaitedFor.Text)
	if cause := e.cause(); cause != "" {
		return text + ": " + cause
	}
	return text + "."
}

// readConsole is what a cause ends with when nothing is known of the machine's console.
const readConsole = " Its console says more."

// cause is where the machine stopped, and what its console said about it.
func (e Evidence) cause() string {
	if !e.WaitedFor.For.OfRamdisk() {
		return ""
	}
	if p := e.panicked(); p != nil {
		return fmt.Sprintf("the machine's kernel panicked %s ago: %q. Is the deploy ramdisk whole, made for this kernel, "+
			"and the machine's memory large enough for it?", Spell(e.Now.Sub(p.first)), p.text)
	}
	if s := e.refused(); s != nil {
		return fmt.Sprintf("%s. Secure Boot is on, so what it is given over the network must be signed by somebody whom the firmware "+
			"trusts: set boot_interface to pxe, and install shim-signed and grub-efi-amd64-signed, which then start it, "+
			"or switch Secure Boot off in the firmware. (Seen so far: %s)",
			s.says(e.Now), e.place())
	}
	return e.withConsole(e.place())
}

// withConsole adds to a cause the machine's last words.
func (e Evidence) withConsole(cause string) string {
	if said := e.lastWords(); said != "" {
		return strings.TrimSuffix(cause, readConsole) + " " + said
	}
	return cause
}

// LastSeen adds to the reason of a step whose machine is lost what was heard of the machine last.
func (e Evidence) LastSeen(reason string) string {
	if p := e.panicked(); p != nil {
		return fmt.Sprintf("%s. The machine's kernel panicked %s ago: %q.", reason, Spell(e.Now.Sub(p.first)), p.text)
	}
	if said := e.lastWords(); said != "" {
		return reason + ". " + said
	}
	return reason + ". Did the machine lose its power or its network?"
}

// lastWords is the newest symptom that the console showed during the wait, or else the last line of the agent, or of
// the console.
func (e Evidence) lastWords() string {
	began := e.waitBegan()
	found := symptoms(e.Serial.Lines, began)
	if len(found) > 0 {
		last := found[0]
		for _, s := range found {
			if s.last.After(last.last) {
				last = s
			}
		}
		return "On its console " + last.says(e.Now) + "."
	}
	if text, ago := e.lastLine(e.AgentLog, began); text != "" {
		return fmt.Sprintf("The agent's last log line, %s: %q.", ago, text)
	}
	if text, ago := e.lastLine(e.Serial, began); text != "" {
		return fmt.Sprintf("The last line on its console, %s: %q.", ago, text)
	}
	return ""
}

func (e Evidence) lastLine(l node.MachineLines, since time.Time) (text, ago string) {
	for i := len(l.Lines) - 1; i >= 0 && !l.Lines[i].At.Before(since); i-- {
		if text := bare(l.Lines[i].Text); text != "" {
			return text, e.ago(l.Lines[i].At)
		}
	}
	return "", ""
}

// place follows the machine's way from power-on to the agent, and names where it stopped.
func (e Evidence) place() string {
	dhcp, files := e.of("dhcp"), e.of("tftp", "http")
	switch {
	case !e.Agent.LastHeartbeat.IsZero() && e.Agent.LastHeartbeat.After(e.StepBegan):
		return fmt.Sprintf("the agent at %s still calls (last %s), but this never came: "+
			"what does its console say?", e.Agent.URL, e.ago(e.Agent.LastHeartbeat))
	case !e.Agent.LastHeartbeat.IsZero():
		return fmt.Sprintf("the agent at %s called last %s, and no more since this step began: "+
			"was the machine powered off, or did it lose its network?", e.Agent.URL, e.ago(e.Agent.LastHeartbeat))
	case !e.Agent.RefusedAt.IsZero():
		return fmt.Sprintf("an agent got the node's token %s but sent no heartbeat; an agent asked for the node again %s, and got none, "+
			"as a token is given once per boot: did the machine start anew by itself, or was the first answer lost? "+
			"Power the machine off and on through the Bare Metal API, or start over: both clear the token.",
			e.ago(e.Agent.TokenGivenAt), e.ago(e.Agent.RefusedAt))
	case e.Agent.TokenGiven:
		return "the agent asked for its node and got its token, but sent no heartbeat: " +
			"can the API reach the agent, and does its console show an error?"
	case len(files) > 0:
		return e.fetched(files)
	case e.networkFault() != "":
		return e.unseen()
	case e.ownDisk() != "":
		return e.ownDisk()
	case e.trouble() != nil:
		return e.explain(e.trouble())
	case len(dhcp) > 0 && len(e.answered(dhcp)) == 0:
		return fmt.Sprintf("its DHCP requests were seen, but not answered by Billet (last %s: %s).", e.last(dhcp), dhcp[len(dhcp)-1].What)
	case len(dhcp) > 0:
		dhcp = e.answered(dhcp)
		return fmt.Sprintf("DHCP answered %s %s (last %s), but no boot file was fetched over TFTP or HTTP: "+
			"is the boot server reachable from the machine's network, and do firewalls "+
			"let UDP port 69 and the boot server's HTTP port through?",
			dhcp[len(dhcp)-1].MAC, times(len(dhcp)), e.last(dhcp))
	case len(e.MACs) == 0:
		return "the node has no ports, so no boot service can know the machine: add a port with its MAC address."
	}
	if e.OtherDHCP != "" {
		return e.unseen()
	}
	return fmt.Sprintf("no DHCP request was seen from any of the node's ports (%s): is the machine on and set to boot from the network, "+
		"is the cable on the provisioning network, and is the MAC address right?",
		strings.Join(e.MACs, ", "))
}

// fetched tells how far loading got.
func (e Evidence) fetched(files []node.BootEvent) string {
	begun, whole := false, false
	for _, f := range files {
		begun = begun || f.File == node.RamdiskFile
		whole = whole || wholeRamdisk(f)
	}
	newest := files[len(files)-1]
	last := fmt.Sprintf("last %s: %s", e.last(files), newest.What)
	trouble := e.trouble()
	switch {
	case e.ramdiskHasAddress():
		dhcp := e.answered(e.of("dhcp"))
		return fmt.Sprintf("kernel and ramdisk were fetched, and the system in it got an address over DHCP (last %s), "+
			"but the agent never called: does the ramdisk have an agent, and is there a route from there to the API? "+
			"Its console says more.", e.last(dhcp))
	case trouble != nil && (trouble.Kind != node.FileBroken || trouble.File != node.RamdiskFile):
		return e.explain(trouble)
	case whole && e.OtherDHCP != "":
		return fmt.Sprintf("kernel and ramdisk were fetched (%s), but the agent never called. Whether its system asked for an address is "+
			"not seen here, as %s serves DHCP%s: did the kernel panic, has the ramdisk no driver for this machine's network card, "+
			"or is there no route from there to the API? Its console says more.", last, e.OtherDHCP, e.networkNow())
	case whole:
		return fmt.Sprintf("kernel and ramdisk were fetched (last %s), but the agent never called, and no address was asked for: "+
			"did the kernel panic, or has the ramdisk no driver for this machine's network card? Its console says more.", e.last(files))
	case begun:
		return fmt.Sprintf("the ramdisk was asked for but never sent whole (%s): does the machine have enough memory, "+
			"and is its network sound?", last)
	case newest.File == node.GRUBFile && newest.Kind == node.FileSent:
		return fmt.Sprintf("GRUB was fetched (%s), but never its configuration: does the firmware accept it (with Secure Boot only a "+
			"signed one), and, where another DHCP server gives the addresses, does that one name this server as its next server?", last)
	}
	return fmt.Sprintf("boot files were asked for (%s), but never the ramdisk: does the firmware accept the boot loader (with Secure "+
		"Boot only a signed one), and can it reach the boot server over HTTP?", last)
}
