package diagnosis

import (
	"time"

	"github.com/billet-metal/billet/node"
)

// phaseNames are the phases of a boot in their order; an event's phase is its place here, counted from 1.
var phaseNames = []string{"dhcp", "dhcp of an operating system", "boot loader", "script", "kernel", "ramdisk",
	"whole ramdisk", "dhcp of the ramdisk", "heartbeat"}

const (
	nowhere = iota
	dhcpPhase
	systemPhase // of one that Billet did not load
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
	switch {
	case ev.File != "":
		return filePhase(ev)
	case ev.Who == node.AskedSystem && eventKinds[ev.Kind].answered:
		return addressPhase
	}
	return eventKinds[ev.Kind].phase
}

func filePhase(ev node.BootEvent) int {
	switch ev.File {
	case node.ScriptFile, node.MenuFile:
		return scriptPhase
	case node.KernelFile, node.MediumFile:
		return kernelPhase
	case node.RamdiskFile:
		if ev.Kind == node.FileSent {
			return wholePhase
		}
		return ramdiskPhase
	case node.LoaderFile, node.GRUBFile, node.OtherFile:
		return loaderPhase
	}
	return nowhere
}

// Phases are those that were seen since a time, in the order of a boot.
func (e Evidence) Phases(since time.Time) []node.Phase {
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
	loaded := false
	for _, ev := range e.Events {
		phase := phaseOf(ev)
		loaded = loaded || phase == wholePhase && !ev.At.Before(since)
		if phase == addressPhase && !loaded {
			phase = systemPhase
		}
		saw(phase, ev.At, ev.What)
	}
	if e.Agent.URL != "" {
		saw(heartbeatPhase, e.Agent.LastHeartbeat, "the agent at "+e.Agent.URL)
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
