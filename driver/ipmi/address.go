package ipmi

import (
	"net/netip"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const addressKey = "ipmi_address"

// addressed is where driver_info has the BMC's address, for power and management alike.
type addressed struct{}

var _ driver.BMCAddresser = addressed{}

// BMCAddresses implements driver.BMCAddresser.
func (addressed) BMCAddresses(info node.Document) []netip.Addr {
	return driver.AddressIn(info.String(addressKey))
}

// SetBMCAddress implements driver.BMCAddresser.
func (addressed) SetBMCAddress(info node.Document, bmc netip.Addr) { info[addressKey] = bmc.String() }
