// Package api owns the Bare Metal REST API: what comes in over HTTP, which microversion knows it,
// and what goes out. It decides nothing about nodes: it decodes, checks the form, calls the
// Conductor or the Reader, and encodes. It refuses to show a secret, and to hold state.
package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"reflect"
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

// Conductor is what carries out changes, by what is changed. All of it must be set; one value may be several parts.
type Conductor struct {
	Nodes       NodeChanger
	VIFs        VIFChanger
	Hardware    Hardware
	Types       HardwareTypes
	Machines    Machines
	Ports       PortChanger
	Portgroups  PortgroupChanger
	Volumes     VolumeChanger
	Allocations AllocationChanger
	Networks    NetworkListener
}

// Authenticator says who may come in.
type Authenticator interface {
	// Authenticate says who asks. Its error is a *door.Refusal: the answer.
	Authenticate(r *http.Request) (node.Identity, error)
}

// API answers HTTP. It holds no state but its configuration, so any number of requests may run
// at once.
type API struct {
	Config
	nodes    *nodes
	hardware *hardware
	machines *machines
	services *services
	calls    *door.Gate // of machines
	reports  *door.Gate // of machines, with large bodies
	pace     door.Pace
	people   http.Handler
	machine  http.Handler
}

// New builds an API, or says which setting is wrong.
func New(cfg Config) (*API, error) {
	for _, parts := range []any{cfg, cfg.Conductor, cfg.Kinds} {
		if missing := unset(parts); missing != "" {
			return nil, fmt.Errorf("api: %s is not set", missing)
		}
	}
	a := &API{Config: cfg, pace: door.Slowest}
	if err := a.setDefaults(); err != nil {
		return nil, err
	}
	a.calls, a.reports = door.NewGate(64, 32, 512, 10*time.Second), door.NewGate(8, 2, 128, time.Minute)
	find, views := finder{a.Reader}, nodeViews{a.Host, a.Clock}
	a.nodes = &nodes{finder: find, nodeViews: views, read: a.Reader, ports: a.Ports, con: a.Conductor.Nodes, wires: a.Conductor.VIFs}
	a.hardware = &hardware{find, a.Conductor.Hardware}
	a.machines = &machines{views, a.Conductor.Machines, a.HeartbeatTimeout, a.ImageFormats}
	a.services = &services{finder: find, read: a.Reader, con: a.Conductor.Types, host: a.Host}
	routes := a.routes()
	a.services.roots, a.nodes.reserved = rootsOf(routes), namesBelowNodes(routes)
	a.people = a.door(routes, peopleDoor)
	a.machine = a.door(machineRoutes(routes), machineDoor)
	return a, nil
}

// unset names a part that must be set and is not; "" when all are.
func unset(parts any) string {
	v := reflect.ValueOf(parts)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if k := field.Type.Kind(); (k == reflect.Interface && field.Name != "Auth" || field.Name == "Pages") && v.Field(i).IsNil() {
			return v.Type().Name() + "." + field.Name
		}
	}
	return ""
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
