package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/lab/bmc"
)

// fakeQEMU keeps boot indexes and, at each reset, notes which device the firmware would try first.
type fakeQEMU struct {
	conn net.Conn

	mu    sync.Mutex
	index map[string]int
	boots []string
}

func (q *fakeQEMU) serve() {
	fmt.Fprintln(q.conn, `{"QMP": {}}`)
	lines := bufio.NewScanner(q.conn)
	for lines.Scan() {
		var c struct {
			Execute   string `json:"execute"`
			Arguments struct {
				Path  string `json:"path"`
				Value int    `json:"value"`
			} `json:"arguments"`
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		switch c.Execute {
		case "qom-set":
			q.set(strings.TrimPrefix(c.Arguments.Path, "/machine/peripheral/"), c.Arguments.Value)
		case "system_reset":
			q.reset()
		}
		fmt.Fprintln(q.conn, `{"return": {}}`)
	}
}

func (q *fakeQEMU) set(id string, value int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for other, taken := range q.index {
		if taken == value && other != id {
			panic(fmt.Sprintf("QEMU would refuse: the boot index %d is taken", value))
		}
	}
	q.index[id] = value
}

func (q *fakeQEMU) reset() {
	q.mu.Lock()
	first := "disk0"
	if q.index["nic0"] < q.index["disk0"] {
		first = "nic0"
	}
	q.boots = append(q.boots, first)
	q.mu.Unlock()
	fmt.Fprintln(q.conn, `{"event": "RESET"}`)
}

func TestBootDeviceOverResets(t *testing.T) {
	once, always := bmc.BootDevice{Device: "pxe"}, bmc.BootDevice{Device: "pxe", Persistent: true}
	for _, c := range []struct {
		name  string
		steps func(s *supervisor, q *fakeQEMU, reset func())
		want  string
	}{
		{"none", func(_ *supervisor, _ *fakeQEMU, reset func()) { reset() }, "disk0"},
		{"once", func(s *supervisor, _ *fakeQEMU, reset func()) {
			s.SetBootDevice(once)
			reset()
			reset()
		}, "nic0 disk0"},
		{"persistent", func(s *supervisor, _ *fakeQEMU, reset func()) {
			s.SetBootDevice(always)
			reset()
			reset()
		}, "nic0 nic0"},
		{"SeaBIOS resets once more by itself", func(s *supervisor, q *fakeQEMU, reset func()) {
			s.SetBootDevice(once)
			reset()
			time.Sleep(40 * time.Millisecond)
			q.reset()
			time.Sleep(time.Minute)
			q.reset()
			time.Sleep(40 * time.Millisecond)
			q.reset()
		}, "nic0 nic0 disk0 disk0"},
		{"the machine reboots by itself", func(s *supervisor, q *fakeQEMU, _ func()) {
			s.SetBootDevice(once)
			time.Sleep(time.Second)
			q.reset()
			time.Sleep(time.Minute)
			q.reset()
		}, "nic0 disk0"},
		{"set anew while the last one is in use", func(s *supervisor, q *fakeQEMU, reset func()) {
			s.SetBootDevice(once)
			reset()
			s.SetBootDevice(once)
			time.Sleep(time.Minute)
			q.reset()
			time.Sleep(time.Minute)
			q.reset()
		}, "nic0 nic0 disk0"},
		{"two resets at once", func(s *supervisor, _ *fakeQEMU, reset func()) {
			s.SetBootDevice(once)
			reset()
			reset()
		}, "nic0 disk0"},
		{"taken back", func(s *supervisor, _ *fakeQEMU, reset func()) {
			s.SetBootDevice(always)
			reset()
			s.SetBootDevice(bmc.BootDevice{})
			reset()
		}, "nic0 disk0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				q := &fakeQEMU{conn: theirs, index: map[string]int{"disk0": 1, "nic0": 2}}
				go q.serve()
				s := &supervisor{m: Machine{NICs: []NIC{{}}, Disks: []Disk{{}}}, log: slog.New(slog.DiscardHandler)}
				g := newGuest(s)
				s.running = g
				var err error
				if g.qmp, err = newQMP(t.Context(), ours, g.event); err != nil {
					t.Fatal(err)
				}
				exited := make(chan struct{})
				go g.run(exited)
				g.event("RESET") // the start itself
				time.Sleep(time.Minute)
				c.steps(s, q, func() {
					if err := s.SetPower(t.Context(), bmc.Reset); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				if diff := cmp.Diff(strings.Fields(c.want), q.boots); diff != "" {
					t.Errorf("boots (-want +got):\n%s", diff)
				}
				close(exited)
				<-g.ended
				if s.PoweredOn() {
					t.Error("the machine is still on")
				}
				theirs.Close()
			})
		})
	}
}
