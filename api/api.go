package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// Config is what an API needs. Conductor, Reader, all Kinds and Pages must be set; the rest has defaults.
type Config struct {
	Conductor Conductor
	Reader    Reader
	Kinds

	Auth  Authenticator // nil: nobody logs in
	Pages *door.Pages   // keeps out what other people's web pages send

	Host             string        // shown as the nodes' `conductor`; default: this machine's host name
	PublicEndpoint   string        // base of all links, "https://host:port"; default: what the client asked for
	MaxLimit         int           // longest page; default 1000
	HeartbeatTimeout time.Duration // told to agents at lookup; default 300 s
	ImageFormats     []string      // formats agents may write; default raw, gpt, qcow2, iso
	Clock            func() time.Time
	Log              *slog.Logger
}

// Authenticator says who may come in.
type Authenticator interface {
	Authenticate(r *http.Request) error // a *door.Refusal: the answer
}

// API answers HTTP. It holds no state but its configuration, so any number of requests may run
// at once.
type API struct {
	Config
	finder
	calls    *door.Gate // of machines
	reports  *door.Gate // of machines, with large bodies
	pace     door.Pace
	roots    []root
	reserved []string // names that no node may have: each would hide a path below it
	people   http.Handler
	machine  http.Handler
}

// New builds an API, or says which setting is wrong.
func New(cfg Config) (*API, error) {
	a := &API{Config: cfg, finder: finder{cfg.Reader}, pace: door.Slowest}
	if cfg.Conductor == nil || cfg.Reader == nil || cfg.Pages == nil || !cfg.Kinds.whole() {
		return nil, errors.New("api: a conductor, a reader, a guard against pages and a keeper of each kind of record are needed")
	}
	if err := a.setDefaults(); err != nil {
		return nil, err
	}
	a.calls, a.reports = door.NewGate(64, 32, 512, 10*time.Second), door.NewGate(8, 2, 128, time.Minute)
	routes := a.routes()
	a.roots, a.reserved = rootsOf(routes), namesBelowNodes(routes)
	a.people = a.door(routes, peopleDoor)
	a.machine = a.door(machineRoutes(routes), machineDoor)
	return a, nil
}

func (a *API) setDefaults() error {
	if a.PublicEndpoint != "" {
		u, err := url.Parse(a.PublicEndpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("api: the public endpoint %q is not an http or https URL", a.PublicEndpoint)
		}
		a.PublicEndpoint = strings.TrimRight(a.PublicEndpoint, "/")
	}
	if a.Host == "" {
		a.Host, _ = os.Hostname()
	}
	if a.MaxLimit <= 0 {
		a.MaxLimit = 1000
	}
	if a.HeartbeatTimeout <= 0 {
		a.HeartbeatTimeout = 300 * time.Second
	}
	if len(a.ImageFormats) == 0 {
		a.ImageFormats = []string{"raw", "gpt", "qcow2", "iso"}
	}
	if a.Clock == nil {
		a.Clock = node.Now
	}
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Handler is the people's door: the whole API.
func (a *API) Handler() http.Handler { return a.people }

// MachineHandler is the provisioning door: only what a machine in a ramdisk needs. Everything else
// is 404 there, whoever asks.
func (a *API) MachineHandler() http.Handler { return a.machine }
