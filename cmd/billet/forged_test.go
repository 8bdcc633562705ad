package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// Where the machine and a stranger are on the provisioning network of these tests, the whole of 127.0.0.0/8.
const (
	machineIP, strangerIP   = "127.0.0.5", "127.0.0.66"
	machineMAC, strangerMAC = "52:54:00:00:00:05", "52:54:00:00:00:66"
	victim                  = "11111111-2222-4333-8444-555555555555"
)

// attacked is the real service on loopback with a node that waits for its machine.
type attacked struct {
	t               *testing.T
	people, machine string // base URLs
	ports           [2]int
	log             *syncBuffer
}

func underAttack(t *testing.T, args ...string) *attacked {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"kernel", "ramdisk"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := &attacked{t: t, log: &syncBuffer{}}
	for i := range a.ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a.ports[i] = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	a.people, a.machine = fmt.Sprintf("http://127.0.0.1:%d", a.ports[0]), fmt.Sprintf("http://127.0.0.1:%d", a.ports[1])
	c, err := load(t, "", nil, append([]string{
		"--data-dir", dir, "--listen", fmt.Sprintf("127.0.0.1:%d", a.ports[0]), "--provision-interface", "lo",
		"--provision-port", fmt.Sprint(a.ports[1]),
		"--tftp-port", fmt.Sprint(a.ports[1]), "--dhcp-mode", "off", "--enabled-hardware-types", "fake-hardware", "--host", "here",
		"--deploy-kernel", filepath.Join(dir, "kernel"), "--deploy-ramdisk", filepath.Join(dir, "ramdisk"),
	}, args...))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	db, err := store.Open(ctx, store.Config{DataDir: dir, Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	lends := boot.AddressRange{Network: netip.MustParsePrefix("127.0.0.0/24"),
		First: netip.MustParseAddr(machineIP), Last: netip.MustParseAddr(machineIP)}
	if _, mine, err := db.LendAddress(ctx, lends, machineMAC, netip.MustParseAddr(machineIP), time.Hour); err != nil || !mine {
		t.Fatal(mine, err)
	}
	db.Close()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, c, serveOptions{Out: a.log}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(a.log.String())
		}
	})
	a.until("the service is up", func() bool { _, err := http.Get(a.people + "/v1"); return err == nil })
	a.ask(http.MethodPost, a.people+"/v1/nodes", "127.0.0.1", map[string]any{
		"uuid": victim, "driver": "fake-hardware", "boot_interface": "ipxe", "deploy_interface": "direct",
		"inspect_interface": "agent", "network_interface": "noop",
	}, 201)
	a.ask(http.MethodPost, a.people+"/v1/ports", "127.0.0.1",
		map[string]any{"node_uuid": victim, "address": machineMAC, "pxe_enabled": true}, 201)
	a.provision("manage", "manageable")
	return a
}

// ask sends a request from an address and returns the body of the answer, which must have the status.
func (a *attacked) ask(method, url, from string, body any, want int) string {
	a.t.Helper()
	status, text := a.send(method, url, from, body)
	if status != want {
		a.t.Errorf("%s %s from %s: %d, want %d: %s", method, url, from, status, want, text)
	}
	return text
}

func (a *attacked) send(method, url, from string, body any) (int, string) {
	a.t.Helper()
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.95")
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer)
}

func (a *attacked) until(what string, done func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("it is not so after a minute: %s", what)
		}
	}
}

func (a *attacked) node() (state, lastError string) {
	var n struct {
		State string  `json:"provision_state"`
		Error *string `json:"last_error"`
	}
	if err := json.Unmarshal([]byte(a.ask(http.MethodGet, a.people+"/v1/nodes/"+victim, "127.0.0.1", nil, 200)), &n); err != nil {
		a.t.Fatal(err)
	}
	if n.Error != nil {
		lastError = *n.Error
	}
	return n.State, lastError
}

func (a *attacked) provision(target, state string) {
	a.t.Helper()
	a.ask(http.MethodPut, a.people+"/v1/nodes/"+victim+"/states/provision", "127.0.0.1", map[string]any{"target": target}, 202)
	a.until("the node is "+state, func() bool { got, _ := a.node(); return got == state })
}

var keyOfScript = regexp.MustCompile(`ipa-api-url=(\S+/b/[0-9a-f]{32}) `)

// boots has the machine read its script, and returns the API's URL in it.
func (a *attacked) boots() string {
	a.t.Helper()
	script := a.ask(http.MethodGet, a.machine+"/boot/ipxe?mac="+machineMAC, machineIP, nil, 200)
	found := keyOfScript.FindStringSubmatch(script)
	if found == nil {
		a.t.Fatalf("the script has no key:\n%s", script)
	}
	return found[1]
}

// inventory is what a ramdisk on the machine with these MAC addresses reports; it booted from the first.
func inventory(macs ...string) map[string]any {
	var nics []any
	for i, mac := range macs {
		nics = append(nics, map[string]any{"name": fmt.Sprintf("eth%d", i), "mac_address": mac, "ipv4_address": "10.0.0.5"})
	}
	return map[string]any{"boot_interface": macs[0], "inventory": map[string]any{
		"interfaces": nics, "cpu": map[string]any{"architecture": "x86_64", "count": 1},
		"memory": map[string]any{"physical_mb": 1}, "disks": []any{},
	}}
}

// A stranger on the provisioning network knows the MAC address and the UUID of a node that waits for its machine. It gets
// neither the script, nor the token, nor the config drive, and changes nothing.
func TestAStrangerSpeaksForNoMachine(t *testing.T) {
	a := underAttack(t)
	a.provision("inspect", "inspect wait")

	for _, from := range []string{strangerIP, "127.0.0.1"} {
		if said := a.ask(http.MethodGet, a.machine+"/boot/ipxe?mac="+machineMAC, from, nil, 403); strings.Contains(said, "/b/") {
			t.Errorf("the refusal has the key in it: %s", said)
		}
	}
	api := a.boots()
	if status, _ := a.send(http.MethodGet, a.machine+"/boot/ipxe?mac="+machineMAC, strangerIP, nil); status != 403 {
		t.Errorf("after the machine has read its script a stranger gets it: %d", status)
	}

	wrong := a.machine + "/b/" + strings.Repeat("0", 32)
	for _, base := range []string{a.machine, a.people, wrong} {
		a.ask(http.MethodGet, base+"/v1/lookup?addresses="+machineMAC, strangerIP, nil, 404)
		a.ask(http.MethodGet, base+"/v1/lookup?addresses="+machineMAC, machineIP, nil, 404) // its address alone is no key
		a.ask(http.MethodGet, base+"/v1/lookup?node_uuid="+victim, strangerIP, nil, 404)
		a.ask(http.MethodPost, base+"/v1/drivers/fake-hardware/vendor_passthru/lookup", strangerIP,
			map[string]any{"version": "2", "inventory": map[string]any{"interfaces": []any{map[string]any{"mac_address": machineMAC}}}}, 404)
		a.ask(http.MethodPost, base+"/v1/continue_inspection", strangerIP, inventory(strangerMAC, machineMAC), 404)
		if status, said := a.send(http.MethodPost,
			base+"/v1/continue_inspection?node_uuid="+victim, strangerIP, inventory(strangerMAC)); status != 404 {
			t.Errorf("a forged report that names the node: %d %s", status, said)
		}
	}
	if ports := a.ask(http.MethodGet, a.people+"/v1/ports/detail", "127.0.0.1", nil, 200); strings.Contains(ports, strangerMAC) ||
		!strings.Contains(ports, `"pxe_enabled":true`) {
		t.Errorf("the forged report changed the ports: %s", ports)
	}
	if state, _ := a.node(); state != "inspect wait" {
		t.Errorf("the node is %s", state)
	}

	a.ask(http.MethodPost, api+"/v1/continue_inspection", machineIP, inventory(machineMAC, "52:54:00:00:00:07"), 202)
	a.until("the machine's own report ends the inspection", func() bool { state, _ := a.node(); return state == "manageable" })
	a.ask(http.MethodPost, api+"/v1/continue_inspection", machineIP, inventory(machineMAC), 404) // once
	if strings.Contains(a.log.String(), api[strings.Index(api, "/b/"):]) {
		t.Error("the key of the boot is in the log")
	}
}

// The agent of the boot gets the token, once. Whoever has the token but not the key, or would have the service call
// somewhere else than where the agent is, is refused.
func TestTheAgentIsWhereItCallsFrom(t *testing.T) {
	a := underAttack(t, "--agent-networks", machineIP+"/32", "--fast-track", "true")
	a.provision("inspect", "inspect wait")
	api := a.boots()
	var found struct {
		Node   struct{ UUID string }
		Config struct {
			Token string `json:"agent_token"`
		}
	}
	answer := a.ask(http.MethodGet, api+"/v1/lookup?addresses="+strangerMAC+","+machineMAC, machineIP, nil, 200)
	if err := json.Unmarshal([]byte(answer), &found); err != nil || found.Node.UUID != victim || len(found.Config.Token) != 43 {
		t.Fatalf("%v: %s", err, answer)
	}
	if again := a.ask(http.MethodGet, api+"/v1/lookup?addresses="+machineMAC,
		machineIP, nil, 200); strings.Contains(again, found.Config.Token) ||
		!strings.Contains(again, `"agent_token":"******"`) {
		t.Errorf("the token is given twice: %s", again)
	}
	beat := func(url string) map[string]any {
		return map[string]any{"callback_url": url, "agent_token": found.Config.Token, "agent_version": "1", "agent_verify_ca": "pem"}
	}
	where := "/v1/heartbeat/" + victim
	a.ask(http.MethodPost, a.machine+where, machineIP, beat("https://"+machineIP+":9999"), 400)
	a.ask(http.MethodPost, a.machine+"/b/"+strings.Repeat("1", 32)+where, machineIP, beat("https://"+machineIP+":9999"), 400)
	for url, says := range map[string]string{
		"https://192.0.2.66:9999": "192.0.2.66 is neither the address that the machine calls from, 127.0.0.5, " +
			"nor one that DHCP has lent to it",
		"https://127.0.0.1:22":         "loopback or link-local",
		"https://[::1]:9999":           "loopback or link-local",
		"https://[::ffff:127.0.0.1]:1": "loopback or link-local",
		"https://169.254.169.254":      "loopback or link-local",
		"https://[fe80::1]:9999":       "loopback or link-local",
		"https://0.0.0.0:9999":         "is the address of no machine",
		"https://224.0.0.1:9999":       "is the address of no machine",
		"https://localhost:9999":       "never by a name",
		"https://127.1:9999":           "never by a name",
		a.people:                       "https URL",
		"https" + a.people[4:]:         "this service's own listener",
		"https" + a.machine[4:]:        "this service's own listener",
	} {
		if said := a.ask(http.MethodPost, api+where, machineIP, beat(url), 400); !strings.Contains(said, says) {
			t.Errorf("%s: %s", url, said)
		}
	}
	a.ask(http.MethodPost, api+where, machineIP, beat("https://"+machineIP+":9999"), 202)
	a.ask(http.MethodPost, api+where, machineIP, beat("https://"+machineIP+":9998"), 400) // it does not move
	other := beat("https://" + machineIP + ":9999")
	other["agent_verify_ca"] = "another"
	a.ask(http.MethodPost, api+where, machineIP, other, 400) // nor get another certificate
}

// Requests that name a machine's MAC address end no wait for it, however many come; the machine's own do.
func TestAStrangersRequestsEndNoWait(t *testing.T) {
	a := underAttack(t, "--boot-phase-timeout", "1s", "--firmware-timeout", "10m")
	a.provision("inspect", "inspect wait")
	for range 20 {
		a.ask(http.MethodGet, a.machine+"/boot/ipxe?mac="+machineMAC, strangerIP, nil, 403)
		a.ask(http.MethodGet, a.machine+"/v1/lookup?addresses="+machineMAC, strangerIP, nil, 404)
	}
	time.Sleep(15 * time.Second) // a look every 10 s, and the phase has long ended
	if state, failed := a.node(); state != "inspect wait" {
		t.Fatalf("a stranger's requests made the node %s: %s", state, failed)
	}
	var why struct{ Running node.Evidence }
	said := a.ask(http.MethodGet, a.people+"/billet/v1/nodes/"+victim+"/why", "127.0.0.1", nil, 200)
	if err := json.Unmarshal([]byte(said), &why); err != nil ||
		!strings.Contains(said, "script: refused: 127.0.0.66 is not the address that DHCP lent to "+machineMAC) {
		t.Errorf("why does not tell of the stranger: %v %s", err, said)
	}
	a.boots()
	a.until("the machine that read its script and went no further fails the inspection",
		func() bool { state, _ := a.node(); return state == "inspect failed" })
	if _, failed := a.node(); !strings.Contains(failed, "after the machine's last sign of life") {
		t.Error(failed)
	}
}
