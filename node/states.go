package node

// State is a provision state, spelled as the Bare Metal API spells it.
type State string

// The 30 provision states of the Bare Metal API.
const (
	Enroll         State = "enroll"
	Verifying      State = "verifying"
	Manageable     State = "manageable"
	Available      State = "available"
	Active         State = "active"
	Error          State = "error"
	Deploying      State = "deploying"
	DeployWait     State = "wait call-back"
	DeployFailed   State = "deploy failed"
	DeployHold     State = "deploy hold"
	Deleting       State = "deleting"
	Cleaning       State = "cleaning"
	CleanWait      State = "clean wait"
	CleanFailed    State = "clean failed"
	CleanHold      State = "clean hold"
	Inspecting     State = "inspecting"
	InspectWait    State = "inspect wait"
	InspectFailed  State = "inspect failed"
	Adopting       State = "adopting"
	AdoptFailed    State = "adopt failed"
	Rescuing       State = "rescuing"
	RescueWait     State = "rescue wait"
	RescueFailed   State = "rescue failed"
	Rescue         State = "rescue"
	Unrescuing     State = "unrescuing"
	UnrescueFailed State = "unrescue failed"
	Servicing      State = "servicing"
	ServiceWait    State = "service wait"
	ServiceFailed  State = "service failed"
	ServiceHold    State = "service hold"
)

// States lists every provision state once, in the order of a node's life.
var States = []State{
	Enroll, Verifying, Manageable, Inspecting, InspectWait, InspectFailed,
	Cleaning, CleanWait, CleanHold, CleanFailed, Available,
	Deploying, DeployWait, DeployHold, DeployFailed, Active,
	Rescuing, RescueWait, RescueFailed, Rescue, Unrescuing, UnrescueFailed,
	Servicing, ServiceWait, ServiceHold, ServiceFailed,
	Adopting, AdoptFailed, Deleting, Error,
}

// StateClass says what may happen to a node in a state.
type StateClass int

// The classes of states.
const (
	Stable  StateClass = iota // changes only on request
	Failed                    // a person must act; last_error says why
	Held                      // parked by a hold step
	Busy                      // a conductor is working
	Waiting                   // the machine must call, or a step must finish
)

var stateClass = map[State]StateClass{
	DeployFailed: Failed, CleanFailed: Failed, InspectFailed: Failed, RescueFailed: Failed,
	UnrescueFailed: Failed, AdoptFailed: Failed, ServiceFailed: Failed, Error: Failed,
	DeployHold: Held, CleanHold: Held, ServiceHold: Held,
	Verifying: Busy, Deploying: Busy, Deleting: Busy, Cleaning: Busy, Inspecting: Busy,
	Adopting: Busy, Rescuing: Busy, Unrescuing: Busy, Servicing: Busy,
	DeployWait: Waiting, CleanWait: Waiting, InspectWait: Waiting, RescueWait: Waiting, ServiceWait: Waiting,
}

// Class returns the state's class; a state that is in no other class is stable.
func (s State) Class() StateClass { return stateClass[s] }

// Event moves a node from one state to another.
type Event string

// Events people ask for (verbs), then those the conductor raises.
const (
	EventManage   Event = "manage"
	EventProvide  Event = "provide"
	EventDeploy   Event = "deploy"
	EventRebuild  Event = "rebuild"
	EventDelete   Event = "delete"
	EventInspect  Event = "inspect"
	EventClean    Event = "clean"
	EventAbort    Event = "abort"
	EventAdopt    Event = "adopt"
	EventRescue   Event = "rescue"
	EventUnrescue Event = "unrescue"
	EventUnhold   Event = "unhold"
	EventService  Event = "service"

	EventDone   Event = "done"
	EventFail   Event = "fail"
	EventWait   Event = "wait"
	EventHold   Event = "hold"
	EventResume Event = "resume"
)

// PowerState is what the BMC says of the machine's power, or a power change asked for.
type PowerState string

// Power states; PowerUnknown is shown as null.
const (
	PowerUnknown  PowerState = ""
	PowerOn       PowerState = "power on"
	PowerOff      PowerState = "power off"
	PowerError    PowerState = "error"
	Rebooting     PowerState = "rebooting"
	SoftRebooting PowerState = "soft rebooting"
	SoftPowerOff  PowerState = "soft power off"
)

// Fault is why Billet itself put a node in maintenance.
type Fault string

// Faults, as the API spells them.
const (
	NoFault            Fault = ""
	PowerFailure       Fault = "power failure"
	CleanFailure       Fault = "clean failure"
	RescueAbortFailure Fault = "rescue abort failure"
	ServiceFailure     Fault = "service failure"
)
