package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/wire"
)

const testNode = "11111111-2222-4333-8444-555555555555"

// service is a Bare Metal service as an agent sees it.
type service struct {
	*httptest.Server
	t          testing.TB
	mu         sync.Mutex
	calls      []string       // "METHOD path version body"
	refuse     map[string]int // path prefix → status, once each
	token      string
	heartbeats chan wire.Heartbeat
	progress   chan wire.Progress
	logs       chan wire.LogLines // the first few
	inspection chan wire.Inspection
	image      []byte
}

func newService(t testing.TB) *service {
	t.Helper()
	s := &service{
		t: t, refuse: map[string]int{}, token: testToken,
		heartbeats: make(chan wire.Heartbeat, 100), progress: make(chan wire.Progress, 1000), logs: make(chan wire.LogLines, 10),
		inspection: make(chan wire.Inspection, 10),
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/image" {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.image))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/v1/continue_inspection" && !strings.HasPrefix(r.URL.Path, "/billet/") {
		s.calls = append(s.calls, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL, r.Header.Get("X-OpenStack-Ironic-API-Version"))))
	}
	if r.Header.Get("Accept") != "application/json" || r.Header.Get("Content-Type") != "application/json" {
		s.t.Errorf("%s %s without JSON headers", r.Method, r.URL)
	}
	if code := s.refuse[r.URL.Path]; code != 0 {
		delete(s.refuse, r.URL.Path)
		w.WriteHeader(code)
		fmt.Fprint(w, `{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"Not now.\", \"debuginfo\": null}"}`)
		return
	}
	s.answer(w, r, body)
}

func (s *service) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	decode := func(out any) {
		if err := json.Unmarshal(body, out); err != nil {
			s.t.Errorf("%s: %v", r.URL, err)
		}
	}
	switch {
	case r.URL.Path == "/":
		fmt.Fprint(w, `{"name": "OpenStack Ironic API", "default_version": {"id": "v1", "version": "1.95", "min_version": "1.1"}}`)
	case r.URL.Path == "/v1/lookup":
		fmt.Fprintf(w, `{"node": {"uuid": %q, "properties": {"root_device": {"serial": "disk-2"}}, "instance_info": {},
			"driver_internal_info": {}},
			"config": {"heartbeat_timeout": 300, "agent_token": %q, "agent_token_required": true, "permitted_image_formats": ["raw", "qcow2"],
				"unknown": {}}}`, testNode, s.token)
		s.token = "******"
	case r.URL.Path == "/v1/heartbeat/"+testNode:
		var h wire.Heartbeat
		decode(&h)
		s.heartbeats <- h
		w.WriteHeader(http.StatusAccepted)
	case r.URL.Path == "/billet/v1/progress/"+testNode:
		var p wire.Progress
		decode(&p)
		s.progress <- p
	case r.URL.Path == "/billet/v1/log/"+testNode:
		var l wire.LogLines
		decode(&l)
		select {
		case s.logs <- l:
		default:
		}
	case r.URL.Path == "/v1/continue_inspection":
		var i wire.Inspection
		decode(&i)
		s.inspection <- i
		w.WriteHeader(http.StatusAccepted)
	default:
		http.NotFound(w, r)
	}
}

func (s *service) refuseOnce(path string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[path] = code
}

func (s *service) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.calls, "\n")
}

// fakeMachine notes what the agent does to the machine.
type fakeMachine struct{ did chan string }

func (m fakeMachine) Reboot() error              { m.did <- "reboot"; return nil }
func (m fakeMachine) PowerOff() error            { m.did <- "power off"; return nil }
func (m fakeMachine) SetClock(t time.Time) error { m.did <- "clock"; return errors.New("not allowed") }
func (m fakeMachine) KernelLog() ([]byte, error) { return []byte("Linux version 6.1\n"), nil }

// machineRoot is a recorded machine with one interface and two disks, which are files.
func machineRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"vda", "vdb"} {
		dir := "sys/block/" + name
		size := (8 + 8*i) << 20
		put(dir+"/size", fmt.Sprint(size/512))
		put(dir+"/serial", fmt.Sprintf("disk-%d", i+1))
		put(dir+"/queue/logical_block_size", "512")
		put("dev/"+name, strings.Repeat("\xa5", size))
	}
	put("sys/class/net/eth0/address", "52:54:00:00:00:01")
	put("sys/devices/pci0000:00/0000:00:03.0/vendor", "0x1af4")
	if err := os.Symlink(filepath.Join(root, "sys/devices/pci0000:00/0000:00:03.0"),
		filepath.Join(root, "sys/class/net/eth0/device")); err != nil {
		t.Fatal(err)
	}
	return root
}

// startAgent runs an agent until the test ends.
func startAgent(t *testing.T, s *service, change func(*Config)) (Config, fakeMachine) {
	t.Helper()
	cfg := Config{
		APIURLs: []string{s.URL}, ListenHost: "127.0.0.1", Root: machineRoot(t), StateDir: filepath.Join(t.TempDir(), "state"),
		URLAllowed: loopback, LookupTimeout: time.Minute, LookupInterval: time.Millisecond, BootMAC: "52:54:00:00:00:01",
	}
	if change != nil {
		change(&cfg)
	}
	m := fakeMachine{did: make(chan string, 10)}
	runAgent(t, cfg, m)
	return cfg, m
}

func runAgent(t *testing.T, cfg Config, m Machine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logs := &LogBuffer{}
	a := &Agent{Config: cfg, Machine: m, Logs: logs, Log: slog.New(slog.NewTextHandler(logs, nil))}
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the agent ended with %v", err)
		}
		if t.Failed() {
			t.Logf("%s", logs.Bytes())
		}
	})
	t.Cleanup(stop)
	return stop
}

// receive waits for something, but not for ever.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came in 30 s")
		panic("unreachable")
	}
}

// conductor calls an agent as a conductor does: over TLS, trusting only the certificate it was told.
type conductor struct {
	t    testing.TB
	http *http.Client
	base string
}

func conductorFor(t testing.TB, h wire.Heartbeat) *conductor {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(h.AgentVerifyCA)) {
		t.Fatalf("no certificate in %q", h.AgentVerifyCA)
	}
	return &conductor{t: t, base: h.CallbackURL, http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
}

func (c *conductor) do(name string, p any) wire.CommandResult {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"name": name, "params": p})
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Post(c.base+"/v1/commands/?wait=true&agent_token="+url.QueryEscape(testToken), "application/json",
		bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out wire.CommandResult
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// succeed is do for commands that must.
func (c *conductor) succeed(name string, p any) string {
	c.t.Helper()
	r := c.do(name, p)
	if r.Status != wire.Succeeded {
		c.t.Fatalf("%s: %s %v", name, r.Status, r.Error)
	}
	return string(r.Result)
}

func TestLookupAndHeartbeat(t *testing.T) {
	s := newService(t)
	s.refuseOnce("/v1/lookup", 404)
	startAgent(t, s, nil)
	h := receive(t, s.heartbeats)
	if h.AgentToken != testToken || h.AgentVersion != Version || !strings.HasPrefix(h.CallbackURL, "https://127.0.0.1:") ||
		!strings.HasPrefix(h.AgentVerifyCA, "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("%+v", h)
	}
	want := strings.Join([]string{
		"GET /",
		"GET /v1/lookup?addresses=52%3A54%3A00%3A00%3A00%3A01 1.62",
		"GET /",
		"GET /v1/lookup?addresses=52%3A54%3A00%3A00%3A00%3A01 1.62",
		"POST /v1/heartbeat/" + testNode + " 1.68",
	}, "\n")
	if got := s.seen(); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

const injectStep = `{"step":"inject_files","interface":"deploy","priority":0,"reboot_requested":false,"abortable":false,"argsinfo":{` +
	`"files":{"description":"Files to write into the image that was written: a list of objects with path, partition, content ` +
	`(base64 or a URL) or deleted, mode, dirmode, owner and group. ` +
	`Those of the node's property inject_files come first.","required":false},` +
	`"verify_ca":{"description":"Whether certificates of https URLs are verified; true when not given.","required":false}}}`

const deleteInfo = `"delete_existing":{"description":"Whether software RAID that is there is deleted first. Default: false ` +
	`for create_configuration, true for apply_configuration.","required":false}`

// bootOfTests is what an agent on a machine without firmware tables says of its boot.
const bootOfTests = `"boot":{"current_boot_mode":"bios","pxe_interface":"52:54:00:00:00:01","secure_boot":false},`

func TestSteps(t *testing.T) {
	s := newService(t)
	startAgent(t, s, nil)
	c := conductorFor(t, receive(t, s.heartbeats))
	for name, want := range map[string]string{
		"clean.get_clean_steps": `{` + bootOfTests + `"clean_steps":{"BilletHardwareManager":[` +
			`{"step":"erase_devices_metadata","interface":"deploy","priority":99,"reboot_requested":false,"abortable":true},` +
			`{"step":"erase_devices","interface":"deploy","priority":10,"reboot_requested":false,"abortable":true},` +
			`{"step":"erase_devices_express","interface":"deploy","priority":0,"reboot_requested":false,"abortable":true},` +
			`{"step":"delete_configuration","interface":"raid","priority":0,"reboot_requested":false,"abortable":false},` +
			`{"step":"create_configuration","interface":"raid","priority":0,"reboot_requested":false,"abortable":false,` +
			`"argsinfo":{` + deleteInfo + `}}]},"hardware_manager_version":{"BilletHardwareManager":"1.1"}}`,
		"deploy.get_deploy_steps": `{` + bootOfTests + `"deploy_steps":{"BilletHardwareManager":[` +
			`{"step":"erase_devices_metadata","interface":"deploy","priority":0,"reboot_requested":false,"abortable":true},` +
			`{"step":"write_image","interface":"deploy","priority":0,"reboot_requested":false,"abortable":false,"argsinfo":{` +
			`"configdrive":{"description":"Base64 of a gzipped config drive image, or a URL of one.","required":false},` +
			`"image_info":{"description":"A dictionary describing the image: id, urls, disk_format, os_hash_algo and os_hash_value.",` +
			`"required":true}}},` + injectStep + `,` +
			`{"step":"apply_configuration","interface":"raid","priority":0,"reboot_requested":false,"abortable":false,` +
			`"argsinfo":{` + deleteInfo + `,` +
			`"raid_config":{"description":"The RAID configuration to apply, as target_raid_config has it.","required":true}}}]},` +
			`"hardware_manager_version":{"BilletHardwareManager":"1.1"}}`,
		"service.get_service_steps": `{` + bootOfTests + `"hardware_manager_version":{"BilletHardwareManager":"1.1"},` +
			`"service_steps":{"BilletHardwareManager":[` + injectStep + `,{"step":"list_disks","interface":"deploy","priority":0,` +
			`"reboot_requested":false,"abortable":true}]}}`,
	} {
		if got := c.succeed(name, map[string]any{"node": map[string]any{}, "ports": []any{}}); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
}

// imageInfo describes the service's image.
// startable is an image that a BIOS would start: its first sector ends as a boot sector does.
func startable(text string, size int) []byte {
	b := bytes.Repeat([]byte(text), size/len(text))
	b[510], b[511] = 0x55, 0xaa
	return b
}

func (s *service) imageInfo() map[string]any {
	sum := sha256.Sum256(s.image)
	return map[string]any{
		"id": "img", "urls": []string{s.URL + "/image"}, "disk_format": "raw", "container_format": "bare",
		"os_hash_algo": "sha256", "os_hash_value": hex.EncodeToString(sum[:]), "stream_raw_images": true, "node_uuid": testNode,
	}
}

func TestWriteImageStep(t *testing.T) {
	s := newService(t)
	s.image = startable("billet! ", 5<<20)
	cfg, _ := startAgent(t, s, nil)
	c := conductorFor(t, receive(t, s.heartbeats))
	step := map[string]any{"interface": "deploy", "step": "write_image",
		"args": map[string]any{"image_info": s.imageInfo(), "configdrive": nil}}
	result := c.succeed("deploy.execute_deploy_step", map[string]any{
		"step": step, "node": map[string]any{"uuid": testNode,
			"properties": map[string]any{"root_device": map[string]any{"serial": "disk-2"}}}, "ports": []any{},
		"deploy_version": map[string]string{"BilletHardwareManager": "1.1"},
	})
	sent, err := json.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Result string          `json:"deploy_result"`
		Step   json.RawMessage `json:"deploy_step"`
	}
	if err := json.Unmarshal([]byte(result), &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Step, sent) || !strings.HasPrefix(got.Result, "image (img) written to device /dev/vdb: 5242880 bytes of raw") {
		t.Errorf("%s", result)
	}
	receive(t, s.heartbeats) // forced by the end of the command
	disk, err := os.ReadFile(filepath.Join(cfg.Root, "dev/vdb"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(disk[:len(s.image)], s.image) {
		t.Error("the disk does not hold the image")
	}
	other, err := os.ReadFile(filepath.Join(cfg.Root, "dev/vda"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(other, bytes.Repeat([]byte{0xa5}, 8<<20)) {
		t.Error("the other disk was changed")
	}
	if l := receive(t, s.logs); l.AgentToken != testToken || len(l.Lines) == 0 || !strings.Contains(l.Lines[len(l.Lines)-1].Text, "level=") {
		t.Errorf("the agent's log lines: %+v", l)
	}
	if p := receive(t, s.progress); p.AgentToken != testToken || p.Step != "write_image" || p.Total != 5<<20 ||
		!strings.HasPrefix(p.Detail, "/dev/vdb: ") {
		t.Errorf("%+v", p)
	}
}

func TestStepsThatFail(t *testing.T) {
	s := newService(t)
	s.image = startable("billet! ", 5<<20)
	cfg, _ := startAgent(t, s, nil)
	c := conductorFor(t, receive(t, s.heartbeats))
	wrong := s.imageInfo()
	wrong["os_hash_value"] = strings.Repeat("ab", 32)
	node := func(hints any) map[string]any {
		return map[string]any{"uuid": testNode, "properties": map[string]any{"root_device": map[string]any{"serial": "x"}},
			"instance_info": map[string]any{"root_device": hints}}
	}
	write := func(info any) map[string]any {
		return map[string]any{"interface": "deploy", "step": "write_image", "args": map[string]any{"image_info": info}}
	}
	for _, tt := range []struct {
		name   string
		params map[string]any
		status string
		want   string
	}{
		{"checksum", map[string]any{"step": write(wrong), "node": node(map[string]any{"serial": "disk-1"})}, wire.Failed,
			`writing image img to /dev/vda (serial "disk-1"): the image from ` + s.URL + `/image has the wrong sha256 checksum: expected abab`},
		{"no disk matches", map[string]any{"step": write(s.imageInfo()), "node": node(map[string]any{"serial": "disk-9"})}, wire.Failed,
			`no disk matches the root device hints (serial: disk-9); disks seen: /dev/vda, 8.0 MiB, serial disk-1: its serial is ` +
				`"disk-1"; /dev/vdb`},
		{"hints are no object", map[string]any{"step": write(s.imageInfo()), "node": node("sda")}, wire.Failed,
			`root_device is a string; an object such as`},
		{"image info is no object", map[string]any{"step": write(7), "node": node(nil)}, wire.Failed,
			`Parameter image_info is not what is expected`},
		{"unknown step", map[string]any{"step": map[string]any{"step": "fly", "interface": "deploy"}}, wire.Failed,
			"this agent has no deploy step deploy.fly; it has: deploy.erase_devices_metadata deploy.write_image"},
		{"of another interface", map[string]any{"step": map[string]any{"step": "write_image", "interface": "raid"}}, wire.Failed,
			"this agent has no deploy step raid.write_image"},
		{"other versions", map[string]any{"step": write(s.imageInfo()),
			"deploy_version": map[string]string{"BilletHardwareManager": "0.9"}}, wire.VersionMismatch,
			"versions map[BilletHardwareManager:0.9], but this agent has map[BilletHardwareManager:1.1]"},
	} {
		r := c.do("deploy.execute_deploy_step", tt.params)
		if r.Status != tt.status || r.Error == nil || !strings.Contains(r.Error.Details, tt.want) {
			t.Errorf("%s: %s %+v", tt.name, r.Status, r.Error)
		}
	}
	disk, err := os.ReadFile(filepath.Join(cfg.Root, "dev/vda"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(disk[:1<<20], make([]byte, 1<<20)) {
		t.Error("a wrong image may boot")
	}
}

func TestCleanSteps(t *testing.T) {
	s := newService(t)
	cfg, _ := startAgent(t, s, func(c *Config) {
		for file, text := range map[string]string{"size": "100", "removable": "1"} {
			path := filepath.Join(c.Root, "sys/block/sdz", file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	})
	c := conductorFor(t, receive(t, s.heartbeats))
	for _, step := range []string{"erase_devices_metadata", "erase_devices_express", "erase_devices"} {
		got := c.succeed("clean.execute_clean_step",
			map[string]any{"step": map[string]any{"step": step, "interface": "deploy", "priority": 10}, "node": map[string]any{}})
		method, verified, more := "overwritten with zeros", "64 samples read back", ""
		if step != "erase_devices" {
			method, verified = "metadata overwritten with zeros", "read back"
		}
		notBy := ""
		if step == "erase_devices_express" {
			more, notBy = "; not by discard: operation not supported", `"not_by":["discard: operation not supported"],`
		}
		disk := func(name, number string, size int) (says, record string) {
			return fmt.Sprintf(`/dev/%s (serial \"disk-%s\", %d bytes: %s, %s%s)`, name, number, size, method, verified, more),
				fmt.Sprintf(`{"name":"/dev/%s","serial":"disk-%s","wwn":"","model":"","size":%d,"method":"%s","verified":"%s",%s"seconds":0}`,
					name, number, size, method, verified, notBy)
		}
		vda, a := disk("vda", "1", 8<<20)
		vdb, b := disk("vdb", "2", 16<<20)
		want := `{"clean_result":{"says":"erased: ` + vda + `, ` + vdb + `; left alone: /dev/sdz (removable)","disks":[` + a + `,` + b +
			`,{"name":"/dev/sdz","serial":"","wwn":"","model":"","size":51200,"skipped":"removable"}]},` +
			`"clean_step":{"interface":"deploy","priority":10,"step":"` + step + `"}}`
		if got = regexp.MustCompile(`"seconds":[0-9.]+`).ReplaceAllString(got, `"seconds":0`); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	for name, size := range map[string]int{"vda": 8 << 20, "vdb": 16 << 20} {
		disk, err := os.ReadFile(filepath.Join(cfg.Root, "dev", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(disk, make([]byte, size)) {
			t.Errorf("%s is not erased", name)
		}
	}
	if err := os.Remove(filepath.Join(cfg.Root, "dev/vda")); err != nil {
		t.Fatal(err)
	}
	r := c.do("clean.execute_clean_step", map[string]any{"step": map[string]any{"step": "erase_devices_metadata", "interface": "deploy"}})
	if r.Error == nil || !strings.HasPrefix(r.Error.Details, "erasing: /dev/vda: opening the disk") {
		t.Fatalf("%+v", r.Error)
	}
	if d := r.Error.Disks; len(d) != 3 || !strings.HasPrefix(d[0].Error, "opening the disk") || d[1].Method == "" ||
		d[2].Skipped != "removable" {
		t.Errorf("disk by disk: %+v", d)
	}
}

func TestOtherCommands(t *testing.T) {
	s := newService(t)
	_, m := startAgent(t, s, nil)
	c := conductorFor(t, receive(t, s.heartbeats))
	if got := c.succeed("standby.sync", map[string]any{}); got != "null" {
		t.Error(got)
	}
	if got := c.succeed("standby.get_partition_uuids",
		map[string]any{}); got != `{"root uuid":"","efi system partition uuid":"","PReP Boot partition uuid":""}` {
		t.Error(got)
	}
	r := c.do("image.install_bootloader", map[string]any{"target_boot_mode": "bios"})
	if r.Error == nil ||
		!strings.Contains(r.Error.Details, `a BIOS would not start /dev/vdb (serial "disk-2"): its first sector is no boot sector`) {
		t.Errorf("%+v", r.Error)
	}
	r = c.do("image.install_bootloader", map[string]any{"target_boot_mode": "uefi"})
	if r.Error == nil || !strings.Contains(r.Error.Details, "is to boot in UEFI mode, but this machine booted in bios mode") {
		t.Errorf("%+v", r.Error)
	}
	if got := c.succeed("image.install_bootloader",
		map[string]any{"target_boot_mode": "uefi", "ignore_bootloader_failure": true}); !strings.Contains(got, "which is to be ignored") {
		t.Error(got)
	}
	if r := c.do("rescue.finalize_rescue", map[string]any{"rescue_password": "x"}); r.Error == nil ||
		!strings.Contains(r.Error.Details, "only in the ramdisk") {
		t.Errorf("%+v", r)
	}
	var logs struct {
		Logs string `json:"system_logs"`
	}
	if err := json.Unmarshal([]byte(c.succeed("log.collect_system_logs", map[string]any{})), &logs); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, logs.Logs)
	if files["kernel.log"] != "Linux version 6.1\n" || !strings.Contains(files["agent.log"], "msg=serving") ||
		strings.Contains(files["agent.log"], testToken) {
		t.Errorf("%v", files)
	}
	if got := c.succeed("standby.power_off", map[string]any{}); got != `{"result":"power_off: powering off"}` {
		t.Error(got)
	}
	if did := receive(t, m.did); did != "power off" {
		t.Error(did)
	}
	c.succeed("standby.run_image", map[string]any{})
	if did := receive(t, m.did); did != "reboot" {
		t.Error(did)
	}
	if got := c.succeed("system.lockdown", map[string]any{}); got != "null" {
		t.Error(got)
	}
}

// An agent that died is started again by process 1, in the same boot: the service knows its token
// and certificate and would take no others.
func TestRestartedAgentIsTheSameAgent(t *testing.T) {
	s := newService(t)
	cfg := Config{APIURLs: []string{s.URL}, ListenHost: "127.0.0.1", Root: machineRoot(t), StateDir: t.TempDir(), URLAllowed: loopback,
		LookupTimeout: time.Minute, LookupInterval: time.Millisecond}
	stop := runAgent(t, cfg, fakeMachine{})
	first := receive(t, s.heartbeats)
	stop()
	for len(s.heartbeats) > 0 {
		<-s.heartbeats
	}
	runAgent(t, cfg, fakeMachine{})
	second := receive(t, s.heartbeats)
	if first.AgentToken != second.AgentToken || first.AgentVerifyCA != second.AgentVerifyCA {
		t.Errorf("%+v\n%+v", first, second)
	}
	if info, err := os.Stat(filepath.Join(cfg.StateDir, "state.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestTokenGivenToSomebodyElse(t *testing.T) {
	s := newService(t)
	s.token = "******"
	a := &Agent{Config: Config{APIURLs: []string{s.URL}, Root: machineRoot(t), StateDir: t.TempDir()}, Machine: fakeMachine{}, Log: noLog}
	err := a.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "gave this node's agent token to somebody else before") {
		t.Error(err)
	}
}

func TestPregeneratedToken(t *testing.T) {
	s := newService(t)
	s.token = "******"
	startAgent(t, s, func(c *Config) { c.Token = "given-at-boot-by-virtual-media-0000" })
	if h := receive(t, s.heartbeats); h.AgentToken != "given-at-boot-by-virtual-media-0000" {
		t.Errorf("%+v", h)
	}
}

func TestHeartbeatsSurviveTheService(t *testing.T) {
	s := newService(t)
	s.refuseOnce("/v1/heartbeat/"+testNode, 409)
	startAgent(t, s, func(c *Config) { c.APIURLs = []string{"http://127.0.0.1:1", s.URL} }) // the first cannot be reached
	receive(t, s.heartbeats)
	if got := s.seen(); strings.Count(got, "POST /v1/heartbeat") != 2 {
		t.Error(got)
	}
}

func TestInspection(t *testing.T) {
	s := newService(t)
	s.refuseOnce("/v1/continue_inspection", 503)
	startAgent(t, s, func(c *Config) { c.APIURLs = nil; c.InspectionCallback = s.URL + "/v1/continue_inspection" })
	got := receive(t, s.inspection)
	if len(got.Inventory.Disks) != 2 || got.Inventory.Disks[1].Serial != "disk-2" ||
		got.Inventory.Interfaces[0].MACAddress != "52:54:00:00:00:01" ||
		got.BootInterface != "52:54:00:00:00:01" || got.RootDisk != nil || got.Error != nil {
		t.Errorf("%+v", got)
	}
	if files := unpack(t, got.Logs); files["kernel.log"] == "" {
		t.Errorf("%v", files)
	}
	if got.Inventory.BMCAddress != "0.0.0.0" || got.Inventory.BMCv6Address != "::/0" {
		t.Errorf("a machine without a BMC tells %q and %q", got.Inventory.BMCAddress, got.Inventory.BMCv6Address)
	}
	if s.seen() != "" {
		t.Errorf("an agent that only inspects called %s", s.seen())
	}
}

// Figures of the machine are sent only when they were asked for; what there is no benchmark of, and a disk
// that cannot be read, are left out.
func TestInspectionWithBenchmarks(t *testing.T) {
	s := newService(t)
	startAgent(t, s, func(c *Config) {
		c.Collectors, c.Benchmarks = []string{"default", "extra-hardware"}, []string{"disk", "network"}
		if err := os.Remove(filepath.Join(c.Root, "dev/vda")); err != nil {
			t.Fatal(err)
		}
	})
	var names []string
	for _, r := range receive(t, s.inspection).Extra {
		if v, ok := r[3].(float64); len(r) != 4 || !ok || v <= 0 {
			t.Errorf("%v", r)
		}
		names = append(names, fmt.Sprint(r[0], " ", r[1], " ", r[2]))
	}
	want := []string{"disk vdb standalone_read_1M_KBps", "disk vdb standalone_read_1M_IOps", "disk vdb standalone_randread_4k_KBps",
		"disk vdb standalone_randread_4k_IOps"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	s = newService(t)
	startAgent(t, s, func(c *Config) { c.Collectors = []string{"default"} })
	if got := receive(t, s.inspection); got.Extra != nil {
		t.Errorf("nobody asked for %v", got.Extra)
	}
}

func TestInspectionBeforeLookup(t *testing.T) {
	s := newService(t)
	startAgent(t, s, func(c *Config) { c.Collectors = []string{"default"} })
	receive(t, s.inspection)
	receive(t, s.heartbeats)
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	c, err := newCertificate(net.IPv6loopback, now)
	if err != nil {
		t.Fatal(err)
	}
	raw := strings.TrimSuffix(strings.TrimPrefix(c.PEM, "-----BEGIN CERTIFICATE-----\n"), "-----END CERTIFICATE-----\n")
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(raw, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "::1" || !cert.IPAddresses[0].Equal(net.IPv6loopback) || cert.SignatureAlgorithm != x509.ECDSAWithSHA512 ||
		now.Sub(cert.NotBefore).Round(time.Minute) != time.Hour || cert.NotAfter.Sub(now).Round(time.Hour) != 720*time.Hour {
		t.Errorf("%+v", cert)
	}
}
