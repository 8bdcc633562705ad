package conductor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// evidence is what is known of a machine that did not do what was waited for.
type evidence struct {
	waitedFor string
	waited    time.Duration
	macs      []string         // of the node's ports
	events    []node.BootEvent // since the step began, oldest first
	agent     node.Agent       // zero when no agent called since the flow began
	stepBegan time.Time
	now       time.Time
	listens   time.Time // since when this process hears machines
	unread    bool      // the store did not tell what the boot services saw
}

// whyTimedOut says what was waited for, how long, and the likely cause.
func (r *run) whyTimedOut(ctx context.Context) string { return r.evidence(ctx).sentence() }

// evidence gathers what is known of the node's machine since the step under way began.
func (r *run) evidence(ctx context.Context) evidence {
	p := r.n.Plan
	e := evidence{waitedFor: p.WaitingFor, waited: time.Since(p.WaitingSince), agent: r.n.Agent, now: time.Now(), listens: r.c.born}
	if step := p.Current(); step != nil {
		e.stepBegan = step.StartedAt
	}
	for _, port := range r.task.Ports {
		e.macs = append(e.macs, port.Address)
	}
	events, err := r.c.store.BootEvents(ctx, e.macs, e.stepBegan)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("boot events not read", "error", err)
	}
	e.events, e.unread = events, err != nil
	return e
}

func (e evidence) sentence() string {
	text := fmt.Sprintf("Timed out after %s waiting for %s", spell(e.waited), e.waitedFor)
	if cause := e.cause(); cause != "" {
		return text + ": " + cause
	}
	return text + "."
}

// cause follows the machine's way from power-on to the agent, and names where it stopped.
func (e evidence) cause() string {
	if !e.waitsForMachine() {
		return ""
	}
	dhcp, files := e.of("dhcp"), e.of("tftp", "http")
	switch {
	case !e.agent.LastHeartbeat.IsZero() && e.agent.LastHeartbeat.After(e.stepBegan):
		return fmt.Sprintf("the agent at %s still calls (last %s), but this never came: what does its console say?", e.agent.URL, e.ago(e.agent.LastHeartbeat))
	case !e.agent.LastHeartbeat.IsZero():
		return fmt.Sprintf("the agent at %s called last %s, and no more since this step began: was the machine powered off, or did it lose its network?", e.agent.URL, e.ago(e.agent.LastHeartbeat))
	case e.agent.TokenGiven:
		return "the agent asked for its node and got its token, but sent no heartbeat: can the API reach the agent, and does its console show an error?"
	case len(files) > 0:
		return e.fetched(files)
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

// fetched tells how far loading got: the boot services say "complete" of a file that was sent whole.
func (e evidence) fetched(files []node.BootEvent) string {
	begun, whole := false, false
	for _, f := range files {
		begun = begun || aboutRamdisk(f)
		whole = whole || wholeRamdisk(f)
	}
	last := fmt.Sprintf("last %s: %s", e.last(files), files[len(files)-1].What)
	switch {
	case e.ramdiskHasAddress():
		dhcp := e.answered(e.of("dhcp"))
		return fmt.Sprintf("kernel and ramdisk were fetched, and the system in it got an address over DHCP (last %s), but the agent never called: does the ramdisk have an agent, and is there a route from there to the API? Its console says more.", e.last(dhcp))
	case whole:
		return fmt.Sprintf("kernel and ramdisk were fetched (last %s), but the agent never called, and no address was asked for: did the kernel panic, or has the ramdisk no driver for this machine's network card? Its console says more.", e.last(files))
	case begun:
		return fmt.Sprintf("the ramdisk was asked for but never sent whole (%s): does the machine have enough memory, and is its network sound?", last)
	}
	return fmt.Sprintf("boot files were asked for (%s), but never the ramdisk: does the firmware accept the boot loader, and can it reach the boot server over HTTP?", last)
}

// answered leaves out the requests that Billet's DHCP kept silent about.
func (e evidence) answered(dhcp []node.BootEvent) []node.BootEvent {
	var some []node.BootEvent
	for _, ev := range dhcp {
		silent := strings.Contains(ev.What, "ignored") || strings.Contains(ev.What, "not answered") || strings.Contains(ev.What, "left to the other")
		if !silent {
			some = append(some, ev)
		}
	}
	return some
}

// waitsForMachine reports whether the boot services' evidence has to do with what is waited for.
func (e evidence) waitsForMachine() bool {
	for _, word := range []string{"agent", "heartbeat", "report", "ramdisk"} {
		if strings.Contains(e.waitedFor, word) {
			return true
		}
	}
	return false
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
