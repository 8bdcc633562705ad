package agent

import (
	"context"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

var untilReport = node.Await{For: node.Report, Text: "the inspection report"}

// AddPorts says which interfaces of an inspected machine become ports.
type AddPorts string

// Policies of adding ports; "" is PXE.
const (
	AddPXE    AddPorts = "pxe"      // the interface it booted from; when that is not known those with an address, else all
	AddActive AddPorts = "active"   // those with an address
	AddAll    AddPorts = "all"      // every one with a MAC address
	AddNone   AddPorts = "disabled" // none
)

// KeepPorts says which ports that a node has stay after an inspection.
type KeepPorts string

// Policies of keeping ports; "" is all.
const (
	KeepAll     KeepPorts = "all"
	KeepPresent KeepPorts = "present" // those of interfaces that the machine has
	KeepAdded   KeepPorts = "added"   // those of interfaces that ports are added for
)

// PXEPorts says what an inspection does to pxe_enabled of ports that a node has.
type PXEPorts int

// It becomes true for the interface the machine booted from, and false for the others, unless it is kept.
const (
	UpdatePXEPorts PXEPorts = iota
	KeepPXEPorts
)

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
	APIURL      string // where the agent reaches the API
	BootTimeout time.Duration
	Poll        time.Duration
	Hooks       []string // see CheckHooks; nil: DefaultHooks
	AddPorts    AddPorts
	KeepPorts   KeepPorts
	PXEPorts    PXEPorts
	After       AfterInspection
	LLDP        Listening
	Params      map[string]string // more kernel parameters of the ramdisk

	CPUCapabilities  map[string]string       // processor flag → capability; nil: DefaultCPUCapabilities
	PCIAliases       map[string]string       // "vendor:product", hexadecimal in lower case → capability
	PhysicalNetworks map[netip.Prefix]string // network → physical_network of ports with an address in it
}

// Listening says whether the ramdisk listens for what switches say of themselves.
type Listening int

// Listening takes up to half a minute of an inspection: switches speak that seldom.
const (
	NoLLDP Listening = iota
	LLDP
)

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
	if i.LLDP == LLDP {
		r.params["ipa-collect-lldp"] = "1"
	}
	if t.Recall(driver.Reported) != "" {
		return i.reported(ctx, t)
	}
	if err := r.boot(ctx, t, driver.InspectionNetwork); err != nil {
		return driver.Done(), err
	}
	return i.wait(orElse(i.BootTimeout, DefaultBootTimeout)), nil
}

func (i *Inspect) wait(within time.Duration) driver.Result {
	return driver.Result{WaitFor: untilReport, Within: within, PollEvery: orElse(i.Poll, DefaultPoll)}
}

// reported ends the wait once the conductor has taken the report.
func (i *Inspect) reported(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if t.Recall(driver.Reported) == "" {
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

// Inspected implements driver.InspectionResult: the hooks, in their order.
func (i *Inspect) Inspected(_ context.Context, t *driver.Task, data node.InspectionData) (driver.Findings, error) {
	r, err := newReading(t, data)
	if err != nil {
		return driver.Findings{}, err
	}
	names := i.hookNames()
	for _, name := range names {
		if prepare := hooks[name].prepare; prepare != nil {
			if err := prepare(i, r); err != nil {
				return driver.Findings{}, err
			}
		}
	}
	for _, name := range names {
		if run := hooks[name].run; run != nil {
			if err := run(i, r); err != nil {
				return driver.Findings{}, err
			}
		}
	}
	booted(r.node, r.inventory.Boot)
	*t.Node = *r.node
	return driver.Findings{Inventory: node.Inventory{Inventory: data.Inventory, PluginData: r.plugin},
		Ports: r.changedPorts(t.Ports), Gone: r.gone, Notes: r.notes}, nil
}

// changedPorts are the new ports and those that are not as they were.
func (r *reading) changedPorts(old []node.Port) []node.Port {
	return slices.DeleteFunc(slices.Clone(r.ports), func(p node.Port) bool {
		return slices.ContainsFunc(old, func(o node.Port) bool {
			o.Extra, o.LocalLinkConnection = o.Extra.Clone(), o.LocalLinkConnection.Clone()
			return p.ID != 0 && reflect.DeepEqual(o, p)
		})
	})
}
