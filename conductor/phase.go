package conductor

import (
	"context"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// A machine that boots shows itself to the boot services at each phase: DHCP, boot loader, script, kernel
// and ramdisk, DHCP again by the ramdisk. When one phase is not followed by the next, waiting for the
// step's own deadline only hides the reason for half an hour.

// watchEvery is how often a booting machine is looked at whose step asks for no polls.
const watchEvery = 10 * time.Second

// watched reports whether the phases of this wait have an end of their own.
func (c *Config) watched(waitedFor node.Await) bool {
	return c.BootPhaseTimeout > 0 && waitedFor.For.Boots()
}

// stalled says why the machine waited for will not call any more; "" while it may.
func (r *run) stalled(ctx context.Context) string {
	if !r.c.cfg.watched(r.n.Plan.Await()) {
		return ""
	}
	e := r.evidence(ctx)
	verdict := diagnosis.Judge(e)
	if s := verdict.Suspect; verdict.Stalled != "" || s.Phase != "" && s.Phase != e.Known.Phase {
		e = r.c.asked(ctx, r.n, e)
		verdict = diagnosis.Judge(e)
	}
	if verdict.Stalled != "" {
		return verdict.Stalled
	}
	if reason := r.switchedOff(ctx, e); reason != "" {
		return reason
	}
	r.suspect(ctx, verdict.Suspect)
	return ""
}

const (
	offAfter = 30 * time.Second // without a sign of life the BMC is asked
	offFor   = time.Minute      // a machine that applies firmware may be off for less
)

// switchedOff says that the machine waited for is off, although it was switched on; "" while it is not for certain.
func (r *run) switchedOff(ctx context.Context, e diagnosis.Evidence) string {
	off := &r.n.Plan.Quiet.OffSince
	if r.n.Power != node.PowerOn || e.WithoutSign() < offAfter {
		*off = time.Time{}
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, powerReadTime)
	defer cancel()
	if state, err := r.task.Hardware.Power.PowerState(ctx, r.task); err != nil || state != node.PowerOff {
		*off = time.Time{}
		return ""
	}
	if off.IsZero() {
		*off = e.Now
	}
	if e.Now.Sub(*off) < offFor {
		return ""
	}
	return e.SwitchedOff(*off)
}

// panicked says that the kernel of the machine waited for has panicked; "" while it has not.
func (r *run) panicked(ctx context.Context) string {
	if _, heard := driver.SerialOf(r.n, r.task.Hardware, r.c.cfg.CaptureSerial); !heard {
		return ""
	}
	e := r.c.waitOf(r.n)
	if !e.WaitedFor.For.OfRamdisk() {
		return ""
	}
	e.Serial = r.c.lines(ctx, r.n.UUID, node.SerialLine)
	return e.Panicked()
}
