package main

import (
	"context"
	"net/url"
	"os"

	"github.com/spf13/pflag"

	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/server"
)

// A port belongs to whoever makes it, so it is made with the user's own login. Where there is none, Billet's own will do: a command
// that can read it runs on the service's machine.

// userNetworks is Neutron by the login of the variables OS_*, or of Billet's own keys; nil without either.
func userNetworks() (server.Networks, error) {
	if os.Getenv("OS_AUTH_URL") != "" && os.Getenv("OS_USERNAME")+os.Getenv("OS_APPLICATION_CREDENTIAL_ID") != "" {
		session, err := userSession()
		return neutron{&openstack.Networks{Session: session}}, err
	}
	if os.Getenv("BILLET_CONFIG") == "" && os.Getenv("BILLET_OPENSTACK_AUTH_URL") == "" {
		return nil, nil
	}
	c, _, err := loadConfig(pflag.NewFlagSet("", pflag.ContinueOnError), os.Environ())
	if err != nil || c.Cloud.AuthURL == "" {
		return nil, err
	}
	session, err := openstack.Open(c.Cloud)
	return neutron{&openstack.Networks{Session: session}}, err
}

// neutron is Neutron as the room server wants it.
type neutron struct{ *openstack.Networks }

// portOwner marks the ports that belong to servers made here: Nova's have compute:…, those of Billet's own flows baremetal:none.
const portOwner = "billet:server"

// Network is described on server.Networks.
func (n neutron) Network(ctx context.Context, ident string) (server.Network, error) {
	found, err := n.Networks.Network(ctx, ident)
	if err != nil {
		return server.Network{}, err
	}
	return server.Network{ID: found.ID, Name: found.Name, MTU: found.MTU}, nil
}

// CreatePort is described on server.Networks.
func (n neutron) CreatePort(ctx context.Context, network server.Network, name, uuid string) (server.Port, error) {
	owner := portOwner
	made, err := n.Networks.CreatePort(ctx, openstack.Change{Name: &name, NetworkID: &network.ID, DeviceID: &uuid, Owner: &owner})
	if err != nil {
		return server.Port{}, err
	}
	return portOf(*made), nil
}

// Port is described on server.Networks.
func (n neutron) Port(ctx context.Context, id string) (server.Port, error) {
	found, err := n.Networks.Port(ctx, id)
	if err != nil {
		return server.Port{}, err
	}
	return portOf(*found), nil
}

// Ports is described on server.Networks.
func (n neutron) Ports(ctx context.Context, name string) (all []server.Port, err error) {
	filter := url.Values{"device_owner": {portOwner}}
	if name != "" {
		filter.Set("name", name)
	}
	found, err := n.Networks.Ports(ctx, filter)
	for _, p := range found {
		all = append(all, portOf(p))
	}
	return all, err
}

func portOf(p openstack.Port) server.Port {
	port := server.Port{ID: p.ID, Name: p.Name}
	if p.Owner == portOwner {
		port.Server = p.DeviceID
	}
	for _, ip := range p.FixedIPs {
		port.Addresses = append(port.Addresses, ip.IPAddress)
	}
	return port
}
