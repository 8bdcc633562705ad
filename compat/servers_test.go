package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/store/pgtest"
)

// database starts a PostgreSQL of the test's own and returns the URL of an empty database in it.
func database(t *testing.T) string {
	t.Helper()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	return pg.Database(t)
}

// call asks the API; an answer that is no success ends the test.
func (b *billet) call(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, b.endpoint+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.95")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, answer, err)
	}
	var v map[string]any
	if len(answer) > 0 {
		v = decode[map[string]any](t, string(answer))
	}
	return v
}

// reach asks for a provision state and waits until the node is in it.
func (b *billet) reach(t *testing.T, name, target, state string) {
	t.Helper()
	b.call(t, "PUT", "/v1/nodes/"+name+"/states/provision", map[string]any{"target": target})
	b.arrive(t, name, state)
}

func (b *billet) arrive(t *testing.T, name, state string) {
	t.Helper()
	var n map[string]any
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
		n = b.call(t, "GET", "/v1/nodes/"+name, nil)
		if n["provision_state"] == state {
			return
		}
		if s, _ := n["provision_state"].(string); strings.HasSuffix(s, "failed") {
			break
		}
	}
	t.Fatalf("%s is %v, not %s: %v", name, n["provision_state"], state, n["last_error"])
}

// The operator's own commands take a node through its life, on PostgreSQL, behind a password.
func TestOwnCommandsDriveALifeOnPostgres(t *testing.T) {
	t.Parallel()
	b := startBillet(t, "--database", database(t), "--auth", "http_basic", "--htpasswd-file", htpasswd(t))
	run := func(password string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"node"}, args...)...)
		cmd.Env = []string{"BILLET_API=" + b.endpoint, "BILLET_USER=ada", "BILLET_PASSWORD=" + password}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("guess", "list"); err == nil ||
		!strings.Contains(out, "Incorrect username or password (HTTP 401; BILLET_USER and BILLET_PASSWORD name who is asking)") {
		t.Errorf("with a wrong password: %v %s", err, out)
	}
	for _, args := range [][]string{
		{"create", "p1", "--driver", "fake-hardware", "--mac", "52:54:00:00:00:01", "--property", "cpu_arch=x86_64"},
		{"manage", "p1", "--wait"}, {"inspect", "p1", "--wait"}, {"provide", "p1", "--wait"},
		{"deploy", "p1", "--image", "http://images/x.raw", "--checksum", strings.Repeat("0a", 32), "--hostname", "p1", "--wait"},
		{"power", "p1", "off"}, {"show", "p1"}, {"why", "p1"}, {"list"},
		{"undeploy", "p1", "--wait"}, {"delete", "p1"},
	} {
		if out, err := run("open sesame", args...); err != nil {
			t.Fatalf("billet node %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Several processes share one PostgreSQL: one serves the API, others run the steps. A conductor that
// is killed in the middle of a deploy is followed by another, which goes on where the node stands.
func TestConductorsShareAPostgres(t *testing.T) {
	t.Parallel()
	url := database(t)
	key := t.TempDir() + "/secret.key"
	shared := []string{"--database", url, "--secret-key-file", key, "--lease-ttl", "2s"}
	start := func(host, role string) *billet {
		return startBillet(t, append([]string{"--host", host, "--roles", role}, shared...)...)
	}
	front := start("front", "api")
	first := start("first", "conductor")

	front.call(t, "POST", "/v1/nodes", map[string]any{"name": "s1", "driver": "fake-hardware", "driver_info": map[string]any{
		"fake_write_image_delay": "1s", "fake_boot_instance_delay": "1s",
	}})
	front.reach(t, "s1", "manage", "manageable")
	front.reach(t, "s1", "provide", "available")
	began := time.Now()
	front.reach(t, "s1", "active", "active")
	if d := time.Since(began); d < 2*time.Second || d > 20*time.Second {
		t.Errorf("a deploy with two steps of 1 s took %s", d)
	}

	front.call(t, "PUT", "/v1/nodes/s1/states/provision", map[string]any{"target": "rebuild"})
	front.arrive(t, "s1", "wait call-back")
	first.kill(t)
	time.Sleep(1500 * time.Millisecond) // the step under way ends with nobody to see it
	start("second", "conductor")
	front.arrive(t, "s1", "active")
	checkWhoWorked(t, front)
}

// checkWhoWorked reads from the history that both conductors had a hand in it.
func checkWhoWorked(t *testing.T, b *billet) {
	t.Helper()
	events := b.call(t, "GET", "/v1/nodes/s1/history?detail=true", nil)["history"].([]any)
	who := map[string]int{}
	for _, e := range events {
		who[fmt.Sprint(e.(map[string]any)["conductor"])]++
	}
	if who["first"] == 0 || who["second"] == 0 {
		t.Errorf("events by conductor: %v", who)
	}
}
