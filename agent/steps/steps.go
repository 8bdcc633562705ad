// Package steps has the work of the agent: what a service may ask it to do to the machine it runs on. Each kind
// of step is a type with what it needs, and all of them know the machine by one Host. They refuse to touch a
// disk that is not, or may not be, the one that was meant, before the first byte is written.
package steps

import (
	"cmp"
	"context"

	"github.com/billet-metal/billet/wire"
)

// Kind is a list of steps: the flow that runs them.
type Kind string

const (
	Clean   Kind = "clean"
	Deploy  Kind = "deploy"
	Service Kind = "service"
)

// Call is one call of a step.
type Call struct {
	Node   wire.Node
	Params Params // of the command
	Args   Params // of the step
	Report func(detail string, done, total int64)

	// disks reports how far each of several disks is, and all together; nil when nobody wants to know.
	Disks func(detail string, each []wire.DiskProgress)
}

// Step is one line of the table of steps.
type Step struct {
	Name      string
	Interface string       // "" is deploy
	Priority  map[Kind]int // a kind that is not there does not have the step; 0 runs only when asked for
	Abortable bool
	Args      map[string]any // argument → {"description", "required"}
	Run       func(ctx context.Context, c Call) (any, error)
}

// Of is the interface that the step belongs to.
func (s Step) Of() string { return cmp.Or(s.Interface, "deploy") }
