package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Rescue is the rescue interface "agent": the machine boots the ramdisk, whose agent lets in
// whoever knows the password as the user "rescue". It touches no disk. APIURL must be set.
type Rescue struct {
	APIURL      string // where the agent reaches the API
	Client      Client
	BootTimeout time.Duration // 0: DefaultBootTimeout
	Poll        time.Duration // 0: DefaultPoll
}

// Name implements driver.Implementation.
func (r *Rescue) Name() string { return "agent" }

// Properties implements driver.Implementation.
func (r *Rescue) Properties() map[string]string { return nil }

// Validate implements driver.Implementation. What the ramdisk needs, the boot interface validates.
func (r *Rescue) Validate(context.Context, *driver.Task) error { return nil }

// Steps lists the frames of both flows.
func (r *Rescue) Steps() []driver.Step {
	rescue := func(priority int) map[node.Flow]int { return map[node.Flow]int{node.FlowRescue: priority} }
	unrescue := func(priority int) map[node.Flow]int { return map[node.Flow]int{node.FlowUnrescue: priority} }
	return []driver.Step{
		{Name: "boot_rescue", Priority: rescue(100), Frame: true, Abortable: true, Run: r.boot, Poll: r.booted},
		{Name: "finalize_rescue", Priority: rescue(80), Frame: true, Run: r.finalize},
		{Name: "hand_over_rescue", Priority: rescue(60), Frame: true, Run: r.handOver},

		{Name: "end_rescue", Priority: unrescue(100), Frame: true, Run: r.end},
		{Name: "boot_instance", Priority: unrescue(80), Frame: true, Run: r.bootInstance},
	}
}

// boot starts the rescue ramdisk and waits for its agent.
func (r *Rescue) boot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if _, err := passwordHash(t.Node); err != nil {
		return driver.Done(), err
	}
	within := orElse(r.BootTimeout, DefaultBootTimeout)
	err := (ramdisk{apiURL: r.APIURL}).boot(ctx, t, driver.RescuingNetwork)
	if wait, err := driver.UntilFile(t, err, within); err != nil || wait.Waiting() {
		return wait, err
	}
	return r.await(t, within), nil
}

func (r *Rescue) booted(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if driver.AwaitsImage(t) {
		return r.boot(ctx, t)
	}
	return r.await(t, 0), nil
}

func (r *Rescue) await(t *driver.Task, within time.Duration) driver.Result {
	if called(t) {
		return driver.Done()
	}
	return driver.Result{WaitFor: firstCall, Within: within, PollEvery: orElse(r.Poll, DefaultPoll)}
}

func passwordHash(n *node.Node) (string, error) {
	hash := n.InstanceInfo.String(driver.HashedRescuePassword)
	if hash == "" {
		return "", node.Errorf(node.Invalid, "instance_info no longer has the rescue password: it was changed after the rescue was "+
			"asked for; ask for it again")
	}
	return hash, nil
}

// finalize has the agent let people in. The agent answers once and then closes its API, so one that
// was asked before, by a process that died, and is silent now, has done it.
func (r *Rescue) finalize(ctx context.Context, t *driver.Task) (driver.Result, error) {
	hash, err := passwordHash(t.Node)
	if err != nil {
		return driver.Done(), err
	}
	s, err := r.Client.open(t.Node.Agent)
	if err != nil {
		return driver.Done(), err
	}
	driver.RescueAddress.Set(t, s.base.Hostname())
	_, before := finalizeNote.Of(t.Node.Plan)
	if before {
		list, err := s.commands(ctx)
		if isUnreachable(err) && ctx.Err() == nil {
			t.Logger().Warn("the agent has closed its API: it was asked to let people in before the service was started anew")
			return driver.Done(), nil
		}
		if c := find(list, work{name: "rescue.finalize_rescue"}, agentCommand{}); err == nil && c != nil && c.Status == wire.Succeeded {
			return driver.Done(), nil
		}
	}
	finalizeNote.Set(t, node.Now())
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), err
	}
	params := map[string]any{"rescue_password": hash, "hashed": true}
	if err := s.ask(ctx, "rescue.finalize_rescue", params, nil); err != nil {
		return driver.Done(), fmt.Errorf("having the agent let people in: %w", err)
	}
	return driver.Done(), nil
}

// handOver leaves the machine to people: no boot record, so that a reboot ends the rescue system;
// the instance's own network; no agent.
func (r *Rescue) handOver(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := t.Hardware.Boot.CleanUpRamdisk(ctx, t); err != nil {
		return driver.Done(), fmt.Errorf("removing the boot record: %w", err)
	}
	if err := t.Hardware.Network.Connect(ctx, t, driver.TenantNetwork); err != nil {
		return driver.Done(), fmt.Errorf("connecting the machine to the tenant network: %w", err)
	}
	return driver.Done(), t.DropAgent(ctx)
}

func (r *Rescue) end(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return driver.Done(), leave(ctx, t, driver.RescuingNetwork)
}

// bootInstance starts the instance again as it was.
func (r *Rescue) bootInstance(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return driver.Done(), restart(ctx, t)
}

// TidyUp implements driver.Tidier: the machine is off, and boots its instance when it is switched on.
func (r *Rescue) TidyUp(ctx context.Context, t *driver.Task) error {
	return backToInstance(ctx, t, driver.RescuingNetwork)
}

// backToInstance takes the ramdisk of an active node back and leaves its instance ready to start.
func backToInstance(ctx context.Context, t *driver.Task, network driver.NetworkPurpose) error {
	err := leave(ctx, t, network)
	if also := prepareInstance(ctx, t); err == nil {
		err = also
	}
	return err
}

func prepareInstance(ctx context.Context, t *driver.Task) error {
	if err := prepareDisk(ctx, t); err != nil {
		return err
	}
	if err := t.Hardware.Network.Connect(ctx, t, driver.TenantNetwork); err != nil {
		return fmt.Errorf("connecting the machine to the tenant network: %w", err)
	}
	return nil
}

// restart boots the instance of a machine that ran a ramdisk.
func restart(ctx context.Context, t *driver.Task) error {
	if err := prepareInstance(ctx, t); err != nil {
		return err
	}
	return startInstance(ctx, t)
}
