package driver

import "github.com/billet-metal/billet/node"

// Keyed is the further ability of a boot interface that gives each ramdisk it boots a key, with which the ramdisk
// shows in every call that it is the one of that boot (node.WithBootKey).
type Keyed interface {
	// GivesKey reports whether the ramdisks of this node get one.
	GivesKey(n *node.Node, h *Hardware) bool
}
