package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
)

// world is a conductor and a reader in memory: it keeps what it is told and refuses nothing by
// itself but what a test puts in fail. A test owns it; it is not safe for concurrent use.
type world struct {
	callers    []node.Caller // of what machines called
	nodes      []*node.Node
	ports      []node.Port
	groups     []node.Portgroup
	chassis    []node.Chassis
	allocated  []node.Allocation
	targets    []node.VolumeTarget
	connectors []node.VolumeConnector
	templates  []node.DeployTemplate
	rules      []node.InspectionRule
	history    []node.HistoryEvent
	inventory  *node.Inventory
	progress   *node.Progress
	boots      []node.BootEvent
	drivers    []node.DriverInfo
	valid      map[node.Interface]node.Validation
	device     node.BootDevice
	running    *node.Evidence // of nodeA
	failed     *node.Evidence // of every node

	fail  error // answered by every call that changes something, and by Validate
	lost  error // answered by every call that reads
	calls []any // what changed, in order: the arguments
	since time.Time
}

type (
	logged struct {
		Ident, Token string
		Lines        []node.Line
	}
	provisioned struct {
		Ident string
		node.ProvisionRequest
	}
	powered struct {
		Ident   string
		Target  node.PowerState
		Timeout time.Duration
	}
	bootDeviceSet struct {
		Ident string
		node.BootDevice
	}
	firmwareSet struct {
		Ident  string
		Target any
	}
	interrupted struct{ Ident string }
	beat        struct {
		Ident string
		node.Heartbeat
	}
	looked struct {
		MACs      []string
		UUID      string
		WantToken bool
	}
	updated struct {
		Ident string
		node.UpdateOptions
	}
	progressed struct {
		Ident, Token string
		node.Progress
	}
	deleted   struct{ Ident string }
	raidAsked struct {
		Ident  string
		Config node.Document
	}
)

func (w *world) did(call any) error {
	w.calls = append(w.calls, call)
	return w.fail
}

func (w *world) CreateNode(_ context.Context, n *node.Node) (*node.Node, error) {
	if err := w.did(*n); err != nil {
		return nil, err
	}
	n.ID, n.CreatedAt = int64(len(w.nodes)+1), epoch
	w.nodes = append(w.nodes, n)
	return n, nil
}

func (w *world) UpdateNode(ctx context.Context, ident string, opts node.UpdateOptions, change func(*node.Node) error) (*node.Node, error) {
	if err := w.did(updated{ident, opts}); err != nil {
		return nil, err
	}
	n, err := w.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	c := n.Clone()
	if err := change(c); err != nil {
		return nil, err
	}
	*n = *c
	return n, nil
}

func (w *world) DeleteNode(_ context.Context, ident string) error { return w.did(deleted{ident}) }

func (w *world) CreatePort(ctx context.Context, p node.Port) (node.Port, error) {
	if _, err := w.Node(ctx, p.NodeUUID); node.KindOf(err) == node.NotFound {
		return p, node.Errorf(node.Invalid, "Node %s could not be found.", p.NodeUUID)
	}
	if err := w.did(p); err != nil {
		return p, err
	}
	p.CreatedAt = epoch
	w.ports = append(w.ports, p)
	return p, nil
}

func (w *world) UpdatePort(_ context.Context, uuid string, change func(*node.Port) error) (node.Port, error) {
	i := slices.IndexFunc(w.ports, func(p node.Port) bool { return p.UUID == uuid })
	if i < 0 {
		return node.Port{}, node.PortNotFound(uuid)
	}
	p := w.ports[i]
	if err := change(&p); err != nil {
		return p, err
	}
	w.ports[i] = p
	return p, w.did(p)
}

func (w *world) DeletePort(_ context.Context, uuid string) error { return w.did(deleted{uuid}) }

func (w *world) CreatePortgroup(_ context.Context, g node.Portgroup) (node.Portgroup, error) {
	g.CreatedAt = epoch
	return created(w, &w.groups, g)
}

func (w *world) UpdatePortgroup(_ context.Context, uuid string, change func(*node.Portgroup) error) (node.Portgroup, error) {
	return changed(w, w.groups, func(g node.Portgroup) bool { return g.UUID == uuid }, node.PortgroupNotFound(uuid), change)
}

func (w *world) DeletePortgroup(_ context.Context, uuid string) error { return w.did(deleted{uuid}) }

type attached struct {
	Ident string
	node.VIF
}

func (w *world) NetworkEvents(_ context.Context, events []node.NetworkEvent) error {
	return w.did(events)
}

func (w *world) VIFs(_ context.Context, ident string) ([]string, error) {
	t, err := w.wired(ident)
	return node.VIFs(t.Ports, t.Portgroups), err
}

func (w *world) AttachVIF(ctx context.Context, ident string, vif node.VIF) error {
	return w.rewire(ident, attached{ident, vif}, func(t *driver.Task) error { return t.Hardware.Network.AttachVIF(ctx, t, vif) })
}

func (w *world) DetachVIF(ctx context.Context, ident, id string) error {
	return w.rewire(ident, attached{ident, node.VIF{}}, func(t *driver.Task) error { return t.Hardware.Network.DetachVIF(ctx, t, id) })
}

// wired is the node's wiring. What is changed of it is the world's own.
func (w *world) wired(ident string) (*driver.Task, error) {
	t := &driver.Task{Hardware: &driver.Hardware{Network: network.Flat{}}}
	n, err := w.Node(context.Background(), ident)
	if err != nil {
		return t, err
	}
	if n.Interfaces[node.Network] == "noop" {
		t.Hardware.Network = network.Noop{}
	}
	t.Node = n
	for _, p := range w.ports {
		if p.NodeUUID == n.UUID {
			t.Ports = append(t.Ports, p)
		}
	}
	for _, g := range w.groups {
		if g.NodeUUID == n.UUID {
			t.Portgroups = append(t.Portgroups, g)
		}
	}
	return t, nil
}

func (w *world) rewire(ident string, call any, change func(*driver.Task) error) error {
	t, err := w.wired(ident)
	if err == nil {
		err = change(t)
	}
	if err != nil {
		return err
	}
	for _, p := range t.Ports {
		w.ports[slices.IndexFunc(w.ports, func(x node.Port) bool { return x.UUID == p.UUID })] = p
	}
	for _, g := range t.Portgroups {
		w.groups[slices.IndexFunc(w.groups, func(x node.Portgroup) bool { return x.UUID == g.UUID })] = g
	}
	return w.did(call)
}

func (w *world) CreateVolumeConnector(_ context.Context, v node.VolumeConnector) (node.VolumeConnector, error) {
	v.CreatedAt = epoch
	return created(w, &w.connectors, v)
}

func (w *world) UpdateVolumeConnector(_ context.Context, uuid string,
	change func(*node.VolumeConnector) error) (node.VolumeConnector, error) {
	return changed(w, w.connectors, func(v node.VolumeConnector) bool { return v.UUID == uuid }, node.VolumeConnectorNotFound(uuid), change)
}

func (w *world) DeleteVolumeConnector(_ context.Context, uuid string) error {
	return w.did(deleted{uuid})
}

func (w *world) CreateVolumeTarget(_ context.Context, v node.VolumeTarget) (node.VolumeTarget, error) {
	v.CreatedAt = epoch
	return created(w, &w.targets, v)
}

func (w *world) UpdateVolumeTarget(_ context.Context, uuid string, change func(*node.VolumeTarget) error) (node.VolumeTarget, error) {
	return changed(w, w.targets, func(v node.VolumeTarget) bool { return v.UUID == uuid }, node.VolumeTargetNotFound(uuid), change)
}

func (w *world) DeleteVolumeTarget(_ context.Context, uuid string) error { return w.did(deleted{uuid}) }

// fakeRecords are a world's records of one kind.
type fakeRecords[T, F any] struct {
	get          func(ctx context.Context, ident string) (T, error)
	list         func(ctx context.Context, f F, p node.Page) ([]T, error)
	create, save func(ctx context.Context, x *T) error
	delete       func(ctx context.Context, uuid string) error
	deleteAll    func(ctx context.Context) error
}

func (r fakeRecords[T, F]) Get(ctx context.Context, ident string) (T, error) {
	return r.get(ctx, ident)
}

func (r fakeRecords[T, F]) List(ctx context.Context, f F, p node.Page) ([]T, error) {
	return r.list(ctx, f, p)
}

func (r fakeRecords[T, F]) Create(ctx context.Context, x *T) error { return r.create(ctx, x) }

func (r fakeRecords[T, F]) Save(ctx context.Context, x *T) error { return r.save(ctx, x) }

func (r fakeRecords[T, F]) Delete(ctx context.Context, uuid string) error { return r.delete(ctx, uuid) }

func (r fakeRecords[T, F]) DeleteAll(ctx context.Context) error { return r.deleteAll(ctx) }

// conductorOf is a conductor that is all parts in one.
func conductorOf(c interface {
	NodeChanger
	VIFChanger
	Hardware
	HardwareTypes
	Machines
	PortChanger
	PortgroupChanger
	VolumeChanger
	AllocationChanger
	NetworkListener
}) Conductor {
	return Conductor{Nodes: c, VIFs: c, Hardware: c, Types: c, Machines: c, Ports: c, Portgroups: c, Volumes: c, Allocations: c,
		Networks: c}
}

func (w *world) kinds() Kinds {
	return Kinds{
		Ports:            fakeRecords[node.Port, node.PortFilter]{get: w.Port, list: w.Ports},
		Portgroups:       fakeRecords[node.Portgroup, node.PortgroupFilter]{get: w.Portgroup, list: w.Portgroups},
		VolumeConnectors: fakeRecords[node.VolumeConnector, node.OfNode]{get: w.VolumeConnector, list: w.VolumeConnectors},
		VolumeTargets:    fakeRecords[node.VolumeTarget, node.OfNode]{get: w.VolumeTarget, list: w.VolumeTargets},
		Allocations:      fakeRecords[node.Allocation, node.AllocationFilter]{get: w.Allocation, list: w.Allocations},
		Chassis: fakeRecords[node.Chassis, node.All]{get: w.Chassis, list: w.ListChassis, create: w.CreateChassis, save: w.SaveChassis,
			delete: w.DeleteChassis},
		DeployTemplates: fakeRecords[node.DeployTemplate, node.DeployTemplateFilter]{get: w.DeployTemplate, list: w.DeployTemplates,
			create: w.CreateDeployTemplate, save: w.SaveDeployTemplate, delete: w.DeleteDeployTemplate},
		InspectionRules: fakeRecords[node.InspectionRule, node.InspectionRuleFilter]{get: w.InspectionRule, list: w.InspectionRules,
			create: w.CreateInspectionRule, save: w.SaveInspectionRule, delete: w.DeleteInspectionRule, deleteAll: w.DeleteInspectionRules},
	}
}

// created keeps x.
func created[T any](w *world, kept *[]T, x T) (T, error) {
	if err := w.did(x); err != nil {
		return x, err
	}
	*kept = append(*kept, x)
	return x, nil
}

// changed edits what is is true of.
func changed[T any](w *world, kept []T, is func(T) bool, missing error, change func(*T) error) (T, error) {
	i := slices.IndexFunc(kept, is)
	if i < 0 {
		return *new(T), missing
	}
	x := kept[i]
	if err := change(&x); err != nil {
		return x, err
	}
	kept[i] = x
	return x, w.did(x)
}

// one and some read what is kept.
func one[T any](w *world, kept []T, is func(T) bool, missing error) (T, error) {
	if w.lost != nil {
		return *new(T), w.lost
	}
	if i := slices.IndexFunc(kept, is); i >= 0 {
		return kept[i], nil
	}
	return *new(T), missing
}

func some[T any](w *world, kept []T, p node.Page, is func(T) bool) (out []T, _ error) {
	for _, x := range kept {
		if is(x) {
			out = append(out, x)
		}
	}
	if p.Limit > 0 {
		out = out[:min(p.Limit, len(out))]
	}
	return out, w.lost
}

func (w *world) CreateAllocation(_ context.Context, a node.Allocation) (node.Allocation, error) {
	a.CreatedAt, a.State = epoch, node.Allocating
	return created(w, &w.allocated, a)
}

func (w *world) UpdateAllocation(_ context.Context, uuid string, change func(*node.Allocation) error) (node.Allocation, error) {
	return changed(w, w.allocated, func(a node.Allocation) bool { return a.UUID == uuid }, node.AllocationNotFound(uuid), change)
}

func (w *world) DeleteAllocation(_ context.Context, uuid string) error { return w.did(deleted{uuid}) }

func (w *world) Allocation(_ context.Context, ident string) (node.Allocation, error) {
	return one(w, w.allocated, func(a node.Allocation) bool {
		return a.UUID == ident || a.Name != "" && a.Name == ident
	}, node.AllocationNotFound(ident))
}

func (w *world) Allocations(_ context.Context, f node.AllocationFilter, p node.Page) ([]node.Allocation, error) {
	return some(w, w.allocated, p, func(a node.Allocation) bool { return f.State == "" || a.State == f.State })
}

func (w *world) CreateChassis(_ context.Context, x *node.Chassis) error {
	x.CreatedAt = epoch
	_, err := created(w, &w.chassis, *x)
	return err
}

func (w *world) Chassis(_ context.Context, uuid string) (node.Chassis, error) {
	return one(w, w.chassis, func(x node.Chassis) bool { return x.UUID == uuid }, node.ChassisNotFound(uuid))
}

func (w *world) ListChassis(_ context.Context, _ node.All, p node.Page) ([]node.Chassis, error) {
	return some(w, w.chassis, p, func(node.Chassis) bool { return true })
}

func (w *world) SaveChassis(_ context.Context, x *node.Chassis) error { return w.did(*x) }

func (w *world) DeleteChassis(_ context.Context, uuid string) error { return w.did(deleted{uuid}) }

func (w *world) Portgroup(_ context.Context, ident string) (node.Portgroup, error) {
	return one(w, w.groups, func(g node.Portgroup) bool {
		return g.UUID == ident || g.Name != "" && g.Name == ident
	}, node.PortgroupNotFound(ident))
}

func (w *world) Portgroups(_ context.Context, f node.PortgroupFilter, p node.Page) ([]node.Portgroup, error) {
	return some(w, w.groups, p, func(g node.Portgroup) bool {
		return (f.NodeUUID == "" || g.NodeUUID == f.NodeUUID) && (f.Address == "" || g.Address == f.Address)
	})
}

func (w *world) VolumeConnector(_ context.Context, uuid string) (node.VolumeConnector, error) {
	return one(w, w.connectors, func(v node.VolumeConnector) bool { return v.UUID == uuid }, node.VolumeConnectorNotFound(uuid))
}

func (w *world) VolumeConnectors(_ context.Context, f node.OfNode, p node.Page) ([]node.VolumeConnector, error) {
	return some(w, w.connectors, p, func(v node.VolumeConnector) bool { return f.UUID == "" || v.NodeUUID == f.UUID })
}

func (w *world) VolumeTarget(_ context.Context, uuid string) (node.VolumeTarget, error) {
	return one(w, w.targets, func(v node.VolumeTarget) bool { return v.UUID == uuid }, node.VolumeTargetNotFound(uuid))
}

func (w *world) VolumeTargets(_ context.Context, f node.OfNode, p node.Page) ([]node.VolumeTarget, error) {
	return some(w, w.targets, p, func(v node.VolumeTarget) bool { return f.UUID == "" || v.NodeUUID == f.UUID })
}

func (w *world) Provision(_ context.Context, ident string, req node.ProvisionRequest) error {
	return w.did(provisioned{ident, req})
}

func (w *world) SetPower(_ context.Context, ident string, t node.PowerState, d time.Duration) error {
	return w.did(powered{ident, t, d})
}

func (w *world) SetBootDevice(_ context.Context, ident string, d node.BootDevice) error {
	return w.did(bootDeviceSet{ident, d})
}

func (w *world) SetBootMode(_ context.Context, ident, mode string) error {
	return w.did(firmwareSet{ident, mode})
}

func (w *world) SetSecureBoot(_ context.Context, ident string, on bool) error {
	return w.did(firmwareSet{ident, on})
}

func (w *world) InjectNMI(_ context.Context, ident string) error { return w.did(interrupted{ident}) }

func (w *world) Shards(context.Context) ([]node.Shard, error) {
	return []node.Shard{{Name: "", Nodes: 3}, {Name: "west", Nodes: 2}}, w.lost
}

func (w *world) BootDevice(context.Context, string) (node.BootDevice, error) { return w.device, w.fail }

func (w *world) BootDevices(context.Context, string) ([]string, error) {
	return []string{"pxe", "disk", "cdrom"}, w.fail
}

func (w *world) SetTargetRAIDConfig(_ context.Context, ident string, config node.Document) error {
	return w.did(raidAsked{ident, config})
}

func (w *world) LogicalDiskProperties(_ context.Context, driver string) (map[string]string, error) {
	if driver != "ipmi" {
		return nil, node.Errorf(node.NotFound, "Could not find the following driver(s) or hardware type(s): %s.", driver)
	}
	return map[string]string{"raid_level": "RAID level. Required."}, w.fail
}

func (w *world) Validate(_ context.Context, ident string) (map[node.Interface]node.Validation, error) {
	if _, err := w.Node(context.Background(), ident); err != nil {
		return nil, err
	}
	return w.valid, w.fail
}

func (w *world) Drivers(context.Context) ([]node.DriverInfo, error) { return w.drivers, w.fail }

func (w *world) Driver(_ context.Context, name string) (node.DriverInfo, error) {
	for _, d := range w.drivers {
		if d.Name == name {
			return d, nil
		}
	}
	return node.DriverInfo{}, node.Errorf(node.NotFound, "Could not find the following driver(s) or hardware type(s): %s.", name)
}

func (w *world) LookupAgent(ctx context.Context, l node.AgentLookup) (*node.Node, string, error) {
	w.callers = append(w.callers, l.Caller)
	if err := w.did(looked{l.MACs, l.UUID, l.WantToken}); err != nil {
		return nil, "", err
	}
	token := ""
	if l.WantToken {
		token = agentToken
	}
	return w.nodes[0], token, nil
}

func (w *world) Heartbeat(_ context.Context, ident string, hb node.Heartbeat) error {
	w.callers = append(w.callers, hb.Caller)
	hb.Caller = node.Caller{}
	return w.did(beat{ident, hb})
}

func (w *world) AgentProgress(_ context.Context, ident, token string, p node.Progress) error {
	return w.did(progressed{ident, token, p})
}

func (w *world) AgentLines(_ context.Context, ident, token string, lines []node.Line) error {
	return w.did(logged{ident, token, lines})
}

func (w *world) Why(_ context.Context, ident string) (running, failed *node.Evidence, err error) {
	if ident == nodeA {
		running = w.running
	}
	return running, w.failed, w.fail
}

func (w *world) ExpectsReport(context.Context, string) error { return w.fail }

func (w *world) ContinueInspection(_ context.Context, data node.InspectionData) (*node.Node, error) {
	w.callers = append(w.callers, data.Caller)
	data.Caller = node.Caller{}
	return w.nodes[0], w.did(data)
}

func (w *world) Node(_ context.Context, ident string) (*node.Node, error) {
	if w.lost != nil {
		return nil, w.lost
	}
	for _, n := range w.nodes {
		if n.UUID == ident || n.Name != "" && n.Name == ident {
			return n, nil
		}
	}
	return nil, node.NodeNotFound(ident)
}

func (w *world) Nodes(_ context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error) {
	if w.lost != nil {
		return nil, w.lost
	}
	w.calls = append(w.calls, f, p)
	var out []*node.Node
	for _, n := range w.nodes {
		if (f.State == "" || n.State == f.State) && (f.ParentNode == "" || n.ParentNode == f.ParentNode) {
			out = append(out, n)
		}
	}
	if p.Marker != "" {
		i := slices.IndexFunc(out, func(n *node.Node) bool { return n.UUID == p.Marker })
		if i < 0 {
			return nil, node.NodeNotFound(p.Marker)
		}
		out = out[i+1:]
	}
	return out[:min(p.Limit, len(out))], nil
}

func (w *world) Port(_ context.Context, ident string) (node.Port, error) {
	if w.lost != nil {
		return node.Port{}, w.lost
	}
	for _, p := range w.ports {
		if p.UUID == ident || p.Name != "" && p.Name == ident {
			return p, nil
		}
	}
	return node.Port{}, node.PortNotFound(ident)
}

func (w *world) Ports(_ context.Context, f node.PortFilter, p node.Page) ([]node.Port, error) {
	if w.lost != nil {
		return nil, w.lost
	}
	var out []node.Port
	for _, port := range w.ports {
		if (f.NodeUUID == "" || port.NodeUUID == f.NodeUUID) && (f.Address == "" || port.Address == f.Address) {
			out = append(out, port)
		}
	}
	if p.Limit > 0 {
		out = out[:min(p.Limit, len(out))]
	}
	return out, nil
}

func (w *world) History(_ context.Context, _ string, p node.Page) ([]node.HistoryEvent, error) {
	return w.history[:min(p.Limit, len(w.history))], nil
}

func (w *world) HistoryEvent(_ context.Context, _, uuid string) (node.HistoryEvent, error) {
	for _, e := range w.history {
		if e.UUID == uuid {
			return e, nil
		}
	}
	return node.HistoryEvent{}, node.Errorf(node.NotFound, "Node history record %s could not be found.", uuid)
}

func (w *world) Inventory(_ context.Context, uuid string) (node.Inventory, error) {
	if w.inventory == nil {
		return node.Inventory{}, node.Errorf(node.NotFound, "Inventory record for node %s could not be found", uuid)
	}
	return *w.inventory, nil
}

func (w *world) Progress(context.Context, string) (*node.Progress, error) { return w.progress, nil }

func (w *world) Addresses(context.Context) ([]node.Address, error) {
	return []node.Address{{NodeUUID: nodeA, MAC: macA, IP: "192.0.2.130", Until: epoch.Add(time.Hour)}}, w.lost
}

func (w *world) Strangers(context.Context) ([]node.BootEvent, error) {
	return []node.BootEvent{{MAC: "52:54:00:00:00:99", Service: "dhcp", Kind: node.UnknownMAC, Who: node.AskedIPXE,
		What: "DISCOVER: ignored", At: epoch}}, w.lost
}

func (w *world) BootEvents(_ context.Context, macs []string, since time.Time) ([]node.BootEvent, error) {
	w.since = since
	var out []node.BootEvent
	for _, e := range w.boots {
		if slices.Contains(macs, e.MAC) {
			out = append(out, e)
		}
	}
	return out, nil
}

const (
	nodeA    = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	nodeB    = "22222222-2222-4222-8222-222222222222"
	allocA   = "a1100000-0000-4000-8000-00000000000a"
	chassisA = "e0000000-0000-4000-8000-00000000000a"
	groupA   = "b0000000-0000-4000-8000-00000000000a"
	connA    = "c0000000-0000-4000-8000-00000000000a"
	targetA  = "d0000000-0000-4000-8000-00000000000a"
	portA    = "d2b30520-907d-46c8-bfee-c5586e6fb3a1"
	macA     = "52:54:00:cf:2d:31"

	agentToken = "tok-9f3c0e2d7b6a5948372615049382716054a3b2c1d0e"
	bmcSecret  = "s3cr3t-of-the-bmc"
	driveData  = "H4sIAAAAAAAAA0spyixLVchPUyjJSFXIzCsuScxLTgUAvIzWWRUAAAA="
)

var epoch = time.Date(2026, 11, 3, 14, 5, 6, 123456000, time.UTC)

// deploying is a node in the middle of a deploy, with a secret in every place that can hold one.
func deploying() *node.Node {
	yes := true
	return &node.Node{
		ID: 1, UUID: nodeA, Name: "rack1-u7", Driver: "ipmi",
		Interfaces: map[node.Interface]string{
			node.Power: "ipmitool", node.Management: "ipmitool", node.Boot: "ipxe", node.Deploy: "direct",
			node.Inspect: "agent", node.Network: "flat", node.Storage: "noop",
		},
		State: node.DeployWait, TargetState: node.Active, ProvisionUpdatedAt: epoch.Add(time.Minute),
		Power: node.PowerOn, BootMode: "uefi", AutomatedClean: &yes, ResourceClass: "baremetal",
		InstanceUUID: nodeB, InstanceName: "web-1", Traits: []string{"CUSTOM_FAST", "HW_CPU_X86_VMX"},
		Properties: node.Document{"cpu_arch": "x86_64", "memory_mb": 4096.0, "capabilities": "boot_mode:uefi"},
		DriverInfo: node.Document{"ipmi_address": "192.0.2.7", "ipmi_username": "admin", "ipmi_password": bmcSecret, "ipmi_hex_kg_key": bmcSecret,
			"nested": map[string]any{"list": []any{map[string]any{"auth_token": bmcSecret}}}},
		InstanceInfo: node.Document{"image_source": "http://192.0.2.1/debian.qcow2", "image_url": "http://192.0.2.1/x?sig=" + bmcSecret,
			"root_gb": 10.0},
		DriverInternalInfo: node.Document{"agent_secret_token_pregenerated": false, "rescue_password": bmcSecret},
		Extra:              node.Document{"rack": 1.0},
		ConfigDrive:        driveData,
		Plan: &node.Plan{
			Flow: node.FlowDeploy, StartedAt: epoch, Index: 2,
			WaitingSince: epoch.Add(time.Minute), Awaits: node.FirstCall, WaitingFor: "the agent's first heartbeat", Deadline: epoch.Add(time.Hour),
			Steps: []node.PlannedStep{
				{Interface: node.Deploy, Step: "prepare", Priority: 200, Hidden: true, StartedAt: epoch, EndedAt: epoch.Add(10 * time.Second)},
				{Interface: node.Deploy, Step: "deploy", Priority: 100, StartedAt: epoch.Add(10 * time.Second), EndedAt: epoch.Add(time.Minute)},
				{Interface: node.Deploy, Step: "write_image", Priority: 80, StartedAt: epoch.Add(time.Minute),
					Args: map[string]any{"password": bmcSecret, "disk": "sda"}},
				{Interface: node.Deploy, Step: "boot_instance", Priority: 20},
			},
		},
		Lease:     node.Lease{Holder: "conductor-1", Token: 7, Until: epoch.Add(time.Hour)},
		Agent:     node.Agent{URL: "https://192.0.2.50:9999", Version: "11.0.0", Token: agentToken, TokenGiven: true, LastHeartbeat: epoch},
		CreatedAt: epoch, UpdatedAt: epoch.Add(time.Minute),
	}
}

func idle() *node.Node {
	return &node.Node{ID: 2, UUID: nodeB, Driver: "fake-hardware", State: node.Available, CreatedAt: epoch, AllocationUUID: allocA,
		Interfaces: map[node.Interface]string{node.Network: "noop"}}
}

func newWorld() *world {
	ok, bad := true, false
	return &world{
		nodes: []*node.Node{deploying(), idle()},
		ports: []node.Port{{ID: 1, UUID: portA, NodeUUID: nodeA, Name: "eth0", Address: macA, PXEEnabled: true, CreatedAt: epoch,
			LocalLinkConnection: node.Document{"port_id": "Gi1/0/7"}}},
		groups: []node.Portgroup{{ID: 1, UUID: groupA, NodeUUID: nodeA, Name: "bond0", Address: "52:54:00:cf:2d:40", Mode: "802.3ad",
			Properties: node.Document{"miimon": 100.0}, StandalonePortsSupported: true, CreatedAt: epoch,
			InternalInfo: node.Document{"token": agentToken}}},
		allocated: []node.Allocation{{ID: 1, UUID: allocA, Name: "web", NodeUUID: nodeB, State: node.Allocated, ResourceClass: "baremetal",
			Traits:         []string{"CUSTOM_FAST"},
			CandidateNodes: []string{nodeB}, Owner: "ada", CreatedAt: epoch}},
		chassis: []node.Chassis{{ID: 1, UUID: chassisA, Description: "rack 7", Extra: node.Document{"row": 2.0}, CreatedAt: epoch}},
		connectors: []node.VolumeConnector{{ID: 1, UUID: connA, NodeUUID: nodeA, Type: "iqn", ConnectorID: "iqn.2026-01.example:node-a",
			CreatedAt: epoch}},
		targets: []node.VolumeTarget{{ID: 1, UUID: targetA, NodeUUID: nodeA, VolumeType: "iscsi", VolumeID: "vol-1", CreatedAt: epoch,
			Properties: node.Document{"target_portal": "192.0.2.20:3260", "auth_username": "u", "auth_password": bmcSecret}}},
		templates: []node.DeployTemplate{raidTemplate()},
		rules:     []node.InspectionRule{openRule(), quietRule()},
		history: []node.HistoryEvent{{ID: 1, UUID: "e5840e39-b4ba-4a93-8071-cff9aa2c9633", NodeUUID: nodeA, Conductor: "conductor-1",
			EventType: "deploying", Severity: "ERROR", Event: "the agent never called", CreatedAt: epoch}},
		inventory: &node.Inventory{Inventory: node.Document{"cpu": map[string]any{"count": 4.0}},
			PluginData: node.Document{"boot_interface": macA}},
		progress: &node.Progress{NodeUUID: nodeA, Flow: node.FlowDeploy, Step: "write_image", Detail: "debian", Done: 1 << 20, Total: 1 << 30,
			At:    epoch,
			Disks: []node.DiskProgress{{Name: "/dev/sda", Serial: "S1", What: "writing", Done: 1 << 20, Total: 1 << 30}}},
		boots: []node.BootEvent{{MAC: macA, Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware,
			What: "DISCOVER from x86-64 UEFI, offered 10.99.0.20", At: epoch},
			{MAC: "00:00:00:00:00:01", Service: "dhcp", What: "of another machine", At: epoch}},
		drivers: []node.DriverInfo{{Name: "ipmi", Type: "dynamic", Hosts: []string{"conductor-1"},
			Default:    map[node.Interface]string{node.Power: "ipmitool", node.Boot: "ipxe"},
			Enabled:    map[node.Interface][]string{node.Power: {"ipmitool"}, node.Boot: {"ipxe", "pxe"}},
			Properties: map[string]string{"ipmi_address": "IP address or host name of the BMC. Required."}}},
		valid: map[node.Interface]node.Validation{node.Power: {OK: &ok}, node.Deploy: {OK: &bad, Reason: "instance_info has no image_source"},
			node.Console: {Reason: "not supported"}},
		device:  node.BootDevice{Device: "pxe", Persistent: true},
		running: evidenceOfADeploy(),
		failed: &node.Evidence{NodeUUID: nodeB, Flow: node.FlowClean, Sentence: "the kernel panicked", StartedAt: epoch,
			FailedAt: epoch.Add(time.Minute)},
	}
}

func evidenceOfADeploy() *node.Evidence {
	return &node.Evidence{
		NodeUUID: nodeA, Flow: node.FlowDeploy, Sentence: "The deploy has run for 60 s.", StartedAt: epoch, Step: "deploy.write_image",
		Awaits: node.FirstCall, WaitingFor: "the agent's first heartbeat", WaitingSince: epoch.Add(time.Minute), Deadline: epoch.Add(time.Hour),
		Steps: []node.StepTime{{Interface: node.Deploy, Step: "deploy", StartedAt: epoch, EndedAt: epoch.Add(time.Minute)},
			{Interface: node.Deploy, Step: "write_image", StartedAt: epoch.Add(time.Minute)}},
		Phases: []node.Phase{{Name: "dhcp", First: epoch, Last: epoch.Add(time.Second), Times: 2, What: "DISCOVER"}},
		Network: &node.NetworkReport{Service: "Neutron", At: epoch, Ports: []node.NetworkPort{{ID: "p", MAC: macA, Network: "n", Status: "ACTIVE",
			Up: true, Bound: true, Addresses: []string{"192.0.2.9"}, DHCP: node.DHCP{Agents: []node.DHCPAgent{{Host: "net1", Alive: true}}}}}},
		BootEvents: []node.BootEvent{{MAC: macA, Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware, What: "DISCOVER", At: epoch}},
		Serial:     node.MachineLines{Note: "its console is in use", UpdatedAt: epoch},
		AgentLog:   node.MachineLines{Lines: []node.Line{{At: epoch, Text: "billet-agent starts"}}, UpdatedAt: epoch},
		AgentURL:   "https://192.0.2.50:9999", AgentCalled: epoch, Files: []string{"/var/lib/billet/deploy-logs/x-agent.log"},
	}
}

// secrets are texts that no answer may hold.
var secrets = []string{bmcSecret, driveData, agentToken}

func leaks(body string) string {
	for _, s := range secrets {
		if strings.Contains(body, s) {
			return s
		}
	}
	return ""
}
