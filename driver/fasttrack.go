package driver

import (
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// FastTrackKey is the driver_info key by which a node overrides whether flows use a ramdisk on that still runs.
const FastTrackKey = "fast_track"

var yesWords, noWords = []string{"1", "t", "true", "on", "y", "yes"}, []string{"0", "f", "false", "off", "n", "no"}

// FastTrackOf reports whether the node's flows use a running ramdisk on: what the node says, else what the service does.
func FastTrackOf(n *node.Node, service bool) (on bool, err error) {
	switch v := n.DriverInfo[FastTrackKey].(type) {
	case nil:
		return service, nil
	case bool:
		return v, nil
	case string:
		word := strings.ToLower(strings.TrimSpace(v))
		if on = slices.Contains(yesWords, word); on || slices.Contains(noWords, word) {
			return on, nil
		}
	}
	return false, node.Errorf(node.Invalid, "driver_info/%s of node %s is %v; true and false are allowed.",
		FastTrackKey, n.UUID, n.DriverInfo[FastTrackKey])
}
