// Package agent owns the life of the agent in the deploy ramdisk: it finds its node, serves the
// command API, heartbeats, and lets steps do the work. It speaks the ironic-python-agent protocol
// (wire) and refuses to decide anything the conductor should: it does what it is told, says
// what came of it, and keeps knocking while the service is away.
package agent

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/agent/classic"
	"github.com/billet-metal/billet/agent/inventory"
	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/raid"
)

// Machine is what the agent does to the machine as a whole. In tests it is a fake.
type Machine interface {
	Reboot() error
	PowerOff() error
	SetClock(t time.Time) error
	KernelLog() ([]byte, error)
}

// Agent is one agent. Run owns everything it starts.
type Agent struct {
	Config  Config
	Machine Machine
	Log     *slog.Logger
	Logs    *LogBuffer     // where Log's lines are kept as well
	Export  classic.Export // how disks are exported when Config.ISCSI is set

	LoadModule func(name string) // loads a kernel module, such as a file system's; nil: nothing can be loaded
	MDADM      raid.Tool

	install    func(context.Context) (string, error) // what installs the boot loader in iSCSI mode, in tests
	client     *client
	images     *http.Client
	host       *steps.Host
	boot       *steps.BootLoader
	heartbeats *heartbeater
	progress   *progress
	letIn      chan struct{} // closed when people are to be let in
	rescued    sync.Once     // closes it
	open       chan struct{} // closed when people can log in
	opened     sync.Once     // closes it
}

// Run is the agent's life: inspect if asked, look up, serve, heartbeat. It returns when ctx ends,
// or with the reason why it cannot go on; it may then be run again.
func (a *Agent) Run(ctx context.Context) error {
	a.prepare()
	if r, ok := a.Machine.(Rescuer); ok && a.rescueHash() != "" {
		return a.rescue(ctx, r, a.rescueHash())
	}
	a.waitForDisks(ctx)
	if a.Config.InspectionCallback != "" || len(a.Config.Collectors) > 0 {
		if err := a.inspect(ctx); err != nil {
			a.Log.Error("inspection", "error", err)
		}
	}
	if a.Config.ISCSI != nil {
		return a.exportDisk(ctx)
	}
	if len(a.Config.APIURLs) == 0 {
		a.Log.Info("inspection was all there is to do")
		<-ctx.Done()
		return nil
	}
	if err := a.lookup(ctx); err != nil {
		return err
	}
	return a.serve(ctx)
}

// prepare builds what the rest uses.
func (a *Agent) prepare() {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: a.Config.Insecure, MinVersion: tls.VersionTLS12}
	a.client = &client{
		http: &http.Client{Transport: transport, CheckRedirect: stay}, urls: a.Config.APIURLs, requestID: a.Config.RequestID, log: a.Log,
	}
	a.images = a.gate(a.Config.Insecure).Client()
	a.letIn, a.rescued = make(chan struct{}), sync.Once{}
	a.open, a.opened = make(chan struct{}), sync.Once{}
	a.host = &steps.Host{
		Root: a.Config.Root, Log: a.Log, LoadModule: a.LoadModule, MDADM: a.MDADM,
		Inventory: inventory.Machine{Root: a.Config.Root, BootMAC: a.Config.BootMAC, Addresses: addresses},
		DiskWait:  a.Config.DiskWait, WipeShared: a.Config.WipeShared, AnyBoot: a.Config.AnyBoot, KeepRAID: a.keepRAID,
	}
	a.boot = &steps.BootLoader{Host: a.host}
}

// stay takes a redirect as the answer: a heartbeat carries the agent's token, which is for the
// service alone.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// gate says which URLs this machine asks for somebody: an image's, a config drive's, those of files to put in. They
// come from users, and this machine is in a network that users are not in: it does not ask itself, nor make the
// service's calls, whose answers hold other machines' tokens.
func (a *Agent) gate(insecure bool) *fetch.Gate {
	g := &fetch.Gate{
		Near: a.Config.URLAllowed, Closed: map[string][]string{}, Buffer: 256 << 10,
		TLS: &tls.Config{InsecureSkipVerify: insecure, MinVersion: tls.VersionTLS12},
	}
	if a.Config.ListenPort > 0 {
		g.Ports = []uint16{uint16(a.Config.ListenPort)}
	}
	for _, service := range append(slices.Clone(a.Config.APIURLs), a.Config.InspectionCallback) {
		u, err := url.Parse(service)
		if err != nil || u.Host == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		base := strings.TrimSuffix(u.Path, "/")
		if i := strings.Index(base+"/", "/v1/"); i >= 0 {
			base = base[:i]
		}
		g.Closed[net.JoinHostPort(strings.ToLower(u.Hostname()), port)] = []string{base + "/v1", base + "/billet"}
	}
	return g
}

// addresses are an interface's IP addresses.
func addresses(name string) []net.IP {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	list, err := iface.Addrs()
	if err != nil {
		return nil
	}
	var out []net.IP
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			out = append(out, n.IP)
		}
	}
	return out
}

// waitForDisks gives slow controllers time to show their first disk. A machine without any is not
// an error here: inspection must be able to say so.
func (a *Agent) waitForDisks(ctx context.Context) {
	deadline := time.Now().Add(a.Config.DiskWait)
	for len(a.host.Inventory.Disks()) == 0 && time.Now().Before(deadline) {
		if steps.Pause(ctx, 250*time.Millisecond) != nil {
			return
		}
	}
	for _, d := range a.host.Look() {
		a.Log.Info("disk", "name", d.Name, "size", d.Size, "model", d.Model, "serial", d.Serial, "by_path", d.ByPath)
	}
}
