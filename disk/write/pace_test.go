package write

import (
	"errors"
	"testing"
	"time"
)

// TestPace: a server that trickles for ever is given up, one that is slow for a while is not, and neither is one
// that sends its last few bytes.
func TestPace(t *testing.T) {
	const s = time.Second
	type read struct {
		n int
		d time.Duration
	}
	times := func(n int, r read) (list []read) {
		for range n {
			list = append(list, r)
		}
		return list
	}
	for name, tt := range map[string]struct {
		reads []read
		slow  bool
	}{
		"a byte every 50 s":       {times(4, read{1, 50 * s}), false},
		"a byte every 50 s, long": {times(10, read{1, 50 * s}), true},
		"a byte a second":         {times(200, read{1, s}), true},
		"2 KiB a second":          {times(10000, read{2048, s}), false},
		"fast":                    {times(1000, read{1 << 20, s / 100}), false},
		"slow, then well":         {append(times(170, read{1, s}), times(2000, read{leastProgress, s})...), false},
		"slow now and then":       {append(append(times(120, read{1, s}), read{leastProgress, s}), times(120, read{1, s})...), false},
		"a disk that is slow":     {times(10000, read{512, 0}), false},
	} {
		var p pace
		var err error
		for _, r := range tt.reads {
			if err = p.judge(r.n, r.d); err != nil {
				break
			}
		}
		if errors.Is(err, errSlow) != tt.slow {
			t.Errorf("%s: %v", name, err)
		}
	}
}
