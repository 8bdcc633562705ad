package api

import (
	"net/http/httptest"
	"testing"

	"github.com/billet-metal/billet/node"
)

func TestWhatRolesPermit(t *testing.T) {
	roles := func(names ...string) node.Identity { return node.Identity{User: "u", Project: "p", Roles: names} }
	home, system := roles("reader", "member"), roles("reader")
	home.Home, system.System, system.Project = true, true, ""
	for name, tt := range map[string]struct {
		id            node.Identity
		reads, writes bool
	}{
		"admin":                                 {roles("admin", "manager", "member", "reader"), true, true},
		"service":                               {roles("service"), true, true},
		"reader of the system":                  {system, true, false},
		"reader in the project of the services": {home, true, false},
		"member of a project, who is a reader there": {roles("member", "reader"), false, false},
		"manager of a project":                       {roles("manager", "member", "reader"), false, false},
		"nothing":                                    {roles(), false, false},
	} {
		for method, want := range map[string]bool{
			"GET": tt.reads, "HEAD": tt.reads, "POST": tt.writes, "PUT": tt.writes, "PATCH": tt.writes, "DELETE": tt.writes,
		} {
			err := permit(tt.id, httptest.NewRequest(method, "/v1/nodes", nil))
			if want != (err == nil) || err != nil && node.KindOf(err) != node.Forbidden {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
	}
}
