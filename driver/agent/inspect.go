package agent

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
)

var untilReport = node.Await{For: node.Report, Text: "the inspection report"}

// AfterInspection says what becomes of the machine.
type AfterInspection int

// The machine is switched off unless it is to stay on.
const (
	SwitchOff AfterInspection = iota
	StayOn
)

// Inspect is the inspect interface "agent": the deploy ramdisk reports what is in the machine.
// APIURL must be set; other zero values are their defaults.
type Inspect struct {
	inspection.Settings // what is made of the reports

	APIURL      string // where the agent reaches the API
	BootTimeout time.Duration
	Poll        time.Duration
	After       AfterInspection
	Params      map[string]string // more kernel parameters of the ramdisk
}

// Name implements driver.Implementation.
func (i *Inspect) Name() string { return "agent" }

// Properties implements driver.Implementation.
func (i *Inspect) Properties() map[string]string { return map[string]string{} }

// Validate implements driver.Implementation. What it needs of the node, the boot interface checks.
func (i *Inspect) Validate(context.Context, *driver.Task) error { return nil }

// Steps lists the one inspect step.
func (i *Inspect) Steps() []driver.Step {
	return []driver.Step{{
		Name: "inspect", Priority: map[node.Flow]int{node.FlowInspect: 100}, Abortable: true,
		Run: i.inspect, Poll: i.reported,
	}}
}

func (i *Inspect) inspect(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r := ramdisk{apiURL: i.APIURL, params: map[string]string{
		"ipa-inspection-callback-url": strings.TrimSuffix(i.APIURL, "/") + callPath,
	}}
	maps.Copy(r.params, i.Params)
	if i.LLDP == inspection.LLDP {
		r.params["ipa-collect-lldp"] = "1"
	}
	if _, reported := driver.Reported.Of(t.Node.Plan); reported {
		return i.reported(ctx, t)
	}
	within := orElse(i.BootTimeout, DefaultBootTimeout)
	if wait, err := driver.UntilFile(t, r.boot(ctx, t, driver.InspectionNetwork), within); err != nil || wait.Waiting() {
		return wait, err
	}
	return i.wait(within), nil
}

func (i *Inspect) wait(within time.Duration) driver.Result {
	return driver.Result{WaitFor: untilReport, Within: within, PollEvery: orElse(i.Poll, DefaultPoll)}
}

// reported ends the wait once the conductor has taken the report.
func (i *Inspect) reported(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if driver.AwaitsImage(t) {
		return i.inspect(ctx, t)
	}
	if _, reported := driver.Reported.Of(t.Node.Plan); !reported {
		return i.wait(0), nil
	}
	return driver.Done(), i.leave(ctx, t)
}

func (i *Inspect) leave(ctx context.Context, t *driver.Task) error {
	if i.After == SwitchOff && t.FastTrack == 0 {
		return leave(ctx, t, driver.InspectionNetwork)
	}
	return park(ctx, t, driver.InspectionNetwork) // its agent will call
}

// TidyUp implements driver.Tidier.
func (i *Inspect) TidyUp(ctx context.Context, t *driver.Task) error {
	return leave(ctx, t, driver.InspectionNetwork)
}

// Inspected implements driver.InspectionResult.
func (i *Inspect) Inspected(_ context.Context, t *driver.Task, data node.InspectionData) (node.Findings, error) {
	data.Error = redact(data.Error)
	return i.Read(t.Node, t.Ports, data)
}
