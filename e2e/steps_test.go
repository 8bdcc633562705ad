package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A deploy with a trait gets the steps of the deploy template of that name: on the machine the agent
// erases the disk's metadata before the image is written, the request's own step wins over the template's,
// and a step that is switched off does not run. The history tells the order.
func TestDeployTemplate(t *testing.T) {
	s := newSite(t)
	m := s.machine("templated", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	s.call("PUT", "/v1/nodes/"+m.uuid+"/traits", map[string]any{"traits": []string{"CUSTOM_FRESH", "CUSTOM_UNUSED"}}, nil, 204)
	step := func(iface, name string, priority int, args map[string]any) map[string]any {
		return map[string]any{"interface": iface, "step": name, "priority": priority, "args": args}
	}
	for name, steps := range map[string][]map[string]any{
		"CUSTOM_FRESH": {
			step("deploy", "erase_devices_metadata", 95, nil), step("power", "wait", 70, map[string]any{"seconds": 1}),
			step("power", "reboot", 10, nil),
			step("deploy", "inject_files", 65, map[string]any{"files": []map[string]any{
				{"path": "/grub/injected.txt", "content": base64.StdEncoding.EncodeToString([]byte("by a template"))},
				{"path": "/EFI/BILLET/deep/x", "partition": 2, "content": "eA=="},
			}}),
		},
		"CUSTOM_UNUSED": {step("power", "power_off", 5, nil)},
	} {
		s.call("POST", "/v1/deploy_templates", map[string]any{"name": name, "steps": steps}, nil, 201)
	}
	m.available()
	info := imageInfo(t, "tiny.raw")
	info["traits"] = []string{"CUSTOM_MISSING"}
	m.patch("/instance_info", info)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	info["traits"] = []string{"CUSTOM_FRESH"}
	m.patch("/instance_info", info)
	began := time.Now()
	m.provision(map[string]any{"target": "active", "deploy_steps": []map[string]any{
		step("power", "wait", 90, map[string]any{"seconds": 2}), step("power", "reboot", 0, nil),
	}})
	m.arrive("active", 5*time.Minute)
	t.Logf("active after %.1f s", time.Since(began).Seconds())
	m.boots(1)
	var ran []string
	for line := range strings.Lines(m.history()) {
		if name, ok := strings.CutPrefix(line, "Step "); ok && strings.HasSuffix(name, " started.\n") {
			ran = append(ran, strings.TrimSuffix(name, " started.\n"))
		}
	}
	want := []string{
		"deploy.erase_devices_metadata", "power.wait", "deploy.write_image", "deploy.inject_files", "deploy.prepare_instance_boot",
		"deploy.tear_down_agent", "deploy.switch_to_tenant_network", "deploy.boot_instance",
	}
	if !slices.Equal(ran, want) {
		t.Errorf("ran %q\nwant %q\n%s", ran, want, m.history())
	}
	for path, want := range map[string]string{"::/grub/injected.txt": "by a template", "::/EFI/BILLET/deep/x": "x"} {
		out, err := exec.Command("mtype", "-i", m.Disks[0].Path+"@@2M", path).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s on the EFI system partition: %q, %v", path, out, err)
		}
	}
}

// serves answers machines on the lab's network and returns the base of its URLs.
func (s *site) serves(h http.HandlerFunc) string {
	s.t.Helper()
	l, err := net.Listen("tcp", s.ip+":0")
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	s.t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}

// rootFile runs debugfs on the root file system that is in the disk's last partition.
func (m *machine) rootFile(command string) string {
	m.s.t.Helper()
	out, err := exec.Command("sfdisk", "--json", m.Disks[0].Path).Output()
	var dump struct {
		Table struct{ Partitions []struct{ Start, Size int64 } } `json:"partitiontable"`
	}
	if err == nil {
		err = json.Unmarshal(out, &dump)
	}
	if err != nil || len(dump.Table.Partitions) == 0 {
		m.s.t.Fatalf("reading the partitions of %s: %v: %s", m.Disks[0].Path, err, out)
	}
	largest := slices.MaxFunc(dump.Table.Partitions, func(a, b struct{ Start, Size int64 }) int { return int(a.Size - b.Size) })
	out, err = exec.Command("debugfs", "-R", command, fmt.Sprintf("%s?offset=%d", m.Disks[0].Path, largest.Start*512)).CombinedOutput()
	if err != nil {
		m.s.t.Fatalf("debugfs: %v: %s", err, out)
	}
	return string(out)
}

// Files of the node's property and of the step are in the image when it starts: one that the instance shows
// itself, and one that came from a server, with the mode asked for in a folder made for it.
func TestInjectFiles(t *testing.T) {
	s := newSite(t)
	m := s.machine("injected", "--firmware", "bios", "--memory", "512", "--disk", "5G")
	url := s.serves(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "for "+r.URL.Path) })
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.patch("/properties/inject_files",
		[]map[string]any{{"path": "/etc/issue", "content": base64.StdEncoding.EncodeToString([]byte("BILLET-INJECTED"))}})
	m.available()
	m.patch("/instance_info", s.partitionImage(nil))
	inject := func(files ...map[string]any) []map[string]any {
		return []map[string]any{{"interface": "deploy", "step": "inject_files", "priority": 65, "args": map[string]any{"files": files}}}
	}
	m.provision(map[string]any{"target": "active", "deploy_steps": inject(map[string]any{"path": "/no-such-folder/x", "content": ""})})
	if n := m.arrive("deploy failed", 4*time.Minute); n.LastError == nil ||
		!strings.Contains(*n.LastError, "no partition of the root disk has a folder /no-such-folder") {
		t.Fatalf("last_error %v", n.LastError)
	}
	m.provision(map[string]any{"target": "active", "deploy_steps": inject(map[string]any{
		"path": "/etc/app/for/node", "content": url + "/{node[uuid]}/{ports[0][address]}", "mode": 0o640, "dirmode": 0o700, "owner": 7,
		"group": 8,
	})})
	m.arrive("active", 4*time.Minute)
	m.prints(2*time.Minute, "BILLET-INSTANCE-UP tiny-root", "BILLET-INJECTED")
	if text, want := m.rootFile("cat /etc/app/for/node"), "for /"+m.uuid+"/"+m.NICs[0].MAC; !strings.HasSuffix(text, want) {
		t.Errorf("the file holds %q, want %q", text, want)
	}
	for path, want := range map[string]string{"/etc/app/for/node": "Mode:  0640", "/etc/app/for": "Mode:  0700", "/etc/app": "Mode:  0755"} {
		if stat := m.rootFile("stat " + path); !strings.Contains(stat, want) || path == "/etc/app/for/node" &&
			!strings.Contains(stat, "User:     7   Group:     8") {
			t.Errorf("%s: %s", path, stat)
		}
	}
	if h := m.history(); !strings.Contains(h, "/etc/issue written, 15 bytes, on partition") {
		t.Errorf("the history:\n%s", h)
	}
}

// ran lists the steps that the history says have started, from the given one on.
func (m *machine) ran(since int) []string {
	m.s.t.Helper()
	var steps []string
	for line := range strings.Lines(m.history()) {
		if name, ok := strings.CutPrefix(line, "Step "); ok && strings.HasSuffix(name, " started.\n") {
			steps = append(steps, strings.TrimSuffix(name, " started.\n"))
		}
	}
	return steps[min(since, len(steps)):]
}

// The conductor's own steps on a machine that boots: in a deploy after the instance was started, in a cleaning
// and a service that need no ramdisk, and before steps of the agent, where the ramdisk is booted anew. Kernel
// parameters of the node are the ramdisk's.
func TestLongReservedSteps(t *testing.T) {
	s := newSite(t)
	m := s.machine("reserved", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.patch("/driver_info/kernel_append_params", "%default% console=ttyS0 billet-marker=1")
	m.available()
	step := func(name string, priority int) map[string]any {
		args := map[string]any{}
		if name == "wait" {
			args["seconds"] = 1
		}
		return map[string]any{"interface": "power", "step": name, "priority": priority, "args": args}
	}
	s.version = "1.115"
	off := map[string]any{"target": "clean", "disable_ramdisk": true, "clean_steps": []map[string]any{
		step("power_on", 0), step("wait", 0), step("reboot", 0), step("power_off", 0),
	}}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.provision(off)
	if n := m.arrive("manageable", time.Minute); n.Power == nil || *n.Power != "power off" {
		t.Errorf("after the cleaning the machine's power is %v", n.Power)
	}
	if got, want := m.ran(0), []string{"power.power_on", "power.wait", "power.reboot", "power.power_off"}; !slices.Equal(got, want) {
		t.Errorf("the cleaning ran %q, want %q", got, want)
	}
	if n := m.ramdisks(); n != 0 {
		t.Errorf("a cleaning without a ramdisk booted %d", n)
	}
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{
		step("power_off", 0), step("power_on", 0), {"interface": "deploy", "step": "erase_devices_metadata"},
	}})
	m.arrive("manageable", 3*time.Minute)
	if got, want := m.ran(4), []string{"power.power_off", "power.power_on", "deploy.erase_devices_metadata"}; !slices.Equal(got, want) ||
		m.ramdisks() != 2 {
		t.Errorf("the cleaning ran %q on %d ramdisks, want %q on 2", got, m.ramdisks(), want)
	}
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)

	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	m.provision(map[string]any{"target": "active", "deploy_steps": []map[string]any{
		step("wait", 90), step("reboot", 85), step("power_off", 15), step("power_on", 12),
	}})
	m.prints(2*time.Minute, "nofb vga=normal rootfstype=ramfs no_timer_check console=ttyS0 billet-marker=1")
	m.arrive("active", 2*time.Minute)
	m.boots(1)
	want := []string{"power.wait", "power.reboot", "deploy.write_image", "deploy.prepare_instance_boot", "deploy.tear_down_agent",
		"deploy.switch_to_tenant_network",
		"deploy.boot_instance", "power.power_off", "power.power_on"}
	if got := m.ran(7); !slices.Equal(got, want) {
		t.Errorf("the deploy ran %q, want %q", got, want)
	}

	up := strings.Count(string(m.console()), "BILLET-INSTANCE-UP")
	m.provision(map[string]any{"target": "service", "disable_ramdisk": true, "service_steps": []map[string]any{
		step("power_off", 0), step("hold", 0), step("power_on", 0),
	}})
	m.arriveHeld("service hold", time.Minute)
	if n := m.show(); n.Power == nil || *n.Power != "power off" {
		t.Errorf("held after power_off the machine's power is %v", n.Power)
	}
	m.provision(map[string]any{"target": "unhold"})
	m.arrive("active", time.Minute)
	m.boots(up + 1)
	if n := m.ramdisks(); n != 4 {
		t.Errorf("%d ramdisks were booted; two for the cleaning and two for the deploy are enough", n)
	}
}

// With the deploy interface custom-agent a machine gets what the request's steps say and nothing else: here the
// agent's own write_image, with the image in its arguments and the node's config drive. A step without what it needs
// fails before anything is written.
func TestCustomAgent(t *testing.T) {
	s := newSite(t)
	m := s.machine("custom", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	m.patch("/deploy_interface", "custom-agent")
	m.available()
	step := func(name string, priority int, args map[string]any) map[string]any {
		return map[string]any{"interface": "deploy", "step": name, "priority": priority, "args": args}
	}
	deploy := func(steps ...map[string]any) {
		t.Helper()
		m.provision(map[string]any{"target": "active", "deploy_steps": steps,
			"configdrive": map[string]any{"meta_data": map[string]any{"hostname": "by-steps"}}})
	}
	deploy(step("erase_devices_metadata", 90, nil), step("write_image", 80, map[string]any{"image": "x"}))
	n := m.arrive("deploy failed", 4*time.Minute)
	for _, word := range []string{`Step deploy.write_image does not take the argument "image"`,
		`Step deploy.write_image needs the argument "image_info"`} {
		if n.LastError == nil || !strings.Contains(*n.LastError, word) {
			t.Errorf("last_error %v, want %s", n.LastError, word)
		}
	}
	if got := m.ran(0); len(got) != 0 {
		t.Errorf("before the arguments were refused %q ran", got)
	}
	info := imageInfo(t, "tiny.raw")
	deploy(step("erase_devices_metadata", 90, nil), step("write_image", 80, map[string]any{"image_info": map[string]any{
		"id": "tiny", "urls": []string{s.webServer() + "/tiny.raw"}, "disk_format": "raw", "container_format": "bare",
		"os_hash_algo": "sha256", "os_hash_value": info["image_os_hash_value"], "stream_raw_images": true,
	}}))
	m.arrive("active", 4*time.Minute)
	m.boots(1)
	m.prints(time.Minute, "by-steps login:")
	want := []string{"deploy.erase_devices_metadata", "deploy.write_image", "deploy.prepare_instance_boot", "deploy.tear_down_agent",
		"deploy.switch_to_tenant_network", "deploy.boot_instance"}
	if got := m.ran(0); !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
}

// Machines whose deploy runs no agent get no step of one: the request is refused, asked for or by a template, before the
// machine is touched. The service's own steps run on them.
func TestStepsWithoutAnAgent(t *testing.T) {
	s := newSite(t)
	m := s.machine("agentless", "--firmware", "bios", "--memory", "512", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:bios")
	step := func(iface, name string, priority int, args map[string]any) map[string]any {
		return map[string]any{"interface": iface, "step": name, "priority": priority, "args": args}
	}
	s.call("PUT", "/v1/nodes/"+m.uuid+"/traits", map[string]any{"traits": []string{"CUSTOM_ERASED"}}, nil, 204)
	s.call("POST", "/v1/deploy_templates", map[string]any{"name": "CUSTOM_ERASED",
		"steps": []any{step("deploy", "erase_devices_metadata", 95, map[string]any{})}}, nil, 201)
	m.available()
	refused := func(want string, steps ...any) {
		t.Helper()
		var answer struct {
			Text string `json:"error_message"`
		}
		s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active", "deploy_steps": steps}, &answer, 400)
		if !strings.Contains(answer.Text, want) {
			t.Errorf("refused with %s\nwant %s", answer.Text, want)
		}
		if n := m.show(); n.State != "available" || n.LastError != nil || m.ramdisks() != 0 {
			t.Errorf("after the refusal the node is %s, last_error %v, %d ramdisks were booted", n.State, n.LastError, m.ramdisks())
		}
	}
	inject := step("deploy", "inject_files", 65, map[string]any{"files": []any{}})
	wait := step("power", "wait", 90, map[string]any{"seconds": 1})

	m.patch("/instance_info", imageInfo(t, "tiny.raw"))
	refused("Step deploy.inject_files with priority 30 would run after deploy.tear_down_agent", step("deploy", "inject_files", 30, nil))
	refused("Step deploy.erase_devices_metadata with priority 100 would run after", step("deploy", "tear_down_agent", 101, nil),
		step("deploy", "erase_devices_metadata", 100, nil))

	m.patch("/deploy_interface", "ramdisk")
	m.patch("/instance_info", s.inMemory())
	refused("Step deploy.inject_files cannot run: the hardware does not have it by itself, and with the deploy interface ramdisk no agent "+
		"runs in the deploy that could.", inject)
	m.provision(map[string]any{"target": "active", "deploy_steps": []any{wait}})
	m.arrive("active", time.Minute)
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 4*time.Minute)

	m.patch("/deploy_interface", "iscsi")
	ramdisks := m.ramdisks()
	info := imageInfo(t, "tiny.raw")
	info["traits"] = []string{"CUSTOM_ERASED"}
	m.patch("/instance_info", info)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	if m.ramdisks() != ramdisks {
		t.Error("a refused deploy booted the machine")
	}
	m.provision(map[string]any{"target": "active", "deploy_steps": []any{wait, step("deploy", "erase_devices_metadata", 0, nil)}})
	m.arrive("active", 4*time.Minute)
	m.boots(1)
	if got := m.ran(0); strings.Count(strings.Join(got, " "), "power.wait") != 2 {
		t.Errorf("ran %q", got)
	}
}
