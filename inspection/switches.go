package inspection

import "github.com/billet-metal/billet/node"

// parseLLDP is the hook parse-lldp.
func parseLLDP(_ *Settings, r *reading) error {
	parsed := map[string]any{}
	for name, n := range neighbours(r.inventory.Interfaces) {
		parsed[name] = n.said
	}
	if len(parsed) > 0 {
		r.plugin["parsed_lldp"] = parsed
	}
	return nil
}

// linkPorts is the hook local-link-connection: which port of which switch a port is plugged into.
func linkPorts(_ *Settings, r *reading) error {
	heard := neighbours(r.inventory.Interfaces)
	for i := range r.ports {
		for _, n := range r.nicsOf(r.ports[i]) {
			heard[n.name].link(&r.ports[i])
		}
	}
	return nil
}

// link adds to a port's local_link_connection what it does not say yet. What a person wrote stays.
func (n neighbour) link(p *node.Port) {
	link := p.LocalLinkConnection.Clone()
	for key, value := range map[string]string{
		"switch_id": n.switchID, "port_id": n.portID, "switch_info": node.Document(n.said).String("switch_system_name"),
	} {
		if _, there := link[key]; !there && value != "" {
			link[key] = value
		}
	}
	p.LocalLinkConnection = link
}
