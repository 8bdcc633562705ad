package api

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Every state in which a node stands still until somebody does something names what that may be, and no other does.
func TestTheWayOn(t *testing.T) {
	for _, tt := range []struct {
		n    node.Node
		want string
	}{
		{node.Node{State: node.DeployFailed}, `From "deploy failed" it goes on by: deploy, rebuild, undeploy (openstack baremetal node VERB u).`},
		{node.Node{State: node.Error}, `From "error" it goes on by: rebuild, undeploy (openstack baremetal node VERB u).`},
		{node.Node{State: node.InspectFailed}, `From "inspect failed" it goes on by: manage, inspect (openstack baremetal node VERB u).`},
		{node.Node{State: node.CleanFailed, Maintenance: true, Fault: node.CleanFailure},
			`It is in maintenance since its clean failure: when the cause is mended, unset that (openstack baremetal node maintenance unset u). ` +
				`From "clean failed" it goes on by: manage (openstack baremetal node VERB u).`},
		{node.Node{State: node.ServiceHold}, `From "service hold" it goes on by: unhold, service, abort (openstack baremetal node VERB u).`},
		{node.Node{State: node.Active, Maintenance: true},
			"It is in maintenance: when the cause is mended, unset that (openstack baremetal node maintenance unset u)."},
		{node.Node{State: node.Enroll, LastError: "no answer"}, `From "enroll" it goes on by: manage (openstack baremetal node VERB u).`},
		{node.Node{State: node.Enroll}, ""}, {node.Node{State: node.Active}, ""}, {node.Node{State: node.DeployWait, LastError: "old"}, ""},
	} {
		tt.n.UUID = "u"
		if got := wayOn(&tt.n); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.n.State, got, tt.want)
		}
	}
	for _, s := range node.States {
		text := wayOn(&node.Node{State: s})
		if stands := s.Class() == node.Failed || s.Class() == node.Held; stands != (text != "") || strings.Contains(text, "by:  ") {
			t.Errorf("%s: %q", s, text)
		}
	}
}
