package api

import (
	"context"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// Power is asked for and answered at once with 202: a machine may take minutes, and the state that was asked for is stored
// before the BMC is called.

// Hardware speaks with the machine of a node, by the node's interfaces.
type Hardware interface {
	SetPower(ctx context.Context, ident string, target node.PowerState, timeout time.Duration) error
	SetBootDevice(ctx context.Context, ident string, d node.BootDevice) error
	BootDevice(ctx context.Context, ident string) (node.BootDevice, error)
	BootDevices(ctx context.Context, ident string) ([]string, error)
	SetBootMode(ctx context.Context, ident, mode string) error // "bios" or "uefi"
	SetSecureBoot(ctx context.Context, ident string, on bool) error
	InjectNMI(ctx context.Context, ident string) error
	// SetTargetRAIDConfig keeps a RAID configuration that the node's raid interface takes (Invalid, or
	// NotFound when it builds none).
	SetTargetRAIDConfig(ctx context.Context, ident string, config node.Document) error
}

// hardware are the calls that reach a node's machine.
type hardware struct {
	finder
	con Hardware
}

func (hw *hardware) setPower(w http.ResponseWriter, c *call) error {
	ident, body, err := c.asked("target", "timeout")
	if err != nil {
		return err
	}
	target, err := powerTarget(c.version, body["target"])
	if err != nil {
		return err
	}
	timeout, err := powerTimeout(c.version, body)
	if err != nil {
		return err
	}
	if err := hw.con.SetPower(c.Context(), ident, target, timeout); err != nil {
		return err
	}
	return accepted(w, c, ident)
}

func powerTarget(v version, value any) (node.PowerState, error) {
	const allowed = "power on, power off, rebooting, soft power off, soft rebooting"
	if value == nil {
		return "", invalid("The body needs \"target\": one of %s", allowed)
	}
	s, _ := value.(string)
	target, ok := powerTargets[s]
	if !ok {
		return "", invalid("The power state %v is not valid. Allowed are: %s", value, allowed)
	}
	if strings.HasPrefix(s, "soft") {
		return target, v.needs(softPower, "the power state '"+s+"'")
	}
	return target, nil
}

// powerTimeout is how long the change may take; 0 leaves it to the conductor.
func powerTimeout(v version, body map[string]any) (time.Duration, error) {
	value, given := body["timeout"]
	if !given || value == nil {
		return 0, nil
	}
	if err := v.needsArgument("power", "timeout"); err != nil {
		return 0, err
	}
	seconds, ok := value.(float64)
	if !ok || seconds != math.Trunc(seconds) || seconds < 1 || seconds > math.MaxInt32 {
		return 0, invalid("The timeout must be a whole number of seconds of at least 1, not %v.", value)
	}
	return time.Duration(seconds) * time.Second, nil
}
