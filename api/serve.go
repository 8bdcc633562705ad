package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// A request passes the same stations whatever its path: who asks, which version, how large. A handler begins where all of that
// is known.

// call is one request on its way through a handler.
type call struct {
	*http.Request
	version version
	base    string // public base of links
	bootKey string // of the boot whose ramdisk calls; "" when its path has none
	body    []byte
	// maxLimit is the longest page.
	maxLimit int
	log      *slog.Logger
}

type handler func(w http.ResponseWriter, c *call) error

// access says who may call a route.
type access int

const (
	people  access = iota // needs credentials when there is authentication
	public                // anyone, at both doors
	ramdisk               // a machine, at both doors: nobody logs in, and browsers are not answered
)

// route is one line of the table in routes.go.
type route struct {
	pattern string // of net/http.ServeMux
	access  access
	serve   handler
	maxBody int64 // 0: maxBody
	// expected refuses a call that nobody waits for before its body is read.
	expected func(c *call) error
	linked   version // its link in /v1 is as old as this, where its path is older; 0: as its path
	// oldWrite: a version that does not know the path yet gets 405, as Ironic answers writes of
	// some resources, instead of 404.
	oldWrite bool
}

// path is the pattern without its method.
func (rt route) path() string {
	_, path, _ := strings.Cut(rt.pattern, " ")
	return path
}

type doorKind int

const (
	peopleDoor doorKind = iota
	machineDoor
)

// door serves the routes. Per request: an id, the version, a tidy path, then authentication, then
// the version's verdict, then the body's limits, then the handler.
func (a *API) door(routes []route, kind doorKind) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, rt) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log, id := a.identify(w, r)
		defer door.Drain(w, r)
		defer recovered(w, log)
		v, verr := versionOf(r.Header)
		v.stamp(w.Header())
		check := a.Pages.OfPeople
		if kind == machineDoor {
			check = a.Pages.OfMachines
		}
		if err := check(r); err != nil {
			writeError(w, log, err)
			return
		}
		ctx, end := answered(r.Context())
		defer end()
		r, key := withoutBootKey(r)
		r = tidy(r.WithContext(context.WithValue(ctx, requestKey{}, request{v, verr, log, id, key})), v, a.services.roots)
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		err := a.refusal(mux, w, r)
		if kind == peopleDoor {
			if _, authErr := a.authenticate(r); authErr != nil {
				err = authErr
			}
		}
		writeError(w, log, err)
	})
}

type requestKey struct{}

// request is what the door found out about a request before its route was known.
type request struct {
	version version
	err     error // the version's
	log     *slog.Logger
	id      string
	bootKey string
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, rt route) {
	in := r.Context().Value(requestKey{}).(request)
	if err := a.admit(r, rt, in); err != nil {
		writeError(w, in.log, err)
		return
	}
	leave, err := a.takePlace(r, rt)
	if err != nil {
		writeError(w, in.log, err)
		return
	}
	defer leave()
	c := &call{Request: r, version: in.version, base: a.baseOf(r), log: in.log, bootKey: in.bootKey, maxLimit: a.MaxLimit}
	if rt.expected != nil {
		err = rt.expected(c)
	}
	if err == nil {
		c.body, err = a.readBody(w, r, rt.maxBody)
	}
	if err == nil {
		err = rt.serve(w, c)
	}
	if err != nil {
		writeError(w, in.log, err)
	}
}

// answerTime bounds the work of one request; it is longer than any BMC is waited for.
const answerTime = 10 * time.Minute

// answered is the context a request is carried out in. It does not end when the client stops sending: that is how the
// server's own context ends, also for a client that has only shut its sending side down (RFC 9293, section 3.6) and
// waits for the answer. What it asked for is done or refused as a whole, and it gets to read which.
func answered(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), answerTime)
}

func (a *API) admit(r *http.Request, rt route, in request) error {
	if rt.access == people {
		id, err := a.authenticate(r)
		if err == nil {
			err = permit(id, r)
		}
		if err != nil {
			return err
		}
		if in.bootKey != "" { // the key of a boot is no way for people
			return node.Errorf(node.NotFound, "The resource could not be found.")
		}
	}
	if rt.access == ramdisk && door.OfBrowser(r) { // a GET may be more than reading: lookup gives the token away
		return a.Pages.OfMachines(r)
	}
	if in.err != nil {
		return in.err
	}
	if !in.version.knows(rt.path()) {
		if rt.oldWrite {
			return aborted(http.StatusMethodNotAllowed, "")
		}
		return node.Errorf(node.NotFound, "The resource could not be found.")
	}
	return nil
}

// refusal is the mux's own 404 or 405, to be written in the API's form.
func (a *API) refusal(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) error {
	h, _ := mux.Handler(r)
	got := &statusOnly{header: http.Header{}}
	h.ServeHTTP(got, r)
	if got.status != http.StatusMethodNotAllowed {
		return aborted(http.StatusNotFound, "")
	}
	w.Header().Set("Allow", got.header.Get("Allow"))
	return aborted(http.StatusMethodNotAllowed, "")
}

// statusOnly listens to what a handler would have answered.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// identify gives the request an id; an id the client sent is noted beside it.
func (a *API) identify(w http.ResponseWriter, r *http.Request) (*slog.Logger, string) {
	id := "req-" + newUUID()
	w.Header().Set("Openstack-Request-Id", id)
	w.Header().Set("X-Openstack-Request-Id", id)
	log := a.Log.With("request", id, "method", r.Method, "path", node.MaskBootKeys(r.URL.Path))
	if global := r.Header.Get("X-Openstack-Request-Id"); requestID.MatchString(global) {
		log = log.With("global_request", global)
	}
	return log, id
}

// recovered answers for a handler that panicked. Of what it said the log has only the Go runtime's own words: a value may
// hold what a client sent, such as a password.
func recovered(w http.ResponseWriter, log *slog.Logger) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler {
			panic(p)
		}
		log.Error("handler panicked", "stack", string(debug.Stack()))
		err := fmt.Errorf("handler panicked with a %T", p)
		if mistake, ok := p.(runtime.Error); ok {
			err = fmt.Errorf("handler panicked: %w", mistake)
		}
		writeError(w, log, err)
	}
}

// withoutBootKey takes the key of a boot off the path (node.WithBootKey), so that no handler sees it there.
func withoutBootKey(r *http.Request) (*http.Request, string) {
	key, rest, ok := node.CutBootKey(r.URL.Path)
	if !ok {
		return r, ""
	}
	u := *r.URL
	u.Path, u.RawPath = rest, ""
	r = r.Clone(r.Context())
	r.URL = &u
	return r, key
}

// authenticate says who asks; where nobody logs in, everybody may do everything.
func (a *API) authenticate(r *http.Request) (node.Identity, error) {
	if a.Auth == nil {
		return node.Identity{System: true, Roles: []string{"admin"}}, nil
	}
	return a.Auth.Authenticate(r)
}

// permit refuses what no role of the caller allows. Who is admin or service may do everything; a reader of the whole cloud, or in
// the project of its services, may read. Readers of other projects may not: every member of a project is one, and nodes are nobody's
// of a project yet.
func permit(id node.Identity, r *http.Request) error {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if id.Has("admin") || id.Has("service") || reads && id.Has("reader") && (id.System || id.Home) {
		return nil
	}
	return node.Errorf(node.Forbidden, "Access was denied to the following resource: %s %s. "+
		"It needs the role admin or service, or to read the role reader in the whole system or in the project of the services.",
		r.Method, r.URL.Path)
}

// tidy brings the forms of a path that clients use to one: no trailing slash, /v1 in front (links
// of rel bookmark lack it), and no ".json" for versions that still allowed it.
func tidy(r *http.Request, v version, roots []root) *http.Request {
	p := path.Clean("/" + r.URL.Path)
	if v < plainPaths {
		p = strings.TrimSuffix(p, ".json")
	}
	first, _, _ := strings.Cut(p[1:], "/")
	if slices.ContainsFunc(roots, func(r root) bool { return r.name == first }) {
		p = "/v1" + p
	}
	u := *r.URL
	u.Path, u.RawPath = p, ""
	r = r.Clone(r.Context())
	r.URL = &u
	return r
}

func (a *API) baseOf(r *http.Request) string {
	if a.PublicEndpoint != "" {
		return a.PublicEndpoint
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
