package cloud_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// The real Swift and Keystone: keys and temporary URLs, an object's end, a login that is revoked in the middle, an application
// credential, and both services killed and back.
func TestSwiftThroughALife(t *testing.T) {
	c := cloud.New(t, cloud.Venv(t), "http://127.0.0.1:6385")
	c.Start("db", "keystone", "swift")
	cfg := openstack.Config{
		AuthURL: c.AuthURL(), Username: "nova", Password: cloud.Password, Project: "service", Region: "RegionOne", Timeout: 30 * time.Second,
	}
	session := login(t, cfg)
	// In this order: what comes later ends more.
	t.Run("key", func(t *testing.T) { keyOfTheAccount(t, c, session) })
	t.Run("drive", func(t *testing.T) { driveByURL(t, session) })
	t.Run("refusals", func(t *testing.T) { swiftRefuses(t, session) })
	t.Run("revoked", func(t *testing.T) { revokedInTheMiddle(t, c, session) })
	t.Run("application credential", func(t *testing.T) { byApplicationCredential(t, c, cfg) })
	t.Run("swift killed", func(t *testing.T) { killedAndBack(t, c, "swift-proxy", session, session) })
	t.Run("keystone killed", func(t *testing.T) { killedAndBack(t, c, "keystone", login(t, cfg), session) })
}

func login(t *testing.T, cfg openstack.Config) *openstack.Session {
	t.Helper()
	s, err := openstack.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fetched reads a URL as a machine would, without a login.
func fetched(t *testing.T, signed string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

func tempURL(t *testing.T, o *openstack.Objects, container, object string, end time.Time) string {
	t.Helper()
	signed, err := o.URL(t.Context(), container, object, end)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func keyOfTheAccount(t *testing.T, c *cloud.Cloud, session *openstack.Session) {
	first := &openstack.Objects{Session: session}
	if err := first.Put(t.Context(), "keys", "one", strings.NewReader("a text"), time.Hour); err != nil {
		t.Fatal(err)
	}
	signed := tempURL(t, first, "keys", "one", time.Now().Add(time.Minute))
	if status, body := fetched(t, signed); status != 200 || string(body) != "a text" {
		t.Errorf("with a key that Billet made: %d %s", status, body)
	}
	shown := c.MustOpenStack("nova", "object", "store", "account", "show", "-f", "json")
	if !strings.Contains(strings.ToLower(shown), "temp-url-key") {
		t.Errorf("the account has no key: %s", shown)
	}
	second := &openstack.Objects{Session: session} // another process
	if status, _ := fetched(t, tempURL(t, second, "keys", "one", time.Now().Add(time.Minute))); status != 200 {
		t.Errorf("with the account's key: %d", status)
	}
	if status, _ := fetched(t, signed); status != 200 {
		t.Errorf("the first URL, later: %d", status)
	}
	other := &openstack.Objects{Session: session, Key: "another"}
	if _, err := other.URL(t.Context(), "keys", "one", time.Now().Add(time.Minute)); node.KindOf(err) != node.Invalid {
		t.Errorf("with another key than the account's: %v", err)
	}
}

func driveByURL(t *testing.T, session *openstack.Session) {
	drive := make([]byte, 300<<10)
	for i := range drive {
		drive[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[rand.N(32)]
	}
	o := &openstack.Objects{Session: session}
	if err := o.Put(t.Context(), "drives", "a-1", bytes.NewReader(drive), time.Hour); err != nil {
		t.Fatal(err)
	}
	signed := tempURL(t, o, "drives", "a-1", time.Now().Add(time.Minute))
	if err := o.Check(t.Context(), signed); err != nil {
		t.Error(err)
	}
	if status, got := fetched(t, signed); status != 200 || !bytes.Equal(got, drive) {
		t.Errorf("%d, %d bytes", status, len(got))
	}
	if got, err := o.Get(t.Context(), "drives", "a-1", 1<<20); err != nil || !bytes.Equal(got, drive) {
		t.Errorf("with a login: %d bytes, %v", len(got), err)
	}
	if names, err := o.List(t.Context(), "drives", "a-"); err != nil || len(names) != 1 || names[0] != "a-1" {
		t.Errorf("%v %v", names, err)
	}
	if status, _ := fetched(t, tempURL(t, o, "drives", "a-1", time.Now().Add(-time.Minute))); status != 401 {
		t.Errorf("after the URL's end: %d", status)
	}
	if err := o.Put(t.Context(), "drives", "a-2", strings.NewReader("short-lived"), 2*time.Second); err != nil {
		t.Fatal(err)
	}
	late := tempURL(t, o, "drives", "a-2", time.Now().Add(time.Minute))
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		if err := o.Check(t.Context(), late); node.KindOf(err) == node.NotFound {
			break
		} else if time.Now().After(end) {
			t.Fatalf("an object is there after its end: %v", err)
		}
	}
	if err := o.Delete(t.Context(), "drives", "a-1"); err != nil {
		t.Error(err)
	}
	if status, _ := fetched(t, signed); status != 404 {
		t.Errorf("after it was deleted: %d", status)
	}
}

// swiftRefuses is about what Swift says no to, in its own words.
func swiftRefuses(t *testing.T, session *openstack.Session) {
	o := &openstack.Objects{Session: session}
	if _, err := o.List(t.Context(), "none-such", ""); node.KindOf(err) != node.NotFound {
		t.Errorf("a container that is not there: %v", err)
	}
	if _, err := o.Get(t.Context(), "drives", "none", 10); node.KindOf(err) != node.NotFound {
		t.Errorf("an object that is not there: %v", err)
	}
	err := o.Put(t.Context(), strings.Repeat("c", 300), "o", strings.NewReader("x"), time.Hour)
	if node.KindOf(err) != node.Invalid || errors.Is(err, node.ErrServiceAway) {
		t.Errorf("a container's name that is too long: %v", err)
	}
}

// revokedInTheMiddle ends the session's own token: the next requests get a new one.
func revokedInTheMiddle(t *testing.T, c *cloud.Cloud, session *openstack.Session) {
	before, err := session.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	theirs := c.MustOpenStack("demo", "token", "issue", "-f", "value", "-c", "id")
	c.MustOpenStack("nova", "token", "revoke", before)
	tokens := &openstack.Tokens{Session: session}
	if id, err := tokens.Ask(t.Context(), door.Question{Token: theirs}); err != nil || !id.Has("member") {
		t.Errorf("Keystone: %+v %v", id, err)
	}
	if after, err := session.Token(t.Context()); err != nil || after == before {
		t.Errorf("the token is the same: %v", err)
	}
	o := &openstack.Objects{Session: session}
	if err := o.Put(t.Context(), "drives", "r", strings.NewReader("x"), time.Hour); err != nil {
		t.Errorf("Swift: %v", err)
	}
}

func byApplicationCredential(t *testing.T, c *cloud.Cloud, cfg openstack.Config) {
	var made struct{ ID, Secret string }
	out := c.MustOpenStack("nova", "application", "credential", "create", "billet", "-f", "json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Secret == "" {
		t.Fatalf("%s %v", out, err)
	}
	own := openstack.Config{
		AuthURL: cfg.AuthURL, Region: cfg.Region, ApplicationCredentialID: made.ID, ApplicationCredentialSecret: made.Secret,
	}
	o := &openstack.Objects{Session: login(t, own)}
	if err := o.Put(t.Context(), "drives", "app", strings.NewReader("x"), time.Hour); err != nil {
		t.Fatal(err)
	}
	own.ApplicationCredentialSecret = "wrong"
	o = &openstack.Objects{Session: login(t, own)}
	err := o.Put(t.Context(), "drives", "app", strings.NewReader("x"), time.Hour)
	if err == nil || strings.Contains(err.Error(), made.Secret) || errors.Is(err, node.ErrServiceAway) ||
		!strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong secret: %v", err)
	}
	c.MustOpenStack("nova", "application", "credential", "delete", "billet")
}

// killedAndBack takes a service away: away fails soon and with its kind, back goes on by itself, with the same clients.
func killedAndBack(t *testing.T, c *cloud.Cloud, name string, away, back *openstack.Session) {
	o := &openstack.Objects{Session: away}
	c.Signal(name, syscall.SIGKILL)
	begin := time.Now()
	err := o.Put(t.Context(), "drives", "k", strings.NewReader("x"), time.Hour)
	if node.KindOf(err) != node.Unavailable || !errors.Is(err, node.ErrServiceAway) || time.Since(begin) > 2*time.Minute {
		t.Errorf("away: %v after %s", err, time.Since(begin))
	}
	c.Again(name)
	for _, session := range []*openstack.Session{away, back} {
		o := &openstack.Objects{Session: session}
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
			if err = o.Put(t.Context(), "drives", "k", strings.NewReader("x"), time.Hour); err == nil {
				break
			} else if !errors.Is(err, node.ErrServiceAway) || time.Now().After(end) {
				t.Fatalf("it is back: %v", err)
			}
		}
	}
}
