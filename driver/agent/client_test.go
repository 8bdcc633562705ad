package agent

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// TestRequests compares what goes over the wire with the protocol's own words.
func TestRequests(t *testing.T) {
	a := newFakeAgent(t)
	var got []string
	serve := a.server.Config.Handler
	a.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Accept"))
		serve.ServeHTTP(w, r)
	})
	row := a.row()
	row.URL += "/" // agents differ
	s, err := Client{}.open(row)
	if err != nil {
		t.Fatal(err)
	}
	_, errList := s.commands(t.Context())
	errAsk := s.ask(t.Context(), "standby.sync", nil, nil)
	_, errStart := s.start(t.Context(), "standby.power_off", nil, "")
	if err := errors.Join(errList, errAsk, errStart); err != nil {
		t.Fatal(err)
	}
	const tail = " application/json application/json"
	want := []string{
		"GET /v1/commands/?agent_token=" + testToken + tail,
		"POST /v1/commands/?agent_token=" + testToken + "&wait=true" + tail,
		"POST /v1/commands/?agent_token=" + testToken + "&wait=false" + tail,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantBodies := []wire.Command{{Name: "standby.sync", Params: map[string]any{}}, {Name: "standby.power_off", Params: map[string]any{}}}
	if diff := cmp.Diff(wantBodies, a.got); diff != "" {
		t.Errorf("bodies: %s", diff)
	}
}

// TestOddAnswers: whatever an agent answers, the error says what was asked and what came.
func TestOddAnswers(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"not JSON", 200, "<html>", "reading the agent's answer to poll.x: invalid character '<' looking for beginning of value"},
		{"result of another shape", 200, `{"command_status":"SUCCEEDED","command_result":[1]}`,
			"reading the agent's result of poll.x: json: cannot unmarshal array into Go value of type wire.Steps"},
		{"no result", 200, `{"command_status":"SUCCEEDED"}`, "reading the agent's result of poll.x: unexpected end of JSON input"},
		{"failed", 200, `{"command_status":"FAILED","command_error":{"message":"broken"}}`, "poll.x failed on the machine: broken"},
		{"still running", 200, `{"command_status":"RUNNING"}`, "poll.x failed on the machine; the agent gives no reason"},
		{"busy", 409, `{"faultcode":"Client","faultstring":"Agent is busy: executing command prepare_image"}`,
			"the agent refused poll.x with status 409: Agent is busy: executing command prepare_image"},
		{"moved", 302, "", "the agent refused poll.x with status 302: 302 Found"},
		{"a page of text", 500, strings.Repeat("x", 600), "the agent refused poll.x with status 500: " + strings.Repeat("x", 600)},
		{"an echo of the token", 500, "GET /?agent_token=" + testToken + " failed",
			"the agent refused poll.x with status 500: GET /?agent_token=****** failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newFakeAgent(t)
			a.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "https://elsewhere.example/")
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			})
			s, err := Client{Pause: time.Millisecond}.open(a.row())
			if err != nil {
				t.Fatal(err)
			}
			err = s.ask(t.Context(), "poll.x", nil, &wire.Steps{})
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestBusyWithAnother: an agent at work on something else is not given more, and is not taken to be
// at work on ours.
func TestBusyWithAnother(t *testing.T) {
	w := newWorld(t)
	w.agent.list = []wire.CommandResult{{ID: "a", Name: "run_image", Status: wire.Running}}
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Index = 1
	w.calls()
	_, err := w.direct.writing().run(t.Context(), w.task())
	want := "starting write_image: the agent refused deploy.execute_deploy_step with status 409: Agent is busy: executing command run_image"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestStopped: a service that stops does not sit out the pauses between attempts.
func TestStopped(t *testing.T) {
	a := newFakeAgent(t)
	row := a.row()
	a.server.Close()
	s, err := Client{Pause: time.Hour}.open(row)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.commands(ctx); !isUnreachable(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestInBandStepsOfADeploy merges the agent's own deploy steps and runs them around the image.
func TestInBandStepsOfADeploy(t *testing.T) {
	w := newWorld(t)
	w.agent.unfinished = true
	w.agent.steps["deploy"] = map[string][]wire.Step{"vendor": {
		{Step: "write_image", Interface: "deploy"}, // the service's own is taken
		{Step: "tune", Interface: "management", Priority: 90, RebootRequested: false},
		{Step: "label", Interface: "deploy", Priority: 70, Abortable: true},
	}}
	w.agent.outcome["nothing"] = wire.CommandResult{}
	w.plan(node.FlowDeploy, w.direct.Steps())
	if err := (&runner{world: w}).carry(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tune", "write_image", "label"}, executed(w, "deploy")); diff != "" {
		t.Error(diff)
	}
}

// TestRebootAsReported: a step may ask for its reboot only when it is done.
func TestRebootAsReported(t *testing.T) {
	w := newWorld(t)
	w.power = node.PowerOn
	w.agent.outcome["execute_clean_step"] = wire.CommandResult{Status: wire.Succeeded, Result: raw(map[string]any{
		"clean_result": nil, "clean_step": wire.Step{Step: "flash", Interface: "firmware", RebootRequested: true},
	})}
	w.stored.Plan = &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{{Interface: node.Firmware, Step: "flash", Agent: true}}}
	w.calls()
	task := w.task()
	r, err := w.direct.RunStep(t.Context(), task)
	if err != nil || r.WaitFor != firstCall || r.Within != DefaultBootTimeout {
		t.Fatalf("%+v, %v", r, err)
	}
	task.Node.Plan.WaitingSince = node.Now()
	w.keep(task.Node)
	if r, err = w.direct.PollStep(t.Context(), w.task()); err != nil || r.WaitFor != firstCall || r.Within != 0 {
		t.Fatalf("before the new agent calls: %+v, %v", r, err)
	}
	w.calls()
	if r, err = w.direct.PollStep(t.Context(), w.task()); err != nil || r.Waiting() {
		t.Fatalf("after: %+v, %v", r, err)
	}
	want := []string{"forget agent", "power off", "connect cleaning", "forget agent", "PrepareRamdisk", "power on"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Error(diff)
	}
}

func TestImageURL(t *testing.T) {
	n := &node.Node{UUID: testUUID}
	for _, base := range []string{"http://10.0.0.1:80", "http://10.0.0.1:80/"} {
		w := newWorld(t)
		w.direct.ImageURL = base
		r, err := w.direct.Sources.Resolve(t.Context(), driver.InstanceOf(n).Image)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.direct.writing().url(t.Context(), n, r)
		if want := "http://10.0.0.1:80/boot/0123456789abcdef0123456789abcdef/image"; err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
		_, err = w.direct.writing().url(t.Context(), &node.Node{UUID: "another"}, r)
		if want := "offering the image to the machine: wrong image asked for"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, i := range map[string]driver.Implementation{"direct": &Direct{}, "agent": &Inspect{}} {
		if i.Name() != name {
			t.Errorf("%T is called %s", i, i.Name())
		}
		for key, help := range i.Properties() {
			if !strings.HasSuffix(help, ".") || key == "" {
				t.Errorf("%s: %q", key, help)
			}
		}
	}
	if err := (&Inspect{}).Validate(t.Context(), &driver.Task{}); err != nil {
		t.Error(err)
	}
}
