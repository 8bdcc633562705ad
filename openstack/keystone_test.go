package openstack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// keystone is a Keystone with faults on request. A test against the real one is make test-openstack.
type keystone struct {
	*httptest.Server
	mu      sync.Mutex
	logins  int
	asked   int               // about tokens
	own     map[string]bool   // Billet's tokens that are valid
	tokens  map[string]string // token → its document
	refuse  bool              // logins
	fault   func(w http.ResponseWriter, r *http.Request) bool
	catalog string
}

func newKeystone(t *testing.T) *keystone {
	k := &keystone{own: map[string]bool{}, tokens: map[string]string{}, catalog: "[]"}
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	fault := k.fault
	k.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"title":"No"}}`, status, text)
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v3/auth/tokens":
		k.logins++
		if k.refuse {
			refuse(401, "The request you have made requires authentication.")
			return
		}
		token := fmt.Sprint("own-", k.logins)
		k.own[token] = true
		w.Header().Set("X-Subject-Token", token)
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"token":{"expires_at":"2099-01-01T00:00:00.000000Z","project":{"id":"home","name":"service"},"catalog":%s}}`, k.catalog)
	case "GET /v3/auth/tokens":
		k.asked++
		token := r.Header.Get("X-Subject-Token")
		if r.URL.Query().Has("allow_expired") {
			token += " ended"
		}
		switch doc := k.tokens[token]; {
		case !k.own[r.Header.Get("X-Auth-Token")]:
			refuse(401, "The request you have made requires authentication.")
		case doc == "":
			refuse(404, "Could not find token.")
		default:
			_, _ = io.WriteString(w, doc)
		}
	default:
		refuse(404, "no such path "+r.URL.Path)
	}
}

// with changes the fake between requests.
func (k *keystone) with(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func document(t *testing.T, scope string, expires time.Time, roles ...string) string {
	t.Helper()
	named := []map[string]string{}
	for _, r := range roles {
		named = append(named, map[string]string{"name": r, "id": r})
	}
	list, err := json.Marshal(named)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"token":{"user":{"id":"u1","name":"ada","domain":{"id":"default"}},%s"roles":%s,"expires_at":%q,"audit_ids":["x"]}}`,
		scope, list, expires.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

func (k *keystone) session(t *testing.T) *Session {
	t.Helper()
	s, err := Open(Config{AuthURL: k.URL + "/v3/", Username: "ironic", Password: "a secret", Project: "service", Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const inProject = `"project":{"id":"p1","name":"demo","domain":{"id":"default"}},`

func TestWhoseATokenIs(t *testing.T) {
	k := newKeystone(t)
	late := node.Now().Add(time.Hour)
	k.tokens = map[string]string{
		"project": document(t, inProject, late, "member", "reader"),
		"home":    document(t, `"project":{"id":"home"},`, late, "reader"),
		"system":  document(t, `"system":{"all":true},`, late, "admin"),
		"bare":    document(t, "", late),
	}
	tokens := &Tokens{Session: k.session(t)}
	for token, want := range map[string]string{
		"project": "{User:u1 Project:p1 Home:false System:false Roles:[member reader]}",
		"home":    "{User:u1 Project:home Home:true System:false Roles:[reader]}",
		"system":  "{User:u1 Project: Home:false System:true Roles:[admin]}",
		"bare":    "{User:u1 Project: Home:false System:false Roles:[]}",
	} {
		id, err := tokens.Ask(t.Context(), door.Question{Token: token})
		if got := fmt.Sprintf("%+v", id); got != want || err != nil {
			t.Errorf("%s: %s %v, want %s", token, got, err, want)
		}
	}
	if _, err := tokens.Ask(t.Context(), door.Question{Token: "nobody's"}); node.KindOf(err) != node.NotFound || err == nil {
		t.Errorf("nobody's: %v", err)
	}
	if k.logins != 1 {
		t.Errorf("%d logins", k.logins)
	}
}

// What was said of a token is remembered, by its hash, until the token ends or is too old; Billet's own token may end between two.
func TestTokensAreRemembered(t *testing.T) {
	k := newKeystone(t)
	soon := node.Now().Add(700 * time.Millisecond)
	k.tokens = map[string]string{
		"long": document(t, inProject, node.Now().Add(time.Hour), "admin"), "short": document(t, inProject, soon, "admin"),
	}
	tokens := &Tokens{Session: k.session(t)}
	for range 5 {
		for _, token := range []string{"long", "short", "wrong"} {
			_, _ = tokens.Ask(t.Context(), door.Question{Token: token})
		}
	}
	if k.asked != 3 {
		t.Errorf("Keystone was asked %d times about three tokens", k.asked)
	}
	if _, known, err := tokens.Recall(door.Question{Token: "long"}); !known || err != nil {
		t.Errorf("long: %v %v", known, err)
	}
	if _, known, _ := tokens.Recall(door.Question{Token: "long", Ended: true}); known {
		t.Error("another question is answered from memory")
	}
	for _, known, _ := tokens.Recall(door.Question{Token: "short"}); known; _, known, _ = tokens.Recall(door.Question{Token: "short"}) {
		time.Sleep(10 * time.Millisecond)
	}
	k.with(func() { delete(k.tokens, "short"); k.own = map[string]bool{} })
	if _, err := tokens.Ask(t.Context(), door.Question{Token: "short"}); node.KindOf(err) != node.NotFound {
		t.Errorf("an ended token: %v", err)
	}
	if k.logins != 2 {
		t.Errorf("%d logins, with a token of Billet's that ended once", k.logins)
	}
	for key := range tokens.known {
		if strings.Contains(string(key[:]), "short") {
			t.Error("a token is kept as it is")
		}
	}
}

// A question that is to be answered anew is; meanwhile, and when it can not be, what is remembered stands for the others.
func TestATokenIsAskedAboutAnew(t *testing.T) {
	k := newKeystone(t)
	k.tokens = map[string]string{"t": document(t, inProject, node.Now().Add(time.Hour), "admin")}
	tokens := &Tokens{Session: k.session(t)}
	ask := func(anew bool) (node.Identity, error) {
		return tokens.Ask(t.Context(), door.Question{Token: "t", Anew: anew})
	}
	recalled := func() bool {
		_, known, err := tokens.Recall(door.Question{Token: "t"})
		return known && err == nil
	}
	for range 3 {
		if id, err := ask(true); err != nil || id.User != "u1" {
			t.Fatalf("%v %v", id, err)
		}
	}
	if k.asked != 3 {
		t.Errorf("Keystone was asked %d times", k.asked)
	}
	k.with(func() {
		k.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			if !recalled() {
				t.Error("while Keystone is asked, nothing is remembered")
			}
			w.WriteHeader(502)
			return true
		}
	})
	if _, err := ask(true); node.KindOf(err) != node.Unavailable || !recalled() {
		t.Errorf("away: %v, remembered: %v", err, recalled())
	}
	k.with(func() { k.fault = nil; k.tokens = nil })
	if _, err := ask(true); node.KindOf(err) != node.NotFound || recalled() {
		t.Errorf("revoked: %v, remembered: %v", err, recalled())
	}
}

// A service that leads elsewhere gets Billet's token nowhere.
func TestATokenGoesToNobodyElse(t *testing.T) {
	k := newKeystone(t)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody else is shown %q", r.Header.Get("X-Auth-Token"))
	}))
	t.Cleanup(other.Close)
	k.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "GET" {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}
		return r.Method == "GET"
	}
	tokens := &Tokens{Session: k.session(t)}
	if _, err := tokens.Ask(t.Context(), door.Question{Token: "t"}); err == nil || node.KindOf(err) == node.NotFound {
		t.Errorf("got %v", err)
	}
}

// Many requests with one token make one question, and it is answered although the request that began it is gone.
func TestOneQuestionForManyRequests(t *testing.T) {
	k := newKeystone(t)
	k.tokens = map[string]string{"t": document(t, inProject, node.Now().Add(time.Hour), "admin")}
	hold := make(chan struct{})
	k.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "GET" {
			<-hold
		}
		return false
	}
	tokens := &Tokens{Session: k.session(t)}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if id, err := tokens.Ask(t.Context(), door.Question{Token: "t"}); err != nil || id.User != "u1" {
				t.Errorf("%v %v", id, err)
			}
		})
	}
	close(hold)
	all.Wait()
	if k.asked != 1 {
		t.Errorf("Keystone was asked %d times", k.asked)
	}
}

// Whatever is wrong with Keystone, the answer is that it cannot be asked, never that a token is wrong; and it heals.
func TestKeystoneInTrouble(t *testing.T) {
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	validation := func(f func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { return r.Method == "GET" && f(w, r) }
	}
	for name, tt := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		want  string
	}{
		"login 500":  {answer(500, ""), "Keystone was asked to log Billet in and answered 500"},
		"login 404":  {answer(404, "<html>no such thing</html>"), "Keystone was asked to log Billet in and answered 404"},
		"login HTML": {answer(201, "<html>"), "Keystone was asked to log Billet in: its answer can not be read"},
		"500": {validation(answer(500, `{"error":{"message":"database gone","code":500}}`)),
			"Keystone was asked to validate a token and answered 500: database gone"},
		"503": {validation(answer(503, "")), "Keystone was asked to validate a token and answered 503"},
		"403": {validation(answer(403, `{"error":{"message":"You are not authorized","code":403}}`)),
			"Keystone was asked to validate a token and answered 403: You are not authorized"},
		"a proxy": {validation(answer(404, "<html>")), "Keystone was asked to validate a token, and something else answered 404"},
		"half a body": {validation(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"token":{"user":`)
			return true
		}), "Keystone was asked to validate a token: its answer can not be read"},
		"broken off": {validation(func(w http.ResponseWriter, _ *http.Request) bool { panic(http.ErrAbortHandler) }),
			"Keystone was asked to validate a token: it can not be reached"},
		"never": {validation(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }),
			"Keystone was asked to validate a token: it does not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeystone(t)
			k.tokens = map[string]string{"t": document(t, inProject, node.Now().Add(time.Hour), "admin")}
			k.fault = tt.fault
			s := k.session(t)
			if name == "never" {
				s.cfg.Timeout = 200 * time.Millisecond
			}
			tokens := &Tokens{Session: s}
			_, err := tokens.Ask(t.Context(), door.Question{Token: "t"})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || node.KindOf(err) == node.NotFound {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			k.with(func() { k.fault = nil })
			s.cfg.Timeout = 20 * time.Second
			if id, err := tokens.Ask(t.Context(), door.Question{Token: "t"}); err != nil || id.User != "u1" {
				t.Errorf("when it is well again: %v %v", id, err)
			}
		})
	}
}

// Billet's own password may be wrong from the start, or be changed while it runs: it does not try it at every request, and its
// password stands in no error.
func TestBilletsOwnLoginIsRefused(t *testing.T) {
	k := newKeystone(t)
	k.tokens = map[string]string{"t": document(t, inProject, node.Now().Add(time.Hour), "admin")}
	s := k.session(t)
	tokens := &Tokens{Session: s}
	try := func() error {
		_, err := tokens.Ask(t.Context(), door.Question{Token: fmt.Sprint("some ", k.asked)})
		return err
	}
	const want = "Keystone was asked to log Billet in and answered 401: The request you have made requires authentication."
	check := func(when string, logins int) {
		t.Helper()
		for range 5 {
			if err := try(); err == nil || !strings.HasPrefix(err.Error(), want) || node.KindOf(err) != node.Unavailable ||
				strings.Contains(err.Error(), "a secret") {
				t.Errorf("%s: %v", when, err)
			}
		}
		if k.logins != logins {
			t.Errorf("%s: %d logins, want %d", when, k.logins, logins)
		}
	}
	k.with(func() { k.refuse = true })
	check("at the start", 1)
	k.with(func() { k.refuse = false })
	s.until = node.Now()
	if id, err := tokens.Ask(t.Context(), door.Question{Token: "t"}); err != nil || id.User != "u1" {
		t.Fatal(id, err)
	}
	k.with(func() { k.refuse, k.own, k.logins = true, map[string]bool{}, 0 })
	check("later", 1)
}

func TestWhichLoginsAreWhole(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"nothing":            {Config{}, false},
		"a password":         {Config{Username: "a", Password: "b", Project: "c"}, true},
		"for the system":     {Config{Username: "a", Password: "b", System: true}, true},
		"without a project":  {Config{Username: "a", Password: "b"}, false},
		"an application":     {Config{ApplicationCredentialID: "a", ApplicationCredentialSecret: "b"}, true},
		"without its secret": {Config{ApplicationCredentialID: "a"}, false},
		"both": {
			Config{Username: "a", Password: "b", Project: "c", ApplicationCredentialID: "a", ApplicationCredentialSecret: "b"}, false,
		},
		"an interface of no kind":  {Config{Username: "a", Password: "b", Project: "c", Interface: "private"}, false},
		"an authority not there":   {Config{Username: "a", Password: "b", Project: "c", CAFile: "testdata/none"}, false},
		"an authority that is not": {Config{Username: "a", Password: "b", Project: "c", CAFile: "keystone_test.go"}, false},
	} {
		tt.cfg.AuthURL = "https://keystone.example"
		if _, err := Open(tt.cfg); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
