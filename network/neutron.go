package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Neutron is the network interface neutron: a machine is on the network of a ramdisk, or on those of its tenant, and never on
// both. Neutron's drivers move its switch ports.
type Neutron struct{ Cloud *Cloud }

// Name is described on driver.Implementation.
func (Neutron) Name() string { return "neutron" }

// Properties is described on driver.Implementation.
func (n Neutron) Properties() map[string]string { return n.Cloud.properties() }

// Validate is described on driver.Implementation.
func (n Neutron) Validate(ctx context.Context, t *driver.Task) error {
	for _, purpose := range []driver.NetworkPurpose{driver.ProvisioningNetwork, driver.CleaningNetwork} {
		if err := n.Cloud.named(t, purpose); err != nil {
			return err
		}
	}
	for _, p := range t.Ports {
		if err := cabled(p); err != nil {
			return err
		}
	}
	return n.Cloud.knowsNetworks(ctx, t)
}

// cabled says what is not known of a switch port that Neutron is to move.
func cabled(p node.Port) error {
	var missing []string
	for _, key := range []string{"switch_id", "port_id"} {
		if p.PXEEnabled && p.LocalLinkConnection.String(key) == "" {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return node.Errorf(node.Invalid, "Port %s (%s) has no %s in local_link_connection, so Neutron cannot tell which switch port to move. "+
		"Inspection fills it in from LLDP; or set it by hand.", p.UUID, p.Address, strings.Join(missing, " and no "))
}

// Connect is described on driver.Network.
func (n Neutron) Connect(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose) error {
	if err := n.Cloud.removePorts(ctx, t, purpose); err != nil {
		return later(err)
	}
	if purpose == driver.TenantNetwork {
		bound, err := n.Cloud.bindVIFs(ctx, t)
		if err != nil {
			return later(err)
		}
		return n.Cloud.ready(purpose, bound)
	}
	if purpose != driver.InspectionNetwork { // an inspection without one finds the machine where it is
		if err := n.Cloud.named(t, purpose); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(t.Ports, func(p node.Port) bool { return p.PXEEnabled }) {
		return fmt.Errorf("node %s has no port with pxe_enabled that could be on the %s network", t.Node.UUID, purpose)
	}
	if err := n.Cloud.unbindVIFs(ctx, t); err != nil {
		return later(err)
	}
	made, err := n.Cloud.makePorts(ctx, t, purpose, bootPorts(t))
	if err != nil {
		return later(err)
	}
	return n.Cloud.ready(purpose, made)
}

// Disconnect is described on driver.Network.
func (n Neutron) Disconnect(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose) error {
	return n.Cloud.leave(ctx, t, purpose)
}

// Moves implements driver.Mover.
func (Neutron) Moves() bool { return true }

// Left implements driver.Sweeper.
func (n Neutron) Left(ctx context.Context) ([]string, error) { return n.Cloud.left(ctx) }

// AttachVIF is described on driver.Network. A machine that runs its instance is on the network at once; another when its
// instance is about to start.
func (n Neutron) AttachVIF(ctx context.Context, t *driver.Task, vif node.VIF) error {
	when := bindLater
	if t.Node.State == node.Active || t.Node.State == node.Rescue {
		when = bindNow
	}
	return n.Cloud.attach(ctx, t, vif, when)
}

// DetachVIF is described on driver.Network.
func (n Neutron) DetachVIF(ctx context.Context, t *driver.Task, id string) error {
	return n.Cloud.detach(ctx, t, id)
}
