package conductor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

var verbs = []node.Event{
	node.EventManage, node.EventProvide, node.EventDeploy, node.EventRebuild, node.EventDelete, node.EventInspect, node.EventClean,
	node.EventAbort, node.EventAdopt, node.EventRescue, node.EventUnrescue, node.EventUnhold, node.EventService,
}

// Every verb in every state: what the transition table has is accepted, all else is refused with
// the same words and changes nothing.
func TestEveryVerbInEveryState(t *testing.T) {
	for _, state := range node.States {
		for _, verb := range append(verbs, node.EventDone, node.EventResume, "dance") {
			t.Run(string(state)+" "+string(verb), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.enroll("test", state)
					before := w.node()
					c := New(w.cfg) // does not run: the state stays where the verb puts it
					err := c.Provision(w.t.Context(), uuid1, node.ProvisionRequest{Event: verb,
						CleanSteps:     []node.PlannedStep{{Interface: node.Deploy, Step: "erase_cmos"}},
						ServiceSteps:   []node.PlannedStep{{Interface: node.Deploy, Step: "flash"}},
						RescuePassword: "let me in"})
					to, legal := state.Next(verb)
					want := ""
					switch {
					case !legal || !isVerb[verb] || state.Class() == node.Busy:
						want = fmt.Sprintf("The requested action %q can not be performed on node %q while it is in state %q.", verb, uuid1, state)
						to = state
					}
					n := w.node()
					if n.State != to || n.Lease.Holder != "" {
						t.Errorf("state %q, want %q; lease %+v", n.State, to, n.Lease)
					}
					if want == "" {
						if err != nil {
							t.Error(err)
						}
						return
					}
					if err == nil || err.Error() != want || node.KindOf(err) != node.Invalid {
						t.Errorf("got %v, want %s", err, want)
					}
					if n.Plan != nil || !n.ProvisionUpdatedAt.Equal(before.ProvisionUpdatedAt) || len(w.events()) > 0 {
						t.Errorf("a refused verb left something: %+v %q", n.Plan, w.events())
					}
				})
			})
		}
	}
}

func TestWhatIsRefusedAtOnce(t *testing.T) {
	maintenance := func(n *node.Node) { n.Maintenance = true }
	step := func(iface node.Interface, name string, args map[string]any) []node.PlannedStep {
		return []node.PlannedStep{{Interface: iface, Step: name, Priority: 50, Args: args}}
	}
	for _, tt := range []struct {
		name string
		from node.State
		edit func(*node.Node)
		req  node.ProvisionRequest
		kind node.Kind
		want string
	}{
		{"deploy in maintenance", node.Available, maintenance, node.ProvisionRequest{Event: node.EventDeploy}, node.Invalid,
			"The deploy operation can't be performed on node " + uuid1 + " because it's in maintenance mode."},
		{"rescue without a password", node.Active, nil, node.ProvisionRequest{Event: node.EventRescue}, node.Invalid,
			"A rescue of node " + uuid1 + " needs a rescue_password."},
		{"rescue in maintenance", node.Active, maintenance, node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "x"}, node.Invalid,
			"The rescue operation can't be performed on node " + uuid1 + " because it's in maintenance mode."},
		{"service without steps", node.Active, nil, node.ProvisionRequest{Event: node.EventService}, node.Invalid,
			"A service needs at least one step in service_steps."},
		{"rebuild in maintenance", node.Active, maintenance, node.ProvisionRequest{Event: node.EventRebuild}, node.Invalid,
			"The rebuild operation can't be performed on node " + uuid1 + " because it's in maintenance mode."},
		{"manual cleaning in maintenance", node.Manageable, maintenance, node.ProvisionRequest{Event: node.EventClean}, node.Invalid,
			"The clean operation can't be performed on node " + uuid1 + " because it's in maintenance mode."},
		{"provide of a retired node", node.Manageable, func(n *node.Node) {
			n.Retired = true
		}, node.ProvisionRequest{Event: node.EventProvide}, node.Invalid,
			"The provide operation can't be performed on node " + uuid1 + " because it is retired."},
		{"delete of a protected node", node.Active, func(n *node.Node) {
			n.Protected = true
		}, node.ProvisionRequest{Event: node.EventDelete}, node.Forbidden,
			"Node " + uuid1 + " is protected and can not be undeployed, rebuilt or deleted."},
		{"rebuild of a protected node", node.Active, func(n *node.Node) {
			n.Protected = true
		}, node.ProvisionRequest{Event: node.EventRebuild}, node.Forbidden,
			"Node " + uuid1 + " is protected and can not be undeployed, rebuilt or deleted."},
		{"two interfaces that do not validate", node.Available, func(n *node.Node) {
			n.DriverInfo["ipmi_address"] = "bad"
			n.InstanceInfo = node.Document{"image_source": "bad"}
		}, node.ProvisionRequest{Event: node.EventDeploy}, node.Invalid,
			"Node " + uuid1 + " is not ready for the deploy. power: driver_info/ipmi_address is bad.; deploy: instance_info/image_source is bad."},
		{"inspect without power", node.Manageable, func(n *node.Node) {
			n.DriverInfo["ipmi_address"] = "bad"
		}, node.ProvisionRequest{Event: node.EventInspect}, node.Invalid,
			"Node " + uuid1 + " is not ready for the inspection. power: driver_info/ipmi_address is bad."},
		{"manual cleaning without steps", node.Manageable, nil, node.ProvisionRequest{Event: node.EventClean}, node.Invalid,
			"Manual cleaning needs at least one step in clean_steps."},
		{"a core step", node.Available, nil, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: step(node.Deploy, "boot_deploy", nil)},
			node.Invalid,
			"Step deploy.boot_deploy is a core step of the deploy flow: it always runs and cannot be asked for."},
		{"an argument that is not taken", node.Available, nil,
			node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: step(node.Power, "wait", map[string]any{"hours": 1})}, node.Invalid,
			`Step power.wait does not take the argument "hours"; allowed are: seconds. Step power.wait needs the argument "seconds": How long to ` +
				`wait, 1 to 30.`},
		{"an argument of a step without any", node.Available, nil,
			node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: step(node.Deploy, "write_image", map[string]any{"fast": true})},
			node.Invalid,
			`Step deploy.write_image does not take the argument "fast"; it takes none.`},
		{"an interface that is none", node.Available, nil,
			node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: step("toaster", "toast", nil)}, node.Invalid,
			`Step "toast" of interface "toaster": a step needs a name and one of the interfaces network, vendor, power, management, firmware, ` +
				`deploy, bios, raid, boot, inspect, storage, console, rescue.`},
		{"a config drive that is no base64", node.Available, nil, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: "%%%"},
			node.Invalid,
			"The config drive must be an http or https URL, or base64 of a gzipped image; this is neither."},
		{"a config drive that is not gzipped", node.Available, nil,
			node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: "aGVsbG8gd29ybGQ="}, node.Invalid,
			"The config drive must be an http or https URL, or base64 of a gzipped image; this is neither."},
		{"a config drive in parts that names files", node.Available, nil,
			node.ProvisionRequest{Event: node.EventDeploy, DriveParts: &node.ConfigDriveParts{MetaData: node.Document{"files": []any{"x"}}}},
			node.Invalid,
			`meta_data of a config drive in parts can not have "files": it names files of the drive, and the parts have none. ` +
				"Use user_data or network_data, or give the whole drive as base64 of a gzipped image."},
		{"a hardware type that is gone", node.Available, func(n *node.Node) {
			n.Driver = "gone"
		}, node.ProvisionRequest{Event: node.EventDeploy}, node.Invalid,
			"Could not find the following driver(s) or hardware type(s): gone."},
		{"a node that somebody holds", node.Available, func(n *node.Node) {
			n.Lease = node.Lease{Holder: "host-9", Token: 1, Until: time.Now().Add(time.Hour)}
		}, node.ProvisionRequest{Event: node.EventDeploy}, node.Conflict,
			"Node " + uuid1 + " is locked by host host-9, please retry after the current operation is completed."},
		{"an illegal verb on a node that somebody holds", node.Available, func(n *node.Node) {
			n.Lease = node.Lease{Holder: "host-9", Token: 1, Until: time.Now().Add(time.Hour)}
		}, node.ProvisionRequest{Event: node.EventRebuild}, node.Conflict,
			"Node " + uuid1 + " is locked by host host-9, please retry after the current operation is completed."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", tt.from)
				if tt.edit != nil {
					w.edit(tt.edit)
				}
				lease := w.node().Lease
				c, _ := w.start(w.cfg)
				began := time.Now()
				err := c.Provision(w.t.Context(), uuid1, tt.req)
				if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
					t.Errorf("got %v (kind %v)\nwant %s (kind %v)", err, node.KindOf(err), tt.want, tt.kind)
				}
				if took := time.Since(began); tt.kind == node.Conflict && took != 2*time.Second {
					t.Errorf("locked was said after %v, want three tries a second apart", took)
				}
				n := w.node()
				if n.State != tt.from || n.Plan != nil || n.ConfigDrive != "" || n.Lease.Holder != lease.Holder {
					t.Errorf("something changed: %q %+v %+v", n.State, n.Plan, n.Lease)
				}
			})
		})
	}
}

func TestAnUnknownNode(t *testing.T) {
	inWorld(t, func(w *world) {
		c, _ := w.start(w.cfg)
		err := c.Provision(w.t.Context(), "nobody", node.ProvisionRequest{Event: node.EventManage})
		if node.KindOf(err) != node.NotFound || err.Error() != "Node nobody could not be found." {
			t.Errorf("got %v", err)
		}
	})
}

func TestAFullPoolSaysSoBeforeAnythingChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.cfg.MaxWorkers = 1
		w.m.block["tear_down"] = make(chan struct{})
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		other := &node.Node{UUID: "2be26c0b-03f2-4d2e-ae87-c02d7f33c124", Driver: "test", State: node.Enroll}
		if err := w.store.CreateNode(w.t.Context(), other); err != nil {
			t.Fatal(err)
		}
		want := "Requested action cannot be performed due to lack of free conductor workers."
		for name, call := range map[string]func() error{
			"provision": func() error {
				return c.Provision(w.t.Context(), other.UUID, node.ProvisionRequest{Event: node.EventManage})
			},
			"power": func() error { return c.SetPower(w.t.Context(), other.UUID, node.PowerOn, 0) },
		} {
			if err := call(); node.KindOf(err) != node.Unavailable || err == nil || err.Error() != want {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n, _ := w.store.Node(w.t.Context(), other.UUID); n.State != node.Enroll || n.Lease.Token != 0 {
			t.Errorf("the refused node changed: %+v", n)
		}
		// Calls of machines have a lane of their own.
		w.edit(func(n *node.Node) { n.State = node.Active })
		close(w.m.block["tear_down"])
		synctest.Wait()
		if err := c.Provision(w.t.Context(), other.UUID, node.ProvisionRequest{Event: node.EventManage}); err != nil {
			t.Errorf("with a free worker: %v", err)
		}
	})
}

func TestDeployReplacesAndAddsSteps(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{
			{Interface: node.Deploy, Step: "boot_instance", Priority: 0}, // switched off
			{Interface: node.Deploy, Step: "optional", Priority: 90},
			{Interface: node.Power, Step: "power_off", Priority: 10},
		}})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		n := w.settle()
		w.wantState(n, node.Active)
		same(t, "done", w.m.done(), []string{"boot_deploy", "optional", "write_image", "power off", "read_power"})
		if n.Power != node.PowerOff {
			t.Errorf("power %q", n.Power)
		}
	})
}

// A drive in parts is built from the node as it is under its lease.
func TestAConfigDriveIsBuiltOfParts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.edit(func(n *node.Node) { n.Name = "rack1-u7" })
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, DriveParts: &node.ConfigDriveParts{UserData: "#!/bin/sh"}})
		image, err := configdrive.Decode(w.settle().ConfigDrive)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`{"hostname":"rack1-u7","name":"rack1-u7","uuid":"` + uuid1 + `"}`, "#!/bin/sh", "user_data"} {
			if !bytes.Contains(image, []byte(want)) {
				t.Errorf("%s is missing", want)
			}
		}
		if bytes.Contains(image, []byte("network_data")) || bytes.Contains(image, []byte("vendor_data")) {
			t.Error("the drive holds what was not given")
		}
	})
}

func TestTheConfigDriveIsKeptOverARebuildAndMayBeAURL(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Available)
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: "https://192.0.2.1/drive"})
		w.wantState(w.settle(), node.Active)
		w.provision(c, node.ProvisionRequest{Event: node.EventRebuild})
		if n := w.settle(); n.ConfigDrive != "https://192.0.2.1/drive" {
			t.Errorf("config drive %q", n.ConfigDrive)
		}
	})
}

// A new flow is not bound to the agent of the one before.
func TestAFlowForgetsTheAgentBefore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.edit(func(n *node.Node) {
			n.Agent = node.Agent{URL: "https://old", Token: "old", TokenGiven: true, LastHeartbeat: time.Now()}
		})
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		if n := w.reach(node.DeployWait); n.Agent != (node.Agent{}) {
			t.Errorf("agent %+v", n.Agent)
		}
	})
}

func TestDeadlines(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.m.within = 2 * time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		time.Sleep(time.Minute)
		w.store.Saw(node.BootEvent{MAC: mac1, Service: "dhcp", Kind: node.DHCPOffered,
			Who: node.AskedFirmware, What: "DISCOVER", At: time.Now()})
		began := time.Now()
		n := w.settle()
		w.wantState(n, node.DeployFailed)
		if took := time.Since(began); took < 59*time.Second || took > 62*time.Second {
			t.Errorf("failed after %v more", took)
		}
		want := "Timed out after 120 s waiting for the agent's first heartbeat: DHCP answered " + mac1 +
			" once (last 60 s ago), but no boot file was fetched over TFTP or HTTP"
		if !strings.HasPrefix(n.LastError, want) {
			t.Errorf("last_error %q", n.LastError)
		}
		if w.m.count("tidy_up") != 1 {
			t.Errorf("tidied up %d times", w.m.count("tidy_up"))
		}
	})
}

func TestMaintenanceStopsTheClock(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.m.within = 2 * time.Minute
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		setMaintenance := func(on bool) {
			t.Helper()
			_, err := c.UpdateNode(w.t.Context(), uuid1, node.UpdateOptions{AnyState: true}, func(n *node.Node) error {
				n.Maintenance = on
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		setMaintenance(true)
		w.heartbeat(c)
		time.Sleep(24 * time.Hour)
		w.wantState(w.node(), node.DeployWait)
		if w.m.count("write_image") != 0 {
			t.Error("the deploy went on in maintenance")
		}
		setMaintenance(false)
		w.wantState(w.settle(), node.Active)
	})
}

// A step that hangs is ended.
func TestAStepMayNotTakeForEver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Active)
		w.cfg.CleanTimeout = time.Minute
		w.m.block["tear_down"] = make(chan struct{})
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		n := w.settle()
		w.wantState(n, node.Error)
		if want := "The tear-down failed at step deploy.tear_down: it took longer than 1m0s: context deadline exceeded"; n.LastError != want {
			t.Errorf("last_error %q, want %q", n.LastError, want)
		}
	})
}

// Flows without a wait state wait under the lease.
func TestAWaitInAFlowWithoutAWaitState(t *testing.T) {
	for _, tt := range []struct {
		name  string
		delay string
		want  node.State
		error string
	}{
		{"that ends", "90s", node.Available, ""},
		{"that does not", "2h", node.Error, "Timed out after 1800 s waiting for the fake machine's tear_down."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("fake-hardware", node.Active)
				w.edit(func(n *node.Node) { n.DriverInfo["fake_tear_down_delay"] = tt.delay })
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
				n := w.settle()
				w.wantState(n, tt.want)
				if n.LastError != tt.error {
					t.Errorf("last_error %q, want %q", n.LastError, tt.error)
				}
			})
		})
	}
}
