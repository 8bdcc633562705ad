package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
)

// openstack is Debian's command line client (python3-openstackclient with python3-ironicclient). All
// commands of a test run in one process (testdata/commandline.py): each start costs over a second. It
// logs in with its first command and keeps that.
type openstack struct {
	endpoint string
	auth     []string // how it logs in
	in       *json.Encoder
	out      *json.Decoder
}

// python runs a program of testdata with the Python that Debian's clients belong to.
func python(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := os.Stat("/usr/lib/python3/dist-packages/openstackclient/shell.py"); err != nil {
		t.Fatal("the openstack clients are needed: install python3-openstackclient and python3-ironicclient")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // not the test's: it ends before the clean-up does
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", append([]string{"-B", filepath.Join("testdata", program)}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "LANG=C.UTF-8"}
	return cmd
}

func newOpenstack(t *testing.T, b *billet) *openstack {
	t.Helper()
	cmd := python(t, "commandline.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // its end
		if err := cmd.Wait(); err != nil {
			t.Errorf("the client's process: %v", err)
		}
	})
	return &openstack{b.endpoint, []string{"--os-auth-type", "none"}, json.NewEncoder(in), json.NewDecoder(out)}
}

func (o *openstack) exec(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if err := o.in.Encode(slices.Concat(o.auth, []string{"--os-endpoint", o.endpoint, "baremetal"}, args)); err != nil {
		t.Fatalf("the client's process: %v", err)
	}
	var answer struct {
		Stdout, Stderr string
		Status         any
	}
	if err := o.out.Decode(&answer); err != nil {
		t.Fatalf("the client's process: %v", err)
	}
	if answer.Status != 0.0 {
		err = fmt.Errorf("exit status %v", answer.Status)
	}
	return answer.Stdout, answer.Stderr, err
}

// do runs a command that must succeed.
func (o *openstack) do(t *testing.T, args ...string) string {
	t.Helper()
	out, problems, err := o.exec(t, args...)
	if err != nil {
		t.Fatalf("openstack baremetal %s: %v\n%s", strings.Join(args, " "), err, problems)
	}
	return out
}

// ask runs a command that prints an object.
func (o *openstack) ask(t *testing.T, args ...string) map[string]any {
	t.Helper()
	return decode[map[string]any](t, o.do(t, append(args, "-f", "json")...))
}

// list runs a command that prints a list of rows.
func (o *openstack) list(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	return decode[[]map[string]any](t, o.do(t, append(args, "-f", "json")...))
}

func decode[T any](t *testing.T, out string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("not the JSON expected: %v\n%s", err, out)
	}
	return v
}

// refused runs a command that must fail with the service's own words.
func (o *openstack) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	out, problems, err := o.exec(t, args...)
	if err == nil || !strings.Contains(problems, want) {
		t.Errorf("openstack baremetal %s: got %v\n%s%s\nwant a refusal with: %s", strings.Join(args, " "), err, out, problems, want)
	}
}

// node checks fields of a node.
func (o *openstack) node(t *testing.T, name string, want map[string]any) map[string]any {
	t.Helper()
	n := o.ask(t, "node", "show", name)
	for k, v := range want {
		if diff := cmp.Diff(v, n[k]); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", k, name, diff)
		}
	}
	return n
}

// A node's whole life, driven by the client that people have.
func TestOpenstackClientDrivesAWholeLife(t *testing.T) {
	t.Parallel()
	o := newOpenstack(t, startBillet(t))

	t.Run("drivers", func(t *testing.T) { drivers(t, o) })
	uuid := enrol(t, o)
	t.Run("ports", func(t *testing.T) { ports(t, o, uuid) })
	t.Run("fields", func(t *testing.T) { fields(t, o) })
	t.Run("deploy templates", func(t *testing.T) { templates(t, o) })
	prepare(t, o)
	deploy(t, o)
	t.Run("power and boot device", func(t *testing.T) { power(t, o) })
	t.Run("firmware", func(t *testing.T) { firmware(t, o) })
	end(t, o)
}

func drivers(t *testing.T, o *openstack) {
	rows := o.list(t, "driver", "list")
	var names []string
	for _, r := range rows {
		names = append(names, r["Supported driver(s)"].(string))
	}
	if diff := cmp.Diff([]string{"fake-hardware", "ipmi"}, names); diff != "" {
		t.Error(diff)
	}
	d := o.ask(t, "driver", "show", "fake-hardware")
	if d["name"] != "fake-hardware" || d["type"] != "dynamic" || d["default_power_interface"] != "fake" {
		t.Errorf("the driver is %v", d)
	}
	if rows := o.list(t, "driver", "property", "list", "ipmi"); !strings.Contains(mustJSON(t, rows), "ipmi_address") {
		t.Errorf("the properties are %v", rows)
	}
	o.refused(t, "Could not find the following driver(s) or hardware type(s): none.", "driver", "show", "none")
}

// firmware sets how an active node boots, interrupts it, and asks for what the hardware does not have.
func firmware(t *testing.T, o *openstack) {
	o.node(t, "m1", map[string]any{"boot_mode": nil, "secure_boot": nil})
	o.do(t, "node", "boot", "mode", "set", "m1", "uefi")
	o.do(t, "node", "secure", "boot", "on", "m1")
	o.node(t, "m1", map[string]any{"boot_mode": "uefi", "secure_boot": true, "last_error": nil, "provision_state": "active"})
	o.do(t, "node", "boot", "mode", "set", "m1", "bios")
	o.do(t, "node", "secure", "boot", "off", "m1")
	o.node(t, "m1", map[string]any{"boot_mode": "bios", "secure_boot": false})
	o.do(t, "node", "inject", "nmi", "m1")
	if rows := o.list(t, "node", "bios", "setting", "list", "m1"); len(rows) > 0 {
		t.Errorf("BIOS settings: %v", rows)
	}
	for _, of := range []string{"node", "driver"} {
		if rows := o.list(t, of, "passthru", "list", map[string]string{"node": "m1", "driver": "ipmi"}[of]); len(rows) > 0 {
			t.Errorf("methods of the %s: %v", of, rows)
		}
	}
	o.refused(t, "doesn't have a BIOS setting 'virtualization'", "node", "bios", "setting", "show", "m1", "virtualization")
	o.refused(t, "Driver fake-hardware does not support get_console", "node", "console", "show", "m1")
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// enrol creates the node m1 and refuses what is wrong.
func enrol(t *testing.T, o *openstack) (uuid string) {
	t.Helper()
	n := o.ask(t, "node", "create", "--driver", "fake-hardware", "--name", "m1", "--driver-info", "some_password=hush",
		"--property", "cpu_arch=x86_64", "--resource-class", "baremetal", "--extra", "rack=7")
	want := map[string]any{"name": "m1", "driver": "fake-hardware", "provision_state": "enroll", "resource_class": "baremetal",
		"driver_info": map[string]any{"some_password": "******"}, "properties": map[string]any{"cpu_arch": "x86_64"}, "deploy_interface": "fake"}
	for k, v := range want {
		if diff := cmp.Diff(v, n[k]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k, diff)
		}
	}
	o.refused(t, "none", "node", "create", "--driver", "none")
	o.refused(t, "m1", "node", "create", "--driver", "fake-hardware", "--name", "m1")
	o.refused(t, "Node nobody could not be found.", "node", "show", "nobody")
	uuid, _ = n["uuid"].(string)
	return uuid
}

func ports(t *testing.T, o *openstack, uuid string) {
	p := o.ask(t, "port", "create", "--node", uuid, "52:54:00:AA:BB:01")
	if p["address"] != "52:54:00:aa:bb:01" || p["node_uuid"] != uuid || p["pxe_enabled"] != true {
		t.Errorf("the port is %v", p)
	}
	id := p["uuid"].(string)
	o.do(t, "port", "set", id, "--pxe-disabled", "--extra", "slot=1")
	if p := o.ask(t, "port", "show", id); p["pxe_enabled"] != false || p["extra"].(map[string]any)["slot"] != 1.0 {
		t.Errorf("the port is %v", p)
	}
	want := []map[string]any{{"UUID": id, "Address": "52:54:00:aa:bb:01"}}
	if diff := cmp.Diff(want, o.list(t, "port", "list", "--node", uuid)); diff != "" {
		t.Error(diff)
	}
	o.refused(t, "52:54:00:aa:bb:01", "port", "create", "--node", uuid, "52:54:00:aa:bb:01")
	o.do(t, "port", "delete", id)
	if rows := o.list(t, "port", "list"); len(rows) != 0 {
		t.Errorf("ports left: %v", rows)
	}
}

func fields(t *testing.T, o *openstack) {
	o.do(t, "node", "set", "m1", "--instance-info", "image_source=http://127.0.0.1:9/image", "--driver-info", "address=192.0.2.9",
		"--description", "test machine")
	n := o.node(t, "m1", map[string]any{"description": "test machine",
		"driver_info": map[string]any{"some_password": "******", "address": "192.0.2.9"}})
	if n["extra"].(map[string]any)["rack"] != 7.0 {
		t.Errorf("extra is %v", n["extra"])
	}
	o.do(t, "node", "unset", "m1", "--extra", "rack", "--driver-info", "address", "--description")
	o.node(t, "m1", map[string]any{"extra": map[string]any{}, "description": nil, "driver_info": map[string]any{"some_password": "******"}})
	o.refused(t, `there is no "/extra/none" to remove`, "node", "unset", "m1", "--extra", "none")
	o.do(t, "node", "add", "trait", "m1", "CUSTOM_FAST", "HW_CPU_X86_VMX")
	if rows := o.list(t, "node", "trait", "list", "m1"); len(rows) != 2 {
		t.Errorf("traits %v", rows)
	}
	o.do(t, "node", "maintenance", "set", "m1", "--reason", "new disk")
	o.node(t, "m1", map[string]any{"maintenance": true, "maintenance_reason": "new disk"})
	o.do(t, "node", "maintenance", "unset", "m1")
	o.node(t, "m1", map[string]any{"maintenance": false, "maintenance_reason": nil, "traits": []any{"CUSTOM_FAST", "HW_CPU_X86_VMX"}})
}

// prepare brings m1 from enroll to available.
func prepare(t *testing.T, o *openstack) {
	t.Helper()
	o.refused(t, `The requested action "provide" can not be performed on node`, "node", "provide", "m1")
	o.do(t, "node", "manage", "--wait", "60", "m1")
	rows := o.list(t, "node", "validate", "m1")
	for _, r := range rows {
		if (r["Interface"] == "power" || r["Interface"] == "deploy") && r["Result"] != true {
			t.Errorf("validate: %v", r)
		}
	}
	o.do(t, "node", "inspect", "--wait", "60", "m1")
	o.do(t, "node", "provide", "--wait", "60", "m1")
	o.node(t, "m1", map[string]any{"provision_state": "available", "target_provision_state": nil, "last_error": nil})
	list := o.list(t, "node", "list", "--provision-state", "available", "--fields", "name", "provision_state", "power_state")
	if len(list) != 1 || list[0]["Name"] != "m1" || list[0]["Provisioning State"] != "available" {
		t.Errorf("available nodes: %v", list)
	}
	if long := o.list(t, "node", "list", "--long"); len(long) != 1 {
		t.Errorf("the long list: %v", long)
	}
}

// deploy deploys m1 with a config drive in parts and takes it down again.
func deploy(t *testing.T, o *openstack) {
	t.Helper()
	o.refused(t, "config drive", "node", "deploy", "m1", "--config-drive", `{"files": {}}`)
	o.node(t, "m1", map[string]any{"provision_state": "available"})
	o.do(t, "node", "deploy", "--wait", "60", "m1", "--config-drive", `{"meta_data": {"hostname": "web-1"}, "user_data": "#!/bin/sh"}`)
	n := o.node(t, "m1", map[string]any{"provision_state": "active", "power_state": "power on"})
	if n["instance_info"].(map[string]any)["configdrive"] != "******" {
		t.Errorf("instance_info is %v", n["instance_info"])
	}
	o.refused(t, `The requested action "manage" can not be performed on node`, "node", "manage", "m1")
	o.refused(t, "", "node", "delete", "m1")
	o.do(t, "node", "rebuild", "--wait", "60", "m1")
	o.node(t, "m1", map[string]any{"provision_state": "active"})
}

func power(t *testing.T, o *openstack) {
	o.do(t, "node", "power", "off", "m1", "--power-timeout", "30")
	waitFor(t, o, "m1", "power_state", "power off")
	o.do(t, "node", "power", "on", "m1")
	waitFor(t, o, "m1", "power_state", "power on")
	o.do(t, "node", "reboot", "m1")
	waitFor(t, o, "m1", "power_state", "power on")
	o.do(t, "node", "boot", "device", "set", "m1", "cdrom", "--persistent")
	if d := o.ask(t, "node", "boot", "device", "show", "m1"); d["boot_device"] != "cdrom" || d["persistent"] != true {
		t.Errorf("boot device %v", d)
	}
	if d := o.ask(t, "node", "boot", "device", "show", "m1", "--supported"); !strings.Contains(mustJSON(t, d), "pxe") {
		t.Errorf("supported boot devices %v", d)
	}
	o.refused(t, "", "node", "boot", "device", "set", "m1", "floppy")
}

// waitFor polls through the client.
func waitFor(t *testing.T, o *openstack, name, field string, want any) {
	t.Helper()
	var got any
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if got = o.ask(t, "node", "show", name, "--fields", field)[field]; got == want {
			return
		}
	}
	t.Fatalf("%s of %s is %v, want %v", field, name, got, want)
}

// end undeploys m1, reads its history and deletes it.
func end(t *testing.T, o *openstack) {
	t.Helper()
	o.do(t, "node", "undeploy", "--wait", "60", "m1")
	n := o.node(t, "m1", map[string]any{"provision_state": "available", "instance_uuid": nil})
	if info := n["instance_info"].(map[string]any); len(info) != 0 {
		t.Errorf("instance_info is left: %v", info)
	}
	events := o.list(t, "node", "history", "list", "m1")
	if len(events) == 0 {
		t.Error("the history is empty")
	}
	if len(events) > 0 {
		id, _ := events[0]["UUID"].(string)
		if e := o.ask(t, "node", "history", "get", "m1", id); e["uuid"] != id {
			t.Errorf("the event is %v", e)
		}
	}
	if long := o.list(t, "node", "history", "list", "m1", "--long"); len(long) != len(events) {
		t.Errorf("%d events in the long list, %d in the short one", len(long), len(events))
	}
	if rows := o.list(t, "conductor", "list"); len(rows) != 1 || rows[0]["Alive"] != true {
		t.Errorf("conductors %v", rows)
	}
	o.do(t, "node", "delete", "m1") // as it is, available
	if rows := o.list(t, "node", "list"); len(rows) != 0 {
		t.Errorf("nodes left: %v", rows)
	}
}

// htpasswd writes a file that lets ada in with "open sesame".
func htpasswd(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte("ada:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The client logs in with a name and a password, and says what is wrong when they are.
func TestOpenstackClientLogsIn(t *testing.T) {
	t.Parallel()
	b := startBillet(t, "--auth", "http_basic", "--htpasswd-file", htpasswd(t))
	basic := func(password string) []string {
		return []string{"--os-auth-type", "http_basic", "--os-username", "ada", "--os-password", password}
	}
	o := newOpenstack(t, b)
	o.auth = basic("open sesame")
	if rows := o.list(t, "driver", "list"); len(rows) != 2 {
		t.Errorf("drivers %v", rows)
	}
	o = newOpenstack(t, b) // a process logs in once
	o.auth = basic("guess")
	o.refused(t, "401", "node", "list")
}

// Programs drive a whole life through openstacksdk and python-ironicclient; the program itself checks.
func TestPythonLibrariesDriveAWholeLife(t *testing.T) {
	t.Parallel()
	b := startBillet(t)
	out, err := python(t, "sdk.py", b.endpoint).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
