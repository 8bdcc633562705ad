package inspection_test

import "github.com/billet-metal/billet/node"

const testUUID = "7b9f3c64-8f2a-4a53-9f52-0d2a5a7c9e11"

// world is a node and its ports as they were before an inspection.
type world struct {
	stored node.Node
	ports  []node.Port
}

func newWorld() *world {
	return &world{
		stored: node.Node{
			UUID: testUUID, Name: "rack1-u7", Driver: "ipmi", Properties: node.Document{"cpus": "4"},
			DriverInfo: node.Document{"ipmi_address": "10.1.1.7", "ipmi_password": "hunter22"},
		},
		ports: []node.Port{{ID: 1, UUID: "p1", NodeUUID: testUUID, Address: "52:54:00:00:00:01", PXEEnabled: true}},
	}
}

// node is the stored node as it is loaded.
func (w *world) node() *node.Node { return w.stored.Clone() }
