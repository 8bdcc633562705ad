package driver

import (
	"context"
	"errors"
	"strings"

	"github.com/billet-metal/billet/node"
)

// SerialListener is implemented by management interfaces that hear a machine's serial line through its BMC.
type SerialListener interface {
	// ListenSerial hands what the machine writes to heard, piece by piece from one goroutine, until ctx ends or
	// the BMC ends it. It types nothing and takes the line from nobody: node.Conflict says that somebody else has
	// it or has taken it, node.Invalid that there will never be anything to hear.
	ListenSerial(ctx context.Context, t *Task, heard func([]byte)) error
}

// ErrSerialTaken is the cause of a listener's end that somebody else wanted: it should stay away.
var ErrSerialTaken = errors.New("somebody else wants the console")

// CaptureSerial is the driver_info key by which a node overrides whether its serial line is heard.
const CaptureSerial = "capture_serial"

// SerialOf returns what hears the node's serial line; ok is false when that is not wanted, by the node or, when
// it does not say, by the service, when the node's console is in use, or when its hardware cannot.
func SerialOf(n *node.Node, h *Hardware, service bool) (_ SerialListener, ok bool) {
	switch v := n.DriverInfo[CaptureSerial].(type) {
	case bool:
		service = v
	case string:
		service = strings.EqualFold(v, "true") || service && v == ""
	}
	if !service || n.ConsoleEnabled || h == nil {
		return nil, false
	}
	l, ok := h.Management.(SerialListener)
	return l, ok
}
