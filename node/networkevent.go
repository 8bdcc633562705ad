package node

// NetworkEvent is what the network service says became of one of its ports. Whoever may call the API can say so: a node is
// looked at for it, and nothing is decided by it.
type NetworkEvent struct {
	Name   string // "network.bind_port"
	PortID string // of the network service
	MAC    string // lower case with colons
	Status string // of the port: "ACTIVE"
	Host   string // that the port is bound to: a node's UUID, or "" when it is no more
}
