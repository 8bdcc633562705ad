package conductor

import (
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// phaseNames are the phases of a boot in their order; an event's phase is its place here, counted from 1.
var phaseNames = []string{"dhcp", "boot loader", "script", "kernel", "ramdisk", "whole ramdisk", "dhcp of the ramdisk", "heartbeat"}

const (
	nowhere = iota
	dhcpPhase
	loaderPhase
	scriptPhase
	kernelPhase
	ramdiskPhase
	wholePhase
	addressPhase
	heartbeatPhase
)

// phaseOf says which phase an event of the boot services belongs to; nowhere for those that are none.
func phaseOf(ev node.BootEvent) int {
	what := strings.ToLower(ev.What)
	file, _, _ := strings.Cut(what, ":")
	switch {
	case ev.Service == "dhcp" && unanswered(ev):
		return nowhere
	case ev.Service == "dhcp" && strings.Contains(what, "an operating system"):
		return addressPhase
	case ev.Service == "dhcp":
		return dhcpPhase
	case ev.Service != "tftp" && ev.Service != "http", strings.Contains(file, "image"):
		return nowhere
	case wholeRamdisk(ev):
		return wholePhase
	case aboutRamdisk(ev):
		return ramdiskPhase
	case strings.HasPrefix(what, "script"), strings.Contains(file, "pxelinux.cfg"), strings.Contains(file, "grub/"), strings.Contains(file, "grub.cfg"):
		return scriptPhase
	case file == "kernel", strings.HasPrefix(file, "kernel "), strings.HasSuffix(file, "/kernel"):
		return kernelPhase
	}
	return loaderPhase
}

// phases are those that were seen since a time, in the order of a boot.
func (e evidence) phases(since time.Time) []node.Phase {
	seen := make([]node.Phase, len(phaseNames)+1)
	saw := func(phase int, at time.Time, what string) {
		p := &seen[phase]
		if at.Before(since) {
			return
		}
		if p.Times == 0 {
			p.First = at
		}
		p.Last, p.What = at, what
		p.Times++
	}
	for _, ev := range e.events {
		saw(phaseOf(ev), ev.At, ev.What)
	}
	if e.agent.URL != "" {
		saw(heartbeatPhase, e.agent.LastHeartbeat, "the agent at "+e.agent.URL)
	}
	all := []node.Phase{}
	for i, name := range phaseNames {
		if p := seen[i+1]; p.Times > 0 {
			p.Name = name
			all = append(all, p)
		}
	}
	return all
}
