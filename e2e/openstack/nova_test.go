package openstack

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
)

// A cloud of released services gives its users machines through Billet. The cases run one after the other in one cloud.
func TestLongNova(t *testing.T) { newStage(t).play(t) }

var cases = []struct {
	name string
	run  func(*stage)
}{
	{"placement knows the nodes", providers},
	{"two servers never get one machine", race},
	{"no machine fits", noMachine},
	{"a deploy fails", deployFails},
	{"nova-compute is killed", computeKilled},
	{"billet is killed", billetKilled},
	{"the life of a server", life},
	{"a server is rebooted, stopped, rescued and rebuilt", changes},
}

func (s *stage) play(t *testing.T) {
	for _, c := range cases {
		begin := time.Now()
		t.Run(c.name, func(t *testing.T) {
			mine := *s
			mine.t, mine.Cloud = t, s.For(t)
			c.run(&mine)
		})
		t.Logf("%s: %.1f s", c.name, time.Since(begin).Seconds())
	}
}

// A resource provider appears for each node, with its class and traits, and keeps the node back while it is not available. The
// scheduler finds the one machine with the trait a flavor demands.
func providers(s *stage) {
	plain := s.fake("plain", "fast", nil, nil)
	gold := s.fake("gold", "fast", nil, nil)
	s.baremetal("PUT", "/v1/nodes/"+gold+"/traits/CUSTOM_GOLD", nil, nil)
	s.offered("fast", plain, gold)
	for uuid, want := range map[string]bool{plain: false, gold: true} {
		s.until(time.Minute, "Placement to know the traits", func() (bool, string) {
			var out struct{ Traits []string }
			s.placement("GET", "/resource_providers/"+uuid+"/traits", nil, &out)
			return slices.Contains(out.Traits, "CUSTOM_GOLD") == want, fmt.Sprint(out.Traits)
		})
	}
	s.flavor("fast.gold", "fast", map[string]string{"trait:CUSTOM_GOLD": "required"})
	id := s.create("golden", "fast.gold")
	v := s.becomes(id, "ACTIVE", 3*time.Minute)
	if n := s.node(gold); v.Node != gold || n.Instance != id || n.State != "active" {
		s.t.Errorf("the server is on %s, the node says %+v", v.Node, n)
	}
	s.vanish(id)
	s.undone(gold)
	s.baremetal("PUT", "/v1/nodes/"+plain+"/states/provision", map[string]any{"target": "manage"}, nil)
	s.until(time.Minute, "Placement to keep a manageable node back", func() (bool, string) {
		total, reserved := s.inventory(plain, "fast")
		return total == 1 && reserved == 1, fmt.Sprintf("total %d, reserved %d", total, reserved)
	})
	s.retire(plain, gold)
	s.until(time.Minute, "Placement to forget a node that is gone", func() (bool, string) {
		total, _ := s.inventory(gold, "fast")
		return total == 0, fmt.Sprint(total)
	})
}

// Six requests at once for three machines: three servers on three machines, and three that say why not.
func race(s *stage) {
	var nodes []string
	for i := range 3 {
		nodes = append(nodes, s.fake(fmt.Sprint("race", i), "race", map[string]any{"fake_write_image_delay": "3s"}, nil))
	}
	s.flavor("race", "race", nil)
	s.offered("race", nodes...)
	ids := s.createAtOnce("race", 6)
	active, got := []string{}, map[string]string{}
	for _, id := range ids {
		var v server
		s.until(5*time.Minute, "server "+id+" to be ACTIVE or ERROR", func() (bool, string) {
			v = s.server(id)
			return v.Status != "BUILD", v.Status + "\n" + s.nodesSay()
		})
		switch {
		case v.Status == "ACTIVE" && got[v.Node] != "":
			s.t.Errorf("node %s has the servers %s and %s", v.Node, got[v.Node], id)
		case v.Status == "ACTIVE":
			got[v.Node] = id
			active = append(active, id)
			if n := s.node(v.Node); n.Instance != id {
				s.t.Errorf("server %s is on node %s, which says %s", id, v.Node, n.Instance)
			}
		case !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(v.Fault.Message, r) }):
			s.t.Errorf("server %s is %s without a reason: %+v", id, v.Status, v.Fault)
		}
	}
	if len(active) != 3 {
		s.t.Errorf("%d servers are active, want 3\n%s", len(active), s.nodesSay())
	}
	s.vanish(ids...)
	for _, uuid := range nodes {
		s.undone(uuid)
	}
	s.retire(nodes...)
}

// reasons are what Nova says to a server for which no machine is left: the scheduler, the conductor, and nova-compute, which finds on
// the node that another server came first.
var reasons = []string{"No valid host was found", "Exceeded maximum number of retries", "Chosen ironic node"}

// createAtOnce asks for servers at the same moment.
func (s *stage) createAtOnce(flavor string, count int) []string {
	s.t.Helper()
	var flavors struct{ Flavors []struct{ ID, Name string } }
	s.compute("GET", "/flavors", nil, &flavors)
	i := slices.IndexFunc(flavors.Flavors, func(f struct{ ID, Name string }) bool { return f.Name == flavor })
	if i < 0 {
		s.t.Fatalf("no flavor %s in %+v", flavor, flavors)
	}
	token := s.token("demo")
	bodies := make([]string, count)
	ids := make([]string, count)
	var all sync.WaitGroup
	for k := range count {
		all.Go(func() {
			ids[k], bodies[k] = s.post(token, map[string]any{"server": map[string]any{
				"name": fmt.Sprint(flavor, k), "flavorRef": flavors.Flavors[i].ID, "imageRef": s.image,
				"networks": []any{map[string]any{"uuid": s.network}},
			}})
		})
	}
	all.Wait()
	for k, id := range ids {
		if id == "" {
			s.t.Fatalf("request %d: %s", k, bodies[k])
		}
	}
	return ids
}

// No node has the flavor's class: ERROR with Nova's reason, and it goes away when deleted.
func noMachine(s *stage) {
	s.flavor("nothing", "nothing", nil)
	id := s.create("nowhere", "nothing")
	v := s.becomes(id, "ERROR", 3*time.Minute)
	if !strings.Contains(v.Fault.Message, "No valid host was found") {
		s.t.Errorf("fault %+v", v.Fault)
	}
	s.vanish(id)
}

// A deploy fails on the machine: what Billet did is undone and the node is available again. With Nova's default of three attempts
// the user reads that there were too many; with one attempt the user reads Billet's own sentence.
func deployFails(s *stage) {
	const reason = "the fake disk is made of paper"
	uuid := s.fake("paper", "paper", map[string]any{"fake_write_image_fail": reason}, nil)
	s.flavor("paper", "paper", nil)
	for _, c := range []struct {
		attempts int
		fault    string
	}{{3, "Exceeded maximum number of retries"}, {1, reason}} {
		cloud.Attempts(s.Cloud, c.attempts)
		s.offered("paper", uuid)
		id := s.create("torn", "paper")
		v := s.becomes(id, "ERROR", 4*time.Minute)
		s.t.Logf("with %d attempts the user reads: %s", c.attempts, v.Fault.Message)
		if !strings.Contains(v.Fault.Message, c.fault) {
			s.t.Errorf("with %d attempts the fault says %q, want %q", c.attempts, v.Fault.Message, c.fault)
		}
		if why := s.why(uuid); !strings.Contains(why, reason) {
			s.t.Errorf("billet node why says:\n%s", why)
		}
		s.undone(uuid)
		s.vanish(id)
	}
	s.retire(uuid)
}
