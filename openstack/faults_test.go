package openstack_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
)

func config(c *openstacktest.Cloud) openstack.Config {
	return openstack.Config{
		AuthURL: c.AuthURL(), Username: openstacktest.Username, Password: openstacktest.Password, Project: openstacktest.Project,
		Timeout: 20 * time.Second,
	}
}

func open(t *testing.T, cfg openstack.Config) *openstack.Session {
	t.Helper()
	s, err := openstack.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call is one request of a client to its service, which the fake answers well.
type call struct {
	name    string
	service func(*openstacktest.Cloud) *openstacktest.Service
	path    string // of the request that goes wrong: METHOD /path
	reads   bool   // its answer is a document
	do      func(context.Context, *openstack.Session) error
}

const document = `{"token":{"user":{"id":"u1"},"project":{"id":"p1"},"roles":[],"expires_at":"2099-01-01T00:00:00.000000Z"}}`

// calls are those of all four clients, that read and that write.
var calls = []call{
	{"Keystone a token", keystone, "GET /v3/auth/tokens", true, func(ctx context.Context, s *openstack.Session) error {
		_, err := (&openstack.Tokens{Session: s}).Ask(ctx, door.Question{Token: "theirs"})
		return err
	}},
	{"Glance an image", glance, "GET /v2/images/small", true, func(ctx context.Context, s *openstack.Session) error {
		_, err := (&openstack.Images{Session: s}).Image(ctx, "small")
		return err
	}},
	{"Glance bytes", glance, "GET /v2/images/small/file", false, func(ctx context.Context, s *openstack.Session) error {
		r, err := (&openstack.Images{Session: s}).Open(ctx, "small")
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}},
	{"Neutron a port", neutron, "GET /v2.0/ports/p", true, func(ctx context.Context, s *openstack.Session) error {
		_, err := (&openstack.Networks{Session: s}).Port(ctx, "p")
		return err
	}},
	{"Neutron ports", neutron, "GET /v2.0/ports", true, func(ctx context.Context, s *openstack.Session) error {
		_, err := (&openstack.Networks{Session: s}).Ports(ctx, url.Values{"device_owner": {"baremetal:none"}})
		return err
	}},
	{"Neutron change", neutron, "PUT /v2.0/ports/p", true, func(ctx context.Context, s *openstack.Session) error {
		host := "a-node"
		_, err := (&openstack.Networks{Session: s}).ChangePort(ctx, "p", openstack.Change{Host: &host})
		return err
	}},
	{"Swift put", swift, "PUT /v1/" + openstacktest.Account + "/c/o", false, func(ctx context.Context, s *openstack.Session) error {
		return (&openstack.Objects{Session: s}).Put(ctx, "c", "o", strings.NewReader("the bytes"), time.Hour)
	}},
	{"Swift delete", swift, "DELETE /v1/" + openstacktest.Account + "/c/o", false, func(ctx context.Context, s *openstack.Session) error {
		return (&openstack.Objects{Session: s}).Delete(ctx, "c", "o")
	}},
}

func keystone(c *openstacktest.Cloud) *openstacktest.Service { return &c.Keystone.Service }
func glance(c *openstacktest.Cloud) *openstacktest.Service   { return &c.Glance.Service }
func neutron(c *openstacktest.Cloud) *openstacktest.Service  { return &c.Neutron.Service }
func swift(c *openstacktest.Cloud) *openstacktest.Service    { return &c.Swift.Service }

func furnished(t *testing.T) *openstacktest.Cloud {
	c := openstacktest.New(t)
	c.Keystone.Token("theirs", document)
	c.Glance.Add("small", []byte("an image"), nil)
	c.Neutron.AddNetwork("n", "net")
	c.Neutron.AddPort("p", "n", nil)
	return c
}

// troubles are what a service may do instead of its work.
var troubles = map[string]struct {
	fault openstacktest.Fault
	kind  node.Kind
	only  func(call) bool
}{
	"500":          {openstacktest.Answer(500, "no json"), node.Unavailable, nil},
	"503":          {openstacktest.Later("0"), node.Unavailable, nil},
	"a proxy 502":  {openstacktest.HTML(502), node.Unavailable, nil},
	"a proxy 200":  {openstacktest.HTML(200), node.Unavailable, func(c call) bool { return c.reads }},
	"half":         {openstacktest.Half(200, `{"po`), node.Unavailable, func(c call) bool { return c.reads }},
	"killed":       {openstacktest.Abort, node.Unavailable, nil},
	"silent":       {openstacktest.Never, node.Unavailable, nil},
	"403":          {openstacktest.Answer(403, `{"error":{"message":"Forbidden"}}`), node.Forbidden, nil},
	"401 for good": {openstacktest.Answer(401, ""), node.Forbidden, nil},
}

// What each service does wrong is an error of the right kind, for every client, within bounds; and when the service is well again
// the same client goes on.
func TestServicesInTrouble(t *testing.T) {
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup // most of the time is spent waiting
			defer all.Wait()
			for name, trouble := range troubles {
				if trouble.only == nil || trouble.only(c) {
					all.Go(func() { inTrouble(t, c, name, trouble.fault, trouble.kind) })
				}
			}
		})
	}
}

func inTrouble(t *testing.T, c call, name string, fault openstacktest.Fault, kind node.Kind) {
	cloud := furnished(t)
	cfg := config(cloud)
	if name == "silent" {
		cfg.Timeout = time.Second
	}
	s := open(t, cfg)
	c.service(cloud).Fail(openstacktest.On(c.path, fault))
	err := c.do(t.Context(), s)
	if err == nil || node.KindOf(err) != kind || errors.Is(err, node.ErrServiceAway) != (kind == node.Unavailable) {
		t.Errorf("%s: %v of kind %v, want kind %v", name, err, node.KindOf(err), kind)
	} else if strings.Contains(err.Error(), openstacktest.Password) {
		t.Errorf("%s: the password stands in %v", name, err)
	}
	c.service(cloud).Fail(nil)
	s2 := s
	if name == "silent" {
		s2 = open(t, config(cloud)) // with more time: this machine may be busy
	}
	if err := c.do(t.Context(), s2); err != nil {
		t.Errorf("after %s, when it is well again: %v", name, err)
	}
}

// A service that breaks off once, or starts anew, is asked again, and nobody notices.
func TestServicesStumble(t *testing.T) {
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := furnished(t)
			c.service(cloud).Fail(openstacktest.On(c.path, openstacktest.Times(2, openstacktest.Abort)))
			if err := c.do(t.Context(), open(t, config(cloud))); err != nil {
				t.Error(err)
			}
		})
	}
}

// A token that ends in the middle is got anew, once, and nobody notices.
func TestATokenEndsInTheMiddle(t *testing.T) {
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := furnished(t)
			s := open(t, config(cloud))
			if err := c.do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			before := cloud.Keystone.Logins()
			cloud.Keystone.Revoke()
			if err := c.do(t.Context(), s); err != nil || cloud.Keystone.Logins() != before+1 {
				t.Errorf("%v after %d logins", err, cloud.Keystone.Logins()-before)
			}
		})
	}
}
