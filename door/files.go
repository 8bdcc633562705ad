package door

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// spareFiles are kept open for the API: given up one by one when the process has no file descriptor left, they let
// people in who want to see why.
const spareFiles = 16

// fileLimit is how many files this process may have open.
func fileLimit() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return r.Cur
}

func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// spares are files that are open for nothing, to be closed when others are needed.
type spares struct {
	mu    sync.Mutex
	want  int
	files []*os.File
}

func newSpares(n int) *spares {
	s := &spares{want: n}
	s.refill()
	return s
}

// give closes a spare file; false: there is none.
func (s *spares) give() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) == 0 {
		return false
	}
	last := len(s.files) - 1
	_ = s.files[last].Close()
	s.files = s.files[:last]
	return true
}

// refill opens what was given away, as far as there are descriptors again.
func (s *spares) refill() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.files) < s.want {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		s.files = append(s.files, f)
	}
}
