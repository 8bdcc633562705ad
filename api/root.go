package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// Clients find the API's version here first, without a login. The texts are those that client libraries look for.

const jsonMedia = "application/vnd.openstack.ironic.v1+json"

// serviceVersion is how the API describes itself. Agents read the highest microversion here.
func (c *call) serviceVersion() map[string]any {
	return map[string]any{
		"id": "v1", "status": "CURRENT", "min_version": minVersion.String(), "version": maxVersion.String(),
		"links": []link{{Href: c.base + "/v1/", Rel: "self"}},
	}
}

func (sv *services) showService(w http.ResponseWriter, c *call) error {
	v := c.serviceVersion()
	writeJSON(w, http.StatusOK, map[string]any{
		"name":            "OpenStack Ironic API", // clients know the API by this name
		"description":     "Billet serves the Bare Metal API: provisioning and management of bare metal machines.",
		"default_version": v,
		"versions":        []any{v},
	})
	return nil
}

// root is a link of /v1: the first part of a path below it, and the version that first knows one of its paths.
type root struct {
	name  string
	first version
}

// rootsOf are the collections of the routes, in their order.
func rootsOf(routes []route) (roots []root) {
	for _, rt := range routes {
		path, ok := strings.CutPrefix(rt.path(), "/v1/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(path, "/")
		first := cmp.Or(rt.linked, firstOf(rt.path()))
		if i := slices.IndexFunc(roots, func(r root) bool { return r.name == name }); i >= 0 {
			roots[i].first = min(roots[i].first, first)
		} else {
			roots = append(roots, root{name, first})
		}
	}
	return roots
}

func (sv *services) showVersion(w http.ResponseWriter, c *call) error {
	body := map[string]any{
		"id": "v1",
		"links": []link{
			{Href: c.base + "/v1/", Rel: "self"},
			{Href: "https://docs.openstack.org/api-ref/baremetal/", Rel: "describedby", Type: "text/html"},
		},
		"media_types": map[string]string{"base": "application/json", "type": jsonMedia},
		"version":     c.serviceVersion(),
	}
	for _, r := range sv.roots {
		if c.version >= r.first {
			body[r.name] = []link{{Href: c.base + "/v1/" + r.name + "/", Rel: "self"}, {Href: c.base + "/" + r.name + "/", Rel: "bookmark"}}
		}
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}
