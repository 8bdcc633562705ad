package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/api"
	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/driver/agent"
	"github.com/billet-metal/billet/driver/pxe"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/store"
)

// All parts are built here, from top to bottom, and handed to each other as values: whoever wants to know what a process
// consists of reads this file alone.

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Args: cobra.NoArgs,
		Short: "Run the service: API, conductor and boot services",
		Long:  "Run the service. Every flag is also a key of the configuration file and a BILLET_… variable; see docs/configuration.md.",
	}
	addConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, texts, err := loadConfig(cmd.Flags(), os.Environ())
		if err != nil {
			return err
		}
		_, chosen := texts["roles"]
		return serve(cmd.Context(), c, serveOptions{RolesChosen: chosen, Out: cmd.ErrOrStderr()})
	}
	return cmd
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Args: cobra.NoArgs, Short: "Check the configuration and print it as a YAML file",
		Long: "Check the configuration and print it as a YAML file that billet serve --config reads. A password in `database` is printed as it " +
			"is.",
	}
	addConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, texts, err := loadConfig(cmd.Flags(), os.Environ())
		if err != nil {
			return err
		}
		for _, k := range new(Config).keys() {
			value, set := texts[k.name]
			if !set {
				value = k.def
			}
			fmt.Fprintf(cmd.OutOrStdout(), "# %s\n%s: %q\n", k.help, k.name, value)
		}
		return nil
	}
	return cmd
}

// parts is what hardware types are built from.
type parts struct {
	records    boot.Records
	images     agent.Images
	sources    *image.Store
	gate       *fetch.Gate        // for every file and URL that somebody names
	served     *fetch.Gate        // for what this service itself has put into a boot record, too
	machineURL string             // base URL of the provisioning listener, as machines reach it
	bootServer netip.Addr         // the address of that listener and of TFTP; zero: there is none here
	cloud      *openstack.Session // nil: standing alone
}

// files are the kernels and ramdisks of Glance; nil where there is none.
func (p parts) files() pxe.Images {
	if p.sources == nil || p.sources.Registry == nil {
		return nil
	}
	return p.sources
}

// stopTimeout bounds an orderly stop: requests under way may end, then connections are cut.
const stopTimeout = 10 * time.Second

type serveOptions struct {
	RolesChosen bool // somebody asked for these roles: one that cannot be played is an error
	Out         io.Writer
}

// serve runs until ctx ends, then stops in order: listeners first, then the conductor, whose
// steps are left to the next process, then the store. It returns nil after an orderly stop.
func serve(ctx context.Context, c *Config, opts serveOptions) error {
	log := newLog(c, opts.Out)
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	db, err := store.Open(ctx, store.Config{
		URL: c.Database, DataDir: c.DataDir, KeyFile: c.SecretKeyFile, Host: c.Host, Log: log,
		Keep: store.Keep{
			History: c.HistoryEntries, Events: c.BootEvents, EventsOfMachine: c.BootEventsOfMachine, EventsFor: c.BootEventsAge,
		},
	})
	if err != nil {
		return err
	}
	defer db.Close()
	clock, err := startClock(ctx, db, log)
	if err != nil {
		return err
	}
	defer node.KeepTime(clock)()

	has := func(role string) bool { return slices.Contains(c.Roles, role) }
	var net *provisioning
	switch {
	case c.ProvisionInterface != "":
		if net, err = findProvisioning(c); err != nil {
			return err
		}
	case has("boot") && opts.RolesChosen:
		return errors.New("roles: boot needs provision_interface, the network interface machines boot from")
	case has("boot"):
		log.Warn("boot services are off: provision_interface is not set")
	}

	gate := c.gate()
	if err := c.checkNetworks(); err != nil {
		return err
	}
	session, err := c.session()
	if err != nil {
		return err
	}
	sources, err := imageSources(ctx, c, session, gate, db.Boots.Places, log)
	if err != nil {
		return err
	}
	p := parts{records: db.Boots, images: boot.ImageShelf{Records: db.Boots}, sources: sources, gate: gate, served: served(c, gate),
		machineURL: machineURL(c, net), cloud: session}
	p.bootServer = bootServer(c, net)
	builtIn, err := builtInRules(c.InspectionRules)
	if err != nil {
		return err
	}
	carries := conductor.Config{
		BuiltInRules: builtIn, RuleCalls: rules.HTTPGet(gate), Discovery: discovery(c),
		Store: keeps(db), Types: hardwareTypes(c, p), Host: c.Host, Log: log,
		LeaseTTL: c.LeaseTTL, DeployTimeout: c.DeployTimeout, CleanTimeout: c.CleanTimeout, InspectTimeout: c.InspectTimeout,
		RescueTimeout: c.RescueTimeout, ServiceTimeout: c.ServiceTimeout,
		BootPhaseTimeout: c.BootPhaseTimeout, FirmwareTimeout: c.FirmwareTimeout,
		PowerTimeout: c.PowerTimeout, PowerSyncInterval: c.PowerSyncInterval,
		CaptureSerial: c.CaptureSerial,
		AgentNetworks: c.AgentNetworks, Listeners: ownListeners(c, net),
		LogDir:    filepath.Join(c.DataDir, "deploy-logs"),
		LogKeep:   conductor.LogKeep{Files: c.LogFiles, Bytes: int64(c.LogMB) << 20, Age: c.LogAge},
		FastTrack: c.FastTrack, FastTrackTimeout: c.FastTrackTimeout,
		AutomatedClean: c.AutomatedClean, DeleteAvailableNodes: c.DeleteAvailable, RequireAgentTLS: true, MaxWorkers: c.Workers,
		OtherDHCP: c.otherDHCP(), Network: networkWitness(c, session),
		Wakeups: db.Wakeups(ctx), Notify: db.Wake,
		Clock: clock, Time: db, TimeMark: hostMark,
	}
	c.Swift.keepIn(&carries, session, log)
	reader := c.shelve(&carries, db, log)
	con := conductor.New(carries)
	auth, err := authenticator(c, session, log)
	if err != nil {
		return err
	}
	pages, err := door.NewPages(door.PagesConfig{AllowedHosts: c.AllowedHosts, PublicEndpoint: c.PublicEndpoint, Login: auth != nil})
	if err != nil {
		return fmt.Errorf("public_endpoint: %w", err)
	}
	rest, err := api.New(api.Config{
		Conductor: carriesOut(con), Reader: reader, Kinds: shows(db), Auth: auth, Pages: pages, Host: c.Host,
		PublicEndpoint: c.PublicEndpoint, MaxLimit: c.MaxLimit, HeartbeatTimeout: c.HeartbeatTimeout, Log: log,
	})
	if err != nil {
		return err
	}

	g := newGroup(ctx)
	if has("api") {
		l, err := listen(c.Listen, "listen")
		if err != nil {
			return err
		}
		g.http(door.API(l, log), rest.Handler())
		log.Info("API serves", "address", l.Addr().String(), "auth", c.Auth)
	}
	if net != nil && has("boot") {
		if err := net.serve(g, c, db.Boots, p.served, rest, log); err != nil {
			return g.stop(err)
		}
	}
	if has("conductor") {
		g.run("conductor", con.Run)
		log.Info("conductor runs", "host", c.Host, "hardware_types", strings.Join(c.HardwareTypes, ","))
	}
	err = g.wait()
	log.Info("stopped")
	return err
}

// discovery is what becomes of machines that nobody has enrolled. The ramdisk that finds them has the agent in it.
func discovery(c *Config) conductor.Discovery {
	if !c.Discovery {
		return conductor.Discovery{}
	}
	return conductor.Discovery{Driver: c.DiscoveryDriver, Inspect: (&agent.Inspect{}).Name(), Limit: c.DiscoveryLimit}
}

// ownListeners are the addresses this process serves at: no machine's agent is there.
func ownListeners(c *Config, net *provisioning) (own []netip.AddrPort) {
	if at, err := netip.ParseAddrPort(c.Listen); err == nil {
		own = append(own, at)
	}
	if net != nil {
		own = append(own, netip.AddrPortFrom(net.ip, uint16(c.ProvisionPort)))
	}
	return own
}

// machineURL is what machines are told to call: the provisioning listener, or the API where this
// process has no provisioning network.
func machineURL(c *Config, net *provisioning) string {
	switch {
	case net != nil:
		return fmt.Sprintf("http://%s:%d", net.ip, c.ProvisionPort)
	case c.PublicEndpoint != "":
		return strings.TrimSuffix(c.PublicEndpoint, "/")
	}
	return "http://" + c.Listen
}

func newLog(c *Config, out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of the four words, checked by the key
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, opts))
	}
	return slog.New(slog.NewTextHandler(out, opts))
}

// listen opens a TCP listener; the error names the configuration key.
func listen(address, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use by another program (is billet serve running already?)", key, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// group owns the goroutines of serve: the first that ends with an error ends all.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

func (g *group) run(name string, f func(context.Context) error) {
	g.tasks.Go(func() {
		if err := f(g.ctx); err != nil && g.ctx.Err() == nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// maxHeader bounds what a stranger may have kept before a handler looks at it; Go adds 4 KiB.
const maxHeader = 60 << 10

// http serves until the group ends, then lets requests under way end.
func (g *group) http(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader}
	g.tasks.Go(func() {
		<-g.ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), stopTimeout)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			srv.Close()
		}
	})
	g.run("HTTP on "+l.Addr().String(), func(context.Context) error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

// stop ends everything because of err.
func (g *group) stop(err error) error {
	g.cancel(err)
	g.tasks.Wait()
	return err
}

// wait returns when all have ended: nil when somebody asked for it, else the first error.
func (g *group) wait() error {
	<-g.ctx.Done()
	g.tasks.Wait()
	if err := context.Cause(g.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// keeps opens the conductor's doors into the database.
func keeps(db *store.Store) conductor.Store {
	return conductor.Store{Nodes: db, Agents: db, Queue: db, Notes: db.Notes, Boots: db.Boots, Kinds: conductor.Kinds{Ports: db.Ports,
		Portgroups: db.Portgroups, VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets,
		Allocations: db.Allocations, Chassis: db.Chassis, DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}}
}

// carriesOut is the conductor as the parts that the API calls.
func carriesOut(c *conductor.Conductor) api.Conductor {
	return api.Conductor{Nodes: c, VIFs: c, Hardware: c, Types: c, Machines: c, Ports: c, Portgroups: c, Volumes: c, Allocations: c,
		Networks: c}
}

// shows is the database as the records that the API shows.
func shows(db *store.Store) api.Kinds {
	return api.Kinds{Ports: db.Ports, Portgroups: db.Portgroups, VolumeConnectors: db.VolumeConnectors, VolumeTargets: db.VolumeTargets,
		Allocations: db.Allocations, Chassis: db.Chassis, DeployTemplates: db.DeployTemplates, InspectionRules: db.InspectionRules}
}

// authenticator is who says whom the API lets in; nil: nobody logs in.
func authenticator(c *Config, session *openstack.Session, log *slog.Logger) (api.Authenticator, error) {
	switch c.Auth {
	case "noauth":
		return nil, nil
	case "keystone":
		return door.NewKeystone(&openstack.Tokens{Session: session}, c.KeystoneURL, log), nil
	}
	basic, warnings, err := door.ReadBasic(c.HtpasswdFile)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	return basic, nil
}
