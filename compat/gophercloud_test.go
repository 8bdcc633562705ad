package compat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/apiversions"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/httpbasic"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/conductors"
	driversv1 "github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/drivers"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	portsv1 "github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"
)

// cloud is gophercloud's bare metal client: Metal3's baremetal-operator and the Terraform provider speak through it.
type cloud struct {
	t *testing.T
	*gophercloud.ServiceClient
}

func newCloud(t *testing.T, b *billet) cloud {
	t.Helper()
	sc, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: b.endpoint + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	sc.Microversion = "1.95"
	return cloud{t, sc}
}

func (c cloud) ctx() context.Context { return c.t.Context() }

// must stops the test at an error of the client.
func must[T any](v T, err error) func(t *testing.T, doing string) T {
	return func(t *testing.T, doing string) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
		return v
	}
}

func (c cloud) node(id string) *nodes.Node {
	c.t.Helper()
	return must(nodes.Get(c.ctx(), c.ServiceClient, id).Extract())(c.t, "showing "+id)
}

func (c cloud) create(opts nodes.CreateOpts) *nodes.Node {
	c.t.Helper()
	return must(nodes.Create(c.ctx(), c.ServiceClient, opts).Extract())(c.t, "creating "+opts.Name)
}

// provision asks for a state and waits, as the client's own helper does, until it is there.
func (c cloud) provision(id string, opts nodes.ProvisionStateOpts, want nodes.ProvisionState) {
	c.t.Helper()
	if err := nodes.ChangeProvisionState(c.ctx(), c.ServiceClient, id, opts).ExtractErr(); err != nil {
		c.t.Fatalf("%s: %v", opts.Target, err)
	}
	ctx, cancel := context.WithTimeout(c.ctx(), time.Minute)
	defer cancel()
	if err := nodes.WaitForProvisionState(ctx, c.ServiceClient, id, want); err != nil {
		n := c.node(id)
		c.t.Fatalf("%s: %v; the node is %s: %s", opts.Target, err, n.ProvisionState, n.LastError)
	}
}

// refused wants an error with that status, whose body has the service's words.
func refused(t *testing.T, err error, status int, words string) {
	t.Helper()
	var answer gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &answer) || answer.Actual != status || !strings.Contains(string(answer.Body), words) {
		t.Errorf("%v\nwant %d with: %s", err, status, words)
	}
}

// A node's whole life as Metal3 leads it: versions, enrolment, ports, inspection, cleaning, a deploy with its own
// steps and a config drive in parts, service, rescue, rebuild, and back.
func TestGophercloudDrivesAWholeLife(t *testing.T) {
	t.Parallel()
	c := newCloud(t, startBillet(t))
	root := *c.ServiceClient
	root.Endpoint, root.Microversion = strings.TrimSuffix(root.Endpoint, "v1/"), ""
	versions := must(apiversions.List(t.Context(), &root).Extract())(t, "the versions")
	v1 := must(apiversions.Get(t.Context(), &root, "v1").Extract())(t, "version 1")
	if v := versions.DefaultVersion; v.ID != "v1" || v.MinVersion != "1.1" || v.Status != "CURRENT" || *v1 != v {
		t.Errorf("the default version is %+v, v1 is %+v", v, *v1)
	}

	no := false
	n := c.create(nodes.CreateOpts{
		Name: "m3-host", Driver: "fake-hardware", ResourceClass: "baremetal", AutomatedClean: &no, BootInterface: "fake",
		DriverInfo: map[string]any{"password": "hush", "deploy_kernel": "http://192.0.2.1/vmlinuz"},
		Properties: map[string]any{"cpu_arch": "x86_64"},
		Extra:      map[string]any{"rack": "7"}, Owner: "tenant-1", ConductorGroup: "",
	})
	if n.ProvisionState != "enroll" || n.DriverInfo["password"] != "******" || n.AutomatedClean == nil || *n.AutomatedClean ||
		n.CreatedAt.IsZero() || n.Owner != "tenant-1" {
		t.Errorf("the node is %+v", n)
	}
	port := must(portsv1.Create(t.Context(), c.ServiceClient, portsv1.CreateOpts{NodeUUID: n.UUID, Address: "52:54:00:AA:BB:01"}).Extract())(t,
		"creating a port")
	if port.Address != "52:54:00:aa:bb:01" || port.NodeUUID != n.UUID || !port.PXEEnabled {
		t.Errorf("the port is %+v", port)
	}

	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetInspect}, nodes.Manageable)
	if n := c.node("m3-host"); n.InspectionFinishedAt == nil || n.InspectionFinishedAt.IsZero() {
		t.Errorf("inspected at %v", n.InspectionFinishedAt)
	}
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetClean, CleanSteps: []nodes.CleanStep{
		{Interface: nodes.InterfaceDeploy, Step: "erase_devices_metadata"},
		{Interface: nodes.InterfacePower, Step: nodes.StepReboot},
	}}, nodes.Manageable)
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available)

	n = must(nodes.Update(t.Context(), c.ServiceClient, "m3-host", nodes.UpdateOpts{
		nodes.UpdateOperation{Op: nodes.AddOp, Path: "/instance_info/image_source", Value: "http://192.0.2.1/image.qcow2"},
		nodes.UpdateOperation{Op: nodes.AddOp, Path: "/instance_info/image_checksum", Value: strings.Repeat("ab", 32)},
		nodes.UpdateOperation{Op: nodes.AddOp, Path: "/instance_uuid", Value: "5344a3e2-978a-444e-990a-cbf47c62ef88"},
		nodes.UpdateOperation{Op: nodes.ReplaceOp, Path: "/extra", Value: map[string]any{"rack": "8"}},
	}).Extract())(t, "setting the instance")
	if n.InstanceUUID != "5344a3e2-978a-444e-990a-cbf47c62ef88" || n.Extra["rack"] != "8" ||
		n.InstanceInfo["image_source"] != "http://192.0.2.1/image.qcow2" {
		t.Errorf("the node is %+v", n)
	}
	valid := must(nodes.Validate(t.Context(), c.ServiceClient, "m3-host").Extract())(t, "validating")
	if !valid.Deploy.Result || !valid.Power.Result || !valid.Boot.Result || valid.Console.Result && valid.Console.Reason != "" {
		t.Errorf("valid is %+v", valid)
	}
	c.provision("m3-host", nodes.ProvisionStateOpts{
		Target: nodes.TargetActive,
		ConfigDrive: nodes.ConfigDrive{MetaData: map[string]any{"hostname": "web-1"}, NetworkData: map[string]any{"links": []any{}},
			UserData: "#cloud-config"},
	}, nodes.Active)
	n = c.node("m3-host")
	if n.PowerState != "power on" || n.TargetProvisionState != "" || n.InstanceInfo["configdrive"] != "******" || n.LastError != "" ||
		n.ProvisionUpdatedAt.IsZero() {
		t.Errorf("the node is %+v", n)
	}

	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetService,
		ServiceSteps: []nodes.ServiceStep{{Interface: nodes.InterfacePower, Step: nodes.StepReboot}}}, nodes.Active)
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetRescue, RescuePassword: "a way in"}, nodes.Rescue)
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetUnrescue}, nodes.Active)
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetRebuild}, nodes.Active)
	c.provision("m3-host", nodes.ProvisionStateOpts{Target: nodes.TargetDeleted}, nodes.Available)
	if n := c.node("m3-host"); n.InstanceUUID != "" || len(n.InstanceInfo) != 0 {
		t.Errorf("what is left of the instance: %q %v", n.InstanceUUID, n.InstanceInfo)
	}
	if err := nodes.Delete(t.Context(), c.ServiceClient, "m3-host").ExtractErr(); err != nil {
		t.Error(err)
	}
	refused(t, nodes.Get(t.Context(), c.ServiceClient, n.UUID).Err, 404, "Node "+n.UUID+" could not be found.")
	refused(t, portsv1.Get(t.Context(), c.ServiceClient, port.UUID).Err, 404, "could not be found")
}

// What is refused has the status that the client's callers look at.
func TestGophercloudIsRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t, startBillet(t))
	n := c.create(nodes.CreateOpts{Name: "m1", Driver: "fake-hardware"})
	_, err := nodes.Create(t.Context(), c.ServiceClient, nodes.CreateOpts{Name: "m1", Driver: "fake-hardware"}).Extract()
	refused(t, err, 409, "m1")
	_, err = nodes.Create(t.Context(), c.ServiceClient, nodes.CreateOpts{Driver: "none"}).Extract()
	refused(t, err, 400, "none")
	_, err = nodes.Update(t.Context(), c.ServiceClient, "m1",
		nodes.UpdateOpts{nodes.UpdateOperation{Op: nodes.ReplaceOp, Path: "/provision_state", Value: "active"}}).Extract()
	refused(t, err, 400, "provision_state")
	refused(t, nodes.ChangeProvisionState(t.Context(), c.ServiceClient, "m1", nodes.ProvisionStateOpts{Target: nodes.TargetActive}).Err, 400,
		"can not be performed on node")
	refused(t, nodes.ChangePowerState(t.Context(), c.ServiceClient, "m1", nodes.PowerStateOpts{Target: "sideways"}).Err, 400, "sideways")
	refused(t, nodes.SetBootDevice(t.Context(), c.ServiceClient, "m1", nodes.BootDeviceOpts{BootDevice: "floppy"}).Err, 400, "floppy")
	_, err = portsv1.Create(t.Context(), c.ServiceClient, portsv1.CreateOpts{NodeUUID: n.UUID, Address: "nonsense"}).Extract()
	refused(t, err, 400, "nonsense")
	_, err = nodes.GetInventory(t.Context(), c.ServiceClient, "m1").Extract()
	refused(t, err, 404, "")

	if err := nodes.SetMaintenance(t.Context(), c.ServiceClient, "m1", nodes.MaintenanceOpts{Reason: "new disk"}).ExtractErr(); err != nil {
		t.Error(err)
	}
	if n := c.node("m1"); !n.Maintenance || n.MaintenanceReason != "new disk" {
		t.Errorf("maintenance %v %q", n.Maintenance, n.MaintenanceReason)
	}
	if err := nodes.UnsetMaintenance(t.Context(), c.ServiceClient, "m1").ExtractErr(); err != nil {
		t.Error(err)
	}

	old := newCloudAt(c, "1.10")
	refused(t, nodes.GetInventory(t.Context(), old.ServiceClient, "m1").Err, 404, "")
	future := newCloudAt(c, "1.999")
	refused(t, nodes.Get(t.Context(), future.ServiceClient, "m1").Err, 406, "1.999")
}

// newCloudAt is the same client at another microversion.
func newCloudAt(c cloud, version string) cloud {
	sc := *c.ServiceClient
	sc.Microversion = version
	return cloud{c.t, &sc}
}

// Lists come whole, filtered or in pages, which the client asks for by a marker: it looks for the next page where this API has
// no such field. Drivers and conductors are told.
func TestGophercloudLists(t *testing.T) {
	t.Parallel()
	c := newCloud(t, startBillet(t))
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("n%d", i)
		n := c.create(nodes.CreateOpts{Name: name, Driver: "fake-hardware", ResourceClass: fmt.Sprintf("class-%d", i%2)})
		portsv1.Create(c.ctx(), c.ServiceClient, portsv1.CreateOpts{NodeUUID: n.UUID, Address: fmt.Sprintf("52:54:00:00:00:%02x", i)})
		want = append(want, name)
	}
	list := func(opts nodes.ListOpts, detail bool) []nodes.Node {
		t.Helper()
		pager := nodes.List(c.ServiceClient, opts)
		if detail {
			pager = nodes.ListDetail(c.ServiceClient, opts)
		}
		return must(nodes.ExtractNodes(must(pager.AllPages(t.Context()))(t, "listing")))(t, "reading the list")
	}
	names := func(list []nodes.Node) (out []string) {
		for _, n := range list {
			out = append(out, n.Name)
		}
		return out
	}
	for _, detail := range []bool{false, true} {
		var got []string
		opts := nodes.ListOpts{Limit: 3, SortKey: "name", SortDir: "asc"}
		for page := list(opts, detail); len(page) > 0 && len(got) < 10; page = list(opts, detail) {
			got = append(got, names(page)...)
			opts.Marker = page[len(page)-1].UUID
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages, detail %v: %s", detail, diff)
		}
		got = names(list(nodes.ListOpts{ResourceClass: "class-1", SortKey: "name", SortDir: "desc", ProvisionState: nodes.Enroll}, detail))
		if diff := cmp.Diff([]string{"n5", "n3", "n1"}, got); diff != "" {
			t.Errorf("filtered, detail %v: %s", detail, diff)
		}
	}
	for _, n := range list(nodes.ListOpts{Fields: []string{"uuid", "name"}, SortKey: "name"}, false) {
		if n.UUID == "" || n.Name == "" || n.ProvisionState != "" {
			t.Errorf("with two fields chosen: %+v", n)
		}
	}
	all := must(portsv1.ExtractPorts(must(portsv1.ListDetail(c.ServiceClient, portsv1.ListOpts{Node: "n3"}).AllPages(t.Context()))(t,
		"listing ports")))(t, "reading ports")
	if len(all) != 1 || all[0].Address != "52:54:00:00:00:03" {
		t.Errorf("ports of n3: %+v", all)
	}

	types := map[string]driversv1.Driver{}
	page := must(driversv1.ListDrivers(c.ServiceClient, driversv1.ListDriversOpts{Detail: true}).AllPages(t.Context()))(t, "listing drivers")
	for _, d := range must(driversv1.ExtractDrivers(page))(t, "reading drivers") {
		types[d.Name] = d
	}
	if len(types) != 2 || types["fake-hardware"].DefaultPowerInterface != "fake" || types["ipmi"].DefaultPowerInterface != "ipmitool" ||
		len(types["ipmi"].Hosts) != 1 {
		t.Errorf("drivers: %+v", types)
	}
	properties := must(driversv1.GetDriverProperties(t.Context(), c.ServiceClient, "ipmi").Extract())(t, "the properties")
	if text, _ := (*properties)["ipmi_address"].(string); !strings.Contains(text, "Required") {
		t.Errorf("ipmi_address: %v", (*properties)["ipmi_address"])
	}
	disk := must(driversv1.GetDriverDiskProperties(t.Context(), c.ServiceClient, "ipmi").Extract())(t, "the disk properties")
	if (*disk)["raid_level"] == nil {
		t.Errorf("disk properties: %v", disk)
	}
	hosts := must(conductors.ExtractConductors(must(conductors.List(c.ServiceClient, conductors.ListOpts{}).AllPages(t.Context()))(t,
		"listing conductors")))(t, "reading conductors")
	if len(hosts) != 1 || !hosts[0].Alive || hosts[0].Hostname != types["ipmi"].Hosts[0] {
		t.Errorf("conductors: %+v", hosts)
	}
}

// What Metal3 sets on the hardware: power, boot device, RAID, virtual interfaces, an NMI.
func TestGophercloudSetsHardware(t *testing.T) {
	t.Parallel()
	c := newCloud(t, startBillet(t))
	raid := "agent"
	n := c.create(nodes.CreateOpts{Name: "m1", Driver: "fake-hardware", RAIDInterface: raid, NetworkInterface: "flat"})
	must(portsv1.Create(c.ctx(), c.ServiceClient, portsv1.CreateOpts{NodeUUID: n.UUID, Address: "52:54:00:00:00:01"}).Extract())(t, "a port")
	c.provision("m1", nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)

	for _, step := range []struct {
		target nodes.TargetPowerState
		want   string
	}{{nodes.PowerOn, "power on"}, {nodes.Rebooting, "power on"}, {nodes.SoftPowerOff, "power off"}} {
		if err := nodes.ChangePowerState(t.Context(), c.ServiceClient, "m1",
			nodes.PowerStateOpts{Target: step.target, Timeout: 30}).ExtractErr(); err != nil {
			t.Fatalf("%s: %v", step.target, err)
		}
		err := gophercloud.WaitFor(t.Context(), func(context.Context) (bool, error) {
			n := c.node("m1")
			return n.TargetPowerState == "" && n.PowerState == step.want, nil
		})
		if err != nil {
			t.Fatalf("%s: %v", step.target, err)
		}
	}
	devices := must(nodes.GetSupportedBootDevices(t.Context(), c.ServiceClient, "m1").Extract())(t, "boot devices")
	if !strings.Contains(strings.Join(devices, " "), "pxe") {
		t.Errorf("boot devices: %v", devices)
	}
	if err := nodes.SetBootDevice(t.Context(), c.ServiceClient, "m1",
		nodes.BootDeviceOpts{BootDevice: "cdrom", Persistent: true}).ExtractErr(); err != nil {
		t.Error(err)
	}
	if d := must(nodes.GetBootDevice(t.Context(), c.ServiceClient, "m1").Extract())(t, "the boot device"); d.BootDevice != "cdrom" ||
		!d.Persistent {
		t.Errorf("boot device %+v", d)
	}
	size, root := 100, true
	opts := nodes.RAIDConfigOpts{LogicalDisks: []nodes.LogicalDisk{
		{SizeGB: &size, RAIDLevel: nodes.RAID1, IsRootVolume: &root, Controller: "software"}, {RAIDLevel: nodes.RAID0, Controller: "software"},
	}}
	if err := nodes.SetRAIDConfig(t.Context(), c.ServiceClient, "m1", opts).ExtractErr(); err != nil {
		t.Error(err)
	}
	if disks, _ := c.node("m1").TargetRAIDConfig["logical_disks"].([]any); len(disks) != 2 || disks[1].(map[string]any)["size_gb"] != "MAX" {
		t.Errorf("target_raid_config: %v", disks)
	}
	if err := nodes.InjectNMI(t.Context(), c.ServiceClient, "m1").ExtractErr(); err != nil {
		t.Error(err)
	}
	const vif = "1974dcfa-836f-41b2-b541-686c100900e5"
	if err := nodes.AttachVirtualInterface(t.Context(), c.ServiceClient, "m1", nodes.VirtualInterfaceOpts{ID: vif}).ExtractErr(); err != nil {
		t.Error(err)
	}
	if vifs := must(nodes.ListVirtualInterfaces(t.Context(), c.ServiceClient, "m1").Extract())(t, "virtual interfaces"); len(vifs) != 1 ||
		vifs[0].ID != vif {
		t.Errorf("virtual interfaces: %+v", vifs)
	}
	if err := nodes.DetachVirtualInterface(t.Context(), c.ServiceClient, "m1", vif).ExtractErr(); err != nil {
		t.Error(err)
	}
	if firmware := must(nodes.ListFirmware(t.Context(), c.ServiceClient, "m1").Extract())(t, "firmware"); len(firmware) != 0 {
		t.Errorf("firmware components: %v", firmware)
	}
	if settings := must(nodes.ListBIOSSettings(t.Context(), c.ServiceClient, "m1", nil).Extract())(t, "BIOS settings"); len(settings) != 0 {
		t.Errorf("BIOS settings: %v", settings)
	}
}

// The client's own HTTP basic log-in works, and a wrong password is a 401.
func TestGophercloudLogsIn(t *testing.T) {
	t.Parallel()
	b := startBillet(t, "--auth", "http_basic", "--htpasswd-file", htpasswd(t))
	for password, status := range map[string]int{"open sesame": http.StatusOK, "guess": http.StatusUnauthorized} {
		sc := must(httpbasic.NewBareMetalHTTPBasic(httpbasic.EndpointOpts{IronicEndpoint: b.endpoint + "/v1", IronicUser: "ada",
			IronicUserPassword: password}))(t, "the client")
		sc.Microversion = "1.95"
		_, err := nodes.List(sc, nodes.ListOpts{}).AllPages(t.Context())
		if status == http.StatusOK && err != nil {
			t.Errorf("the right password: %v", err)
		}
		if status != http.StatusOK {
			refused(t, err, status, "")
		}
	}
}
