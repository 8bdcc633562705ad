package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const untilReport = "the inspection report"

// AddPorts says which interfaces of an inspected machine become ports.
type AddPorts string

// Policies of adding ports; "" is PXE. Ports a node has are always kept.
const (
	AddPXE    AddPorts = "pxe"      // the interface it booted from; those with an address when that is not known
	AddActive AddPorts = "active"   // those with an address
	AddAll    AddPorts = "all"      // every one with a MAC address
	AddNone   AddPorts = "disabled" // none
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
	AddPorts    AddPorts
	After       AfterInspection
	LLDP        Listening
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
	if i.After == SwitchOff {
		return leave(ctx, t, driver.InspectionNetwork)
	}
	if err := t.Hardware.Boot.CleanUpRamdisk(ctx, t); err != nil {
		return fmt.Errorf("removing the boot record: %w", err)
	}
	if err := t.Hardware.Network.Disconnect(ctx, t, driver.InspectionNetwork); err != nil {
		return fmt.Errorf("leaving the inspection network: %w", err)
	}
	return nil
}

// TidyUp implements driver.Tidier.
func (i *Inspect) TidyUp(ctx context.Context, t *driver.Task) error {
	return leave(ctx, t, driver.InspectionNetwork)
}

// Inspected implements driver.InspectionResult: the field's hooks, in their order.
func (i *Inspect) Inspected(_ context.Context, t *driver.Task, data node.InspectionData) (driver.Findings, error) {
	if data.Error != "" {
		return driver.Findings{}, node.Errorf(node.Invalid, "The machine reported a failed inspection: %s", redact(data.Error))
	}
	inventory, err := readInventory(data.Inventory)
	if err != nil {
		return driver.Findings{}, err
	}
	nics := usable(inventory.Interfaces)
	if len(nics) == 0 {
		return driver.Findings{}, node.Errorf(node.Invalid, "The inspection found no network interface with a MAC address among %d.", len(inventory.Interfaces))
	}
	booted := bootedFrom(data.BootInterface, inventory)
	describe(t.Node, inventory, data.PluginData)
	plugin := data.PluginData.Clone()
	plugin["macs"], plugin["valid_interfaces"] = summary(nics, booted)
	heard := neighbours(inventory.Interfaces)
	if len(heard) > 0 {
		plugin["parsed_lldp"] = parsedLLDP(heard)
	}
	ports := linkedPorts(t.Ports, i.newPorts(t, nics, booted), nics, heard)
	return driver.Findings{Inventory: node.Inventory{Inventory: data.Inventory, PluginData: plugin}, Ports: ports}, nil
}

func parsedLLDP(heard map[string]neighbour) map[string]any {
	parsed := map[string]any{}
	for name, n := range heard {
		parsed[name] = n.said
	}
	return parsed
}

// linkedPorts returns the ports to write: the new ones, with the switch port they are plugged into,
// and those of the node that did not know theirs.
func linkedPorts(old, added []node.Port, nics []nic, heard map[string]neighbour) []node.Port {
	byMAC := map[string]neighbour{}
	for _, n := range nics {
		byMAC[n.mac] = heard[n.name]
	}
	for i := range added {
		byMAC[added[i].Address].linked(&added[i])
	}
	for _, p := range old {
		if byMAC[strings.ToLower(p.Address)].linked(&p) {
			added = append(added, p)
		}
	}
	return added
}

// newPorts lists the ports that the node does not have yet. Only the interface the machine booted from
// is offered for network boot, when that is known.
func (i *Inspect) newPorts(t *driver.Task, nics []nic, booted string) []node.Port {
	known := map[string]bool{}
	for _, p := range t.Ports {
		known[strings.ToLower(p.Address)] = true
	}
	var ports []node.Port
	for _, n := range nics {
		if !known[n.mac] && i.wants(n, booted) {
			known[n.mac] = true
			ports = append(ports, node.Port{
				NodeUUID: t.Node.UUID, Address: n.mac, PXEEnabled: booted == "" || n.mac == booted,
				LocalLinkConnection: node.Document{}, Extra: node.Document{}, InternalInfo: node.Document{},
				Description: fmt.Sprintf("%s, found by inspection", n.name),
			})
		}
	}
	return ports
}

func (i *Inspect) wants(n nic, booted string) bool {
	switch i.AddPorts {
	case AddNone:
		return false
	case AddAll:
		return true
	case AddActive:
		return n.address != ""
	}
	if booted == "" {
		return n.address != ""
	}
	return n.mac == booted
}
