package openstack

import (
	"fmt"
	"strings"
	"time"
)

// server is what Nova says of one.
type server struct {
	ID     string
	Status string
	Task   string `json:"OS-EXT-STS:task_state"`
	Node   string `json:"OS-EXT-SRV-ATTR:hypervisor_hostname"`
	Host   string `json:"OS-EXT-SRV-ATTR:host"`
	Power  int    `json:"OS-EXT-STS:power_state"`
	Fault  struct {
		Code             int
		Message, Details string
	}
	Addresses map[string][]struct {
		Addr string
		MAC  string `json:"OS-EXT-IPS-MAC:mac_addr"`
	}
}

// create asks for a server with the openstack command and returns its ID at once.
func (s *stage) create(name, flavor string, more ...string) string {
	s.t.Helper()
	args := []string{"server", "create", "--flavor", flavor, "--network", "prov", "--key-name", "mine", "-f", "value", "-c", "id"}
	if !strings.Contains(strings.Join(more, " "), "--image") {
		args = append(args, "--image", s.image)
	}
	return s.as(append(append(args, more...), name)...)
}

func (s *stage) server(id string) (v server) {
	s.t.Helper()
	var out struct{ Server *server }
	out.Server = &v
	s.compute("GET", "/servers/"+id, nil, &out)
	return v
}

// becomes waits for a server's status; ERROR instead of another ends the test with the fault and what the node says.
func (s *stage) becomes(id, status string, most time.Duration) (v server) {
	s.t.Helper()
	s.until(most, "server "+id+" to be "+status, func() (bool, string) {
		v = s.server(id)
		if v.Status == "ERROR" && status != "ERROR" {
			s.t.Fatalf("server %s is in ERROR instead of %s: %+v\n%s", id, status, v.Fault, s.nodesSay())
		}
		return v.Status == status && v.Task == "", fmt.Sprintf("%s %s\n%s", v.Status, v.Task, s.nodesSay())
	})
	return v
}

// vanish deletes servers with the openstack command and waits until they are gone.
func (s *stage) vanish(ids ...string) {
	s.t.Helper()
	s.as(append([]string{"server", "delete"}, ids...)...)
	s.until(10*time.Minute, "the deleted servers to be gone", func() (bool, string) {
		for _, id := range ids {
			if status, body, err := s.http("GET", s.URL("nova")+"/v2.1/servers/"+id, s.token("admin"), nil); status != 404 {
				return false, fmt.Sprintf("%d %v %s\n%s", status, err, body, s.nodesSay())
			}
		}
		return true, ""
	})
}

// nodesSay is a line for each node.
func (s *stage) nodesSay() string {
	s.t.Helper()
	var list struct{ Nodes []view }
	s.baremetal("GET", "/v1/nodes/detail", nil, &list)
	var b strings.Builder
	for _, n := range list.Nodes {
		fmt.Fprintf(&b, "%s %s %s, power %s, instance %s, %s\n", n.UUID, n.Name, n.State, n.Power, n.Instance, n.LastError)
	}
	return b.String()
}
