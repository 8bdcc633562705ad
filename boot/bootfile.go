package boot

import (
	"net/netip"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Files says what a machine is to start, whoever tells it so: Billet's own DHCP, or somebody else's.
type Files struct {
	BaseURL string // of boot/web as machines reach it: "http://10.99.0.1:8080"
	Loaders Loaders
}

// Script is what iPXE on the machine with this MAC starts. It is the same at every boot: the script says what to do now.
func (f Files) Script(mac string) string { return ScriptURL(f.BaseURL, mac) }

// First is what firmware starts: a name for TFTP, or a URL when it fetches by HTTP. "": nothing, and missing says why.
func (f Files) First(a Arch, kind Loader, http bool) (file, missing string) {
	if missing := f.Loaders.Missing(a, kind); missing != "" {
		return "", missing
	}
	name := f.Loaders.Name(a, kind)
	if http {
		return strings.TrimSuffix(f.BaseURL, "/") + LoaderPath + name, ""
	}
	return name, ""
}

// HTTPClient is the vendor class that UEFI HTTP boot sends and wants back (UEFI 2.10 section 24.7.3.1).
const HTTPClient = "HTTPClient"

// NoProxyDHCP is what iPXE is told in its option 175, so that it does not wait three seconds for a ProxyDHCP server:
// option 176, 1 (https://ipxe.org/howto/dhcpd).
var NoProxyDHCP = []byte{176, 1, 1}

// Client is what is known of a machine before it asks a DHCP server.
type Client struct {
	MAC    string // canonical
	Arch   Arch
	Loader Loader
}

// Options are what another DHCP server is to tell the machine, as Neutron names them in extra_dhcp_opts: options by number, with
// the tags that its dnsmasq gives to iPXE. server is the address of the boot services; its family chooses that of the
// options. The server answers alike for as long as the options stay, so the machine is sent to its own disk, when there is
// nothing else to boot, by what it loads.
func (f Files) Options(server netip.Addr, c Client) []node.DHCPOption {
	if server.Is4() {
		return f.options4(server.String(), c)
	}
	return f.options6(server.String(), c)
}

// options4 answers like boot/dhcp, option by option.
func (f Files) options4(server string, c Client) []node.DHCPOption {
	first, _ := f.First(c.Arch, c.Loader, c.Arch.HTTP())
	var all []node.DHCPOption
	add := func(name, value string) {
		all = append(all, node.DHCPOption{Name: name, Value: value, IPVersion: 4})
	}
	switch {
	case c.Loader == IPXE:
		add("tag:ipxe,67", f.Script(c.MAC))
		if first != "" {
			add("tag:!ipxe,67", first)
		}
	case first != "":
		add("67", first)
	}
	if c.Arch.HTTP() {
		add("tag:!ipxe,60", HTTPClient)
	} else {
		add("66", server)
		add("150", server)
	}
	add("server-ip-address", server)
	add("tag:ipxe,175", "b0:01:01") // NoProxyDHCP
	return all
}

// options6 has the one option of RFC 5970 that holds a URL, and the class of UEFI HTTP boot: enterprise 343, Intel (UEFI 2.10
// section 24.7.3.1), a length of two bytes, and the name.
func (f Files) options6(server string, c Client) []node.DHCPOption {
	var all []node.DHCPOption
	add := func(name, value string) {
		all = append(all, node.DHCPOption{Name: name, Value: value, IPVersion: 6})
	}
	first, _ := f.First(c.Arch, c.Loader, c.Arch.HTTP())
	if first != "" && !c.Arch.HTTP() {
		first = "tftp://[" + server + "]/" + first
	}
	switch {
	case c.Loader == IPXE:
		add("tag:ipxe6,59", f.Script(c.MAC))
		if first != "" {
			add("tag:!ipxe6,59", first)
		}
	case first != "":
		add("59", first)
	}
	if c.Arch.HTTP() {
		add("tag:!ipxe6,16", "00:00:01:57:00:0a:48:54:54:50:43:6c:69:65:6e:74")
	}
	return all
}
