package openstack

import (
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// nova-compute dies while it waits for a deploy. When it is back Nova declares the server failed, as it does with every driver; to
// delete it frees the machine that Billet has meanwhile deployed.
func computeKilled(s *stage) {
	uuid := s.fake("orphan", "orphan", map[string]any{"fake_write_image_delay": "15s"}, nil)
	s.flavor("orphan", "orphan", nil)
	s.offered("orphan", uuid)
	id := s.create("orphan", "orphan")
	s.comes(uuid, "wait call-back", 3*time.Minute)
	s.Kill(cloud.ComputeName("cloud"))
	s.comes(uuid, "active", 3*time.Minute)
	s.restart("cloud")
	s.becomes(id, "ERROR", 3*time.Minute)
	s.vanish(id)
	s.undone(uuid)
	s.offered("orphan", uuid)
	id = s.create("heir", "orphan")
	s.becomes(id, "ACTIVE", 3*time.Minute)
	s.vanish(id)
	s.undone(uuid)
	s.retire(uuid)
}

// Billet dies in the middle of a deploy, and again in the middle of the cleaning after a delete: nova-compute asks on, and both end well.
func billetKilled(s *stage) {
	slow := map[string]any{"fake_write_image_delay": "10s", "fake_erase_devices_delay": "10s"}
	uuid := s.fake("phoenix", "phoenix", slow, nil)
	s.flavor("phoenix", "phoenix", nil)
	s.offered("phoenix", uuid)
	id := s.create("phoenix", "phoenix")
	s.comes(uuid, "wait call-back", 3*time.Minute)
	s.Kill("billet")
	s.serve()
	if v := s.becomes(id, "ACTIVE", 5*time.Minute); v.Node != uuid {
		s.t.Errorf("the server is on %s", v.Node)
	}
	s.as("server", "delete", id)
	s.comes(uuid, "clean wait", 3*time.Minute)
	s.Kill("billet")
	s.serve()
	s.until(3*time.Minute, "the server to be gone", func() (bool, string) {
		status, body, _ := s.http("GET", s.URL("nova")+"/v2.1/servers/"+id, s.token("admin"), nil)
		return status == 404, string(body)
	})
	s.undone(uuid)
	s.retire(uuid)
}
