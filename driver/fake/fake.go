// Package fake owns the interfaces of the fake-hardware type: a machine that is only a row. It
// passes every flow, asynchronously and fast, and is slow or broken where driver_info says so. It
// refuses to keep anything outside the node, so it survives a crash as real machines do.
package fake

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// name is what every fake implementation is called in the API.
const name = "fake"

// longest is the longest delay that can be asked for.
const longest = 24 * time.Hour

// part is what all fake implementations share: delays and failures asked for in driver_info.
type part struct{ iface node.Interface }

func (p part) Name() string { return name }

func (p part) Properties() map[string]string {
	return map[string]string{
		p.delayKey(): fmt.Sprintf("How long the fake %s interface takes: seconds, or a text such as \"250ms\". Default 0.", p.iface),
		p.failKey():  fmt.Sprintf("What the fake %s interface fails with. Default: it does not fail.", p.iface),
	}
}

func (p part) delayKey() string { return "fake_" + string(p.iface) + "_delay" }
func (p part) failKey() string  { return "fake_" + string(p.iface) + "_fail" }

// Validate refuses a delay that cannot be read.
func (p part) Validate(_ context.Context, t *driver.Task) error {
	for key := range t.Node.DriverInfo {
		mine := key == p.delayKey() || p.iface == node.Deploy && strings.HasPrefix(key, "fake_") && strings.HasSuffix(key, "_delay")
		if !mine {
			continue
		}
		if _, err := delay(t.Node, key); err != nil {
			return err
		}
	}
	return nil
}

// act takes as long as driver_info says and fails when it says so.
func (p part) act(ctx context.Context, t *driver.Task) error {
	d, err := delay(t.Node, p.delayKey())
	if err != nil {
		return err
	}
	if err := p.failure(t.Node, ""); err != nil {
		return err
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return &node.Err{Kind: node.Internal, Msg: fmt.Sprintf("the fake %s interface was still busy when its time was up", p.iface),
			Cause: ctx.Err()}
	}
}

// failure returns the error asked for by the interface's key or by the step's.
func (p part) failure(n *node.Node, step string) error {
	for _, key := range []string{p.failKey(), "fake_" + step + "_fail"} {
		if text := n.DriverInfo.String(key); text != "" {
			return node.Errorf(node.Internal, "%s", text)
		}
	}
	return nil
}

// delay reads a number of seconds or a duration's text; a missing key is 0.
func delay(n *node.Node, key string) (time.Duration, error) {
	bad := node.Errorf(node.Invalid, "driver_info/%s must be seconds from 0 to 86400, or a text such as \"250ms\".", key)
	var d time.Duration
	switch v := n.DriverInfo[key].(type) {
	case nil:
		return 0, nil
	case float64:
		d = time.Duration(v * float64(time.Second))
	case int:
		d = time.Duration(v) * time.Second
	case string:
		if s, err := strconv.ParseFloat(v, 64); err == nil {
			d = time.Duration(s * float64(time.Second))
		} else if d, err = time.ParseDuration(v); err != nil {
			return 0, bad
		}
	default:
		return 0, bad
	}
	if d < 0 || d > longest {
		return 0, bad
	}
	return d, nil
}
