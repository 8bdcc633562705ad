package conductor

import (
	"context"
	"slices"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// holdStep parks the node in the hold state of its flow until somebody sends unhold.
const holdStep = "hold"

// The steps that switch the machine on.
const powerOnStep, rebootStep = "power_on", "reboot"

// longestPause is the most seconds a wait step may be asked for; longer ones belong in hold.
const longestPause = 30

// builtin are the conductor's own steps: the frame of verify and adopt, and those that people may
// add to a deploy or a cleaning of any hardware.
var builtin = map[node.Interface][]driver.Step{
	node.Power: {
		{Name: "verify_power", Priority: map[node.Flow]int{node.FlowVerify: 1000, node.FlowAdopt: 1000}, Frame: true, Run: verifyPower},
		{Name: holdStep, Priority: onRequest, Abortable: true},
		{Name: powerOnStep, Priority: onRequest, Abortable: true, Run: switchOn(node.PowerOn), Poll: bootAgain},
		{Name: "power_off", Priority: onRequest, Run: switchTo(node.PowerOff)},
		{Name: rebootStep, Priority: onRequest, Abortable: true, Run: switchOn(node.Rebooting), Poll: bootAgain},
		{Name: "wait", Priority: onRequest, Abortable: true, Args: map[string]string{"seconds": "How long to wait, 1 to 30."},
			Required: []string{"seconds"}, Check: checkPause, Run: pause, Poll: pause},
	},
}

var onRequest = map[node.Flow]int{node.FlowDeploy: 0, node.FlowClean: 0, node.FlowService: 0}

// verifyPower shows that the BMC can be reached with what driver_info says.
func verifyPower(ctx context.Context, t *driver.Task) (driver.Result, error) {
	for _, impl := range []driver.Implementation{t.Hardware.Power, t.Hardware.Management} {
		if err := impl.Validate(ctx, t); err != nil {
			return driver.Done(), err
		}
	}
	state, err := t.Hardware.Power.PowerState(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	t.Node.Power, t.Node.PowerFailures = state, 0
	return driver.Done(), nil
}

// switchOn starts or restarts the machine where people put it among the steps. While the ramdisk's agent has steps to
// come, the ramdisk is booted anew and its agent waited for: the one before has ended with its ramdisk.
func switchOn(target node.PowerState) func(context.Context, *driver.Task) (driver.Result, error) {
	return func(ctx context.Context, t *driver.Task) (driver.Result, error) {
		ends := target == node.Rebooting || t.Node.Agent.URL == "" // else the ramdisk runs, and goes on
		if ends && t.Node.Plan.InBand && agentNeeded(t) {
			return bootAgain(ctx, t)
		}
		return switchTo(target)(ctx, t)
	}
}

// agentNeeded reports whether a step after the one under way is carried out by the ramdisk's agent.
func agentNeeded(t *driver.Task) bool {
	p := t.Node.Plan
	return slices.ContainsFunc(p.Steps[p.Index+1:], func(s node.PlannedStep) bool {
		return needsAgent(t.Hardware, p.Flow, &s)
	})
}

func bootAgain(ctx context.Context, t *driver.Task) (driver.Result, error) {
	agent, ok := t.Hardware.Deploy.(driver.InBand)
	if !ok {
		return driver.Done(), node.Errorf(node.Invalid, "the deploy interface %s boots no ramdisk with an agent", t.Hardware.Deploy.Name())
	}
	return agent.BootAgain(ctx, t)
}

// switchTo switches power where people put it among the steps. A ramdisk that ran ends with it: whatever of its
// agent's steps comes after a power_off says that there is no agent, rather than waiting for the old one.
func switchTo(target node.PowerState) func(context.Context, *driver.Task) (driver.Result, error) {
	return func(ctx context.Context, t *driver.Task) (driver.Result, error) {
		if err := t.SetPower(ctx, target); err != nil || target == node.PowerOn {
			return driver.Done(), err
		}
		return driver.Done(), t.ForgetAgent(ctx)
	}
}

// checkPause checks the arguments of a wait step.
func checkPause(args map[string]any) error {
	if seconds, ok := args["seconds"].(float64); !ok || !(seconds >= 1 && seconds <= longestPause) {
		return node.Errorf(node.Invalid, "seconds is %#v; a number from 1 to %d is allowed (power.hold waits longer).", args["seconds"],
			longestPause)
	}
	return nil
}

func pause(_ context.Context, t *driver.Task) (driver.Result, error) {
	if err := checkPause(t.Step().Args); err != nil { // planned by an earlier version
		return driver.Done(), err
	}
	seconds, _ := t.Step().Args["seconds"].(float64)
	since := t.Node.Plan.WaitingSince
	if since.IsZero() {
		since = node.Now()
	}
	left := node.Until(since.Add(time.Duration(seconds * float64(time.Second))))
	if left <= 0 {
		return driver.Done(), nil
	}
	return driver.Result{WaitFor: node.Await{For: node.Pause, Text: "the time asked for to pass"}, PollEvery: left}, nil
}
