package conductor

import (
	"context"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// flow is one kind of trip through the steps. Adding a row to flows adds the verbs that lead to its busy state; all that
// differs between flows stands in their rows. Every function but timeout and done may be nil.
type flow struct {
	name node.Flow
	busy node.State
	noun string // for sentences: "the deploy"

	drive bool // gives the machine the instance's config drive
	boots bool // boots the machine into a ramdisk, whose serial line is worth hearing

	// What people ask for.
	asked    func(node.ProvisionRequest) []node.PlannedStep // their own steps; nil: nobody asks for any
	sources  string                                         // of those steps, for sentences; "": the request
	zeroOff  bool                                           // priority 0 switches a step off
	manual   func(node.Event) bool                          // the steps asked for are all there is, in their order
	optional bool                                           // not manual, it does nothing for nodes that are not to be cleaned automatically

	fill    func(context.Context, *engine, *node.Node, *node.ProvisionRequest) error // completes a request
	needs   []node.Interface                                                         // must validate before the verb is accepted
	accepts func(*node.Node, *driver.Hardware, node.ProvisionRequest) error          // refuses a request that cannot work
	begin   func(*node.Node, *node.Plan, node.ProvisionRequest)                      // edits when the flow starts

	timeout func(*Config) time.Duration // of a wait that does not say
	detach  bool                        // takes virtual interfaces, volumes and the allocation away when it has succeeded
	finish  func(*node.Node)            // edits when it has succeeded
	done    func(*node.Node) node.Event // what ends it well
	next    node.Flow                   // what follows at once, under the same lease
	fault   node.Fault                  // not empty: failing puts the node in maintenance with it
	stuck   node.Fault                  // the same when an aborted flow cannot be tidied up
	says    func(*node.Node) string     // more for the history when it has succeeded
	forget  func(*node.Node)            // edits when it has ended, well or badly
	tidy    func(*driver.Hardware) tidyUp
}

type tidyUp func(context.Context, *driver.Task) error

var flows = []flow{
	{
		name: node.FlowVerify, busy: node.Verifying, noun: "the verification",
		timeout: func(c *Config) time.Duration { return c.PowerTimeout },
		done:    always(node.EventDone),
	},
	{
		name: node.FlowInspect, busy: node.Inspecting, noun: "the inspection", boots: true,
		timeout: func(c *Config) time.Duration { return c.InspectTimeout },
		needs:   []node.Interface{node.Power, node.Inspect},
		accepts: canInspect,
		begin: func(n *node.Node, _ *node.Plan, _ node.ProvisionRequest) {
			n.InspectionStartedAt, n.InspectionFinishedAt = node.Now(), time.Time{}
		},
		finish: func(n *node.Node) { n.InspectionFinishedAt = node.Now() },
		done:   always(node.EventDone),
		tidy:   tidyInspect,
	},
	{
		name: node.FlowClean, busy: node.Cleaning, noun: "the cleaning", boots: true,
		asked:    func(req node.ProvisionRequest) []node.PlannedStep { return req.CleanSteps },
		manual:   func(e node.Event) bool { return e == node.EventClean },
		optional: true,
		accepts:  hasCleanSteps,
		timeout:  func(c *Config) time.Duration { return c.CleanTimeout },
		needs:    []node.Interface{node.Power, node.Management, node.Boot, node.Network}, // deploy: what is wrong with an image does not matter
		done:     cleaned,
		fault:    node.CleanFailure,
		tidy:     tidyDeploy,
	},
	{
		name: node.FlowDeploy, busy: node.Deploying, noun: "the deploy", boots: true, drive: true,
		asked:   func(req node.ProvisionRequest) []node.PlannedStep { return req.DeploySteps },
		sources: "the request, and of the deploy templates of the instance's traits",
		zeroOff: true,
		fill:    fillDeploy,
		begin:   beginDeploy,
		timeout: func(c *Config) time.Duration { return c.DeployTimeout },
		needs:   []node.Interface{node.Power, node.Management, node.Boot, node.Deploy, node.Network, node.Storage},
		done:    always(node.EventDone),
		says:    startedHow,
		tidy:    tidyDeploy,
	},
	{
		name: node.FlowDelete, busy: node.Deleting, noun: "the tear-down",
		timeout: func(c *Config) time.Duration { return c.CleanTimeout },
		detach:  true,
		finish:  forgetInstance,
		done:    always(node.EventClean),
		next:    node.FlowClean,
	},
	{
		name: node.FlowAdopt, busy: node.Adopting, noun: "the adoption",
		timeout: func(c *Config) time.Duration { return c.PowerTimeout },
		needs:   []node.Interface{node.Power, node.Management},
		done:    always(node.EventDone),
	},
	{
		name: node.FlowRescue, busy: node.Rescuing, noun: "the rescue", boots: true,
		timeout: func(c *Config) time.Duration { return c.RescueTimeout },
		needs:   []node.Interface{node.Power, node.Management, node.Boot, node.RescueIf, node.Network},
		accepts: canRescue,
		begin:   hashPassword,
		done:    always(node.EventDone),
		stuck:   node.RescueAbortFailure,
		says:    whereToLogIn,
		forget:  forgetPassword,
		tidy:    tidyRescue,
	},
	{
		name: node.FlowUnrescue, busy: node.Unrescuing, noun: "the end of the rescue",
		timeout: func(c *Config) time.Duration { return c.RescueTimeout },
		needs:   []node.Interface{node.Power, node.Management, node.RescueIf, node.Network},
		accepts: canUnrescue,
		done:    always(node.EventDone),
		forget:  forgetPassword,
	},
	{
		name: node.FlowService, busy: node.Servicing, noun: "the service", boots: true,
		asked:   func(req node.ProvisionRequest) []node.PlannedStep { return req.ServiceSteps },
		manual:  func(node.Event) bool { return true },
		accepts: hasServiceSteps,
		timeout: func(c *Config) time.Duration { return c.ServiceTimeout },
		needs:   []node.Interface{node.Power, node.Management, node.Boot, node.Network},
		done:    always(node.EventDone),
		fault:   node.ServiceFailure,
		tidy:    tidyDeploy,
	},
}

// flowTo returns the flow that runs in a busy state, nil when there is none yet.
func flowTo(busy node.State) *flow {
	for i := range flows {
		if flows[i].busy == busy {
			return &flows[i]
		}
	}
	return nil
}

// flowNamed returns the flow of a plan, nil when there is none.
func flowNamed(name node.Flow) *flow {
	for i := range flows {
		if flows[i].name == name {
			return &flows[i]
		}
	}
	return nil
}

func always(e node.Event) func(*node.Node) node.Event {
	return func(*node.Node) node.Event { return e }
}

// cleaned ends a cleaning where it was to lead. A retired machine is never offered again.
func cleaned(n *node.Node) node.Event {
	if n.TargetState == node.Manageable || n.Retired {
		return node.EventManage
	}
	return node.EventDone
}

// forgetInstance clears what belonged to the instance that has been torn down.
func forgetInstance(n *node.Node) {
	n.InstanceInfo = node.Document{}
	n.InstanceUUID, n.InstanceName, n.AllocationUUID, n.ConfigDrive = "", "", "", ""
}

func whereToLogIn(n *node.Node) string {
	if address, noted := driver.RescueAddress.Of(n.Plan); noted {
		return " Log in as the user rescue with the password given, on the console or at " + address + "."
	}
	return ""
}

// forgetPassword drops the hash that the rescue ramdisk was to check.
func forgetPassword(n *node.Node) { delete(n.InstanceInfo, driver.HashedRescuePassword) }

func tidyDeploy(h *driver.Hardware) tidyUp { return h.Deploy.TidyUp }

func tidyInspect(h *driver.Hardware) tidyUp {
	if t, ok := h.Inspect.(driver.Tidier); ok {
		return t.TidyUp
	}
	return h.Deploy.TidyUp
}

func tidyRescue(h *driver.Hardware) tidyUp {
	if t, ok := h.Other[node.RescueIf].(driver.Tidier); ok {
		return t.TidyUp
	}
	return h.Deploy.TidyUp
}

// startedHow is how kexec_instance started the instance, when that step was asked for.
func startedHow(n *node.Node) string {
	says, noted := driver.KexecSays.Of(n.Plan)
	if !noted {
		return ""
	}
	return " " + says
}

// isManual reports whether the steps that people ask for are all there is of a flow that begins with event.
func (f *flow) isManual(event node.Event) bool { return f.manual != nil && f.manual(event) }

// stepsAsked are the steps that people ask for in the flow.
func (f *flow) stepsAsked(req node.ProvisionRequest) []node.PlannedStep {
	if f.asked == nil {
		return nil
	}
	return f.asked(req)
}

// isOff reports whether a step was asked for in order not to run.
func (f *flow) isOff(s *node.PlannedStep) bool { return f.zeroOff && s.Priority == 0 }
