package api

import (
	"maps"
	"slices"

	"github.com/billet-metal/billet/node"
)

// portView is a port as one request sees it.
type portView struct {
	node.Port
	call *call
}

type portColumn = column[*portView]

var portColumns = []portColumn{
	{"uuid", func(p *portView) any { return p.UUID }},
	{"node_uuid", func(p *portView) any { return p.NodeUUID }},
	{"name", func(p *portView) any { return orNull(p.Name) }},
	{"address", func(p *portView) any { return p.Address }},
	{"pxe_enabled", func(p *portView) any { return p.PXEEnabled }},
	{"portgroup_uuid", func(p *portView) any { return orNull(p.PortgroupUUID) }},
	{"physical_network", func(p *portView) any { return orNull(p.PhysicalNetwork) }},
	{"is_smartnic", func(p *portView) any { return p.IsSmartNIC }},
	{"local_link_connection", func(p *portView) any {
		return readable(p.Unreadable, "local_link_connection", document(p.LocalLinkConnection))
	}},
	{"extra", func(p *portView) any { return readable(p.Unreadable, "extra", document(p.Extra)) }},
	{"internal_info", func(p *portView) any {
		return readable(p.Unreadable, "internal_info", node.MaskedDocument(p.InternalInfo))
	}},
	{"description", func(p *portView) any { return orNull(p.Description) }},
	{"vendor", func(p *portView) any { return orNull(p.Vendor) }},
	{"category", func(p *portView) any { return orNull(p.Category) }},
	// Nothing here makes port groups for the time of an instance, so every port stays available for one.
	{"available_for_dynamic_portgroup", func(*portView) any { return true }},
	{"created_at", func(p *portView) any { return stamp(p.CreatedAt) }},
	{"updated_at", func(p *portView) any { return stamp(p.UpdatedAt) }},
	{"links", func(p *portView) any { return p.call.links("ports", p.UUID) }},
}

var portListFields = []string{"uuid", "address", "links"}

func portsJSON(c *call, ports []node.Port, fields []string) []map[string]any {
	cols := shown(portColumns, "port", c.version, fields)
	out := make([]map[string]any, len(ports))
	for i, p := range ports {
		out[i] = render(cols, &portView{p, c})
	}
	return out
}

// portSetters are the fields of a port that clients may write.
var portSetters = map[string]func(*node.Port, any) error{
	"address":               setAddress,
	"node_uuid":             setPortNode,
	"name":                  setPortName,
	"portgroup_uuid":        setPortgroup,
	"pxe_enabled":           setPXEEnabled,
	"physical_network":      textField("physical_network", 64, func(p *node.Port) *string { return &p.PhysicalNetwork }),
	"is_smartnic":           boolField("is_smartnic", func(p *node.Port) *bool { return &p.IsSmartNIC }),
	"description":           textField("description", 255, func(p *node.Port) *string { return &p.Description }),
	"vendor":                textField("vendor", 32, func(p *node.Port) *string { return &p.Vendor }),
	"category":              textField("category", 80, func(p *node.Port) *string { return &p.Category }),
	"extra":                 documentField("extra", func(p *node.Port) *node.Document { return &p.Extra }),
	"local_link_connection": documentField("local_link_connection", func(p *node.Port) *node.Document { return &p.LocalLinkConnection }),
	"available_for_dynamic_portgroup": func(_ *node.Port, v any) error {
		if b, err := boolean("available_for_dynamic_portgroup", v); err != nil || v == nil || b {
			return err
		}
		return invalid("available_for_dynamic_portgroup can only be true here: port groups are made by people only.")
	},
}

var portPatchable = slices.Sorted(maps.Keys(portSetters))

func setAddress(p *node.Port, v any) error {
	s, _ := v.(string)
	mac, ok := canonicalMAC(s)
	if !ok {
		return invalid("Expected a MAC address but received %v.", v)
	}
	p.Address = mac
	return nil
}

func setPortNode(p *node.Port, v any) error {
	s, _ := v.(string)
	if !isUUID(s) {
		return invalid("Expected a UUID for node_uuid but received %v.", v)
	}
	p.NodeUUID = canonicalUUID(s)
	return nil
}

func setPortName(p *node.Port, v any) error {
	s, err := text("name", v, 255)
	if err == nil && s != "" {
		err = checkName("port", s)
	}
	p.Name = s
	return err
}

func setPortgroup(p *node.Port, v any) error {
	s, err := text("portgroup_uuid", v, 36)
	if err == nil {
		p.PortgroupUUID, err = optionalUUID("portgroup_uuid", s)
	}
	return err
}

// setPXEEnabled: a port boots from the network unless it is told not to.
func setPXEEnabled(p *node.Port, v any) (err error) {
	if p.PXEEnabled = true; v == nil {
		return nil
	}
	p.PXEEnabled, err = boolean("pxe_enabled", v)
	return err
}
