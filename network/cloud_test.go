package network_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
)

const (
	nodeID  = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	mac1    = "52:54:00:00:00:01"
	mac2    = "52:54:00:00:00:02"
	cleanID = "c1ea0000-0000-4000-8000-000000000000"
	provID  = "b0070000-0000-4000-8000-000000000000"
	userID  = "0ser0000-0000-4000-8000-000000000000"
)

// world is a machine with two ports, a cloud, and what was saved of the ports.
type world struct {
	*openstacktest.Cloud
	cloud *network.Cloud
	task  *driver.Task
	saved []node.Port
}

// booter is a boot interface with two options.
type booter struct{ driver.Boot }

func (booter) DHCPOptions(_ *driver.Task, mac string) []node.DHCPOption {
	return []node.DHCPOption{
		{Name: "tag:ipxe,67", Value: "http://10.0.0.1:6386/boot/ipxe?mac=" + mac, IPVersion: 4},
		{Name: "server-ip-address", Value: "10.0.0.1", IPVersion: 4},
	}
}

func newWorld(t *testing.T) *world {
	w := &world{Cloud: openstacktest.New(t)}
	for id, name := range map[string]string{cleanID: "cleaning", provID: "provisioning", userID: "tenant"} {
		w.Neutron.AddNetwork(id, name)
	}
	session, err := openstack.Open(openstack.Config{
		AuthURL: w.AuthURL(), Username: openstacktest.Username, Password: openstacktest.Password, Project: openstacktest.Project,
		Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.cloud = &network.Cloud{
		Neutron: &openstack.Networks{Session: session},
		Settle:  -1, DHCP: true, Networks: map[driver.NetworkPurpose]string{
			driver.CleaningNetwork: "cleaning", driver.ProvisioningNetwork: "provisioning", driver.RescuingNetwork: "provisioning",
			driver.ServicingNetwork: "provisioning",
		},
	}
	link := func(port string) node.Document {
		return node.Document{"switch_id": "00:00:00:00:00:00", "port_id": port, "switch_info": "noted"}
	}
	w.task = &driver.Task{
		Node: &node.Node{UUID: nodeID, State: node.Available, DriverInfo: node.Document{}}, Hardware: &driver.Hardware{Boot: booter{}},
		Ports: []node.Port{
			{UUID: "p1", Address: mac1, PXEEnabled: true, LocalLinkConnection: link("eth1"), InternalInfo: node.Document{}},
			{UUID: "p2", Address: mac2, LocalLinkConnection: link("eth2"), InternalInfo: node.Document{}},
		},
	}
	w.task.SaveWiring = func(context.Context) error {
		w.saved = slices.Clone(w.task.Ports)
		return nil
	}
	return w
}

func (w *world) flat() network.Flat       { return network.Flat{Cloud: w.cloud} }
func (w *world) neutron() network.Neutron { return network.Neutron{Cloud: w.cloud} }

// restarts is a process that died: what it did not save is lost.
func (w *world) restarts() {
	w.task.Ports = slices.Clone(w.saved)
}

// userPort puts a port in as Nova does.
func (w *world) userPort(id string) {
	w.Neutron.AddPort(id, userID, map[string]any{"device_owner": "compute:nova"})
}

func (w *world) attach(t *testing.T, n driver.Network, id string) {
	t.Helper()
	if err := n.AttachVIF(t.Context(), w.task, node.VIF{ID: id}); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, w *world, n driver.Network, p driver.NetworkPurpose) {
	t.Helper()
	if err := n.Connect(t.Context(), w.task, p); err != nil {
		t.Fatalf("%s to %s: %v", n.Name(), p, err)
	}
}

func disconnect(t *testing.T, w *world, n driver.Network, p driver.NetworkPurpose) {
	t.Helper()
	if err := n.Disconnect(t.Context(), w.task, p); err != nil {
		t.Fatalf("%s from %s: %v", n.Name(), p, err)
	}
}

// fields are the wanted ones of a port, as JSON has them.
func (w *world) want(t *testing.T, id string, want map[string]any) {
	t.Helper()
	port := w.Neutron.Port(id)
	if port == nil {
		t.Fatalf("there is no port %q", id)
	}
	for field, value := range want {
		if got, want := asJSON(port[field]), asJSON(value); got != want {
			t.Errorf("%s of port %s: got %s, want %s", field, id, got, want)
		}
	}
}

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// bound is how a port of the machine looks that Neutron was told of.
func bound(mac, port string) map[string]any {
	return map[string]any{
		"mac_address": mac, "binding:host_id": nodeID, "binding:vnic_type": "baremetal", "status": "ACTIVE",
		"binding:profile": map[string]any{"local_link_information": []any{
			map[string]any{"switch_id": "00:00:00:00:00:00", "port_id": port, "switch_info": "noted"},
		}},
		"extra_dhcp_opts": []any{
			map[string]any{"opt_name": "tag:ipxe,67", "opt_value": "http://10.0.0.1:6386/boot/ipxe?mac=" + mac, "ip_version": 4},
			map[string]any{"opt_name": "server-ip-address", "opt_value": "10.0.0.1", "ip_version": 4},
		},
	}
}

// unbound is how a tenant's port looks that was taken from the machine.
var unbound = map[string]any{"binding:host_id": "", "binding:profile": map[string]any{}, "binding:vif_type": "unbound"}

func wantUnbound(t *testing.T, w *world, id string, mac string) {
	t.Helper()
	w.want(t, id, unbound)
	if got := w.Neutron.Port(id)["mac_address"]; got == mac {
		t.Errorf("port %s has the machine's MAC address %s still", id, mac)
	}
}

func TestFlatBindsAtAttach(t *testing.T) {
	w := newWorld(t)
	w.userPort("vif-1")
	w.attach(t, w.flat(), "vif-1")
	w.want(t, "vif-1", bound(mac1, "eth1"))
	if got := w.saved[0].InternalInfo.String(node.VIFKey); got != "vif-1" {
		t.Errorf("saved: %q", got)
	}
	w.Neutron.Forget()
	connect(t, w, w.flat(), driver.ProvisioningNetwork)
	connect(t, w, w.flat(), driver.TenantNetwork)
	if changed := w.Neutron.Asked("PUT"); len(changed) > 0 || len(w.Neutron.Ports()) != 1 {
		t.Errorf("a port that is as it should be was changed: %v, ports %v", changed, w.Neutron.Ports())
	}
	if err := w.flat().DetachVIF(t.Context(), w.task, "vif-1"); err != nil {
		t.Fatal(err)
	}
	wantUnbound(t, w, "vif-1", mac1)
	if w.task.Ports[0].InternalInfo[node.VIFKey] != nil {
		t.Error("still attached")
	}
	if err := w.flat().DetachVIF(t.Context(), w.task, "vif-1"); node.KindOf(err) != node.Invalid {
		t.Errorf("detached twice: %v", err)
	}
}

// Where somebody else serves DHCP, Neutron is told nothing of what machines boot.
func TestNoOptionsForSomebodyElsesDHCP(t *testing.T) {
	w := newWorld(t)
	w.cloud.DHCP = false
	w.userPort("vif-1")
	w.attach(t, w.flat(), "vif-1")
	w.want(t, "vif-1", map[string]any{"binding:host_id": nodeID, "extra_dhcp_opts": []any{}})
}

// A card that was replaced has another address, and what switch port it is in may change: Neutron is told when the machine is connected
// next.
func TestTheNodesPortChanges(t *testing.T) {
	w := newWorld(t)
	w.userPort("vif-1")
	w.attach(t, w.flat(), "vif-1")
	w.task.Ports[0].Address = "52:54:00:00:00:09"
	w.Neutron.Fail(openstacktest.On("PUT /v2.0/ports/vif-1", func(rw http.ResponseWriter, r *http.Request) bool {
		var in struct{ Port map[string]any }
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		_ = json.Unmarshal(body, &in)
		if port := w.Neutron.Port("vif-1"); in.Port["mac_address"] == nil || port["binding:host_id"] == "" {
			return false
		}
		return openstacktest.Answer(409, `{"NeutronError": {"message": "port is bound"}}`)(rw, r)
	}))
	connect(t, w, w.flat(), driver.ProvisioningNetwork)
	w.want(t, "vif-1", bound("52:54:00:00:00:09", "eth1"))
	w.Neutron.Fail(nil)
	w.task.Ports[0].LocalLinkConnection = node.Document{"switch_id": "00:00:00:00:00:00", "port_id": "eth7", "switch_info": "noted"}
	connect(t, w, w.flat(), driver.TenantNetwork)
	w.want(t, "vif-1", bound("52:54:00:00:00:09", "eth7"))
}

// Neutron refuses an address that any port of the network has, so the tenant's must be free before a ramdisk gets a port.
func TestFlatCleansOnANetwork(t *testing.T) {
	w := newWorld(t)
	w.cloud.Networks[driver.CleaningNetwork] = userID // one network for all, as flat has it
	w.userPort("vif-1")
	w.attach(t, w.flat(), "vif-1")
	disconnect(t, w, w.flat(), driver.TenantNetwork)
	if err := w.flat().DetachVIF(t.Context(), w.task, "vif-1"); err != nil {
		t.Fatal(err)
	}
	connect(t, w, w.flat(), driver.CleaningNetwork)
	id := w.saved[0].InternalInfo.String("cleaning_vif_port_id")
	w.want(t, id, bound(mac1, "eth1"))
	w.want(t, id, map[string]any{"device_owner": "baremetal:none", "network_id": userID, "device_id": nodeID, "admin_state_up": true})
	w.Neutron.Forget()
	connect(t, w, w.flat(), driver.CleaningNetwork)
	if len(w.Neutron.Asked("POST")) > 0 || len(w.Neutron.Asked("DELETE")) > 0 {
		t.Error("it was made anew")
	}
	disconnect(t, w, w.flat(), driver.CleaningNetwork)
	if w.Neutron.Port(id) != nil || w.saved[0].InternalInfo["cleaning_vif_port_id"] != nil {
		t.Errorf("left behind: %v %v", w.Neutron.Port(id), w.saved[0].InternalInfo)
	}
}

// A node's own driver_info wins over the service's network; what Neutron does not know is said before anything is done.
func TestNetworksThatNobodyKnows(t *testing.T) {
	w := newWorld(t)
	for n, wants := range map[driver.Network]map[string]string{
		w.flat():    {"": "", "tenant": "", "nowhere": `The cleaning network of node`},
		w.neutron(): {"": "", userID: "", "nowhere": `Neutron has no network nowhere`},
	} {
		for own, want := range wants {
			w.task.Node.DriverInfo = node.Document{"cleaning_network": own}
			err := n.Validate(t.Context(), w.task)
			if want == "" && err != nil || want != "" && (node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s with %q: %v", n.Name(), own, err)
			}
		}
	}
	w.task.Node.DriverInfo = nil
	w.cloud.Networks[driver.CleaningNetwork] = ""
	if err := w.flat().Validate(t.Context(), w.task); err != nil {
		t.Errorf("flat needs no network of its own: %v", err)
	}
	err := w.neutron().Validate(t.Context(), w.task)
	if err == nil || !strings.Contains(err.Error(), "neither driver_info/cleaning_network of node "+nodeID+" nor the service's") {
		t.Errorf("neutron without a cleaning network: %v", err)
	}
}

// A Neutron that is away says nothing about a node: what is asked for is not refused, and waits when it is begun.
func TestValidateWithoutNeutron(t *testing.T) {
	w := newWorld(t)
	w.Neutron.Fail(openstacktest.Abort)
	if err := w.flat().Validate(t.Context(), w.task); err != nil {
		t.Error(err)
	}
}

func waits(t *testing.T, err error, kind node.AwaitKind, text string) *driver.NotYet {
	t.Helper()
	notYet, ok := errors.AsType[*driver.NotYet](err)
	if !ok || notYet.Await.For != kind || !strings.Contains(err.Error(), text) || notYet.Every <= 0 {
		t.Fatalf("got %v, want a wait of kind %q that says %q", err, kind, text)
	}
	return notYet
}

// The machine is not switched on before Neutron has connected it, and no port is made twice while that is waited for.
func TestPowerWaitsForThePort(t *testing.T) {
	w := newWorld(t)
	w.Neutron.Stuck("DOWN")
	for range 2 {
		err := w.flat().Connect(t.Context(), w.task, driver.CleaningNetwork)
		if got := waits(t, err, node.Link, "is DOWN and was to be ACTIVE within 2m0s").Within; got != 2*time.Minute {
			t.Errorf("within %s", got)
		}
	}
	if got := w.Neutron.Ports(); len(got) != 1 {
		t.Errorf("ports: %v", got)
	}
	w.Neutron.Set(w.Neutron.Ports()[0], map[string]any{"status": "ACTIVE"})
	connect(t, w, w.flat(), driver.CleaningNetwork)
}

// A tenant's port may be ACTIVE before Neutron's DHCP has heard of its new MAC address.
func TestABoundPortSettles(t *testing.T) {
	w := newWorld(t)
	w.cloud.Settle = time.Hour
	w.userPort("vif-1")
	w.attach(t, w.flat(), "vif-1")
	waits(t, w.flat().Connect(t.Context(), w.task, driver.ProvisioningNetwork), node.Link, "was bound only now")
	w.cloud.Settle = -1
	connect(t, w, w.flat(), driver.ProvisioningNetwork)
}

func TestPortsThatWillNeverWork(t *testing.T) {
	for stuck, want := range map[string]string{
		"binding_failed": "(binding_failed): none of its drivers takes the switch port [{", "ERROR": "is in status ERROR",
	} {
		w := newWorld(t)
		w.Neutron.Stuck(stuck)
		for range 2 { // the second time it is made anew
			err := w.flat().Connect(t.Context(), w.task, driver.CleaningNetwork)
			if _, again := errors.AsType[*driver.NotYet](err); err == nil || again || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q at once", err, want)
			}
		}
		disconnect(t, w, w.flat(), driver.CleaningNetwork)
		if left := w.Neutron.Ports(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// What a process left that died between making a port and noting it is found by the machine's MAC address.
func TestLeftoversOfACrash(t *testing.T) {
	w := newWorld(t)
	lost := w.task.Ports
	w.task.Ports = slices.Clone(lost)
	w.task.SaveWiring = func(context.Context) error { return errors.New("the process dies") }
	if err := w.flat().Connect(t.Context(), w.task, driver.CleaningNetwork); err == nil {
		t.Fatal("it lives")
	}
	before := w.Neutron.Ports()
	w.task.Ports, w.task.SaveWiring = lost, nil
	connect(t, w, w.flat(), driver.CleaningNetwork)
	after := w.Neutron.Ports()
	if len(before) != 1 || len(after) != 1 || before[0] == after[0] {
		t.Errorf("before %v, after %v", before, after)
	}
	w.task.Ports[0].InternalInfo = node.Document{} // and one that is never made again
	disconnect(t, w, w.flat(), driver.CleaningNetwork)
	if left := w.Neutron.Ports(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A tenant's port that was detached while Neutron was away, or bound by a process that died before, may hold the machine's address.
// It is freed; one of somebody else is not touched and named.
func TestWhoHasTheAddress(t *testing.T) {
	w := newWorld(t)
	w.Neutron.AddPort("stale", cleanID, map[string]any{"mac_address": mac1, "binding:host_id": nodeID})
	connect(t, w, w.flat(), driver.CleaningNetwork)
	wantUnbound(t, w, "stale", mac1)
	disconnect(t, w, w.flat(), driver.CleaningNetwork)

	w.Neutron.AddPort("strange", cleanID, map[string]any{"mac_address": mac1, "device_owner": "network:dhcp"})
	err := w.flat().Connect(t.Context(), w.task, driver.CleaningNetwork)
	if err == nil || !strings.Contains(err.Error(), `Neutron's port strange (device_owner "network:dhcp"`) {
		t.Errorf("got %v", err)
	}
	w.want(t, "strange", map[string]any{"mac_address": mac1})
}

// What goes wrong at Neutron for a while is waited for; what asking again cannot mend is said at once.
func TestFaultsOfNeutron(t *testing.T) {
	for name, tt := range map[string]struct {
		fault openstacktest.Fault
		waits bool
	}{
		"ends the connection": {openstacktest.Abort, true},
		"503":                 {openstacktest.Answer(503, `{"NeutronError": {"message": "no"}}`), true},
		"500 from a proxy":    {openstacktest.HTML(500), true},
		"half an answer":      {openstacktest.Half(200, `{"networks": [`), true},
		"403":                 {openstacktest.Answer(403, `{"NeutronError": {"message": "not you"}}`), false},
		"400":                 {openstacktest.Answer(400, `{"NeutronError": {"message": "bad"}}`), false},
	} {
		w := newWorld(t)
		w.Neutron.Fail(tt.fault)
		err := w.flat().Connect(t.Context(), w.task, driver.CleaningNetwork)
		if _, again := errors.AsType[*driver.NotYet](err); err == nil || again != tt.waits {
			t.Errorf("%s: %v", name, err)
		}
		w.Neutron.Fail(nil)
		connect(t, w, w.flat(), driver.CleaningNetwork)
	}
	w := newWorld(t)
	w.Keystone.Revoke() // 401 in the middle: the session logs in again
	connect(t, w, w.flat(), driver.CleaningNetwork)
}

// Tearing down is no harder when Nova deleted the port before, and touches no port that went to another machine.
func TestDetachOfWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"vif-1", "vif-2"} {
		w.userPort(id)
		w.attach(t, w.flat(), id)
	}
	w.Neutron.Set("vif-1", map[string]any{"binding:host_id": "another", "mac_address": "fa:16:3e:aa:bb:cc"})
	w.Neutron.Fail(openstacktest.On("GET /v2.0/ports/vif-2", openstacktest.Answer(404, `{"NeutronError": {"message": "gone"}}`)))
	for _, id := range []string{"vif-1", "vif-2"} {
		if err := w.flat().DetachVIF(t.Context(), w.task, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	w.want(t, "vif-1", map[string]any{"binding:host_id": "another"})
}

func TestAttachRefuses(t *testing.T) {
	w := newWorld(t)
	w.userPort("elsewhere")
	w.Neutron.Set("elsewhere", map[string]any{"binding:host_id": "another"})
	w.userPort("unbindable")
	for id, want := range map[string]string{
		"nowhere":    "Neutron has no such port that Billet may see",
		"elsewhere":  "is bound to host another",
		"unbindable": "binding_failed",
	} {
		if id == "unbindable" {
			w.Neutron.Fail(openstacktest.On("PUT /v2.0/ports/unbindable", func(rw http.ResponseWriter, r *http.Request) bool {
				port := maps.Clone(w.Neutron.Port(id))
				port["binding:vif_type"], port["binding:host_id"] = "binding_failed", nodeID
				_ = json.NewEncoder(rw).Encode(map[string]any{"port": port})
				return true
			}))
		}
		before := w.task.Ports[0].InternalInfo
		err := w.flat().AttachVIF(t.Context(), w.task, node.VIF{ID: id})
		if err == nil || !strings.Contains(err.Error(), want) || node.KindOf(err) == node.Internal {
			t.Errorf("%s: %v", id, err)
		}
		if !reflect.DeepEqual(before, w.task.Ports[0].InternalInfo) {
			t.Errorf("%s is attached: %v", id, w.task.Ports[0].InternalInfo)
		}
	}
}

// With the network interface neutron a machine is on one network at a time.
func TestNeutronMovesTheMachine(t *testing.T) {
	w := newWorld(t)
	w.userPort("vif-1")
	w.userPort("vif-2")
	w.attach(t, w.neutron(), "vif-1")
	w.attach(t, w.neutron(), "vif-2")
	w.want(t, "vif-1", unbound)

	connect(t, w, w.neutron(), driver.ProvisioningNetwork)
	id := w.saved[0].InternalInfo.String("provisioning_vif_port_id")
	w.want(t, id, bound(mac1, "eth1"))
	w.want(t, id, map[string]any{"network_id": provID})
	if w.saved[1].InternalInfo["provisioning_vif_port_id"] != nil {
		t.Error("a port that the machine does not boot by was connected")
	}
	connect(t, w, w.neutron(), driver.TenantNetwork)
	if w.Neutron.Port(id) != nil {
		t.Error("the machine is on the provisioning network still")
	}
	w.want(t, "vif-1", bound(mac1, "eth1"))
	w.want(t, "vif-2", bound(mac2, "eth2"))

	w.task.Node.State = node.Active
	connect(t, w, w.neutron(), driver.RescuingNetwork)
	wantUnbound(t, w, "vif-1", mac1)
	wantUnbound(t, w, "vif-2", mac2)
	connect(t, w, w.neutron(), driver.TenantNetwork)
	w.want(t, "vif-1", bound(mac1, "eth1"))

	if err := w.neutron().DetachVIF(t.Context(), w.task, "vif-1"); err != nil { // swapped while it runs
		t.Fatal(err)
	}
	wantUnbound(t, w, "vif-1", mac1)
	w.userPort("vif-3")
	w.attach(t, w.neutron(), "vif-3")
	w.want(t, "vif-3", bound(mac1, "eth1"))
	disconnect(t, w, w.neutron(), driver.TenantNetwork)
	wantUnbound(t, w, "vif-3", mac1)
	wantUnbound(t, w, "vif-2", mac2)
	if got := w.Neutron.Ports(); len(got) != 3 {
		t.Errorf("ports: %v", got)
	}
}

// A portgroup is one port of Neutron, whose binding names every cable.
func TestABondIsOnePort(t *testing.T) {
	w := newWorld(t)
	w.task.Portgroups = []node.Portgroup{{UUID: "g1", Name: "bond0", Address: mac1, Mode: "802.3ad", StandalonePortsSupported: true,
		Properties: node.Document{"miimon": "100"}, InternalInfo: node.Document{}}}
	for i := range w.task.Ports {
		w.task.Ports[i].PortgroupUUID = "g1"
	}
	w.userPort("vif-1")
	w.task.Node.State = node.Active
	w.attach(t, w.neutron(), "vif-1")
	want := bound(mac1, "eth1")
	links := want["binding:profile"].(map[string]any)["local_link_information"].([]any)
	want["binding:profile"] = map[string]any{
		"local_link_information": append(links, map[string]any{"switch_id": "00:00:00:00:00:00", "port_id": "eth2", "switch_info": "noted"}),
		"local_group_information": map[string]any{
			"id": "g1", "name": "bond0", "bond_mode": "802.3ad", "bond_properties": map[string]any{"miimon": "100"},
		},
	}
	w.want(t, "vif-1", want)
	connect(t, w, w.neutron(), driver.ServicingNetwork) // its members boot by themselves
	w.want(t, w.task.Ports[0].InternalInfo.String("servicing_vif_port_id"), bound(mac1, "eth1"))
	connect(t, w, w.neutron(), driver.TenantNetwork)
	w.want(t, "vif-1", want)
}

func TestNeutronNeedsCables(t *testing.T) {
	w := newWorld(t)
	w.task.Ports[0].LocalLinkConnection = node.Document{"switch_id": "00:00:00:00:00:00"}
	err := w.neutron().Validate(t.Context(), w.task)
	if err == nil || !strings.Contains(err.Error(), "has no port_id in local_link_connection") {
		t.Error(err)
	}
	w.task.Ports[0].PXEEnabled = false
	err = w.neutron().Connect(t.Context(), w.task, driver.CleaningNetwork)
	if err == nil || !strings.Contains(err.Error(), "no port with pxe_enabled") {
		t.Error(err)
	}
}

// A machine on two physical networks gets each virtual interface where its network is.
func TestPhysicalNetworks(t *testing.T) {
	w := newWorld(t)
	w.task.Ports[0].PhysicalNetwork, w.task.Ports[1].PhysicalNetwork = "storage", "front"
	w.Neutron.Fail(openstacktest.On("GET /v2.0/networks", func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("id") != userID {
			return false
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"networks": []any{map[string]any{"id": userID, "provider:physical_network": "front"}}})
		return true
	}))
	w.userPort("vif-1")
	w.userPort("vif-2")
	err := w.flat().AttachVIF(t.Context(), w.task, node.VIF{ID: "vif-1", PortUUID: "p1"})
	if node.KindOf(err) != node.Conflict || !strings.Contains(err.Error(), "whose physical network is not front") {
		t.Error(err)
	}
	w.attach(t, w.flat(), "vif-1")
	w.want(t, "vif-1", bound(mac2, "eth2"))
	err = w.flat().AttachVIF(t.Context(), w.task, node.VIF{ID: "vif-2"})
	if node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), "its network is on the physical network front, and no free port") {
		t.Error(err)
	}
}

// The conductor asks what is left at Neutron, and takes it back.
func TestWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	connect(t, w, w.flat(), driver.CleaningNetwork)
	w.userPort("vif-1")
	for _, n := range []driver.Sweeper{w.flat(), w.neutron()} {
		if left, err := n.Left(t.Context()); err != nil || !slices.Equal(left, []string{nodeID}) {
			t.Errorf("%v, %v", left, err)
		}
	}
	if left, err := (network.Flat{}).Left(t.Context()); err != nil || left != nil {
		t.Errorf("standing alone: %v, %v", left, err)
	}
	w.Neutron.Fail(openstacktest.Abort)
	if _, err := w.flat().Left(t.Context()); node.KindOf(err) != node.Unavailable {
		t.Errorf("away: %v", err)
	}
}
