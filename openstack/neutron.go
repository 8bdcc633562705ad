package openstack

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// Networks is Neutron: networks and ports. Billet acts with the role service: the default policy lets nobody else write
// binding:profile.
type Networks struct{ Session *Session }

// Port is a port of Neutron (Networking API v2.0).
type Port struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	NetworkID  string `json:"network_id"`
	MACAddress string `json:"mac_address"`
	Status     string `json:"status"` // ACTIVE when switch and DHCP are done, DOWN, BUILD, ERROR
	DeviceID   string `json:"device_id"`
	Owner      string `json:"device_owner"`
	Host       string `json:"binding:host_id"`
	VIFType    string `json:"binding:vif_type"` // BindingFailed when no driver of Neutron binds it
	VNICType   string `json:"binding:vnic_type"`
	Up         bool   `json:"admin_state_up"`

	Profile map[string]any `json:"binding:profile"`
	DHCP    []DHCPOption   `json:"extra_dhcp_opts"`

	FixedIPs []struct {
		SubnetID  string `json:"subnet_id"`
		IPAddress string `json:"ip_address"`
	} `json:"fixed_ips"`
}

// Statuses and a VIF type of ports that Billet acts on.
const (
	PortActive    = "ACTIVE"
	PortError     = "ERROR"
	BindingFailed = "binding_failed"
)

// Network is a network of Neutron.
type Network struct {
	ID              string `json:"id"`
	Name            string `json:"name"`
	PhysicalNetwork string `json:"provider:physical_network"`
	MTU             int    `json:"mtu"`
}

// DHCPOption is an option that Neutron's DHCP gives to a port; a nil value takes it away.
type DHCPOption struct {
	Name    string  `json:"opt_name"`
	Value   *string `json:"opt_value"`
	Version int     `json:"ip_version"`
}

// Change is what of a port is written. Nil fields stay as they are.
type Change struct {
	Name       *string         `json:"name,omitempty"`
	NetworkID  *string         `json:"network_id,omitempty"` // of a new port
	Up         *bool           `json:"admin_state_up,omitempty"`
	MACAddress *MACAddress     `json:"mac_address,omitempty"`
	DeviceID   *string         `json:"device_id,omitempty"`
	Owner      *string         `json:"device_owner,omitempty"`
	Host       *string         `json:"binding:host_id,omitempty"` // "" unbinds
	VNICType   *string         `json:"binding:vnic_type,omitempty"`
	Profile    *map[string]any `json:"binding:profile,omitempty"`
	DHCP       *[]DHCPOption   `json:"extra_dhcp_opts,omitempty"`
}

// MACAddress is one to write; AnyMAC lets Neutron choose.
type MACAddress string

// AnyMAC frees the address that a port has. The port must be unbound before, in a call of its own (409 PortBound).
const AnyMAC MACAddress = ""

// MarshalJSON writes AnyMAC as null.
func (m MACAddress) MarshalJSON() ([]byte, error) {
	if m == AnyMAC {
		return []byte("null"), nil
	}
	return []byte(`"` + string(m) + `"`), nil
}

// Port reads a port; node.NotFound when there is none.
func (n *Networks) Port(ctx context.Context, id string) (*Port, error) {
	var out struct{ Port Port }
	err := n.ask(ctx, http.MethodGet, "ports/"+url.PathEscape(id), nil, &out, "for port "+id)
	return &out.Port, err
}

// Ports lists ports by fields and values, such as mac_address and device_owner.
func (n *Networks) Ports(ctx context.Context, filter url.Values) ([]Port, error) {
	var out struct{ Ports []Port }
	err := n.ask(ctx, http.MethodGet, "ports?"+filter.Encode(), nil, &out, "for ports")
	return out.Ports, err
}

// CreatePort makes a port; node.Conflict when its network has a port with the MAC address.
func (n *Networks) CreatePort(ctx context.Context, c Change) (*Port, error) {
	var out struct{ Port Port }
	err := n.ask(ctx, http.MethodPost, "ports", map[string]any{"port": c}, &out, "to make a port")
	return &out.Port, err
}

// ChangePort writes fields of a port.
func (n *Networks) ChangePort(ctx context.Context, id string, c Change) (*Port, error) {
	var out struct{ Port Port }
	err := n.ask(ctx, http.MethodPut, "ports/"+url.PathEscape(id), map[string]any{"port": c}, &out, "to change port "+id)
	return &out.Port, err
}

// DeletePort removes a port; one that is gone is removed.
func (n *Networks) DeletePort(ctx context.Context, id string) error {
	err := n.ask(ctx, http.MethodDelete, "ports/"+url.PathEscape(id), nil, nil, "to delete port "+id)
	if node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

// Network finds a network by its UUID or its name; node.Conflict when several have the name.
func (n *Networks) Network(ctx context.Context, ident string) (*Network, error) {
	for _, field := range []string{"id", "name"} {
		var out struct{ Networks []Network }
		if err := n.ask(ctx, http.MethodGet, "networks?"+url.Values{field: {ident}}.Encode(), nil, &out, "for network "+ident); err != nil {
			return nil, err
		}
		switch len(out.Networks) {
		case 0:
		case 1:
			return &out.Networks[0], nil
		default:
			return nil, node.Errorf(node.Conflict, "Neutron has %d networks with the name %s: use the UUID of one", len(out.Networks), ident)
		}
	}
	return nil, node.Errorf(node.NotFound, "Neutron has no network %s that Billet may see", ident)
}

func (n *Networks) ask(ctx context.Context, method, path string, in, out any, doing string) error {
	ctx, cancel := n.Session.within(ctx)
	defer cancel()
	neutron, err := n.Session.service(ctx, network, "/v2.0")
	if err != nil {
		return err
	}
	opts := &gophercloud.RequestOpts{
		JSONBody: in, JSONResponse: out, OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusNoContent},
	}
	resp, err := neutron.ProviderClient.Request(ctx, method, neutron.Endpoint+path, opts)
	if err == nil && out == nil {
		resp.Body.Close()
	}
	return failure(network, doing, err)
}
