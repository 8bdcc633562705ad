package conductor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// evidence is what is known of a machine that did not do what was waited for.
type evidence struct {
	waitedFor node.Await
	waited    time.Duration
	macs      []string         // of the node's ports
	events    []node.BootEvent // since the step began, oldest first
	agent     node.Agent       // zero when no agent called since the flow began
	stepBegan time.Time
	now       time.Time
	listens   time.Time           // since when this process hears machines
	unread    bool                // the store did not tell what the boot services saw
	override  driver.BootOverride // what the BMC said of the boot device that it was told

	serial, agentLog node.MachineLines // since the flow began
}

// whyTimedOut says what was waited for, how long, and the likely cause.
func (r *run) whyTimedOut(ctx context.Context) string { return r.evidence(ctx).sentence() }

// evidence gathers what is known of the node's machine since the step under way began.
func (r *run) evidence(ctx context.Context) evidence {
	e := r.c.evidence(ctx, r.n, r.task.Ports)
	e.serial, e.agentLog = r.c.lines(ctx, r.n.UUID, node.SerialLine), r.c.lines(ctx, r.n.UUID, node.AgentLog)
	return e
}

// evidence gathers all but the lines.
func (c *Conductor) evidence(ctx context.Context, n *node.Node, ports []node.Port) evidence {
	p := n.Plan
	e := evidence{waitedFor: p.Await(), waited: node.Since(p.WaitingSince), agent: n.Agent, now: node.Now(), listens: c.born}
	if step := p.Current(); step != nil {
		e.stepBegan = step.StartedAt
	}
	e.override, _ = driver.OverrideOf(p)
	for _, port := range ports {
		e.macs = append(e.macs, port.Address)
	}
	events, err := c.store.BootEvents(ctx, e.macs, e.stepBegan)
	if err != nil && ctx.Err() == nil {
		c.log.Warn("boot events not read", "node", n.UUID, "error", err)
	}
	e.events, e.unread = events, err != nil
	return e
}

// lastSeen adds to the reason of a step whose machine is lost what was heard of the machine last.
func (r *run) lastSeen(ctx context.Context, reason string) string {
	r.c.heardSoFar(ctx, r.n.UUID)
	e := r.evidence(ctx)
	if p := e.panicked(); p != nil {
		return fmt.Sprintf("%s. The machine's kernel panicked %s ago: %q.", reason, spell(e.now.Sub(p.first)), p.text)
	}
	if said := e.lastWords(); said != "" {
		return reason + ". " + said
	}
	return reason + ". Did the machine lose its power or its network?"
}

// lines reads the node's lines of one source. Without them there is less to say, and nothing else changes.
func (c *Conductor) lines(ctx context.Context, uuid string, source node.LineSource) node.MachineLines {
	l, err := c.store.Lines(ctx, uuid, source)
	if err != nil && ctx.Err() == nil {
		c.log.Warn("lines of the machine not read", "node", uuid, "source", source, "error", err)
	}
	return l
}

func (e evidence) sentence() string {
	text := fmt.Sprintf("Timed out after %s waiting for %s", spell(e.waited), e.waitedFor.Text)
	if cause := e.cause(); cause != "" {
		return text + ": " + cause
	}
	return text + "."
}

// readConsole is what a cause ends with when nothing is known of the machine's console.
const readConsole = " Its console says more."

// cause is where the machine stopped, and what its console said about it.
func (e evidence) cause() string {
	if !e.waitedFor.For.OfRamdisk() {
		return ""
	}
	if p := e.panicked(); p != nil {
		return fmt.Sprintf("the machine's kernel panicked %s ago: %q. Is the deploy ramdisk whole, made for this kernel, and the machine's memory large enough for it?", spell(e.now.Sub(p.first)), p.text)
	}
	if s := e.refused(); s != nil {
		return fmt.Sprintf("%s. Secure Boot is on, so what it is given over the network must be signed by somebody whom the firmware trusts: set boot_interface to pxe, and install shim-signed and grub-efi-amd64-signed, which then start it, or switch Secure Boot off in the firmware. (Seen so far: %s)",
			s.says(e.now), e.place())
	}
	return e.withConsole(e.place())
}

// withConsole adds to a cause the machine's last words.
func (e evidence) withConsole(cause string) string {
	if said := e.lastWords(); said != "" {
		return strings.TrimSuffix(cause, readConsole) + " " + said
	}
	return cause
}

// lastWords is the newest symptom that the console showed during the wait, or else the last line of the agent, or of
// the console.
func (e evidence) lastWords() string {
	began := e.now.Add(-e.waited)
	found := symptoms(e.serial.Lines, began)
	if len(found) > 0 {
		last := found[0]
		for _, s := range found {
			if s.last.After(last.last) {
				last = s
			}
		}
		return "On its console " + last.says(e.now) + "."
	}
	if text, ago := e.lastLine(e.agentLog, began); text != "" {
		return fmt.Sprintf("The agent's last log line, %s: %q.", ago, text)
	}
	if text, ago := e.lastLine(e.serial, began); text != "" {
		return fmt.Sprintf("The last line on its console, %s: %q.", ago, text)
	}
	return ""
}

func (e evidence) lastLine(l node.MachineLines, since time.Time) (text, ago string) {
	for i := len(l.Lines) - 1; i >= 0 && !l.Lines[i].At.Before(since); i-- {
		if text := bare(l.Lines[i].Text); text != "" {
			return text, e.ago(l.Lines[i].At)
		}
	}
	return "", ""
}

// place follows the machine's way from power-on to the agent, and names where it stopped.
func (e evidence) place() string {
	dhcp, files := e.of("dhcp"), e.of("tftp", "http")
	switch {
	case !e.agent.LastHeartbeat.IsZero() && e.agent.LastHeartbeat.After(e.stepBegan):
		return fmt.Sprintf("the agent at %s still calls (last %s), but this never came: what does its console say?", e.agent.URL, e.ago(e.agent.LastHeartbeat))
	case !e.agent.LastHeartbeat.IsZero():
		return fmt.Sprintf("the agent at %s called last %s, and no more since this step began: was the machine powered off, or did it lose its network?", e.agent.URL, e.ago(e.agent.LastHeartbeat))
	case !e.agent.RefusedAt.IsZero():
		return fmt.Sprintf("an agent got the node's token %s but sent no heartbeat; an agent asked for the node again %s, and got none, as a token is given once per boot: did the machine start anew by itself, or was the first answer lost? Power the machine off and on through the Bare Metal API, or start over: both clear the token.",
			e.ago(e.agent.TokenGivenAt), e.ago(e.agent.RefusedAt))
	case e.agent.TokenGiven:
		return "the agent asked for its node and got its token, but sent no heartbeat: can the API reach the agent, and does its console show an error?"
	case len(files) > 0:
		return e.fetched(files)
	case e.ownDisk() != "":
		return e.ownDisk()
	case e.trouble() != nil:
		return e.explain(e.trouble())
	case len(dhcp) > 0 && len(e.answered(dhcp)) == 0:
		return fmt.Sprintf("its DHCP requests were seen, but not answered by Billet (last %s: %s).", e.last(dhcp), dhcp[len(dhcp)-1].What)
	case len(dhcp) > 0:
		dhcp = e.answered(dhcp)
		return fmt.Sprintf("DHCP answered %s %s (last %s), but no boot file was fetched over TFTP or HTTP: is the boot server reachable from the machine's network, and do firewalls let UDP port 69 and the boot server's HTTP port through?",
			dhcp[len(dhcp)-1].MAC, times(len(dhcp)), e.last(dhcp))
	case len(e.macs) == 0:
		return "the node has no ports, so no boot service can know the machine: add a port with its MAC address."
	}
	return fmt.Sprintf("no DHCP request was seen from any of the node's ports (%s): is the machine on and set to boot from the network, is the cable on the provisioning network, and is the MAC address right?",
		strings.Join(e.macs, ", "))
}

// fetched tells how far loading got.
func (e evidence) fetched(files []node.BootEvent) string {
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
		return fmt.Sprintf("kernel and ramdisk were fetched, and the system in it got an address over DHCP (last %s), but the agent never called: does the ramdisk have an agent, and is there a route from there to the API? Its console says more.", e.last(dhcp))
	case trouble != nil && (trouble.Kind != node.FileBroken || trouble.File != node.RamdiskFile):
		return e.explain(trouble)
	case whole:
		return fmt.Sprintf("kernel and ramdisk were fetched (last %s), but the agent never called, and no address was asked for: did the kernel panic, or has the ramdisk no driver for this machine's network card? Its console says more.", e.last(files))
	case begun:
		return fmt.Sprintf("the ramdisk was asked for but never sent whole (%s): does the machine have enough memory, and is its network sound?", last)
	case newest.File == node.GRUBFile && newest.Kind == node.FileSent:
		return fmt.Sprintf("GRUB was fetched (%s), but never its configuration: does the firmware accept it (with Secure Boot only a signed one), and, where another DHCP server gives the addresses, does that one name this server as its next server?", last)
	}
	return fmt.Sprintf("boot files were asked for (%s), but never the ramdisk: does the firmware accept the boot loader (with Secure Boot only a signed one), and can it reach the boot server over HTTP?", last)
}

// answered leaves out the requests that Billet's DHCP kept silent about.
func (e evidence) answered(dhcp []node.BootEvent) []node.BootEvent {
	var some []node.BootEvent
	for _, ev := range dhcp {
		if eventKinds[ev.Kind].answered {
			some = append(some, ev)
		}
	}
	return some
}

func (e evidence) of(services ...string) []node.BootEvent {
	var some []node.BootEvent
	for _, ev := range e.events {
		for _, s := range services {
			if ev.Service == s {
				some = append(some, ev)
			}
		}
	}
	return some
}

func (e evidence) last(events []node.BootEvent) string { return e.ago(events[len(events)-1].At) }

func (e evidence) ago(t time.Time) string { return spell(e.now.Sub(t)) + " ago" }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
