package node

// ProvisionRequest is a decoded PUT …/states/provision.
type ProvisionRequest struct {
	Event          Event
	ConfigDrive    string            // base64 of a gzipped ISO 9660 image, or a URL; empty: none
	DriveParts     *ConfigDriveParts // or what to build one of; nil: nothing
	DeploySteps    []PlannedStep
	CleanSteps     []PlannedStep
	ServiceSteps   []PlannedStep
	RescuePassword string
	NoRamdisk      bool
}

// ConfigDriveParts is a config drive asked for in parts. The conductor builds the image under the
// node's lease, since what the parts leave out comes from the node.
type ConfigDriveParts struct {
	MetaData    Document `json:"meta_data"`
	NetworkData Document `json:"network_data"`
	UserData    any      `json:"user_data"` // string, or an object or a list sent as JSON text
	VendorData  Document `json:"vendor_data"`
}

// Heartbeat is a decoded POST /v1/heartbeat/{node}.
type Heartbeat struct {
	CallbackURL  string
	AgentToken   string
	AgentVersion string
	VerifyCA     string
	Caller       Caller
}

// InspectionData is a decoded POST /v1/continue_inspection.
type InspectionData struct {
	NodeUUID      string // from the query, may be empty
	Inventory     Document
	PluginData    Document // the whole body less inventory, error and logs
	Error         string
	BootInterface string   // MAC
	Logs          string   // base64, may be empty
	Previous      Document // the inventory of the inspection before; nil when there was none
	Caller        Caller
	// Bound says that the report comes from the boot under way, as the key in its path has shown: it may change which
	// port the node boots from. Any other report only adds to what is known.
	Bound bool
}

// Findings are what an inspection found out beside the node's own fields.
type Findings struct {
	Inventory Inventory
	Ports     []Port   // to add (ID 0), or of the node and to be saved anew
	Gone      []Port   // of the node and to be removed
	Notes     []string // what people should know of how it was read
}

// Validation is the result of checking one interface: OK nil means "not supported".
type Validation struct {
	OK     *bool
	Reason string
}

// BootDevice is where a machine boots from.
type BootDevice struct {
	Device     string // "pxe", "disk", "cdrom", "bios", "safe", "uefihttp"; "" unknown
	Persistent bool
}

// Shard counts the nodes of one shard.
type Shard struct {
	Name  string // "": the nodes that have none
	Nodes int
}

// DriverInfo describes a hardware type to the API.
type DriverInfo struct {
	Name       string
	Hosts      []string
	Type       string // "dynamic"
	Default    map[Interface]string
	Enabled    map[Interface][]string
	Properties map[string]string // driver_info key → help
}

// UpdateOptions says how a change of a node was asked for.
type UpdateOptions struct {
	ResetInterfaces bool
	// OnlyRemovesInstance is true for the one PATCH that maintenance always allows.
	OnlyRemovesInstance bool
	// KnowsInspectWait says whether the client knows "inspect wait" (1.39): then PATCH while inspecting
	// is refused.
	KnowsInspectWait bool
	// AnyState is true for changes that are no PATCH and are legal whatever runs on the node (its
	// lease still has to be free): PUT and DELETE of maintenance and of traits. The rule "no PATCH
	// while a target state is set" does not apply to them.
	AnyState bool
	// Fields are the top-level names the PATCH touches, such as "driver_info".
	Fields []string
}

// NodeFilter narrows a list of nodes. A nil pointer or empty string does not narrow.
type NodeFilter struct {
	InstanceUUID, InstanceName, ChassisUUID   string
	Associated, Maintenance, Retired, Sharded *bool
	State                                     State
	Driver, ResourceClass                     string
	Fault                                     *Fault
	ConductorGroup                            *string
	Owner, Lessee, Project                    string
	DescriptionContains                       string
	Shards                                    []string
	ParentNode                                string
	IncludeChildren                           bool
	Holder                                    string // conductor that holds the node
}

// PortFilter narrows a list of ports.
type PortFilter struct {
	NodeUUID, Address, PortgroupUUID, DescriptionContains string
	Shards                                                []string
	ConductorGroups                                       []string // of the ports' nodes; "" is the default group
}

// OfNode narrows a list of records to those of one node; with "" it has those of all nodes.
type OfNode struct{ UUID string }

// All filters a list of records by nothing.
type All struct{}

// DeployTemplateFilter narrows a list of deploy templates.
type DeployTemplateFilter struct{ Names []string } // with one of them; nil: with any

// InspectionRuleFilter narrows a list of inspection rules.
type InspectionRuleFilter struct{ Phase string }

// Page says which part of a list is wanted.
type Page struct {
	Limit    int    // 0: no limit
	Marker   string // UUID of the last item already seen; unknown is NotFound
	SortKey  string // an API field name of the resource; "" means id
	SortDesc bool
	Hot      bool // only columns of the hot row are wanted; documents stay empty
}

// Work is why a node needs a conductor's attention now.
type Work struct {
	UUID string
	Why  WorkKind
}

// WorkKind tells the kinds of work apart.
type WorkKind int

// Kinds of work that a conductor finds in the store.
const (
	WorkResume WorkKind = iota // a busy state and no live lease: its conductor died mid-step
	// a waiting or aborted held node's PollAt has come, or a waiting one's lease has run out while somebody looked
	WorkPoll
	WorkDeadline // a waiting step's deadline has passed
	WorkPower    // target_power_state is set and no live lease: its conductor died while switching
)
