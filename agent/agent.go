// Package agent owns the life of the agent in the deploy ramdisk: it finds its node, serves the
// command API, heartbeats, and lets steps do the work. It speaks the ironic-python-agent protocol
// (wire) and refuses to decide anything the conductor should: it does what it is told, says
// what came of it, and keeps knocking while the service is away.
package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/agent/classic"
	"github.com/billet-metal/billet/agent/inventory"
	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
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

	install  func(context.Context) (string, error) // what installs the boot loader in iSCSI mode, in tests
	client   *client
	images   *http.Client
	host     *steps.Host
	boot     *steps.BootLoader
	heart    *heart
	progress *progress
	letIn    chan struct{} // closed when people are to be let in
	rescued  sync.Once     // closes it
	open     chan struct{} // closed when people can log in
	opened   sync.Once     // closes it
}

// clockTolerance is how far this machine's clock may be from the service's.
const clockTolerance = time.Minute

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

// lookup finds out which node this machine is, asking again at growing intervals.
func (a *Agent) lookup(ctx context.Context) error {
	deadline := time.Now().Add(a.Config.LookupTimeout)
	for attempt := 0; ; attempt++ {
		err := a.lookupOnce(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("looking this machine up gave no node in %s: %w", a.Config.LookupTimeout, err)
		}
		wait := lookupWait(attempt, a.Config.LookupInterval, err)
		a.Log.Warn("lookup", "error", err, "again_in", wait)
		if err := steps.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// lookupWait grows from the interval to a minute; a locked node (409) is let go after seconds.
func lookupWait(attempt int, interval time.Duration, err error) time.Duration {
	most := time.Minute
	if answer := (*statusError)(nil); errors.As(err, &answer) && answer.code == http.StatusConflict {
		most = 30 * time.Second
	} else if err != nil && answer == nil {
		most = 10 * time.Second // the service cannot be reached: it may be back any moment
	}
	return min(max(interval, 100*time.Millisecond)<<min(attempt, 10), most)
}

func (a *Agent) lookupOnce(ctx context.Context) error {
	if err := a.negotiate(ctx); err != nil {
		return err
	}
	var macs []string
	for _, nic := range a.host.Inventory.NICs() {
		macs = append(macs, nic.MACAddress)
	}
	if len(macs) == 0 && a.Config.NodeUUID == "" {
		return errors.New("no network interface was found to look this machine up by")
	}
	found, err := a.client.lookup(ctx, macs, a.Config.NodeUUID)
	if err != nil {
		return err
	}
	a.host.Node, a.host.Service = found.Node, found.Config
	a.Log = a.Log.With("node", a.host.Node.UUID)
	a.host.Log = a.Log
	a.Log.Info("looked up", "heartbeat_timeout", a.host.Service.HeartbeatTimeout)
	return a.takeToken()
}

// negotiate learns the service's version and sets the clock by it when that is far off.
func (a *Agent) negotiate(ctx context.Context) error {
	clock, err := a.client.negotiate(ctx)
	if err != nil {
		return err
	}
	if a.Config.APIVersion > 0 {
		a.client.setVersion(a.Config.APIVersion)
	}
	if off := time.Until(clock); !clock.IsZero() && off.Abs() > clockTolerance {
		a.Log.Warn("this machine's clock is wrong; setting it by the service's", "off_by", -off)
		if err := a.Machine.SetClock(clock); err != nil {
			a.Log.Warn("the clock stays wrong", "error", err)
		}
	}
	return nil
}

// takeToken settles which token to use: the one given now, one given at boot, or one kept by an
// agent that ran before in this same boot. The service hands it out once only.
func (a *Agent) takeToken() error {
	saved := a.loadState()
	given := a.host.Service.AgentToken
	switch {
	case given != "" && given != "******":
		saved.Token = given
	case a.Config.Token != "":
		saved.Token = a.Config.Token
	case saved.Node != a.host.Node.UUID:
		saved.Token = ""
	}
	if saved.Token == "" && (a.host.Service.AgentTokenRequired || a.client.speaks(wire.LookupVersion)) {
		return errors.New("the service gave this node's agent token to somebody else before, and gives it only once: end the " +
			"operation or power the machine off through the Bare Metal API")
	}
	if saved.Node == a.host.Node.UUID {
		a.host.RAIDConfig = saved.RAIDConfig
	}
	saved.Node = a.host.Node.UUID
	a.host.Service.AgentToken = saved.Token
	return a.saveState(saved)
}

// serve opens the command API and heartbeats until ctx ends.
func (a *Agent) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := net.Listen("tcp", net.JoinHostPort(a.Config.ListenHost, strconv.Itoa(a.Config.ListenPort)))
	if err != nil {
		return fmt.Errorf("opening the command API: %w", err)
	}
	defer listener.Close()
	beat, tlsConfig, err := a.identity(listener)
	if err != nil {
		return err
	}
	a.heart = newHeart(time.Duration(a.host.Service.HeartbeatTimeout)*time.Second, a.Log, func(ctx context.Context) error {
		return a.client.heartbeat(ctx, a.host.Node.UUID, beat)
	})
	a.progress = newProgress(a.Log, func(ctx context.Context, p wire.Progress) error {
		p.AgentToken = a.host.Service.AgentToken
		return a.client.progress(ctx, a.host.Node.UUID, p)
	})
	cmds := &commands{ctx: ctx, table: a.extensions(), done: a.heart.Force, log: a.Log}
	web := &http.Server{
		Handler:           &server{commands: cmds, token: a.host.Service.AgentToken, started: time.Now(), baseURL: beat.CallbackURL},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Minute, // a config drive of 64 MiB over a slow line
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	return a.runAll(ctx, cancel, cmds, web, listener)
}

// runAll runs the server, the heart and the progress messages, and waits for all of them.
func (a *Agent) runAll(ctx context.Context, cancel func(), cmds *commands, web *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	cmds.wg.Go(func() { failed <- web.Serve(l) })
	cmds.wg.Go(func() { a.heart.Run(ctx) })
	cmds.wg.Go(func() { a.progress.Run(ctx) })
	if a.Logs != nil {
		cmds.wg.Go(func() { a.Logs.sendLines(ctx, a.sendLines) })
	}
	a.Log.Info("serving", "address", l.Addr().String())
	var err error
	select {
	case <-ctx.Done():
	case <-a.letIn:
		err = a.handOver(ctx, web)
	case err = <-failed:
		err = fmt.Errorf("the command API ended: %w", err)
	}
	cancel()
	web.Close()
	cmds.wg.Wait()
	return err
}

func (a *Agent) sendLines(ctx context.Context, lines []wire.LogLine) error {
	return a.client.logLines(ctx, a.host.Node.UUID, wire.LogLines{AgentToken: a.host.Service.AgentToken, Lines: lines})
}

// handOver lets people in and closes the API a little later, until ctx ends.
func (a *Agent) handOver(ctx context.Context, web *http.Server) error {
	r := a.Machine.(Rescuer) // finalizeRescue has looked
	closing, stop := context.WithCancel(ctx)
	var closer sync.WaitGroup
	defer closer.Wait()
	defer stop()
	closer.Go(func() {
		select {
		case <-a.open:
			if steps.Pause(closing, rescueDelay) == nil {
				web.Close()
			}
		case <-closing.Done():
		}
	})
	return a.rescue(ctx, r, a.rescueHash())
}

// identity settles under which address the service reaches this agent, and its certificate: for a
// service that takes certificates (1.68) the API is HTTPS.
func (a *Agent) identity(l net.Listener) (wire.Heartbeat, *tls.Config, error) {
	ip, err := a.OwnAddress()
	if err != nil {
		return wire.Heartbeat{}, nil, err
	}
	port := a.Config.AdvertisePort
	if port == 0 {
		port = l.Addr().(*net.TCPAddr).Port
	}
	where := net.JoinHostPort(ip.String(), strconv.Itoa(port)) // brackets around IPv6
	beat := wire.Heartbeat{CallbackURL: "http://" + where, AgentToken: a.host.Service.AgentToken, AgentVersion: Version}
	if !a.client.speaks(wire.HeartbeatVersion) {
		return beat, nil, nil
	}
	cert, err := a.certificate(ip)
	if err != nil {
		return wire.Heartbeat{}, nil, err
	}
	tlsConfig, err := cert.tlsConfig()
	beat.CallbackURL, beat.AgentVerifyCA = "https://"+where, cert.PEM
	return beat, tlsConfig, err
}

// OwnAddress is the address this machine has on the way to the service.
func (a *Agent) OwnAddress() (net.IP, error) {
	if host := a.Config.AdvertiseHost; host != "" {
		ip := net.ParseIP(host)
		if ip == nil {
			return nil, fmt.Errorf("kernel parameter ipa-advertise-host=%s is not an IP address", host)
		}
		return ip, nil
	}
	u, err := url.Parse(a.client.order()[0])
	if err != nil {
		return nil, fmt.Errorf("reading the service's URL: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port)) // sends nothing: it asks the routes
	if err != nil {
		return nil, fmt.Errorf("finding the address that reaches the service: %w", err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP, nil
}
