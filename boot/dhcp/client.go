package dhcp

import (
	"fmt"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// client is what a request says of its sender.
type client struct {
	mac      string // lower case with colons
	arch     boot.Arch
	pxe      bool // PXE firmware, UEFI HTTP firmware, or iPXE: wants a boot file
	http     bool // UEFI HTTP boot (option 60 "HTTPClient")
	ipxe     bool // iPXE (option 77, RFC 3004)
	ipxeHTTP bool // this iPXE can fetch by HTTP
	secs     int  // for how many seconds it has been asking, as it says
}

// ipxeHTTPFeature is one of iPXE's options inside option 175; https://ipxe.org/howto/dhcpd lists them.
const ipxeHTTPFeature = 19

// readClient takes apart a request; ok is false for hardware that is not Ethernet.
func readClient(req *dhcpv4.DHCPv4) (c client, ok bool) {
	mac, ok := boot.CanonicalMAC(req.ClientHWAddr.String())
	if !ok || req.HWType == infiniband || mac == "00:00:00:00:00:00" {
		return client{}, false
	}
	class := strings.ToLower(string(req.Options.Get(dhcpv4.OptionClassIdentifier)))
	c = client{
		mac:  mac,
		http: strings.HasPrefix(class, "httpclient"),
		ipxe: isIPXE(req.Options.Get(dhcpv4.OptionUserClassInformation)),
		secs: int(req.NumSeconds),
	}
	// Only boot clients tell their architecture: a client that does is one, even if its class is missing or another.
	var told bool
	c.arch, told = archOf(req, class)
	c.pxe = c.http || c.ipxe || told || strings.HasPrefix(class, "pxeclient")
	c.http = c.http || told && c.arch.HTTP()
	if c.ipxe {
		c.ipxeHTTP = canHTTP(req.Options.Get(dhcpv4.OptionEtherboot))
	}
	return c, true
}

// isIPXE looks for iPXE's name. iPXE sends it bare, RFC 3004 wants a length byte before it.
func isIPXE(userClass []byte) bool {
	s := string(userClass)
	return s == "iPXE" || s == "\x04iPXE" || s == "gPXE"
}

// canHTTP reads the features an iPXE build announces; one that announces nothing is trusted.
func canHTTP(features []byte) bool {
	if len(features) == 0 {
		return true
	}
	opts := dhcpv4.Options{}
	if err := opts.FromBytes(features); err != nil {
		return true
	}
	return opts.Has(dhcpv4.GenericOptionCode(ipxeHTTPFeature))
}

// who says who asks, for the program.
func (c client) who() node.BootWho {
	switch {
	case c.ipxe:
		return node.AskedIPXE
	case c.pxe:
		return node.AskedFirmware
	}
	return node.AskedSystem
}

// String says who asks, for people.
func (c client) String() string {
	who := "an operating system"
	switch {
	case c.ipxe:
		who = fmt.Sprintf("iPXE on %s (arch %d)", c.arch, uint16(c.arch))
	case c.pxe:
		who = fmt.Sprintf("%s (arch %d)", c.arch, uint16(c.arch))
	}
	return who
}
