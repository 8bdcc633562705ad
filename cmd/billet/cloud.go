package main

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/image/cache"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// inCloud reports whether Billet has a cloud around it: somebody said where, and as whom it logs in.
func (c *Config) inCloud() bool {
	return c.Cloud.AuthURL != "" && (c.Auth == "keystone" || c.Cloud.Username != "" || c.Cloud.ApplicationCredentialID != "")
}

// session is Billet's login to its cloud; nil where it stands alone.
func (c *Config) session() (*openstack.Session, error) {
	if !c.inCloud() {
		return nil, nil
	}
	return openstack.Open(c.Cloud)
}

// imageSources is where images come from: with a cloud, from Glance too.
func imageSources(ctx context.Context, c *Config, session *openstack.Session, gate *fetch.Gate,
	inUse func(context.Context) ([]string, error), log *slog.Logger,
) (*image.Store, error) {
	sources := &image.Store{Dir: c.ImageDir, Gate: gate}
	if session == nil {
		return sources, nil
	}
	glance := &openstack.Images{Session: session}
	kept, err := cache.New(ctx, cache.Config{
		Dir: c.ImageCacheDir, Limit: int64(c.ImageCacheGB) << 30, Open: glance.Open, InUse: inUse, Log: log,
	})
	if err != nil {
		return nil, err
	}
	sources.Registry, sources.Cache = glance, kept
	sources.Away = func(err error) bool { return node.KindOf(err) == node.Unavailable }
	if c.ImageSource == "swift" {
		sources.URLs = &openstack.ImageURLs{Container: c.GlanceContainer, Life: boot.DefaultRecordLife,
			Objects: &openstack.Objects{Session: session, Account: c.GlanceAccount, Key: c.Swift.Key, Endpoint: c.Swift.Endpoint, Log: log}}
	}
	return sources, nil
}

// served reads the cache, too, which no user may name: what is there is of all projects.
func served(c *Config, gate *fetch.Gate) *fetch.Gate {
	if !c.inCloud() {
		return gate
	}
	return gate.Also(c.ImageCacheDir)
}

// otherDHCP is who serves DHCP where Billet does not, for people; "" where Billet does.
func (c *Config) otherDHCP() string {
	switch {
	case c.DHCPProvider == "neutron":
		return "Neutron"
	case c.DHCPMode == "off":
		return "another server"
	}
	return ""
}

// networkWitness is who can be asked about DHCP that Billet does not see; nil: nobody.
func networkWitness(c *Config, session *openstack.Session) conductor.NetworkWitness {
	if session == nil || c.DHCPProvider != "neutron" {
		return nil
	}
	return &openstack.Networks{Session: session}
}

// bootServer is where machines find the boot services when Neutron's DHCP is to tell them; zero: Neutron tells them nothing.
func bootServer(c *Config, net *provisioning) netip.Addr {
	if net == nil || c.DHCPProvider != "neutron" {
		return netip.Addr{}
	}
	return net.ip
}
