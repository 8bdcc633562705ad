package inspection

import (
	"strings"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// bootMode is "bios", "uefi", or "" when the machine does not say.
func bootMode(b wire.BootInfo) string {
	if mode := strings.ToLower(b.CurrentBootMode); mode == "bios" || mode == "uefi" {
		return mode
	}
	return ""
}

// Booted writes on the node what its machine says of how it booted. What the machine leaves out stays as it was known.
func Booted(n *node.Node, b wire.BootInfo) {
	mode, off := bootMode(b), false
	if mode != "" {
		n.BootMode = mode
	}
	switch {
	case b.SecureBoot != nil:
		n.SecureBoot = b.SecureBoot
	case mode == "bios":
		n.SecureBoot = &off
	}
}
