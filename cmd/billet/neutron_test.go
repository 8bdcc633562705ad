package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack/openstacktest"
	"github.com/billet-metal/billet/store"
)

// cloudWorld is a conductor with the hardware types of this binary, a database, and a cloud that fails on request.
type cloudWorld struct {
	t *testing.T
	*openstacktest.Cloud
	con *conductor.Conductor
	db  *store.Store
	id  string
}

func newCloudWorld(t *testing.T) *cloudWorld {
	w := &cloudWorld{t: t, Cloud: openstacktest.New(t)}
	w.Neutron.AddNetwork("n-clean", "cleaning")
	c, err := load(t, "", nil, []string{
		"--openstack-auth-url", w.AuthURL(), "--openstack-username", openstacktest.Username,
		"--openstack-password", openstacktest.Password, "--openstack-project", openstacktest.Project, "--openstack-timeout", "5s",
		"--neutron-cleaning-network", "cleaning", "--enabled-hardware-types", "fake-hardware", "--data-dir", t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.session()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if w.db, err = store.Open(t.Context(), store.Config{URL: c.Database, DataDir: c.DataDir, Host: "host", Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	w.con = conductor.New(conductor.Config{
		Store: keeps(w.db), Host: "host", Log: log, AutomatedClean: true,
		Types: hardwareTypes(c, parts{cloud: session, sources: &image.Store{}, records: w.db.Boots, machineURL: "http://10.0.0.1:6386"}),
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.con.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return w
}

// machine enrols one that is manageable, whose network interface nobody named.
func (w *cloudWorld) machine() {
	n, err := w.con.CreateNode(w.t.Context(), &node.Node{Driver: "fake-hardware",
		Interfaces: map[node.Interface]string{node.Deploy: "direct"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.id = n.UUID
	if _, err := w.con.CreatePort(w.t.Context(), node.Port{NodeUUID: w.id, Address: "52:54:00:00:00:01", PXEEnabled: true}); err != nil {
		w.t.Fatal(err)
	}
	w.ask(node.EventManage)
	w.until("manageable", func(n *node.Node) bool { return n.State == node.Manageable })
}

func (w *cloudWorld) ask(e node.Event) {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := w.con.Provision(w.t.Context(), w.id, node.ProvisionRequest{Event: e})
		if err == nil {
			return
		}
		if node.KindOf(err) != node.Conflict || time.Since(began) > time.Minute {
			w.t.Fatalf("%s: %v", e, err)
		}
	}
}

// until waits for the node to be as it should.
func (w *cloudWorld) until(what string, is func(*node.Node) bool) {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		n, err := w.db.Node(w.t.Context(), w.id)
		if err != nil {
			w.t.Fatal(err)
		}
		if is(n) {
			return
		}
		if time.Since(began) > 2*time.Minute {
			w.t.Fatalf("not %s: state %q, power %q, last_error %q, plan %+v", what, n.State, n.Power, n.LastError, n.Plan)
		}
	}
}

func waitsFor(kind node.AwaitKind) func(*node.Node) bool {
	return func(n *node.Node) bool { return n.State == node.CleanWait && n.Plan != nil && n.Plan.Awaits == kind }
}

// A cleaning that meets a Neutron that is away, and then one that is slow, goes on by itself; the machine is not switched on before.
// One that is aborted while Neutron is away leaves nothing there.
func TestACleaningOutlivesNeutron(t *testing.T) {
	w := newCloudWorld(t)
	w.machine()
	w.Neutron.Fail(openstacktest.Abort)
	w.ask(node.EventProvide)
	w.until("waiting for Neutron", waitsFor(node.Service))
	off := func(n *node.Node) bool { return n.Power == node.PowerOff }
	w.until("off", off)

	w.Neutron.Stuck("DOWN")
	w.Neutron.Fail(nil)
	w.until("waiting for its port", waitsFor(node.Link))
	w.until("off", off)
	ports := w.Neutron.Ports()
	if len(ports) != 1 || w.Neutron.Port(ports[0])["binding:host_id"] != w.id {
		t.Fatalf("ports: %v", ports)
	}
	w.Neutron.Set(ports[0], map[string]any{"status": "ACTIVE"})
	w.until("waiting for the ramdisk", waitsFor(node.FirstCall))
	w.until("on", func(n *node.Node) bool { return n.Power == node.PowerOn })

	w.Neutron.Fail(openstacktest.Times(3, openstacktest.Abort))
	w.ask(node.EventAbort)
	w.until("clean failed", func(n *node.Node) bool { return n.State == node.CleanFailed })
	if left := w.Neutron.Ports(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	noted, err := w.db.Ports.List(t.Context(), node.PortFilter{NodeUUID: w.id}, node.Page{})
	if err != nil || len(noted) != 1 || len(noted[0].InternalInfo) > 0 {
		t.Errorf("noted: %+v, %v", noted, err)
	}
}
