package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// lookup finds out which node this machine is, asking again at growing intervals.
func (a *Agent) lookup(ctx context.Context) error {
	deadline := time.Now().Add(a.Config.LookupTimeout)
	for attempt := 0; ; attempt++ {
		err := a.lookupOnce(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("looking this machine up gave no node in %s: %w", a.Config.LookupTimeout, err)
		}
		wait := lookupWait(attempt, a.Config.LookupInterval, err)
		a.Log.Warn("lookup", "error", err, "again_in", wait)
		if err := steps.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// lookupWait grows from the interval to a minute; a locked node (409) is let go after seconds.
func lookupWait(attempt int, interval time.Duration, err error) time.Duration {
	most := time.Minute
	if answer := (*statusError)(nil); errors.As(err, &answer) && answer.code == http.StatusConflict {
		most = 30 * time.Second
	} else if err != nil && answer == nil {
		most = 10 * time.Second // the service cannot be reached: it may be back any moment
	}
	return min(max(interval, 100*time.Millisecond)<<min(attempt, 10), most)
}

func (a *Agent) lookupOnce(ctx context.Context) error {
	if err := a.negotiate(ctx); err != nil {
		return err
	}
	var macs []string
	for _, nic := range a.host.Inventory.NICs() {
		macs = append(macs, nic.MACAddress)
	}
	if len(macs) == 0 && a.Config.NodeUUID == "" {
		return errors.New("no network interface was found to look this machine up by")
	}
	found, err := a.client.lookup(ctx, macs, a.Config.NodeUUID)
	if err != nil {
		return err
	}
	a.host.Node, a.host.Service = found.Node, found.Config
	a.Log = a.Log.With("node", a.host.Node.UUID)
	a.host.Log = a.Log
	a.Log.Info("looked up", "heartbeat_timeout", a.host.Service.HeartbeatTimeout)
	return a.takeToken()
}

// negotiate learns the service's version and sets the clock by it when that is far off.
func (a *Agent) negotiate(ctx context.Context) error {
	clock, err := a.client.negotiate(ctx)
	if err != nil {
		return err
	}
	if a.Config.APIVersion > 0 {
		a.client.setVersion(a.Config.APIVersion)
	}
	if off := time.Until(clock); !clock.IsZero() && off.Abs() > clockTolerance {
		a.Log.Warn("this machine's clock is wrong; setting it by the service's", "off_by", -off)
		if err := a.Machine.SetClock(clock); err != nil {
			a.Log.Warn("the clock stays wrong", "error", err)
		}
	}
	return nil
}

// clockTolerance is how far this machine's clock may be from the service's.
const clockTolerance = time.Minute

// takeToken settles which token to use: the one given now, one given at boot, or one kept by an
// agent that ran before in this same boot. The service hands it out once only.
func (a *Agent) takeToken() error {
	saved := a.loadState()
	given := a.host.Service.AgentToken
	switch {
	case given != "" && given != "******":
		saved.Token = given
	case a.Config.Token != "":
		saved.Token = a.Config.Token
	case saved.Node != a.host.Node.UUID:
		saved.Token = ""
	}
	if saved.Token == "" && (a.host.Service.AgentTokenRequired || a.client.speaks(wire.LookupVersion)) {
		return errors.New("the service gave this node's agent token to somebody else before, and gives it only once: end the " +
			"operation or power the machine off through the Bare Metal API")
	}
	if saved.Node == a.host.Node.UUID {
		a.host.RAIDConfig = saved.RAIDConfig
	}
	saved.Node = a.host.Node.UUID
	a.host.Service.AgentToken = saved.Token
	return a.saveState(saved)
}
