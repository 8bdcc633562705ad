package node

import "time"

// NetworkReport is what a network service beside Billet, such as Neutron, says of a machine's ports: evidence of what Billet
// does not see itself.
type NetworkReport struct {
	Service string        `json:"service"` // "Neutron"
	Silent  string        `json:"silent"`  // why it did not say; "" when it did
	Ports   []NetworkPort `json:"ports"`   // of the service, that have one of the machine's MAC addresses or are bound to its node
	At      time.Time     `json:"at"`
}

// NetworkPort is a port of the network service.
type NetworkPort struct {
	ID        string   `json:"id"`
	MAC       string   `json:"mac_address"`
	Network   string   `json:"network"` // its UUID
	Status    string   `json:"status"`  // "ACTIVE" when all is done
	Up        bool     `json:"up"`      // its owner wants it on
	Bound     bool     `json:"bound"`   // to this node
	Failed    bool     `json:"failed"`  // nobody could bind it
	Addresses []string `json:"addresses"`
	DHCP      DHCP     `json:"dhcp"`
}

// PortActive is the status of a port that is connected.
const PortActive = "ACTIVE"

// DHCP is who serves it to a network.
type DHCP struct {
	Off    bool        `json:"off"`    // no subnet of the network is to have it
	Silent string      `json:"silent"` // why the rest is not known; "" when it is
	Agents []DHCPAgent `json:"agents"`
}

// DHCPAgent is a program of the network service that serves DHCP.
type DHCPAgent struct {
	Host  string `json:"host"`
	Alive bool   `json:"alive"` // it reported lately, and is not switched off
}
