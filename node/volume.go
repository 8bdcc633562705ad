package node

import "time"

// VolumeConnector is a name by which a node is known to a storage network, such as its iSCSI initiator.
type VolumeConnector struct {
	ID          int64
	UUID        string
	NodeUUID    string
	Type        string // one of VolumeConnectorTypes
	ConnectorID string // the name itself; unique with Type over all connectors
	Extra       Document
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Unreadable  Unreadable
}

// VolumeConnectorTypes are the kinds of names that storage networks know a machine by.
var VolumeConnectorTypes = []string{"iqn", "ip", "mac", "wwnn", "wwpn", "port", "portgroup"}

// VolumeTarget is a volume elsewhere that is meant for a node's instance.
type VolumeTarget struct {
	ID         int64
	UUID       string
	NodeUUID   string
	VolumeType string   // "iscsi", "fibre_channel"
	VolumeID   string   // the volume's name at the service that has it
	BootIndex  int      // 0: the instance boots from it; unique in the node
	Properties Document // sealed: how to reach it, with the passwords for that
	Extra      Document
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Unreadable Unreadable
}

// VolumeConnectorNotFound is the API's answer for an unknown volume connector.
func VolumeConnectorNotFound(ident string) *Err {
	return Errorf(NotFound, "Volume connector %s could not be found.", ident)
}

// VolumeTargetNotFound is the API's answer for an unknown volume target.
func VolumeTargetNotFound(ident string) *Err {
	return Errorf(NotFound, "Volume target %s could not be found.", ident)
}
