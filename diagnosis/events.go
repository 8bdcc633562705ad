package diagnosis

import (
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// of are the events of some boot services.
func (e Evidence) of(services ...string) []node.BootEvent {
	var some []node.BootEvent
	for _, ev := range e.Events {
		for _, s := range services {
			if ev.Service == s {
				some = append(some, ev)
			}
		}
	}
	return some
}

// since leaves only the signs of life from t on.
func (e Evidence) since(t time.Time) Evidence {
	e.Events = slices.DeleteFunc(slices.Clone(e.Events), func(ev node.BootEvent) bool { return ev.At.Before(t) })
	return e
}

// own leaves only the signs that are the machine's own: what anybody could have caused explains, and decides nothing.
func (e Evidence) own() Evidence {
	e.Events = slices.DeleteFunc(slices.Clone(e.Events), func(ev node.BootEvent) bool { return !ev.Bound() })
	return e
}

// answered leaves out the requests that Billet's DHCP kept silent about.
func (e Evidence) answered(dhcp []node.BootEvent) []node.BootEvent {
	var some []node.BootEvent
	for _, ev := range dhcp {
		if eventKinds[ev.Kind].answered {
			some = append(some, ev)
		}
	}
	return some
}

func (e Evidence) last(events []node.BootEvent) string { return e.ago(events[len(events)-1].At) }

// quiet is how long nothing came since t. Only the time counts in which this process was there to hear it:
// after a restart a machine gets its time anew.
func (e Evidence) quiet(t time.Time) time.Duration {
	if e.Listens.After(t) {
		t = e.Listens
	}
	return e.Now.Sub(t)
}

// loading reports whether a download over HTTP has begun and not ended: the service records both, and a large
// ramdisk on a slow network takes longer than any phase. (TFTP records a long transfer now and then.)
func (e Evidence) loading() bool {
	type download struct {
		mac  string
		file node.BootFile
	}
	open := map[download]bool{}
	for _, ev := range e.of("http") {
		open[download{ev.MAC, ev.File}] = ev.Kind == node.FileBegun
	}
	for _, still := range open {
		if still {
			return true
		}
	}
	return false
}

// ramdisks counts the ramdisks that were sent whole.
func (e Evidence) ramdisks() (n int) {
	for _, ev := range e.of("tftp", "http") {
		if wholeRamdisk(ev) {
			n++
		}
	}
	return n
}

// ramdiskHasAddress reports whether the last that was seen is DHCP after the whole ramdisk: its system runs.
func (e Evidence) ramdiskHasAddress() bool {
	files := e.of("tftp", "http")
	dhcp := e.answered(e.of("dhcp"))
	if len(files) == 0 || len(dhcp) == 0 {
		return false
	}
	end, newest := files[len(files)-1], dhcp[len(dhcp)-1]
	return wholeRamdisk(end) && newest.Who == node.AskedSystem && newest.At.After(end.At)
}

func wholeRamdisk(ev node.BootEvent) bool {
	return ev.File == node.RamdiskFile && ev.Kind == node.FileSent
}
