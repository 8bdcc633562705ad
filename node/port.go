package node

import "time"

// Port is one network interface of a node, named by its MAC address.
type Port struct {
	ID       int64
	UUID     string
	NodeUUID string
	Name     string
	Address  string // MAC, lower case with colons; unique over all ports

	PXEEnabled          bool
	PortgroupUUID       string
	PhysicalNetwork     string
	IsSmartNIC          bool
	LocalLinkConnection Document
	Extra               Document
	InternalInfo        Document
	Description         string
	Vendor              string
	Category            string
	CreatedAt           time.Time
	UpdatedAt           time.Time
	Unreadable          Unreadable
}

// Address is an IPv4 address that DHCP has lent to a port of a node.
type Address struct {
	NodeUUID string
	MAC      string
	IP       string // dotted quad
	Until    time.Time
}

// DHCPOption is what a DHCP server that Billet does not run is to tell one port.
type DHCPOption struct {
	Name      string // as Neutron's extra_dhcp_opts name it: "tag:!ipxe,67"
	Value     string
	IPVersion int // 4 or 6
}

// HistoryEvent is one line of a node's history.
type HistoryEvent struct {
	ID        int64
	UUID      string
	NodeUUID  string
	Conductor string
	EventType string // the flow: "verify", "deploying", …
	Severity  string // "INFO" or "ERROR"
	Event     string // the sentence people read
	User      string
	CreatedAt time.Time
}

// Inventory is what an inspection found: the agent's document and what hooks made of it.
type Inventory struct {
	Inventory  Document
	PluginData Document
}

// Progress is how far the step under way has come. Only the latest is kept.
type Progress struct {
	NodeUUID string
	Flow     Flow
	Step     string         // "write_image"
	Detail   string         // a few words for people, may be empty
	Done     int64          // bytes; 0 when the step does not count
	Total    int64          // bytes; 0 when unknown
	Disks    []DiskProgress // of a step that works on several disks at once, in the machine's order; else nil
	At       time.Time
}

// DiskProgress is how far a step is with one disk.
type DiskProgress struct {
	Name, Serial string // "/dev/sda"
	What         string // a few words for people: "overwriting with zeros", "erased", "waits"
	Done, Total  int64  // bytes
}
