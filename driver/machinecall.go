package driver

import (
	"context"

	"github.com/billet-metal/billet/node"
)

// MachineCallee is implemented by deploy interfaces whose ramdisk calls methods of its own instead
// of sending heartbeats. TakeCall is made under the node's lease while a step waits: it checks that the
// caller is the machine, and remembers what it said for the step's Poll, which comes next. An error
// (node.Invalid, node.Forbidden…) is the caller's answer and changes nothing.
type MachineCallee interface {
	TakeCall(ctx context.Context, t *Task, call node.MachineCall) error
}
