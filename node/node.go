// Package node owns the words of bare metal: nodes, ports, their states, the events that move
// them, and the errors people read. It holds no behaviour that needs a network, a disk or a
// database, and imports only the standard library.
package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Node is one physical machine and everything Billet knows of it.
//
// A Node is a plain value: whoever loads it may change it, but only a caller that holds the
// node's lease may save it (see [Lease]). State is written by [Node.Apply] alone.
type Node struct {
	ID   int64  // row number: the order of creation, and the default sort key of lists
	UUID string // RFC 4122, lower case
	Name string // empty means none

	Driver     string // hardware type, such as "ipmi"
	Interfaces map[Interface]string

	State              State
	TargetState        State // where the running flow leads; empty when nothing runs
	ProvisionUpdatedAt time.Time
	Power              PowerState
	TargetPower        PowerState
	PowerFailures      int // BMC reads that failed in a row, counted by power sync
	Maintenance        bool
	MaintenanceReason  string
	Fault              Fault
	LastError          string
	BootMode           string // "bios", "uefi" or empty when unknown
	SecureBoot         *bool
	ConsoleEnabled     bool

	InstanceUUID    string
	InstanceName    string
	AllocationUUID  string
	ChassisUUID     string
	ParentNode      string
	ResourceClass   string
	ConductorGroup  string
	Owner           string
	Lessee          string
	Description     string
	Shard           string
	Protected       bool
	ProtectedReason string
	Retired         bool
	RetiredReason   string
	AutomatedClean  *bool
	DisablePowerOff bool
	Traits          []string

	Properties         Document
	DriverInfo         Document // sealed: BMC passwords live here
	InstanceInfo       Document // sealed
	DriverInternalInfo Document
	Extra              Document
	NetworkData        Document
	RAIDConfig         Document
	TargetRAIDConfig   Document
	ConfigDrive        string // sealed; base64 of a gzipped ISO 9660 image, or a URL

	Plan  *Plan // the flow under way; nil when none is
	Lease Lease
	Agent Agent

	InspectionStartedAt  time.Time
	InspectionFinishedAt time.Time
	CreatedAt            time.Time
	UpdatedAt            time.Time

	Unreadable Unreadable
}

// Damage is the error for whoever would act on a node of which something is unreadable; nil when all is there. An
// agent's token does not count: without it the agent is refused, until the token is forgotten with the next power-off.
func (n *Node) Damage() error {
	if text := n.damage(); text != "" {
		return &Err{Kind: Internal, Msg: text}
	}
	return nil
}

func (n *Node) damage() string {
	what := n.Unreadable.words("agent_token")
	if what == "" {
		return ""
	}
	return fmt.Sprintf("The database's record of node %s is damaged; unreadable are: %s. Nothing is done with the machine until that is "+
		"mended: write the field anew, restore the database or its sealing key, or delete the node (in maintenance it can be deleted in every "+
		"state).", n.UUID, what)
}

// Trouble is what people are to see first of a node: its last error, or that its record is damaged.
func (n *Node) Trouble() string {
	if text := n.damage(); text != "" {
		return text
	}
	return n.LastError
}

// Document is a JSON object of the API: free-form keys, JSON values.
type Document map[string]any

// String returns the string under key, or "" when the key is missing or holds another type.
func (d Document) String(key string) string {
	s, _ := d[key].(string)
	return s
}

// Text is String for names and passwords: a whole number is its digits, because the command line clients send a
// password of digits as a number.
func (d Document) Text(key string) string {
	switch v := d[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case int:
		return strconv.Itoa(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10)
		}
	}
	return ""
}

// Clone copies the top level of d; values are shared. It never returns nil.
func (d Document) Clone() Document {
	if d == nil {
		return Document{}
	}
	return maps.Clone(d)
}

// Clone copies n deeply enough that changing the copy's own fields, maps' keys and plan never
// shows in n. Values inside documents are shared and must not be changed in place.
func (n *Node) Clone() *Node {
	c := *n
	c.Interfaces = maps.Clone(n.Interfaces)
	c.Traits = slices.Clone(n.Traits)
	c.Properties = n.Properties.Clone()
	c.DriverInfo = n.DriverInfo.Clone()
	c.InstanceInfo = n.InstanceInfo.Clone()
	c.DriverInternalInfo = n.DriverInternalInfo.Clone()
	c.Extra = n.Extra.Clone()
	c.NetworkData = n.NetworkData.Clone()
	c.RAIDConfig = n.RAIDConfig.Clone()
	c.TargetRAIDConfig = n.TargetRAIDConfig.Clone()
	c.Plan = n.Plan.Clone()
	c.Unreadable = maps.Clone(n.Unreadable)
	return &c
}

// Lease is who may change a node right now. Every write of a node is guarded by Token: a holder
// that lost its lease can no longer write, however late it wakes up. Nobody holds a zero Lease.
type Lease struct {
	Holder string    // the conductor's host name, shown as `reservation`
	Token  int64     // fencing token: grows by one each time the lease is granted
	Until  time.Time // after this anyone may take the lease
}

// Held reports whether somebody holds the lease at the given time.
func (l Lease) Held(now time.Time) bool { return l.Holder != "" && now.Before(l.Until) }

// Agent is the deploy ramdisk's agent as it last reported. Heartbeats write it without the lease.
type Agent struct {
	URL           string // callback URL, https://host:port
	Version       string
	Token         string // sealed; 43 characters, given to the agent once
	TokenGiven    bool
	TokenGivenAt  time.Time
	RefusedAt     time.Time // when a lookup first got no token since LastHeartbeat, or since the token was given
	VerifyCA      string    // PEM of the agent's own certificate
	LastHeartbeat time.Time
	BootKey       string // with which it asked for its token; "": its boot has none
	CalledFrom    string // the address from which it asked
}

// AgentAlive reports whether an agent has called within the time given; never when that is 0.
func (n *Node) AgentAlive(within time.Duration) bool {
	return within > 0 && n.Agent.URL != "" && Since(n.Agent.LastHeartbeat) < within
}

// Capability returns one entry of properties.capabilities, a "k:v,k:v" string, an object or a string that spells
// one in JSON, which is how the compute service sends what a flavor asks for, overridden by
// instance_info.capabilities; "" when absent. A boolean is the text true or false.
func (n *Node) Capability(name string) string {
	if value, ok := capabilityIn(n.InstanceInfo, name); ok {
		return value
	}
	value, _ := capabilityIn(n.Properties, name)
	return value
}

// InstanceCapability is what the instance alone asks for, "" when it does not: a node's own capability may only say
// what its hardware can do.
func (n *Node) InstanceCapability(name string) string {
	value, _ := capabilityIn(n.InstanceInfo, name)
	return value
}

func capabilityIn(d Document, name string) (value string, given bool) {
	object, text, _ := Capabilities(d["capabilities"])
	switch v := object[name].(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	}
	for pair := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(pair, ":")
		if ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// Capabilities takes a field with capabilities for the object it is or spells in JSON, or for the "k:v,k:v" text; ok
// is false when it is none of these, and then both are empty.
func Capabilities(field any) (object map[string]any, text string, ok bool) {
	switch c := field.(type) {
	case nil:
		return nil, "", true
	case map[string]any:
		return c, "", true
	case string:
		if !strings.HasPrefix(strings.TrimSpace(c), "{") {
			return nil, c, true
		}
		if err := json.Unmarshal([]byte(c), &object); err == nil {
			return object, "", true
		}
	}
	return nil, "", false
}
