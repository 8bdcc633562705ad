package node

import "time"

// Portgroup joins ports of one node to one link of several cables (a bond).
type Portgroup struct {
	ID       int64
	UUID     string
	NodeUUID string
	Name     string // empty means none
	Address  string // MAC of the bond, lower case with colons; unique over all portgroups; empty: the machine's choice

	Mode                     string   // of the bond, as the operating system names it: "active-backup", "802.3ad"
	Properties               Document // more of the bond: "miimon", "xmit_hash_policy"
	StandalonePortsSupported bool     // whether its ports work without the bond, as for booting from the network
	PhysicalNetwork          string
	Category                 string
	Extra                    Document
	InternalInfo             Document
	CreatedAt                time.Time
	UpdatedAt                time.Time
	Unreadable               Unreadable
}

// DefaultPortgroupMode is the mode of a portgroup that names none: it needs nothing of the switch.
const DefaultPortgroupMode = "active-backup"

// PortgroupNotFound is the API's answer for an unknown portgroup.
func PortgroupNotFound(ident string) *Err {
	return Errorf(NotFound, "Portgroup %s could not be found.", ident)
}

// PortgroupFilter narrows a list of portgroups.
type PortgroupFilter struct {
	NodeUUID, Address string
	Shards            []string
	ConductorGroups   []string // of the portgroups' nodes; "" is the default group
}
