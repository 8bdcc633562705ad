package node

// VIF is a virtual interface (a tenant network's port) that somebody wants attached to a node.
type VIF struct {
	ID                      string
	PortUUID, PortgroupUUID string // what it is to be attached to; both empty leave the choice to the service
}

// VIFKey is where a port or a portgroup keeps, in its internal_info, the virtual interface attached to it.
const VIFKey = "tenant_vif_port_id"

// WithVIF returns internal_info d with a virtual interface, or with none for "".
func WithVIF(d Document, id string) Document {
	d = d.Clone()
	if delete(d, VIFKey); id != "" {
		d[VIFKey] = id
	}
	return d
}

// VIFs lists what is attached to ports and portgroups.
func VIFs(ports []Port, groups []Portgroup) (ids []string) {
	for _, p := range ports {
		if id := p.InternalInfo.String(VIFKey); id != "" {
			ids = append(ids, id)
		}
	}
	for _, g := range groups {
		if id := g.InternalInfo.String(VIFKey); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}
