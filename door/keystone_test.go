package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// knownTokens is a Keystone by a map; what is not in it is not valid.
type knownTokens struct {
	known map[string]node.Identity
	ended map[string]bool
	err   error
	hold  chan struct{}
	asked chan struct{}
}

func (k *knownTokens) Recall(q Question) (node.Identity, bool, error) {
	id, ok := k.known["remembered "+q.Token]
	return id, ok, nil
}

func (k *knownTokens) Ask(_ context.Context, q Question) (node.Identity, error) {
	if k.asked != nil {
		k.asked <- struct{}{}
		<-k.hold
	}
	id, ok := k.known[q.Token]
	switch {
	case k.err != nil:
		return id, k.err
	case !ok || k.ended[q.Token] && !q.Ended:
		return node.Identity{}, node.Errorf(node.NotFound, "Could not find token.")
	}
	return id, nil
}

func withTokens(user, service string) *http.Request {
	r := httptest.NewRequest("GET", "/v1/nodes", nil)
	for name, value := range map[string]string{"X-Auth-Token": user, "X-Service-Token": service} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

func TestWhoKeystoneLetsIn(t *testing.T) {
	tokens := &knownTokens{known: map[string]node.Identity{
		"ada": {User: "ada", Roles: []string{"reader"}}, "late": {User: "late"}, "remembered old": {User: "old"},
		"nova": {User: "nova", Roles: []string{"service"}}, "bob": {User: "bob", Roles: []string{"admin"}},
	}, ended: map[string]bool{"late": true}}
	k := NewKeystone(tokens, "https://keystone.example/v3", slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		user, service string
		want          string
		status        int
	}{
		{"ada", "", "ada", 0},
		{"old", "", "old", 0},
		{"", "", "", 401},
		{"", "nova", "", 401}, // a service alone is nobody's user
		{"wrong", "", "", 401},
		{"late", "", "", 401},
		{"late", "nova", "late", 0}, // the service's work took longer than the token lives
		{"late", "bob", "", 401},    // no service
		{"late", "wrong", "", 401},
		{"ada", "wrong", "", 401},
		{"wrong", "nova", "", 401},
	} {
		id, err := k.Authenticate(withTokens(tt.user, tt.service))
		var refusal *Refusal
		status := 0
		if errors.As(err, &refusal) {
			status = refusal.Status
		}
		if status != tt.status || err == nil && id.User != tt.want {
			t.Errorf("%q with %q: %v %v", tt.user, tt.service, id, err)
		}
		if status == 401 && refusal.Challenge != `Keystone uri="https://keystone.example/v3"` {
			t.Errorf("%q: told %q", tt.user, refusal.Challenge)
		}
	}
}

// Keystone that can not say is a 503 with a time to come again, its reason is in the log, and no token is.
func TestKeystoneThatCannotSay(t *testing.T) {
	var log bytes.Buffer
	tokens := &knownTokens{err: node.Errorf(node.Unavailable, "Keystone was asked to validate a token and answered 502")}
	k := NewKeystone(tokens, "x", slog.New(slog.NewTextHandler(&log, nil)))
	_, err := k.Authenticate(withTokens("the token itself", ""))
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Status != 503 || refusal.Wait == 0 {
		t.Errorf("%#v", err)
	}
	if !strings.Contains(log.String(), "answered 502") || strings.Contains(log.String(), "the token itself") {
		t.Errorf("the log says %s", &log)
	}
}

// A flood of unknown tokens of one address leaves places for another's, and none of those that are remembered waits.
func TestUnknownTokensHoldUpNobodyElse(t *testing.T) {
	tokens := &knownTokens{
		known: map[string]node.Identity{"remembered old": {User: "old"}, "new": {User: "new"}},
		hold:  make(chan struct{}), asked: make(chan struct{}, 100),
	}
	k := NewKeystone(tokens, "x", slog.New(slog.DiscardHandler))
	answers := make(chan error, 100)
	for i := range 100 {
		go func() {
			_, err := k.Authenticate(withTokens(fmt.Sprint("wrong ", i), ""))
			answers <- err
		}()
	}
	for range 100 - mostOfOne { // those of one address that do not fit
		var refusal *Refusal
		if err := <-answers; !errors.As(err, &refusal) || refusal.Status != 429 {
			t.Errorf("got %v", err)
		}
	}
	if id, err := k.Authenticate(withTokens("old", "")); err != nil || id.User != "old" {
		t.Errorf("remembered: %v %v", id, err)
	}
	other := withTokens("new", "")
	other.RemoteAddr = "198.51.100.7:1234"
	got := make(chan node.Identity, 1)
	go func() {
		id, err := k.Authenticate(other)
		if err != nil {
			t.Error(err)
		}
		got <- id
	}()
	for range mostOfOne + 1 {
		<-tokens.asked
	}
	close(tokens.hold)
	if id := <-got; id.User != "new" {
		t.Errorf("another address: %v", id)
	}
}

// What changes something is asked about anew, whoever else is waiting, and goes by what Keystone says then.
func TestChangesGoByNoMemory(t *testing.T) {
	tokens := &knownTokens{known: map[string]node.Identity{
		"remembered revoked": {User: "old"}, "remembered ada": {User: "old"}, "ada": {User: "ada"},
	}}
	k := NewKeystone(tokens, "x", slog.New(slog.DiscardHandler))
	k.gate = NewGate(1, 1, 1, time.Minute)
	if _, ok := k.gate.Enter(t.Context(), SourceOf(withTokens("", ""))); !ok {
		t.Fatal("the gate is closed")
	}
	for _, tt := range []struct {
		method, token, want string
		status              int
	}{
		{"GET", "revoked", "old", 0}, {"HEAD", "revoked", "old", 0}, {"PUT", "revoked", "", 401}, {"POST", "revoked", "", 401},
		{"PATCH", "ada", "ada", 0}, {"DELETE", "ada", "ada", 0}, {"GET", strings.Repeat("x", mostToken+1), "", 401}, {"GET", "new", "", 429},
	} {
		r := withTokens(tt.token, "")
		r.Method = tt.method
		id, err := k.Authenticate(r)
		var refusal *Refusal
		status := 0
		if errors.As(err, &refusal) {
			status = refusal.Status
		}
		if status != tt.status || id.User != tt.want {
			t.Errorf("%s %.10s: %v %v", tt.method, tt.token, id, err)
		}
	}
}
