package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const failedEvidence = `{"flow": "deploy", "sentence": "the machine's kernel panicked", "started_at": "2026-11-03T12:00:00+00:00",
	"failed_at": "2026-11-03T12:01:00+00:00",
	"steps": [{"interface": "deploy", "step": "deploy", "started_at": "2026-11-03T12:00:00+00:00",
		"ended_at": "2026-11-03T12:00:20.500000+00:00"},
		{"interface": "deploy", "step": "write_image", "started_at": "2026-11-03T12:00:21+00:00", "ended_at": null},
		{"interface": "deploy", "step": "boot_instance", "started_at": null, "ended_at": null}],
	"phases": [{"phase": "dhcp", "first": "2026-11-03T12:00:02+00:00", "last": "2026-11-03T12:00:04+00:00", "times": 3, "what": "DISCOVER"},
		{"phase": "kernel", "first": "2026-11-03T12:00:06+00:00", "last": "2026-11-03T12:00:06+00:00", "times": 1, "what": "kernel: complete"}],
	"boot_events": [{"mac": "52:54:00:00:00:01", "service": "dhcp", "what": "DISCOVER", "at": "2026-11-03T12:00:02+00:00"}],
	"serial": {"lines": [{"at": "2026-11-03T12:00:07+00:00", "text": "one"}, {"at": "2026-11-03T12:00:08+00:00", "text": "two & three"},
		{"at": "2026-11-03T12:00:09+00:00", "text": "Kernel panic"}], "note": null},
	"agent_log": {"lines": [], "note": "never called"}, "files": ["/var/lib/billet/deploy-logs/x-serial.log"]}`

// explained is what `billet node why` prints of an answer.
func explained(t *testing.T, answer string, flags ...string) (string, error) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/billet/v1/nodes/n1/why":
			io.WriteString(w, answer)
		case "/v1/nodes/n1/history":
			io.WriteString(w, `{"history": [{"uuid": "e", "created_at": "2026-11-03T12:01:00+00:00", "severity": "ERROR", "event": "it failed"}]}`)
		default:
			w.WriteHeader(404)
			io.WriteString(w, `{"error_message": "{\"faultstring\": \"Node n2 could not be found.\"}"}`)
		}
	}))
	t.Cleanup(srv.Close)
	var out bytes.Buffer
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(nodeCommand())
	root.SetOut(&out)
	name := "n1"
	if answer == "" {
		name = "n2"
	}
	root.SetArgs(append([]string{"node", "why", name, "--api", srv.URL}, flags...))
	err := root.Execute()
	return out.String(), err
}

func TestNodeWhy(t *testing.T) {
	t.Parallel()
	head := func(state, sentence string) string {
		return `{"uuid": "u", "name": "n1", "provision_state": "` + state + `", "sentence": ` + sentence + `, `
	}
	evidence := `
Steps of the deploy begun 2026-11-03 12:00:00:
  12:00:00  deploy.deploy took 20.5 s
  12:00:21  deploy.write_image has not ended
            deploy.boot_instance

How far the machine came:
  12:00:02  dhcp, 3 times, last 12:00:04: DISCOVER
  12:00:06  kernel, once: kernel: complete

What the boot services saw:
  12:00:02  dhcp  52:54:00:00:00:01 DISCOVER

The agent's log, the last 0 of 0 lines kept:
  (never called)

The serial line, the last 2 of 3 lines kept:
  12:00:08  two & three
  12:00:09  Kernel panic

Kept on the conductor's host:
  /var/lib/billet/deploy-logs/x-serial.log
`
	const history = "\nHistory, newest first:\n  2026-11-03 12:01:00  ERROR it failed\n"
	for _, tt := range []struct{ name, answer, want string }{
		{"failed", head("deploy failed", `"the machine's kernel panicked"`) + `"running": null, "failed": ` + failedEvidence + `}`,
			"Node n1 (u) is \"deploy failed\".\nWhy: the machine's kernel panicked\n" + evidence + history},
		{"running", head("wait call-back", `"The deploy has run for 5 s."`) + `"running": ` + failedEvidence +
			`, "failed": {"flow": "clean", "sentence": "older"}}`,
			"Node n1 (u) is \"wait call-back\".\nWhy: The deploy has run for 5 s.\n" + evidence + history},
		{"well again", head("active", "null") + `"running": null, "failed": ` + failedEvidence + `}`,
			"Node n1 (u) is \"active\".\nIts last failure, deploy of 2026-11-03 12:01:00: the machine's kernel panicked\n" + evidence + history},
		{"in maintenance", head("clean failed", `"the machine's kernel panicked"`) + `"way_on": "Mend it.", "running": null, "failed": ` +
			failedEvidence + `}`,
			"Node n1 (u) is \"clean failed\".\nWhy: the machine's kernel panicked\nThe way on: Mend it.\n" + evidence + history},
		{"nothing ever failed",
			`{"uuid": "u", "name": null, "provision_state": "enroll", "sentence": "no answer", "running": null, "failed": null}`,
			"Node u is \"enroll\".\nWhy: no answer\n" + history},
	} {
		got, err := explained(t, tt.answer, "--lines", "2")
		if err != nil || got != tt.want {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", tt.name, err, got, tt.want)
		}
	}
}

func TestNodeWhyAsJSON(t *testing.T) {
	t.Parallel()
	got, err := explained(t, `{"uuid": "u", "failed": `+failedEvidence+`}`, "--json")
	var v struct{ Failed struct{ Files []string } }
	if err != nil || json.Unmarshal([]byte(got), &v) != nil || len(v.Failed.Files) != 1 || !strings.Contains(got, "two & three") {
		t.Errorf("%v\n%s", err, got)
	}
	if got, err := explained(t, ""); err == nil || !strings.Contains(err.Error(), "Node n2 could not be found") || got != "" {
		t.Errorf("of an unknown node: %v, %q", err, got)
	}
}

// What the network service says of the ports is printed after what the boot services saw.
func TestNodeWhyUnderNeutron(t *testing.T) {
	t.Parallel()
	const port = `{"id": "p1", "mac_address": "52:54:00:00:00:01", "status": "DOWN", "bound": false, "up": false, "binding_failed": true,
		"addresses": ["10.0.0.9"], "dhcp": {"agents": [{"host": "net1", "alive": false}]}}`
	for report, want := range map[string]string{
		`{"service": "Neutron", "silent": null, "ports": [` + port + `]}`: "What Neutron says of its ports:\n" +
			"  52:54:00:00:00:01  p1 DOWN 10.0.0.9, binding failed, not bound to this node, switched off, DHCP agent on net1 (alive: false)\n",
		`{"service": "Neutron", "silent": "it is away", "ports": []}`: "What Neutron says of its ports:\n  (nothing: it is away)\n",
	} {
		evidence := strings.Replace(failedEvidence, `"files"`, `"network": `+report+`, "files"`, 1)
		out, err := explained(t, `{"uuid": "u", "provision_state": "deploy failed", "sentence": "s", "running": null, "failed": `+evidence+`}`)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v\n%s\nwant %s", err, out, want)
		}
	}
}
