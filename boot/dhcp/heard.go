package dhcp

import (
	"fmt"
	"sync"
	"time"
)

// slowPort is how many seconds a client asks in vain before we say so: spanning tree without
// portfast blocks a port for 30 s.
const slowPort = 10 * time.Second

// maxHeard bounds the memory a flood of made-up MACs can take.
const maxHeard = 1 << 16

// heard keeps when each MAC was last heard.
type heard struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// note tells when a client says it has asked for long and yet we hear it for the first time: something
// between us kept its messages. iPXE counts messages in that field instead of seconds.
func (h *heard) note(c client) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	before, known := h.last[c.mac]
	if h.last == nil || len(h.last) >= maxHeard {
		h.last = map[string]time.Time{}
	}
	h.last[c.mac] = now
	asking := time.Duration(c.secs) * time.Second
	if c.ipxe || asking < slowPort || known && now.Sub(before) < asking {
		return ""
	}
	return fmt.Sprintf(", asking for %s already (a switch port slow to forward?)", asking)
}
