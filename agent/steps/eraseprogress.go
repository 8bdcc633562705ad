package steps

import (
	"fmt"
	"slices"
	"sync"

	"github.com/billet-metal/billet/wire"
)

// sums tells how far each of several disks is. Safe for several goroutines.
type sums struct {
	disks func(detail string, each []wire.DiskProgress)

	mu   sync.Mutex
	each []wire.DiskProgress // in the order of the disks
}

func newSums(c Call, disks []wire.Disk) *sums {
	s := &sums{disks: c.Disks}
	for _, d := range disks {
		s.each = append(s.each, wire.DiskProgress{Name: d.Name, Serial: d.Serial, What: "waits for its turn", Total: d.Size})
	}
	return s
}

func (s *sums) tell(d wire.Disk, method string, done int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.each {
		if e := &s.each[i]; e.Name == d.Name {
			e.What, e.Done = method, max(done, e.Done) // a method that failed is followed by another
		}
	}
	if s.disks != nil {
		s.disks(fmt.Sprintf("%s: %s, %d of %d MB", d.Name, method, done/1e6, d.Size/1e6), slices.Clone(s.each))
	}
}
