package openstack

import "time"

// Billet dies in the middle of a deploy, and the flow goes on when it is back: nova-compute asks on, and the server comes up.
func billetKilled(s *stage) {
	uuid := s.fake("phoenix", "phoenix", map[string]any{"fake_write_image_delay": "10s"}, nil)
	s.flavor("phoenix", "phoenix", nil)
	s.offered("phoenix", uuid)
	id := s.create("phoenix", "phoenix")
	s.comes(uuid, "wait call-back", 3*time.Minute)
	s.Kill("billet")
	s.serve()
	if v := s.becomes(id, "ACTIVE", 5*time.Minute); v.Node != uuid {
		s.t.Errorf("the server is on %s", v.Node)
	}
	s.vanish(id)
	s.undone(uuid)
	s.retire(uuid)
}
