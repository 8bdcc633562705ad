package agent

import (
	"context"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// tearDown ends an instance's hold on the machine. What its disk holds is cleaning's business.
func tearDown(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := leave(ctx, t, driver.TenantNetwork); err != nil {
		return driver.Done(), err
	}
	if err := t.Hardware.Boot.CleanUpInstance(ctx, t); err != nil {
		return driver.Done(), fmt.Errorf("taking the instance's boot back: %w", err)
	}
	driver.Root{}.Leave(t.Node)
	return driver.Done(), nil
}

func (d *Direct) prepareCleaning(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Node.Plan.NoRamdisk {
		return driver.Done(), nil
	}
	if d.Erase != nil {
		d.Erase.tell(t.Node)
	}
	return d.booting().begin(ctx, t)
}

func tearDownCleaning(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Node.Plan.NoRamdisk {
		return driver.Done(), nil
	}
	if t.AgentAlive() {
		return driver.Done(), park(ctx, t, driver.CleaningNetwork)
	}
	return driver.Done(), leave(ctx, t, driver.CleaningNetwork)
}

// tearDownService starts the instance again.
func tearDownService(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Node.Plan.NoRamdisk {
		return driver.Done(), nil
	}
	if err := leave(ctx, t, driver.ServicingNetwork); err != nil {
		return driver.Done(), err
	}
	return driver.Done(), restart(ctx, t)
}

// RunsAgent implements driver.InBand.
func (d *Direct) RunsAgent(node.Flow) bool { return true }

// RunStep implements driver.InBand.
func (d *Direct) RunStep(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return d.inBand().step(ctx, t, d.commands().give)
}

// PollStep implements driver.InBand.
func (d *Direct) PollStep(ctx context.Context, t *driver.Task) (driver.Result, error) {
	return d.inBand().step(ctx, t, d.commands().look)
}

// BootAgain implements driver.InBand.
func (d *Direct) BootAgain(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if rebootNote.Get(t).Step == stepName(t) {
		return d.inBand().rebooting(ctx, t)
	}
	return d.inBand().reboot(ctx, t)
}
