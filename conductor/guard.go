package conductor

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/billet-metal/billet/node"
)

// errMistake is what people read of a driver that panicked. Trying again would not help.
var errMistake = node.Errorf(node.Internal, "a mistake in the driver (panic); the service's log has more")

// guarded calls a driver. One that panics fails what it was called for, not the service. The log says where; what the panic
// said is left out unless the Go runtime said it, because a driver's own words may hold a password.
func guarded(log *slog.Logger, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			what := fmt.Sprintf("%T", p)
			if e, ok := p.(runtime.Error); ok {
				what = e.Error()
			}
			log.Error("a driver panicked", "panic", what, "stack", string(debug.Stack()))
			err = errMistake
		}
	}()
	return call()
}
