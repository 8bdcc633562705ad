// Package openstacktest is a small cloud for tests: Keystone, Glance, Neutron and Swift in memory, each of which fails on request.
// It imports nothing of the room that it tests. What the real services do is shown in compat/cloud; whatever is answered here was
// seen there.
package openstacktest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Username, Password and Project log in to the cloud.
const (
	Username = "ironic"
	Password = "a secret password"
	Project  = "service"
)

// Cloud is one of each service.
type Cloud struct {
	Keystone *Keystone
	Glance   *Glance
	Neutron  *Neutron
	Swift    *Swift
}

// New starts a cloud that ends with the test.
func New(t testing.TB) *Cloud {
	k := newKeystone(t)
	c := &Cloud{Keystone: k, Glance: newGlance(t, k), Neutron: newNeutron(t, k), Swift: newSwift(t, k)}
	for kind, url := range map[string]string{
		"image": c.Glance.URL, "network": c.Neutron.URL, "object-store": c.Swift.URL + "/v1/" + Account, "identity": k.URL,
	} {
		k.catalog = append(k.catalog, entry{Type: kind, Endpoints: []endpoint{
			{Interface: "internal", URL: url, Region: "RegionOne"}, {Interface: "public", URL: url, Region: "RegionOne"},
		}})
	}
	return c
}

// AuthURL is Keystone's.
func (c *Cloud) AuthURL() string { return c.Keystone.URL + "/v3" }

// Fault answers a request instead of its service, or returns false to let the service answer. It may do something and return false.
type Fault func(w http.ResponseWriter, r *http.Request) bool

// Service is an HTTP service that can be made to fail, and that remembers what it was asked.
type Service struct {
	*httptest.Server
	mu    sync.Mutex
	fault Fault
	asked []string
	body  http.HandlerFunc // under mu
}

func (s *Service) start(t testing.TB, body http.HandlerFunc) {
	s.body = body
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.Server.CloseClientConnections() // a fault may still hold one
		s.Server.Close()
	})
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.fault
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body(w, r)
}

// Fail sets what goes wrong from now on; nil: nothing.
func (s *Service) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Asked lists the requests whose "METHOD /path?query" has a prefix.
func (s *Service) Asked(prefix string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if strings.HasPrefix(a, prefix) {
			found = append(found, a)
		}
	}
	return found
}

// Forget drops what was asked so far.
func (s *Service) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

// Answer answers with a status and a body.
func Answer(status int, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// Later answers that the service is busy (503 with Retry-After).
func Later(seconds string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", seconds)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
}

// HTML is what a proxy says with the status of the service behind it.
func HTML(status int) Fault {
	return Answer(status, "<html><body><h1>Something else</h1></body></html>")
}

// Half promises more than it sends, with a status, and ends the connection.
func Half(status int, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "100000")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// Abort ends the connection without an answer, as a service does that is killed.
func Abort(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// Never answers nothing until the client gives up.
func Never(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client went
	<-r.Context().Done()
	return true
}

// On is a fault of those requests whose "METHOD /path" has a prefix.
func On(prefix string, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasPrefix(r.Method+" "+r.URL.Path, prefix) && f(w, r)
	}
}

// Times is a fault of the first n requests.
func Times(n int, f Fault) Fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		n--
		ends := n < 0
		mu.Unlock()
		return !ends && f(w, r)
	}
}

// admit answers 401 where the token is none of Keystone's.
func (k *Keystone) admit(w http.ResponseWriter, r *http.Request) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Contains(k.own, r.Header.Get("X-Auth-Token")) {
		return true
	}
	refuse(w, http.StatusUnauthorized, "error", "The request you have made requires authentication.")
	return false
}

// refuse is an error as OpenStack writes it.
func refuse(w http.ResponseWriter, status int, key, message string) {
	reply(w, status, map[string]any{key: map[string]any{"code": status, "message": message, "title": http.StatusText(status)}})
}

func reply(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc)
}
