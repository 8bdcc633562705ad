package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver"
)

// cloudKeys are the keys about the OpenStack that Billet is a part of.
func (c *Config) cloudKeys() []key {
	o := &c.Cloud
	return []key{
		{"openstack_auth_url", "", "URL of Keystone; needed for auth keystone, and for Glance, Neutron and Swift", webURL(&o.AuthURL)},
		{"openstack_username", "", "Billet's own account there; `billet openstack register` makes it", text(&o.Username)},
		{"openstack_password", "", "its password; it belongs in the file or the environment: other users can see a flag", text(&o.Password)},
		{"openstack_user_domain", "Default", "name of the account's domain", text(&o.UserDomain)},
		{"openstack_project", "service", "name of the project it logs in to", text(&o.Project)},
		{"openstack_project_domain", "Default", "name of the project's domain", text(&o.ProjectDomain)},
		{"openstack_application_credential_id", "", "an application credential, instead of the account and its password",
			text(&o.ApplicationCredentialID)},
		{"openstack_application_credential_secret", "", "its secret, which belongs in the file or the environment",
			text(&o.ApplicationCredentialSecret)},
		{"openstack_region", "", "region of the services in the catalog; empty: the first one found", text(&o.Region)},
		{"openstack_interface", "internal", "which endpoints of the catalog are used: internal, public or admin",
			oneOf(&o.Interface, "internal", "public", "admin")},
		{"openstack_endpoints", "", "comma list of TYPE=URL that win over the catalog: image=http://glance:9292", endpoints(&o.Endpoints)},
		{"openstack_ca_file", "", "PEM certificates of the services' authority; empty: the system's", text(&o.CAFile)},
		{"openstack_timeout", "30s", "longest wait for one answer of a service", duration(&o.Timeout)},
		{"dhcp_provider", "billet", "who serves DHCP on the networks that machines boot from: billet, as dhcp_mode says; neutron, which is " +
			"told for each port what its machine boots; or none of both, somebody else", oneOf(&c.DHCPProvider, "billet", "neutron", "none")},
		{"image_cache_dir", "", "directory in which images of Glance are kept, its own; empty: image-cache in data_dir", text(&c.ImageCacheDir)},
		{"image_cache_size_gb", "20", "gibibytes of images of Glance that are kept: those go first that nobody used for the longest time",
			number(&c.ImageCacheGB, 1, 1_000_000)},
		{"neutron", "true", "whether Neutron connects machines whose network interface is flat; without openstack_auth_url nothing is asked",
			boolean(&c.Neutron)},
		{"neutron_cleaning_network", "", "UUID or name of Neutron's network for cleaning; a node's driver_info/cleaning_network wins",
			c.network(driver.CleaningNetwork)},
		{"neutron_provisioning_network", "", "the same for deploying, with the network interface neutron; flat takes the tenant's port",
			c.network(driver.ProvisioningNetwork)},
		{"neutron_inspection_network", "", "the same for inspection; without one a machine is inspected where it is plugged in",
			c.network(driver.InspectionNetwork)},
		{"neutron_rescuing_network", "", "the same for the rescue ramdisk, with the network interface neutron",
			c.network(driver.RescuingNetwork)},
		{"neutron_servicing_network", "", "the same for servicing, with the network interface neutron", c.network(driver.ServicingNetwork)},
		{"neutron_port_timeout", "2m", "a machine is switched on only when Neutron's port is ACTIVE; longest wait for that",
			duration(&c.NeutronPortTime)},
		{"image_download_source", "cache", "how machines get images of Glance: cache (this service fetches and serves them), or swift (they " +
			"read temporary URLs of what Glance keeps in Swift; what is not there comes from the cache)", oneOf(&c.ImageSource, "cache", "swift")},
		{"glance_swift_container", "glance", "container of Swift in which Glance keeps an object for each image", text(&c.GlanceContainer)},
		{"glance_swift_account", "", "account of Swift that Glance keeps images in, AUTH_ and the ID of its project; empty: that of Billet's " +
			"own project", text(&c.GlanceAccount)},
		{"www_authenticate_uri", "", "URL of Keystone that clients without a token are told; empty: openstack_auth_url", webURL(&c.KeystoneURL)},
	}
}

// checkDHCP leaves Billet's own DHCP to dhcp_provider billet; asked is the dhcp_mode that somebody set, or "".
func (c *Config) checkDHCP(asked string) error {
	switch {
	case c.DHCPProvider == "billet":
		return nil
	case asked != "" && asked != "off":
		return fmt.Errorf("dhcp_mode: %s is for dhcp_provider billet, and that is %s: leave it out", asked, c.DHCPProvider)
	case c.DHCPProvider == "neutron" && !c.inCloud():
		return fmt.Errorf("dhcp_provider: neutron needs openstack_auth_url and a login there")
	}
	c.DHCPMode = "off"
	return nil
}

func webURL(p *string) func(string) error {
	return func(s string) error {
		u, err := url.Parse(s)
		if s != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("%q is not an http or https URL", s)
		}
		*p = s
		return nil
	}
}

// catalogTypes are the services that Billet asks.
var catalogTypes = []string{"identity", "image", "network", "object-store"}

func endpoints(p *map[string]string) func(string) error {
	return func(s string) error {
		*p = map[string]string{}
		for _, item := range items(s) {
			kind, to, ok := strings.Cut(item, "=")
			if !ok || !slices.Contains(catalogTypes, kind) {
				return fmt.Errorf("%q is not TYPE=URL with a type of %s", item, strings.Join(catalogTypes, ", "))
			}
			var checked string
			if err := webURL(&checked)(to); err != nil {
				return err
			}
			(*p)[kind] = to
		}
		return nil
	}
}

func (c *Config) network(p driver.NetworkPurpose) func(string) error {
	return func(ident string) error {
		if c.NeutronNetworks == nil {
			c.NeutronNetworks = map[driver.NetworkPurpose]string{}
		}
		c.NeutronNetworks[p] = ident
		return nil
	}
}

// checkCloud refuses an auth that has nobody to ask, and a cloud without a login to it.
func (c *Config) checkCloud() error {
	if c.Auth == "keystone" && c.Cloud.AuthURL == "" {
		return fmt.Errorf("openstack_auth_url: auth keystone needs it")
	}
	if _, err := c.session(); err != nil {
		return fmt.Errorf("openstack_auth_url: %w", err)
	}
	return nil
}

// checkNetworks refuses networks of Neutron where there is no cloud.
func (c *Config) checkNetworks() error {
	for _, p := range slices.Sorted(maps.Keys(c.NeutronNetworks)) {
		if c.NeutronNetworks[p] != "" && !c.inCloud() {
			return fmt.Errorf("neutron_%s_network: it needs openstack_auth_url and a login there: the cloud whose Neutron has the network", p)
		}
	}
	return nil
}
