package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate serves the images to Billet at once; a machine gets the first part of one, which may be none of it, and the
// rest only when the gate is opened.
type gate struct {
	url    string
	came   chan struct{} // closed when a machine has got its part
	opened chan struct{}
}

func (s *site) gate(part func(size int) int) *gate {
	s.t.Helper()
	l, err := listen(s.ip)
	if err != nil {
		s.t.Fatal(err)
	}
	g := &gate{"http://" + l.Addr().String(), make(chan struct{}), make(chan struct{})}
	var once sync.Once
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := filepath.Join(cache, "images", filepath.Base(r.URL.Path))
		image, err := os.ReadFile(path)
		if host, _, _ := net.SplitHostPort(r.RemoteAddr); err != nil || host == s.ip {
			http.ServeFile(w, r, path)
			return
		}
		n := part(len(image))
		if r.Method == http.MethodHead || n > 0 && r.Header.Get("Range") != "" {
			http.ServeFile(w, r, path)
			return
		}
		if info, err := os.Stat(path); err == nil { // as the answers to ranges say
			w.Header().Set("Last-Modified", info.ModTime().UTC().Format(http.TimeFormat))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(image)))
		if n > 0 {
			w.Write(image[:n])
			w.(http.Flusher).Flush()
		}
		once.Do(func() { close(g.came) })
		select {
		case <-g.opened:
			w.Write(image[n:])
		case <-r.Context().Done():
		}
	})}
	go srv.Serve(l)
	s.t.Cleanup(func() { srv.Close() })
	return g
}

// wait returns when a machine stands before the gate.
func (g *gate) wait(m *machine) {
	m.s.t.Helper()
	select {
	case <-g.came:
	case <-time.After(4 * time.Minute):
		m.s.t.Fatalf("the image was not asked for: %+v; console:\n%s", m.show(), tail(m.console(), 3000))
	}
}

// A root disk that goes away between its choice and the first write, or in the middle of the image, or that fails a
// write, fails the deploy with its name, its serial number and what happened; the other disk, which is large enough
// too, is not written; and once the disk is well again, the node is deployed.
func TestLongRootDiskFails(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		name string
		part func(size int) int // of the image, that the machine gets before the disk is pulled; nil: the disk is broken
		says []string
	}{
		{"before-the-write", func(int) int { return 0 }, []string{"gone"}},
		{"in-the-middle", func(size int) int { return size / 2 }, []string{"gone"}},
		{"write-error", nil, []string{"input/output error"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer swap(s, t)()
			m := s.machine(tt.name, "--firmware", "bios", "--memory", "384", "--disk", "5G", "--disk", "6G", "--disk-model", "scsi")
			m.available()
			info := imageInfo(t, "tiny.raw")
			heal := "heal"
			if tt.part == nil {
				s.lab("disk", m.name, "0", "break", "--at", "8M")
			} else {
				heal = "plug"
				g := s.gate(tt.part)
				info["image_source"] = g.url + "/tiny.raw"
				m.deploy(info)
				g.wait(m)
				if tt.part(2) > 0 {
					time.Sleep(5 * time.Second) // the part is written
				}
				s.lab("disk", m.name, "0", "pull")
				time.Sleep(2 * time.Second)
				close(g.opened)
			}
			if tt.part == nil {
				m.deploy(info)
			}
			began := time.Now()
			m.fails(4*time.Minute, append(tt.says, "deploy.write_image", "/dev/sda", m.Disks[0].Serial), nil)
			t.Logf("after %.0f s", time.Since(began).Seconds())
			m.untouched(1)

			s.lab("disk", m.name, "0", heal)
			m.deploy(imageInfo(t, "tiny.raw"))
			m.arrive("active", 4*time.Minute)
			m.boots(1)
			m.untouched(1)
			s.lab("destroy", m.name)
		})
	}
}

// While a deploy stands still after the image was written, somebody pulls the root disk and plugs in another, which
// gets its name. What comes next must not write to that one.
func TestLongAnotherDiskTakesTheName(t *testing.T) {
	s := newSite(t)
	m := s.machine("moved", "--firmware", "bios", "--memory", "512", "--disk", "5G", "--disk", "5G", "--disk-model", "scsi")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.available()
	s.lab("disk", m.name, "1", "pull")
	m.patch("/instance_info", cell{"bios", "direct", "partition", "local", "raw", ""}.info(s))
	hold := []map[string]any{{"interface": "power", "step": "hold", "priority": 70}}
	m.provision(map[string]any{"target": "active", "deploy_steps": hold})
	m.arriveHeld("deploy hold", 6*time.Minute)
	s.lab("disk", m.name, "0", "pull")
	time.Sleep(2 * time.Second)
	s.lab("disk", m.name, "1", "plug")
	time.Sleep(4 * time.Second)
	m.provision(map[string]any{"target": "unhold"})
	m.fails(4*time.Minute, []string{"deploy.prepare_instance_boot", "/dev/sda", m.Disks[0].Serial, m.Disks[1].Serial}, nil)
	m.untouched(1)

	s.lab("disk", m.name, "1", "pull")
	s.lab("disk", m.name, "0", "plug")
	m.provision(map[string]any{"target": "active"})
	m.arrive("active", 6*time.Minute)
	m.comesUp("BILLET-INSTANCE-UP", 1)
	if strings.Contains(string(m.console()), "panic") {
		t.Errorf("the console: %s", tail(m.console(), 2000))
	}
}
