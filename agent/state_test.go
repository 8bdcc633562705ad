package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// A heartbeat carries the token: a redirect must not carry it to another host.
func TestTheTokenFollowsNoRedirect(t *testing.T) {
	var elsewhere []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		elsewhere = append(elsewhere, string(body))
	}))
	t.Cleanup(thief.Close)
	for _, code := range []int{301, 302, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(thief.URL, code))
		a := idle(t.TempDir())
		a.Config.APIURLs = []string{s.URL}
		a.prepare()
		err := a.client.heartbeat(t.Context(), testNode, wire.Heartbeat{CallbackURL: "https://192.0.2.9", AgentToken: testToken})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the service answered %d", code)) {
			t.Errorf("%d: %v", code, err)
		}
		s.Close()
	}
	if len(elsewhere) > 0 {
		t.Errorf("another host got %q", elsewhere)
	}
}

func TestImagesAreNotRedirectedOutOfTLS(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked in clear text, with %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/image?signature=secret", http.StatusFound))
	t.Cleanup(secure.Close)
	a := idle(t.TempDir())
	a.Config.Insecure = true
	a.prepare()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, secure.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.images.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "the server redirects from https to http at ") {
		t.Error(err)
	}
	endless := httptest.NewServer(http.RedirectHandler("/again", http.StatusFound))
	t.Cleanup(endless.Close)
	if _, err := a.images.Get(endless.URL); err == nil || !strings.Contains(err.Error(), "the server redirects more than 5 times") {
		t.Error(err)
	}
	mirror := httptest.NewServer(http.RedirectHandler("/image", http.StatusFound))
	t.Cleanup(mirror.Close)
	mirror.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/image" {
			http.Redirect(w, r, "/image", http.StatusFound)
		}
	})
	if resp, err := a.images.Get(mirror.URL); err != nil || resp.StatusCode != 200 {
		t.Errorf("a mirror was not followed: %v", err)
	} else {
		resp.Body.Close()
	}
}

// A panic in a step is its error, without its words, which may hold a secret; the agent goes on.
func TestAPanicIsAnError(t *testing.T) {
	_, err := guarded(t.Context(), command{run: func(context.Context, steps.Params) (any, error) { panic("broken") }}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "the agent has a fault: a panic with a value of type string\n") ||
		!strings.Contains(err.Error(), "state_test.go") || strings.Contains(err.Error(), "broken") {
		t.Error(err)
	}
}

// A half-written state file is none; one that was written is whole.
func TestStateSurvivesAndIsPrivate(t *testing.T) {
	a := idle(t.TempDir())
	a.Config.StateDir = filepath.Join(t.TempDir(), "deep", "state")
	if got := a.loadState(); !reflect.DeepEqual(got, state{}) {
		t.Errorf("%+v", got)
	}
	want := state{Node: testNode, Token: "secret", IP: "192.0.2.1", Certificate: certificate{PEM: "p", Key: "k"},
		RAIDConfig: map[string]any{"logical_disks": []any{map[string]any{"controller": "software"}}}}
	for range 2 {
		if err := a.saveState(want); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.loadState(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for path, mode := range map[string]os.FileMode{a.statePath(): 0o600, a.Config.StateDir: 0o700 | os.ModeDir} {
		if st, err := os.Stat(path); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if err := os.WriteFile(a.statePath(), []byte(`{"node": "x", "tok`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := a.loadState(); !reflect.DeepEqual(got, state{}) {
		t.Errorf("a broken file gave %+v", got)
	}
	a.Config.StateDir = filepath.Join(a.statePath(), "below a file")
	if err := a.saveState(want); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// A token is settled once: by the service, by the boot, or by the agent that ran before.
func TestTakeToken(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		saved                 state
		given, boot           string
		required              bool
		version               int
		want, wantErrContains string
	}{
		{"given now", state{}, "new", "", true, 95, "new", ""},
		{"given now, though an older one was kept", state{Node: testNode, Token: "old"}, "new", "", true, 95, "new", ""},
		{"given at boot", state{}, "******", "boot", true, 95, "boot", ""},
		{"kept", state{Node: testNode, Token: "old"}, "******", "", true, 95, "old", ""},
		{"kept for another node", state{Node: "another", Token: "old"}, "******", "", true, 95, "", "gives it only once"},
		{"given to somebody else", state{}, "******", "", true, 95, "", "gives it only once"},
		{"none from a service that has tokens", state{}, "", "", false, 95, "", "gives it only once"},
		{"none from a service older than tokens", state{}, "", "", false, 31, "", ""},
		{"none from an old service that requires it all the same", state{}, "", "", true, 31, "", "gives it only once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := idle(t.TempDir())
			a.Config.StateDir = t.TempDir()
			a.Config.Token = tt.boot
			a.client = &client{version: tt.version}
			a.host.Node.UUID = testNode
			a.host.Service = wire.LookupConfig{AgentToken: tt.given, AgentTokenRequired: tt.required}
			if err := a.saveState(tt.saved); err != nil {
				t.Fatal(err)
			}
			err := a.takeToken()
			if (err == nil) != (tt.wantErrContains == "") || err != nil && !strings.Contains(err.Error(), tt.wantErrContains) {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			if a.host.Service.AgentToken != tt.want || a.loadState().Token != tt.want || a.loadState().Node != testNode {
				t.Errorf("%q, kept %+v", a.host.Service.AgentToken, a.loadState())
			}
		})
	}
}

// idle is an agent that nobody runs.
func idle(root string) *Agent {
	a := &Agent{Config: Config{Root: root, URLAllowed: loopback}, Log: slog.New(slog.DiscardHandler)}
	a.prepare()
	return a
}

// An agent that is started again in the same boot knows the node's RAID from the one before; that of another
// node does not.
func TestRAIDSurvivesTheAgent(t *testing.T) {
	dir := t.TempDir()
	start := func(node, token string) *Agent {
		a := idle(t.TempDir())
		a.Config.StateDir, a.host.Node.UUID, a.host.Service.AgentToken = dir, node, token
		if err := a.takeToken(); err != nil {
			t.Fatal(err)
		}
		return a
	}
	arrays := map[string]any{"logical_disks": []any{}}
	start(testNode, testToken).host.KeepRAID(arrays)
	if got := start(testNode, "******").host.RAIDConfig; !reflect.DeepEqual(got, arrays) {
		t.Errorf("the next agent knows %v", got)
	}
	if got := start("another node", testToken).host.RAIDConfig; got != nil {
		t.Errorf("another node's agent knows %v", got)
	}
}
