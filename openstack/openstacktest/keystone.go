package openstacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// Keystone logs Billet in and validates tokens.
type Keystone struct {
	Service
	own     []string                   // tokens of logins that are valid
	tokens  map[string]json.RawMessage // somebody's token → its document
	logins  int
	catalog []entry
}

type entry struct {
	Type      string     `json:"type"`
	Endpoints []endpoint `json:"endpoints"`
}

type endpoint struct {
	Interface string `json:"interface"`
	URL       string `json:"url"`
	Region    string `json:"region"`
	RegionID  string `json:"region_id"`
}

func newKeystone(t testing.TB) *Keystone {
	k := &Keystone{tokens: map[string]json.RawMessage{}}
	k.start(t, k.answer)
	return k
}

// Token lets a token be valid; document is what Keystone says of it ({"token": {…}}).
func (k *Keystone) Token(token, document string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens[token] = json.RawMessage(document)
}

// Revoke ends all tokens that were given out to logins: every service says 401 until Billet has logged in again.
func (k *Keystone) Revoke() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.own = nil
}

// Logins is how often somebody logged in.
func (k *Keystone) Logins() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.logins
}

func (k *Keystone) answer(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /v3/auth/tokens":
		k.logins++
		token := fmt.Sprint("own-", k.logins)
		k.own = append(k.own, token)
		w.Header().Set("X-Subject-Token", token)
		reply(w, http.StatusCreated, map[string]any{"token": map[string]any{
			"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": k.catalog,
			"project": map[string]any{"id": "p-service", "name": Project}, "user": map[string]any{"id": "u-ironic", "name": Username},
		}})
	case "GET /v3/auth/tokens":
		switch doc := k.tokens[r.Header.Get("X-Subject-Token")]; {
		case !slices.Contains(k.own, r.Header.Get("X-Auth-Token")):
			refuse(w, http.StatusUnauthorized, "error", "The request you have made requires authentication.")
		case doc == nil:
			refuse(w, http.StatusNotFound, "error", "Could not find token.")
		default:
			reply(w, http.StatusOK, doc)
		}
	default:
		refuse(w, http.StatusNotFound, "error", "no such path "+r.URL.Path)
	}
}
