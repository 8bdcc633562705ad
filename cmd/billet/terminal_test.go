package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// hostileText is what a console, a name or an agent's error may hold: a new title, a cleared screen, a C1 control, text turned
// around, and a line that looks like one of the command's own.
const hostileText = "a\x1b]0;mine\x07\x1b[2J\u009b31m\u202eevil\r\n2026-11-03 12:00:00  INFO  all is well\n"

// What a machine or another user wrote reaches an operator's terminal as text, and makes no line of the command's.
func TestTerminalOfWhyAndWatch(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(hostileText)
	if err != nil {
		t.Fatal(err)
	}
	why := `{"uuid": "u", "name": TEXT, "provision_state": "deploy failed", "sentence": TEXT, "running": null,
		"failed": {"flow": TEXT, "sentence": TEXT, "steps": [],
		"phases": [{"phase": TEXT, "first": "2026-11-03T12:00:02+00:00", "last": "2026-11-03T12:00:04+00:00", "times": 3, "what": TEXT}],
		"boot_events": [{"mac": TEXT, "service": TEXT, "what": TEXT, "at": "2026-11-03T12:00:02+00:00"}],
		"serial": {"lines": [{"at": "2026-11-03T12:00:07+00:00", "text": TEXT}], "note": TEXT},
		"agent_log": {"lines": [], "note": TEXT}, "files": [TEXT]}}`
	progress := `{"uuid": "u", "provision_state": "deploy failed", "target_provision_state": null, "flow": "", "last_error": TEXT,
		"boot_events": [{"mac": TEXT, "service": TEXT, "what": TEXT, "at": "2099-11-03T12:00:02+00:00"}],
		"steps": [{"interface": TEXT, "step": TEXT, "waiting_for": TEXT, "current": true}]}`
	history := `{"history": [{"uuid": "e", "created_at": "2099-11-03T12:01:00+00:00", "severity": TEXT, "event": TEXT}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{"/billet/v1/nodes/n1/why": why, "/billet/v1/nodes/n1/progress": progress,
			"/v1/nodes/n1/history": history}[r.URL.Path]
		if answer == "" {
			w.WriteHeader(409)
			answer = hostileText
		}
		io.WriteString(w, strings.ReplaceAll(answer, "TEXT", string(text)))
	}))
	t.Cleanup(srv.Close)
	for _, args := range []string{"why n1", "why n1 --json", "watch n1 --until-stable", "show n1", "power n1 on"} {
		var out strings.Builder
		root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(nodeCommand())
		root.SetOut(&out)
		root.SetArgs(append([]string{"node", "--api", srv.URL}, strings.Fields(args)...))
		if err := root.Execute(); err != nil { // as main prints it
			io.WriteString(terminal{&out}, "billet: "+shown(err.Error())+"\n")
		}
		said := out.String()
		if !strings.Contains(said, `a\u001b]0;mine`) || !strings.Contains(said, `evil`) {
			t.Errorf("%s does not say what was written:\n%s", args, said)
		}
		for _, never := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\r", "\n2026-11-03 12:00:00  INFO"} {
			if strings.Contains(said, never) {
				t.Errorf("%s lets %q through:\n%q", args, never, said)
			}
		}
	}
}
