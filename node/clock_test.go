package node

import (
	"testing"
	"time"
)

// hostClock is a host whose clock can be set, and whose time passes only when it is told to.
type hostClock struct {
	wall   time.Time
	passed time.Duration
}

func (h *hostClock) pass(d time.Duration) { h.wall, h.passed = h.wall.Add(d), h.passed+d }

func (h *hostClock) clock() *Clock {
	return &Clock{Wall: func() time.Time { return h.wall }, Passed: func() time.Duration { return h.passed }}
}

var noon = time.Date(2099, 11, 30, 12, 0, 0, 0, time.UTC)

func TestClock(t *testing.T) {
	h := &hostClock{wall: noon, passed: time.Hour}
	c := h.clock()
	check := func(what string, now time.Time, ahead time.Duration) {
		t.Helper()
		if !c.Now().Equal(now) || c.Ahead() != ahead {
			t.Errorf("%s: %s, the host %s ahead; want %s, %s", what, c.Now(), c.Ahead(), now, ahead)
		}
	}
	check("at the start", noon, 0)
	h.pass(time.Minute)
	check("a minute later", noon.Add(time.Minute), 0)
	h.wall = h.wall.Add(25 * time.Hour)
	check("set forward", noon.Add(time.Minute), 25*time.Hour)
	h.pass(time.Minute)
	h.wall = h.wall.Add(-50 * time.Hour)
	check("set back", noon.Add(2*time.Minute), -25*time.Hour)
	c.Set(h.wall)
	check("put right", h.wall, 0)
}

func TestKeepTime(t *testing.T) {
	h := &hostClock{wall: noon.Add(time.Nanosecond)}
	restore := KeepTime(h.clock())
	h.pass(time.Minute)
	got, since, until := Now(), Since(noon), Until(noon.Add(time.Hour))
	restore()
	if want := noon.Add(time.Minute); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
	if since+until != time.Hour {
		t.Errorf("%s since, %s until: together an hour is wanted", since, until)
	}
	if Until(noon) < 365*24*time.Hour {
		t.Error("the host's time is not back")
	}
}

func TestResume(t *testing.T) {
	m := TimeMark{Boot: "a", Uptime: time.Hour, At: noon, Ahead: 24 * time.Hour}
	for _, tt := range []struct {
		name   string
		mark   TimeMark
		boot   string
		uptime time.Duration
		wall   time.Time
		want   time.Time
	}{
		{"nothing is known", TimeMark{}, "a", time.Hour, noon, noon},
		{"the same life of the host, whatever its clock says", m, "a", 3 * time.Hour, noon.Add(1000 * time.Hour), noon.Add(2 * time.Hour)},
		{"the host was restarted: its clock, less what it was ahead", m, "b", time.Minute, noon.Add(25 * time.Hour), noon.Add(time.Hour)},
		{"the host was restarted and its clock is years behind", m, "b", time.Minute, time.Unix(0, 0), noon},
		{"nobody can tell lives of the host apart", TimeMark{At: noon}, "", time.Hour, noon.Add(time.Hour), noon.Add(time.Hour)},
	} {
		if got := tt.mark.Resume(tt.boot, tt.uptime, tt.wall); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
