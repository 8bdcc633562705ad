// Package conductor owns everything that changes a node: it takes the API's verbs, holds the
// node's lease, plans the flow's steps, runs them until one waits, and goes on when the machine
// calls, a poll is due or a deadline has passed. It is the only caller of driver steps. It refuses
// to know any driver, any database and HTTP.
package conductor

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// Config is what a conductor is made of. Store (every door of it), Types, Host and Log must be set; a zero duration
// or number takes its default.
type Config struct {
	Store Store
	Types driver.Types
	Host  string // shown as a node's `reservation`
	Log   *slog.Logger

	LeaseTTL time.Duration // 30 s; renewed every third of it

	// How long a flow's step may wait when the step itself does not say. 1800 s each.
	DeployTimeout, CleanTimeout, InspectTimeout, RescueTimeout, ServiceTimeout time.Duration
	// how long one call of a step may take before it waits or ends; 1800 s
	StepTimeout  time.Duration
	PowerTimeout time.Duration // one power change or question asked by the API; 60 s

	// A booting machine that stops on its way to the agent's first call fails its flow this long after its last
	// sign of life; FirmwareTimeout is for the time before the first. 0: only the step's own deadline counts.
	BootPhaseTimeout, FirmwareTimeout time.Duration

	CaptureSerial    bool          // hear the machine's serial line while a flow works on it, where node and hardware allow
	FastTrackTimeout time.Duration // an agent that called within it is taken for alive; 300 s

	PowerSyncInterval time.Duration // how often every BMC is asked for its power state; 0: never
	WorkInterval      time.Duration // how often the store is asked for work; 1 s

	AutomatedClean       bool // clean on provide and after delete, unless the node says otherwise
	FastTrack            bool // flows use a ramdisk on that still runs, unless the node says otherwise (driver_info/fast_track)
	DeleteAvailableNodes bool // DELETE is allowed in state available
	RequireAgentTLS      bool // agents must call back over https
	ConductorGroup       string
	LogDir               string // where the logs of machines whose flow failed are kept; "": nowhere
	LogKeep              LogKeep
	Objects              Objects // beside the database; nil: there is none
	Drives               DriveKeep

	AgentNetworks []netip.Prefix   // where agents may be called at other addresses than they call from
	Listeners     []netip.AddrPort // this service's own, which are no agents

	BuiltInRules []node.InspectionRule                   // inspection rules beside those in the store
	RuleCalls    func(context.Context, rules.Call) error // carries out their "api-call" actions; nil: as rules does
	Discovery    Discovery

	MaxWorkers   int           // API verbs in progress at once, and as many wake-ups; 250
	LockAttempts int           // tries to get a node's lease before the API answers 409; 3
	LockInterval time.Duration // between two tries; 1 s

	Clock    *node.Clock          // this process's time, where the service keeps one: it is compared with the host's and the database's
	Time     TimeStore            // set with Clock
	TimeMark func() node.TimeMark // where the host stands, set with Clock

	OtherDHCP string         // who serves DHCP where Billet does not, for people: "Neutron"; "": Billet serves it
	Network   NetworkWitness // of that one; nil: it cannot be asked

	Wakeups <-chan string // UUIDs that other processes sharing the store want looked at; may be nil
	// Notify tells those other processes of a node while this one does not run flows itself; may be nil.
	Notify func(ctx context.Context, uuid string) error
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.LeaseTTL, 30 * time.Second}, {&c.StepTimeout, 1800 * time.Second},
		{&c.DeployTimeout, 1800 * time.Second}, {&c.CleanTimeout, 1800 * time.Second}, {&c.InspectTimeout, 1800 * time.Second},
		{&c.RescueTimeout, 1800 * time.Second}, {&c.ServiceTimeout, 1800 * time.Second},
		{&c.PowerTimeout, 60 * time.Second}, {&c.FastTrackTimeout, 300 * time.Second}, {&c.WorkInterval, time.Second},
		{&c.LockInterval, time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxWorkers == 0 {
		c.MaxWorkers = 250
	}
	if c.LockAttempts == 0 {
		c.LockAttempts = 3
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Conductor implements api.Conductor by its parts, each of which knows only what it needs. Its methods may be called at any
// time, from any goroutine; while Run is not running, flows are only started and left for a conductor that does run.
type Conductor struct {
	*core
	*engine
	*power
	*listeners
	*witness
	*callers
	*reports
	*registry
	*records
	*wiring
	*allocations
}

// core is what all parts of a conductor stand on: how a node is held, let go, noted, and looked at again.
type core struct {
	cfg  Config
	log  *slog.Logger
	born time.Time
	*life
	*waker
	learns learns
	verbs  lane // flows and power changes that the API asked for

	nodes  Nodes
	agents Agents
	notes  Notes
	boots  Boots
	ports  Records[node.Port, node.PortFilter]
}

// New returns a conductor; Run starts it.
func New(cfg Config) *Conductor {
	cfg.setDefaults()
	db, base := cfg.Store, newCore(cfg)
	c := &Conductor{
		core: base, power: &power{core: base, syncAt: map[int]int{}}, listeners: &listeners{core: base, captures: map[string]*capture{}},
		reports: &reports{core: base, rules: db.InspectionRules}, allocations: &allocations{base, db.Allocations},
		records: &records{base, db.Portgroups, db.VolumeConnectors, db.VolumeTargets}, wiring: &wiring{base, db.Portgroups, db.VolumeTargets},
	}
	c.witness = &witness{base, c.listeners}
	c.callers = &callers{base, c.reports}
	c.registry = &registry{base, c.allocations, c.wiring, db.Chassis, db.VolumeTargets}
	c.engine = &engine{
		core: base, power: c.power, listeners: c.listeners, witness: c.witness, wiring: c.wiring, allocations: c.allocations,
		queue: db.Queue, templates: db.DeployTemplates, carried: map[string]bool{},
	}
	c.waker.look = c.engine.look
	return c
}

func newCore(cfg Config) *core {
	all := &life{}
	return &core{
		cfg: cfg, log: cfg.Log, born: node.Now(), life: all, verbs: make(lane, cfg.MaxWorkers),
		waker: &waker{life: all, notifyOthers: cfg.Notify, log: cfg.Log, wakes: make(lane, cfg.MaxWorkers), looks: map[string]*look{}},
		nodes: cfg.Store.Nodes, agents: cfg.Store.Agents, notes: cfg.Store.Notes, boots: cfg.Store.Boots, ports: cfg.Store.Ports,
	}
}

// Run works until ctx ends, and returns when all it started has ended: steps under way are
// cancelled, and their nodes released as they stand so that the next conductor repeats the step.
func (c *Conductor) Run(ctx context.Context) error {
	now, end := context.WithCancel(ctx)
	defer c.tasks.Wait()
	defer end()
	c.life.set(now)
	defer c.life.end()

	c.wakeUnfinished(now)
	c.spawn(c.sweepAllocations)
	c.spawn(c.sweepLogs)
	c.spawn(c.sweepNetworks)
	if c.cfg.Clock != nil {
		c.spawn(c.keepTime)
	}
	if c.cfg.PowerSyncInterval > 0 {
		c.spawn(c.syncPower)
	}
	c.findWork(now)
	return nil
}

// noWorker is the API's answer when no more work can be started. Clients retry it.
func noWorker() *node.Err {
	return node.Errorf(node.Unavailable, "Requested action cannot be performed due to lack of free conductor workers.")
}
