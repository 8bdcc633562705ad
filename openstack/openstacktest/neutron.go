package openstacktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Neutron has networks that tests give it, and ports (Networking API v2.0). A bound port is ACTIVE at once, unless Stuck says
// otherwise.
type Neutron struct {
	Service
	networks map[string]map[string]any
	ports    map[string]map[string]any
	subnets  map[string]map[string]any
	agents   map[string][]any // of DHCP, by network
	made     int
	stuck    string
}

func newNeutron(t testing.TB, k *Keystone) *Neutron {
	n := &Neutron{networks: map[string]map[string]any{}, ports: map[string]map[string]any{}, subnets: map[string]map[string]any{},
		agents: map[string][]any{}}
	n.start(t, func(w http.ResponseWriter, r *http.Request) {
		if k.admit(w, r) {
			n.answer(w, r)
		}
	})
	return n
}

// AddNetwork puts a network in.
func (n *Neutron) AddNetwork(id, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.networks[id] = map[string]any{"id": id, "name": name, "status": "ACTIVE", "mtu": 1500}
}

// ServeDHCP gives a network a subnet, with DHCP or without, and the agents that serve it: by host, whether they live.
func (n *Neutron) ServeDHCP(network string, on bool, agents map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subnets["subnet-"+network] = map[string]any{"id": "subnet-" + network, "network_id": network, "enable_dhcp": on, "ip_version": 4}
	n.agents[network] = []any{}
	for _, host := range slices.Sorted(maps.Keys(agents)) {
		n.agents[network] = append(n.agents[network], map[string]any{"host": host, "alive": agents[host], "admin_state_up": true,
			"agent_type": "DHCP agent"})
	}
}

// AddPort puts a port in, as Nova makes one; fields win over what it has else.
func (n *Neutron) AddPort(id, network string, fields map[string]any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[id] = n.port(id, network)
	maps.Copy(n.ports[id], fields)
}

// Port is a copy of a port as it is; nil: there is none.
func (n *Neutron) Port(id string) map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.ports[id])
}

// Ports are the IDs of all ports.
func (n *Neutron) Ports() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.ports))
}

// Stuck is the status that ports get when they are bound from now on, such as DOWN or ERROR; "" is ACTIVE. binding_failed is
// what a port gets that none of Neutron's drivers binds.
func (n *Neutron) Stuck(status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stuck = status
}

// Set changes fields of a port behind everybody's back.
func (n *Neutron) Set(id string, fields map[string]any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(n.ports[id], fields)
}

func (n *Neutron) port(id, network string) map[string]any {
	n.made++
	return map[string]any{
		"id": id, "name": "", "network_id": network, "mac_address": fmt.Sprintf("fa:16:3e:00:00:%02x", n.made), "status": "DOWN",
		"admin_state_up": true, "device_id": "", "device_owner": "", "binding:host_id": "", "binding:vif_type": "unbound",
		"binding:vnic_type": "normal", "binding:profile": map[string]any{}, "extra_dhcp_opts": []any{},
		"fixed_ips": []any{map[string]any{"subnet_id": "subnet-" + network, "ip_address": fmt.Sprintf("192.0.2.%d", n.made)}},
	}
}

func (n *Neutron) answer(w http.ResponseWriter, r *http.Request) {
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2.0/"), "/")
	things := map[string]map[string]map[string]any{"ports": n.ports, "networks": n.networks, "subnets": n.subnets}[kind]
	if network, of := strings.CutSuffix(id, "/dhcp-agents"); of && kind == "networks" {
		reply(w, http.StatusOK, map[string]any{"agents": append([]any{}, n.agents[network]...)})
		return
	}
	one := strings.TrimSuffix(kind, "s")
	var in map[string]map[string]any
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if json.NewDecoder(r.Body).Decode(&in) != nil || in[one] == nil {
			refuse(w, http.StatusBadRequest, "NeutronError", "Unable to parse")
			return
		}
	}
	switch {
	case things == nil:
		refuse(w, http.StatusNotFound, "NeutronError", "no such path")
	case id == "" && r.Method == http.MethodGet:
		reply(w, http.StatusOK, map[string]any{kind: filtered(things, r)})
	case id == "" && r.Method == http.MethodPost && kind == "ports":
		n.create(w, in[one])
	case things[id] == nil:
		refuse(w, http.StatusNotFound, "NeutronError", strings.ToUpper(one[:1])+one[1:]+" "+id+" could not be found.")
	case r.Method == http.MethodGet:
		reply(w, http.StatusOK, map[string]any{one: things[id]})
	case r.Method == http.MethodPut && kind == "ports":
		n.change(w, id, in[one])
	case r.Method == http.MethodDelete && kind == "ports":
		delete(n.ports, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusMethodNotAllowed, "NeutronError", "no")
	}
}

func filtered(things map[string]map[string]any, r *http.Request) []any {
	found := []any{}
	for _, id := range slices.Sorted(maps.Keys(things)) {
		matches := true
		for field, values := range r.URL.Query() {
			matches = matches && (field == "fields" || slices.Contains(values, fmt.Sprint(things[id][field])))
		}
		if matches {
			found = append(found, things[id])
		}
	}
	return found
}

func (n *Neutron) create(w http.ResponseWriter, in map[string]any) {
	network, _ := in["network_id"].(string)
	if n.networks[network] == nil {
		refuse(w, http.StatusNotFound, "NeutronError", "Network "+network+" could not be found.")
		return
	}
	if mac, _ := in["mac_address"].(string); n.taken(mac, network, "") {
		refuse(w, http.StatusConflict, "NeutronError", inUse(network, mac))
		return
	}
	id := fmt.Sprintf("00000000-0000-4000-9000-%012d", n.made+1)
	n.ports[id] = n.port(id, network)
	n.write(id, in)
	reply(w, http.StatusCreated, map[string]any{"port": n.ports[id]})
}

func (n *Neutron) change(w http.ResponseWriter, id string, in map[string]any) {
	p := n.ports[id]
	mac, changes := in["mac_address"]
	_, bound := in["binding:host_id"]
	text, _ := mac.(string)
	switch network := p["network_id"].(string); {
	case changes && text != p["mac_address"] && p["binding:host_id"] != "" && (text == "" || !bound):
		refuse(w, http.StatusConflict, "NeutronError", "Unable to complete operation on port "+id+", port is already bound")
	case changes && n.taken(text, network, id):
		refuse(w, http.StatusConflict, "NeutronError", inUse(network, text))
	default:
		n.write(id, in)
		reply(w, http.StatusOK, map[string]any{"port": p})
	}
}

func inUse(network, mac string) string {
	return "Unable to complete operation for network " + network + ". The mac address " + mac + " is in use."
}

func (n *Neutron) taken(mac, network, but string) bool {
	for id, p := range n.ports {
		if id != but && mac != "" && p["mac_address"] == mac && p["network_id"] == network {
			return true
		}
	}
	return false
}

func (n *Neutron) write(id string, in map[string]any) {
	p := n.ports[id]
	maps.Copy(p, in)
	if mac, _ := p["mac_address"].(string); mac == "" {
		n.made++
		p["mac_address"] = fmt.Sprintf("fa:16:3e:01:00:%02x", n.made)
	}
	if host, _ := p["binding:host_id"].(string); host == "" {
		p["binding:host_id"], p["binding:vif_type"], p["status"] = "", "unbound", "DOWN"
	} else if _, writes := in["binding:host_id"]; writes {
		p["binding:vif_type"], p["status"] = "other", "ACTIVE"
		switch n.stuck {
		case "":
		case "binding_failed":
			p["binding:vif_type"], p["status"] = n.stuck, "DOWN"
		default:
			p["status"] = n.stuck
		}
	}
}
