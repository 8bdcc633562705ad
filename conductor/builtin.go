package conductor

import (
	"context"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// holdStep parks the node in the hold state of its flow until somebody sends unhold.
const holdStep = "hold"

// longestPause is the most seconds a wait step may be asked for; longer ones belong in hold.
const longestPause = 30

// builtin are the conductor's own steps: the frame of verify and adopt, and those that people may
// add to a deploy or a cleaning of any hardware.
var builtin = map[node.Interface][]driver.Step{
	node.Power: {
		{Name: "verify_power", Priority: map[node.Flow]int{node.FlowVerify: 1000, node.FlowAdopt: 1000}, Frame: true, Run: verifyPower},
		{Name: holdStep, Priority: onRequest, Abortable: true},
		{Name: "power_on", Priority: onRequest, Run: switchTo(node.PowerOn)},
		{Name: "power_off", Priority: onRequest, Run: switchTo(node.PowerOff)},
		{Name: "reboot", Priority: onRequest, Run: switchTo(node.Rebooting)},
		{Name: "wait", Priority: onRequest, Abortable: true, Args: map[string]string{"seconds": "How long to wait, 1 to 30."}, Required: []string{"seconds"}, Run: pause, Poll: pause},
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

// switchTo switches power where people put it among the steps. A ramdisk that ran ends with it: whatever of its
// agent's steps comes later says that there is no agent, rather than waiting for the old one.
func switchTo(target node.PowerState) func(context.Context, *driver.Task) (driver.Result, error) {
	return func(ctx context.Context, t *driver.Task) (driver.Result, error) {
		if err := t.SetPower(ctx, target); err != nil || target == node.PowerOn {
			return driver.Done(), err
		}
		return driver.Done(), t.ForgetAgent(ctx)
	}
}

func pause(_ context.Context, t *driver.Task) (driver.Result, error) {
	seconds, ok := t.Step().Args["seconds"].(float64)
	if !ok || seconds < 1 || seconds > longestPause {
		return driver.Done(), node.Errorf(node.Invalid, "the wait step needs the argument seconds, 1 to %d", longestPause)
	}
	since := t.Node.Plan.WaitingSince
	if since.IsZero() {
		since = time.Now()
	}
	left := time.Until(since.Add(time.Duration(seconds * float64(time.Second))))
	if left <= 0 {
		return driver.Done(), nil
	}
	return driver.Result{WaitFor: "the time asked for to pass", PollEvery: left}, nil
}
