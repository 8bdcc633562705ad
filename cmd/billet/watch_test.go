package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// moment is what the service says of a node at one look: its progress and its history, newest first.
type moment struct {
	status            int // of the progress; 0 is 200
	progress, history string
}

// playing is a service that goes through the moments, one for each look at the progress, and stays
// at the last.
func playing(t *testing.T, moments ...moment) *client {
	t.Helper()
	at := -1
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/progress") {
			at = min(at+1, len(moments)-1)
			if s := moments[at].status; s != 0 {
				w.WriteHeader(s)
			}
			io.WriteString(w, moments[at].progress)
			return
		}
		io.WriteString(w, `{"history": [`+moments[at].history+`]}`)
	}))
	t.Cleanup(srv.Close)
	return &client{base: srv.URL}
}

func event(uuid, text string, at time.Time) string {
	b, _ := json.Marshal(map[string]any{"uuid": uuid, "created_at": at, "severity": "INFO", "event": text})
	return string(b)
}

// lines are what was printed, without the seconds in front.
func lines(out string) []string {
	return strings.Split(strings.TrimSpace(regexp.MustCompile(`(?m)^ *[0-9.]+s  `).ReplaceAllString(out, "")), "\n")
}

func TestWatchShowsWhatHappensOnce(t *testing.T) {
	t.Parallel()
	began := time.Now()
	old, now := event("e0", "long ago", began.Add(-time.Hour)), began.Add(time.Second)
	waits := `"steps": [{"interface": "deploy", "step": "deploy", "waiting_for": "the agent", "current": true}]`
	c := playing(t,
		moment{progress: `{"uuid": "u", "provision_state": "wait call-back", "target_provision_state": "active", "flow": "deploy", ` + waits + `,
			"boot_events": [{"MAC": "m", "Service": "dhcp", "What": "DISCOVER", "At": "` + now.Format(time.RFC3339Nano) + `"}]}`,
			history: event("e1", "Step deploy.deploy started.", now) + "," + old},
		moment{progress: `{"uuid": "u", "provision_state": "wait call-back", "target_provision_state": "active", "flow": "deploy", ` + waits + `,
			"progress": {"step": "write_image", "detail": "x.raw", "done": 5000000,
				"total": 10000000}}`, history: event("e1", "Step deploy.deploy started.", now)},
		moment{progress: `{"uuid": "u", "provision_state": "wait call-back", "target_provision_state": "active", "flow": "deploy",
			"progress": {"step": "erase_devices", "detail": "/dev/sdb: x", "done": 3000000, "total": 20000000,
			"disks": [{"name": "/dev/sda", "what": "overwriting", "done": 1, "total": 4}, {"name": "/dev/sdb", "what": "waits for its turn",
				"done": 0, "total": 9}, {"name": "/dev/sdc"}]}}`},
		moment{status: 500, progress: "the database is away"},
		moment{progress: `{"uuid": "u", "provision_state": "active"}`,
			history: event("e2", "The deploy has ended well.", now) + "," + event("e1", "Step deploy.deploy started.", now)},
	)
	var out bytes.Buffer
	if err := watch(t.Context(), c, "n1", &out, watchOptions{Since: began, Timeout: time.Minute, UntilStable: true}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Step deploy.deploy started.", "    dhcp  m DISCOVER", "  deploy.deploy waits for the agent", "wait call-back",
		"    write_image 5.0 MB of 10.0 MB (50 %) x.raw",
		"    erase_devices 3.0 MB of 20.0 MB (15 %); /dev/sda overwriting 25 %; /dev/sdb waits for its turn 0 %",
		"the service does not answer; trying again: the database is away (HTTP 500)",
		"The deploy has ended well.", "active",
	}
	if got := lines(out.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		m    moment
		want string
	}{
		{"well", moment{progress: `{"uuid": "u", "provision_state": "available"}`}, ""},
		{"in a failure",
			moment{progress: `{"uuid": "u", "provision_state": "deploy failed", "target_provision_state": "active", "last_error": "no disk"}`},
			`node u is "deploy failed": no disk`},
		{"in error", moment{progress: `{"uuid": "u", "provision_state": "error"}`}, `node u is "error": -`},
		{"with a verification that failed", moment{progress: `{"uuid": "u", "provision_state": "enroll", "last_error": "no BMC"}`},
			`node u is "enroll": no BMC`},
		{"with an unknown node", moment{status: 404, progress: `{"error_message": "{\"faultstring\": \"Node n1 could not be found.\"}"}`},
			"Node n1 could not be found. (HTTP 404)"},
		{"at its time-out",
			moment{progress: `{"uuid": "u", "provision_state": "cleaning", "target_provision_state": "available", "flow": "clean"}`},
			`node n1 is still "cleaning" after 700ms; it goes on without being watched`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := watch(t.Context(), playing(t, tt.m), "n1", io.Discard, watchOptions{Timeout: 700 * time.Millisecond, UntilStable: true})
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
