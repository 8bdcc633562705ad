package pid1

import (
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// silenceTime bounds what a driver may take to stop its card.
const silenceTime = 5 * time.Second

// silence takes every network interface down, as a shutdown of a whole system does, so that no driver has
// something to send while the kernel stops its devices. Without it Linux 6.1's virtio_net may wait for ever,
// in the middle of a reboot, for a packet that its stopped device was to send. The function it returns
// raises them again, for a machine that does not restart after all.
func silence(log *slog.Logger) (undo func()) {
	ended := make(chan []netlink.Link, 1)
	go func() { ended <- takeDown(log) }()
	select {
	case down := <-ended:
		return func() {
			for _, l := range down {
				if err := netlink.LinkSetUp(l); err != nil {
					log.Warn("an interface stays down", "interface", l.Attrs().Name, "error", err)
				}
			}
		}
	case <-time.After(silenceTime):
		log.Warn("the network interfaces do not stop in time")
		return func() {}
	}
}

func takeDown(log *slog.Logger) (down []netlink.Link) {
	links, err := netlink.LinkList()
	if err != nil {
		log.Warn("the network interfaces are not stopped", "error", err)
	}
	for _, l := range links {
		if l.Attrs().Name == "lo" || l.Attrs().RawFlags&unix.IFF_UP == 0 {
			continue
		}
		if err := netlink.LinkSetDown(l); err != nil {
			log.Warn("an interface is not stopped", "interface", l.Attrs().Name, "error", err)
			continue
		}
		down = append(down, l)
	}
	return down
}
