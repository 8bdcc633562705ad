package openstack

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// A service whose endpoint is made after Billet logged in is found without a restart, and one that has none does not cost a login at
// every question.
func TestAServiceThatComesLater(t *testing.T) {
	k := newKeystone(t)
	s := k.session(t)
	find := func() (string, error) {
		c, err := s.service(t.Context(), "network", "/v2.0")
		if err != nil {
			return "", err
		}
		return c.Endpoint, nil
	}
	for range 3 {
		if _, err := find(); node.KindOf(err) != node.Unavailable || !strings.Contains(err.Error(), "no internal endpoint of type network") {
			t.Fatalf("before: %v", err)
		}
	}
	if k.logins != 1 {
		t.Errorf("%d logins for three questions", k.logins)
	}
	k.with(func() {
		k.catalog = `[{"type":"network","endpoints":[{"interface":"internal","url":"http://neutron.example:9696","region_id":"R"}]}]`
	})
	s.listed = s.listed.Add(-catalogLife)
	for range 3 {
		if url, err := find(); err != nil || url != "http://neutron.example:9696/v2.0/" {
			t.Fatalf("after: %q %v", url, err)
		}
	}
	if k.logins != 2 {
		t.Errorf("%d logins, want one more", k.logins)
	}
}
