package api

import "net/http"

const jsonMedia = "application/vnd.openstack.ironic.v1+json"

// serviceVersion is how the API describes itself. Agents read the highest microversion here.
func (c *call) serviceVersion() map[string]any {
	return map[string]any{
		"id": "v1", "status": "CURRENT", "min_version": minVersion.String(), "version": maxVersion.String(),
		"links": []link{{Href: c.base + "/v1/", Rel: "self"}},
	}
}

func (a *API) showService(w http.ResponseWriter, c *call) error {
	v := c.serviceVersion()
	writeJSON(w, http.StatusOK, map[string]any{
		"name":            "OpenStack Ironic API", // clients know the API by this name
		"description":     "Billet serves the Bare Metal API: provisioning and management of bare metal machines.",
		"default_version": v,
		"versions":        []any{v},
	})
	return nil
}

// resources are the collections served, with the version that first knows each.
var resources = []struct{ name, since string }{
	{"nodes", ""}, {"ports", ""}, {"drivers", ""}, {"chassis", ""}, {"portgroups", "/v1/portgroups"}, {"volume", "/v1/volume"}, {"allocations", "/v1/allocations"}, {"conductors", "/v1/conductors"}, {"deploy_templates", "/v1/deploy_templates"},
	{"inspection_rules", "/v1/inspection_rules"}, {"shards", "/v1/shards"},
	{"lookup", "/v1/lookup"}, {"heartbeat", "/v1/heartbeat/{ident}"}, {"continue_inspection", "continue_inspection"},
}

func (a *API) showVersion(w http.ResponseWriter, c *call) error {
	body := map[string]any{
		"id": "v1",
		"links": []link{
			{Href: c.base + "/v1/", Rel: "self"},
			{Href: "https://docs.openstack.org/api-ref/baremetal/", Rel: "describedby", Type: "text/html"},
		},
		"media_types": map[string]string{"base": "application/json", "type": jsonMedia},
		"version":     c.serviceVersion(),
	}
	for _, r := range resources {
		if c.version.knows(r.since) {
			body[r.name] = []link{{Href: c.base + "/v1/" + r.name + "/", Rel: "self"}, {Href: c.base + "/" + r.name + "/", Rel: "bookmark"}}
		}
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}
