package node

// Transition is one row of the provision state machine.
type Transition struct {
	From  State
	Event Event
	To    State
}

// Transitions is the whole provision state machine of the Bare Metal API: what the API accepts,
// what the conductor may do, and docs/states.md all come from it.
var Transitions = []Transition{
	{Enroll, EventManage, Verifying},
	{Verifying, EventDone, Manageable},
	{Verifying, EventFail, Enroll},

	{Manageable, EventProvide, Cleaning},
	{Manageable, EventClean, Cleaning},
	{Manageable, EventInspect, Inspecting},
	{Manageable, EventAdopt, Adopting},

	{Inspecting, EventDone, Manageable},
	{Inspecting, EventFail, InspectFailed},
	{Inspecting, EventWait, InspectWait},
	{InspectWait, EventDone, Manageable},
	{InspectWait, EventFail, InspectFailed},
	{InspectWait, EventAbort, InspectFailed},
	{InspectWait, EventResume, Inspecting},
	{InspectFailed, EventManage, Manageable},
	{InspectFailed, EventInspect, Inspecting},

	{Cleaning, EventDone, Available},
	{Cleaning, EventManage, Manageable},
	{Cleaning, EventFail, CleanFailed},
	{Cleaning, EventWait, CleanWait},
	{Cleaning, EventHold, CleanHold},
	{CleanWait, EventFail, CleanFailed},
	{CleanWait, EventAbort, CleanFailed},
	{CleanWait, EventHold, CleanHold},
	{CleanWait, EventResume, Cleaning},
	{CleanHold, EventAbort, CleanFailed},
	{CleanHold, EventUnhold, CleanWait},
	{CleanFailed, EventManage, Manageable},

	{Available, EventDeploy, Deploying},
	{Available, EventManage, Manageable},

	{Deploying, EventDone, Active},
	{Deploying, EventFail, DeployFailed},
	{Deploying, EventWait, DeployWait},
	{Deploying, EventHold, DeployHold},
	{DeployWait, EventResume, Deploying},
	{DeployWait, EventFail, DeployFailed},
	{DeployWait, EventHold, DeployHold},
	{DeployWait, EventAbort, DeployFailed},
	{DeployWait, EventDelete, Deleting},
	{DeployHold, EventUnhold, DeployWait},
	{DeployHold, EventAbort, DeployFailed},
	{DeployFailed, EventDeploy, Deploying},
	{DeployFailed, EventRebuild, Deploying},
	{DeployFailed, EventDelete, Deleting},

	{Active, EventRebuild, Deploying},
	{Active, EventDelete, Deleting},
	{Active, EventRescue, Rescuing},
	{Active, EventService, Servicing},

	{Deleting, EventClean, Cleaning},
	{Deleting, EventFail, Error},
	{Error, EventRebuild, Deploying},
	{Error, EventDelete, Deleting},

	{Rescuing, EventDone, Rescue},
	{Rescuing, EventWait, RescueWait},
	{Rescuing, EventFail, RescueFailed},
	{RescueWait, EventResume, Rescuing},
	{RescueWait, EventFail, RescueFailed},
	{RescueWait, EventAbort, RescueFailed},
	{RescueWait, EventDelete, Deleting},
	{Rescue, EventRescue, Rescuing},
	{Rescue, EventUnrescue, Unrescuing},
	{Rescue, EventDelete, Deleting},
	{RescueFailed, EventRescue, Rescuing},
	{RescueFailed, EventUnrescue, Unrescuing},
	{RescueFailed, EventDelete, Deleting},
	{Unrescuing, EventDone, Active},
	{Unrescuing, EventFail, UnrescueFailed},
	{UnrescueFailed, EventRescue, Rescuing},
	{UnrescueFailed, EventUnrescue, Unrescuing},
	{UnrescueFailed, EventDelete, Deleting},

	{Servicing, EventDone, Active},
	{Servicing, EventFail, ServiceFailed},
	{Servicing, EventWait, ServiceWait},
	{Servicing, EventHold, ServiceHold},
	{ServiceWait, EventResume, Servicing},
	{ServiceWait, EventFail, ServiceFailed},
	{ServiceWait, EventHold, ServiceHold},
	{ServiceWait, EventAbort, ServiceFailed},
	{ServiceWait, EventDelete, Deleting},
	{ServiceHold, EventService, Servicing},
	{ServiceHold, EventUnhold, ServiceWait},
	{ServiceHold, EventFail, ServiceFailed},
	{ServiceHold, EventAbort, ServiceFailed},
	{ServiceFailed, EventService, Servicing},
	{ServiceFailed, EventRescue, Rescuing},
	{ServiceFailed, EventWait, ServiceWait},
	{ServiceFailed, EventHold, ServiceHold},
	{ServiceFailed, EventDelete, Deleting},
	{ServiceFailed, EventAbort, Active},

	{Adopting, EventDone, Active},
	{Adopting, EventFail, AdoptFailed},
	{AdoptFailed, EventAdopt, Adopting},
	{AdoptFailed, EventManage, Manageable},
}

type edge struct {
	from  State
	event Event
}

var transitionTo = func() map[edge]State {
	m := make(map[edge]State, len(Transitions))
	for _, t := range Transitions {
		m[edge{t.From, t.Event}] = t.To
	}
	return m
}()

// defaultTarget is where the flow that runs in a busy state leads.
var defaultTarget = map[State]State{
	Verifying: Manageable, Inspecting: Manageable,
	Cleaning: Available, Deleting: Available,
	Deploying: Active, Adopting: Active, Unrescuing: Active, Servicing: Active,
	Rescuing: Rescue,
}

// Next returns the state that event leads to from s, and whether the event is legal there.
func (s State) Next(event Event) (State, bool) {
	to, ok := transitionTo[edge{s, event}]
	return to, ok
}

// Apply moves n through one event. It is the only writer of State: it also keeps TargetState
// (set when a flow starts, cleared when a stable state is reached, kept on failure) and
// ProvisionUpdatedAt. An event that is not legal in n's state is Invalid and changes nothing.
func (n *Node) Apply(event Event) error {
	to, ok := n.State.Next(event)
	if !ok {
		return Errorf(Invalid, "The requested action %q can not be performed on node %q while it is in state %q.", event, n.UUID, n.State)
	}
	startsFlow := n.State.Class() != Waiting && n.State.Class() != Busy
	switch {
	case to.Class() == Stable:
		n.TargetState = ""
	case to.Class() == Busy && (startsFlow || event == EventDelete || event == EventClean):
		n.TargetState = defaultTarget[to]
		if n.State == Manageable && event == EventClean {
			n.TargetState = Manageable
		}
	}
	n.State = to
	n.ProvisionUpdatedAt = Now()
	return nil
}
