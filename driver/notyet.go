package driver

import (
	"time"

	"github.com/billet-metal/billet/node"
)

// NotYet is the error of a step that cannot go on now and may in a moment: a service beside this one is away, or has not
// ended what it was asked for. The conductor lets the node wait and calls the step's Run again, so what came before in it must
// be safe to do again, as ever. When it stays so, Err is why the flow failed.
type NotYet struct {
	Await  node.Await    // its kind is one that runs again (node.AwaitKind.RunsAgain)
	Within time.Duration // from the first time on; 0: as long as a wait of the flow may last
	Every  time.Duration // when Run is called again
	Err    error
}

func (e *NotYet) Error() string { return e.Err.Error() }

func (e *NotYet) Unwrap() error { return e.Err }
