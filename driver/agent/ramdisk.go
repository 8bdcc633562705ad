package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// callPath is where the agent of an inspection posts its report.
const callPath = "/v1/continue_inspection"

// ramdisk boots the deploy ramdisk and takes it down again.
type ramdisk struct {
	apiURL string
	params map[string]string // kernel parameters besides ipa-api-url
	reuse  *Client           // asks an agent that may run already whether it is free, for fast track; nil: always boot
}

// boot has the machine start the ramdisk on the given network. It may be called again after a
// crash: a machine that was switched on for this boot, or whose new agent has called, is left alone. Only
// an agent that looked the node up after the earlier one was forgotten is new: the earlier one may
// still run, call, and tell of an image it wrote in another deploy.
func (r ramdisk) boot(ctx context.Context, t *driver.Task, network driver.NetworkPurpose) error {
	known := bootNote.Get(t)
	if !known.Since.IsZero() {
		return nil
	}
	if step := t.Step(); step != nil && known.Forgotten == stepName(t) && calledSince(t, step.StartedAt) {
		bootsSince(t, step.StartedAt)
		return nil
	}
	if runs, err := r.runs(ctx, t, network); err != nil || runs {
		return err
	}
	on := node.PowerOn
	if !t.MaySwitchOff() {
		on = node.Rebooting
		if state, err := t.Hardware.Power.PowerState(ctx, t); err == nil && state == node.PowerOff {
			on = node.PowerOn // it lost power: nothing that is off can be reset
		}
	} else if err := t.SetPower(ctx, node.PowerOff); err != nil {
		return fmt.Errorf("switching the machine off to boot the deploy ramdisk: %w", err)
	}
	if err := t.Hardware.Network.Connect(ctx, t, network); err != nil {
		return fmt.Errorf("connecting the machine to the %s network: %w", network, err)
	}
	if !driver.CanSet(t.Hardware.Power, node.PowerOn) {
		return r.bootByAgent(ctx, t)
	}
	if err := t.DropAgent(ctx); err != nil {
		return fmt.Errorf("forgetting the agent of an earlier boot: %w", err)
	}
	if t.Step() != nil {
		bootNote.Edit(t, func(b *ramdiskBoot) { b.Forgotten = stepName(t) })
		if err := t.Checkpoint(ctx); err != nil {
			return err
		}
	}
	if err := t.Hardware.Boot.PrepareRamdisk(ctx, t, r.kernelParams()); err != nil {
		return fmt.Errorf("preparing the machine to boot the deploy ramdisk: %w", err)
	}
	since := node.Now()
	if err := t.SetPower(ctx, on); err != nil {
		return fmt.Errorf("switching the machine on to boot the deploy ramdisk: %w", err)
	}
	bootsSince(t, since)
	return t.Checkpoint(ctx)
}

// bootByAgent has an agent that runs reboot its machine, which must start the ramdisk again by itself: from
// the network, or from whatever medium somebody put there. The agent is forgotten last, as it must be known
// until then; the new one cannot have called so soon.
func (r ramdisk) bootByAgent(ctx context.Context, t *driver.Task) error {
	if err := t.Hardware.Boot.PrepareRamdisk(ctx, t, r.kernelParams()); err != nil {
		return fmt.Errorf("preparing the machine to boot the deploy ramdisk: %w", err)
	}
	since := node.Now()
	if err := rebootByAgent(ctx, t); err != nil {
		return fmt.Errorf("rebooting the machine into the deploy ramdisk: %w", err)
	}
	bootsSince(t, since)
	return t.Checkpoint(ctx)
}

// runs is fast track: it reports whether the ramdisk of an earlier flow runs on the machine, with an agent that
// answers and is free, and takes it over. A boot record is made all the same: images are served by it, and a
// machine that is reset in the middle comes back.
func (r ramdisk) runs(ctx context.Context, t *driver.Task, network driver.NetworkPurpose) (bool, error) {
	if r.reuse == nil || !t.AgentAlive() {
		return false, nil
	}
	last, why := r.idle(ctx, t)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if why != "" {
		t.Logger().Warn("no fast track: the machine is booted anew", "why", why)
		return false, nil
	}
	if err := t.Hardware.Network.Connect(ctx, t, network); err != nil {
		return false, fmt.Errorf("connecting the machine to the %s network: %w", network, err)
	}
	if err := t.Hardware.Boot.PrepareRamdisk(ctx, t, r.kernelParams()); err != nil {
		return false, fmt.Errorf("preparing the machine to boot the deploy ramdisk: %w", err)
	}
	commandNote.Edit(t, func(c *agentCommand) { c.Done = last }) // what an earlier flow asked for does not count in this one
	bootNote.Edit(t, func(b *ramdiskBoot) { b.FastTrack, b.Since = true, t.Node.Agent.LastHeartbeat.Add(-time.Nanosecond) })
	return true, t.Checkpoint(ctx)
}

// idle asks the agent for its newest command; why says what speaks against using this agent.
func (r ramdisk) idle(ctx context.Context, t *driver.Task) (last, why string) {
	state, err := t.Hardware.Power.PowerState(ctx, t)
	if err != nil || state != node.PowerOn {
		return "", fmt.Sprintf("its power state is %q (error: %v)", state, err)
	}
	client := *r.reuse
	client.Attempts = 1
	s, err := client.open(t.Node.Agent)
	if err != nil {
		return "", err.Error()
	}
	list, err := s.commands(ctx)
	if err != nil {
		return "", err.Error()
	}
	for _, c := range list {
		if c.Status == wire.Running {
			return "", "its agent is busy with " + c.Name
		}
		last = c.ID
	}
	return last, ""
}

// park leaves the ramdisk running for the next flow's fast track.
func park(ctx context.Context, t *driver.Task, network driver.NetworkPurpose) error {
	if err := t.Hardware.Boot.CleanUpRamdisk(ctx, t); err != nil {
		return fmt.Errorf("removing the boot record: %w", err)
	}
	if err := t.Hardware.Network.Disconnect(ctx, t, network); err != nil {
		return fmt.Errorf("leaving the %s network: %w", network, err)
	}
	return nil
}

func (r ramdisk) kernelParams() map[string]string {
	params := map[string]string{}
	if r.apiURL != "" {
		params["ipa-api-url"] = strings.TrimSuffix(r.apiURL, "/")
	}
	for k, v := range r.params {
		params[k] = v
	}
	return params
}

// calledSince reports whether an agent has called after the given time.
func calledSince(t *driver.Task, since time.Time) bool {
	return t.Node.Agent.URL != "" && t.Node.Agent.LastHeartbeat.After(since)
}

// called reports whether the agent of the ramdisk that boot started has called.
func called(t *driver.Task) bool {
	since := bootNote.Get(t).Since
	return !since.IsZero() && calledSince(t, since)
}

func bootsSince(t *driver.Task, since time.Time) {
	bootNote.Edit(t, func(b *ramdiskBoot) { b.Since = since })
}

// bootAnew forgets a boot of this flow, so that the next is a new one.
func bootAnew(t *driver.Task) {
	bootNote.Edit(t, func(b *ramdiskBoot) { b.Since, b.Forgotten = time.Time{}, "" })
}

// leave takes the ramdisk's traces back: machine off where that is allowed, no boot record, no deploy
// network, no agent. It does as much as it can and returns the first error; the log has the others.
func leave(ctx context.Context, t *driver.Task, network driver.NetworkPurpose) error {
	var first error
	note := func(what string, err error) {
		switch {
		case err == nil:
		case first == nil:
			first = fmt.Errorf("%s: %w", what, err)
		default:
			t.Logger().Warn("not all of the deploy ramdisk could be taken back", "what", what, "error", err)
		}
	}
	if t.MaySwitchOff() {
		note("switching the machine off", t.SetPower(ctx, node.PowerOff))
	}
	note("removing the boot record", t.Hardware.Boot.CleanUpRamdisk(ctx, t))
	if network != "" {
		note(fmt.Sprintf("leaving the %s network", network), t.Hardware.Network.Disconnect(ctx, t, network))
	}
	if driver.CanSet(t.Hardware.Power, node.PowerOn) || !t.AgentAlive() { // else nobody but the agent can reboot the machine
		note("forgetting the agent", t.DropAgent(ctx))
	}
	return first
}

// networkOf is the network a flow's ramdisk lives in; "" for flows that boot none.
func networkOf(flow node.Flow) driver.NetworkPurpose {
	switch flow {
	case node.FlowDeploy:
		return driver.ProvisioningNetwork
	case node.FlowClean:
		return driver.CleaningNetwork
	case node.FlowInspect:
		return driver.InspectionNetwork
	case node.FlowRescue, node.FlowUnrescue:
		return driver.RescuingNetwork
	case node.FlowService:
		return driver.ServicingNetwork
	}
	return ""
}
