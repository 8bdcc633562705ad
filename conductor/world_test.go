package conductor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store/memory"
)

const (
	uuid1 = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
	mac1  = "52:54:00:00:00:01"
)

// machine is a pretend machine that remembers what was done to it.
type machine struct {
	mu      sync.Mutex
	did     []string
	fail    map[string]error                // by what is done
	block   map[string]chan struct{}        // a step that hangs until closed or cancelled
	panics  map[string]bool                 // a step with a mistake
	offers  []node.PlannedStep              // steps of the agent
	agentOK map[string]bool                 // agent steps that have ended
	says    string                          // what they say they did
	runs    time.Duration                   // deadline of its steps; 0: an hour
	alive   time.Duration                   // the deadline follows signs of life by this
	happens string                          // what happens once to one that waits
	within  time.Duration                   // deadline of waiting for the agent
	onDo    func(what string, n *node.Node) // called for each thing done
	without []node.Flow                     // flows in which it runs no agent
	power   func() (node.PowerState, error) // what the BMC says; nil: what the node's row says
}

func newMachine() *machine {
	return &machine{fail: map[string]error{}, block: map[string]chan struct{}{}, panics: map[string]bool{}, agentOK: map[string]bool{}}
}

func (m *machine) do(ctx context.Context, t *driver.Task, what string) error {
	m.mu.Lock()
	m.did = append(m.did, what)
	onDo := m.onDo
	m.mu.Unlock()
	if onDo != nil {
		onDo(what, t.Node)
	}
	m.mu.Lock()
	err, block, panics := m.fail[what], m.block[what], m.panics[what]
	m.mu.Unlock()
	if panics {
		panic("index out of range: hunter2-secret")
	}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// done lists what was done, each thing once, in the order in which it was done first.
func (m *machine) done() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var once []string
	for _, d := range m.did {
		if !slices.Contains(once, d) {
			once = append(once, d)
		}
	}
	return once
}

func (m *machine) count(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, d := range m.did {
		if d == what {
			n++
		}
	}
	return n
}

func (m *machine) Steps() []driver.Step {
	step := func(name string, f node.Flow, priority int) driver.Step {
		return driver.Step{Name: name, Priority: map[node.Flow]int{f: priority}, Abortable: true,
			Run: func(ctx context.Context, t *driver.Task) (driver.Result, error) {
				return driver.Done(), m.do(ctx, t, name)
			}}
	}
	boots := func(name string, f node.Flow) driver.Step {
		return driver.Step{Name: name, Priority: map[node.Flow]int{f: 1000}, Frame: true,
			Run: func(ctx context.Context, t *driver.Task) (driver.Result, error) {
				if err := t.ForgetAgent(ctx); err != nil {
					return driver.Done(), err
				}
				return driver.Wait(heartbeat, m.within), m.do(ctx, t, name)
			},
			Poll: func(_ context.Context, t *driver.Task) (driver.Result, error) {
				if t.Node.Agent.URL == "" {
					return driver.Wait(heartbeat, 0), nil
				}
				return driver.Result{Steps: m.offers}, nil
			}}
	}
	frame := func(s driver.Step) driver.Step { s.Frame = true; return s }
	return []driver.Step{
		boots("boot_deploy", node.FlowDeploy),
		step("write_image", node.FlowDeploy, 80), step("boot_instance", node.FlowDeploy, 20),
		step("optional", node.FlowDeploy, 0), {Name: "end_agent", Priority: map[node.Flow]int{node.FlowDeploy: 0}, EndsAgent: true},
		boots("boot_clean", node.FlowClean),
		frame(step("end_clean", node.FlowClean, -1)), step("erase_cmos", node.FlowClean, 0),
		frame(step("tear_down", node.FlowDelete, 100)), frame(step("adopt", node.FlowAdopt, 10)),
		boots("boot_service", node.FlowService),
		frame(step("end_service", node.FlowService, -1)), step("flash", node.FlowService, 0), step("polish", node.FlowService, 0),
	}
}

// testRescue is the machine as a rescue interface.
type testRescue struct{ *machine }

func (r testRescue) Name() string                                 { return "agent" }
func (r testRescue) Properties() map[string]string                { return nil }
func (r testRescue) Validate(context.Context, *driver.Task) error { return nil }
func (r testRescue) TidyUp(ctx context.Context, t *driver.Task) error {
	return r.do(ctx, t, "tidy_rescue")
}

func (r testRescue) Steps() []driver.Step {
	step := func(name string, f node.Flow, priority int) driver.Step {
		return driver.Step{Name: name, Priority: map[node.Flow]int{f: priority}, Frame: true,
			Run: func(ctx context.Context, t *driver.Task) (driver.Result, error) {
				driver.RescueAddress.Set(t, "10.0.0.5")
				return driver.Done(), r.do(ctx, t, name)
			}}
	}
	boot := step("boot_rescue", node.FlowRescue, 100)
	boot.Run = func(ctx context.Context, t *driver.Task) (driver.Result, error) {
		if err := t.ForgetAgent(ctx); err != nil {
			return driver.Done(), err
		}
		return driver.Wait(heartbeat, r.within), r.do(ctx, t, "boot_rescue")
	}
	boot.Poll = func(_ context.Context, t *driver.Task) (driver.Result, error) {
		if t.Node.Agent.URL == "" {
			return driver.Wait(heartbeat, 0), nil
		}
		return driver.Done(), nil
	}
	return []driver.Step{
		boot, step("let_in", node.FlowRescue, 80), step("end_rescue", node.FlowUnrescue, 100), step("start_instance", node.FlowUnrescue, 80),
	}
}

func (m *machine) RunsAgent(f node.Flow) bool { return !slices.Contains(m.without, f) }

func (m *machine) RunStep(ctx context.Context, t *driver.Task) (driver.Result, error) {
	step := t.Step().Step
	return driver.Wait(finishing(step), cmp.Or(m.runs, time.Hour)), m.do(ctx, t, "agent:"+step)
}

// bootedAgain is the step whose machine was booted again.
var bootedAgain = driver.Note[int]{Key: "again"}

func (m *machine) BootAgain(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if step, booted := bootedAgain.Of(t.Node.Plan); booted && step == t.Node.Plan.Index {
		if t.Node.Agent.URL == "" {
			return driver.Wait(heartbeat, 0), nil
		}
		return driver.Done(), nil
	}
	if err := t.ForgetAgent(ctx); err != nil {
		return driver.Done(), err
	}
	bootedAgain.Set(t, t.Node.Plan.Index)
	return driver.Wait(heartbeat, m.within), m.do(ctx, t, "boot_again")
}

func (m *machine) PollStep(_ context.Context, t *driver.Task) (driver.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.agentOK[t.Step().Step] {
		return driver.Result{Says: m.says}, nil
	}
	if m.happens != "" {
		r := driver.Wait(finishing(t.Step().Step), 0)
		r.Says, m.happens = m.happens, ""
		return r, nil
	}
	return driver.Result{WaitFor: finishing(t.Step().Step), Alive: m.alive, PollEvery: time.Minute}, nil
}

func (m *machine) CollectLogs(ctx context.Context, t *driver.Task) ([]byte, error) {
	return []byte("what the machine said"), m.do(ctx, t, "logs")
}

func (m *machine) TidyUp(ctx context.Context, t *driver.Task) error { return m.do(ctx, t, "tidy_up") }

// testDeploy is the machine as a deploy interface.
type testDeploy struct {
	*machine
	name string
}

func (d testDeploy) Name() string                  { return d.name }
func (d testDeploy) Properties() map[string]string { return nil }
func (d testDeploy) Validate(_ context.Context, t *driver.Task) error {
	if t.Node.InstanceInfo.String("image_source") == "bad" {
		return node.Errorf(node.Invalid, "instance_info/image_source is bad.")
	}
	return nil
}

// testPower is a switch that a test can break.
type testPower struct {
	fake.Power
	m *machine
}

func (p testPower) Validate(_ context.Context, t *driver.Task) error {
	if t.Node.DriverInfo["ipmi_address"] == "bad" {
		return node.Errorf(node.Invalid, "driver_info/ipmi_address is bad.")
	}
	return nil
}

func (p testPower) BMCAddresses(info node.Document) []netip.Addr {
	return driver.AddressIn(info.String("ipmi_address"))
}

func (p testPower) SetBMCAddress(info node.Document, bmc netip.Addr) {
	info["ipmi_address"] = bmc.String()
}

func (p testPower) PowerState(ctx context.Context, t *driver.Task) (node.PowerState, error) {
	if err := p.m.do(ctx, t, "read_power"); err != nil {
		return node.PowerUnknown, err
	}
	p.m.mu.Lock()
	power := p.m.power
	p.m.mu.Unlock()
	if power != nil {
		return power()
	}
	return p.Power.PowerState(ctx, t)
}

func (p testPower) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	if err := p.m.do(ctx, t, string(target)); err != nil {
		return err
	}
	return p.Power.SetPowerState(ctx, t, target)
}

// testInspect waits for the machine's report.
type testInspect struct {
	fake.Inspect
	m *machine
}

func (i testInspect) Steps() []driver.Step {
	return []driver.Step{{Name: "boot_inspect", Priority: map[node.Flow]int{node.FlowInspect: 100},
		Run: func(ctx context.Context, t *driver.Task) (driver.Result, error) {
			return driver.Wait(node.Await{For: node.Report, Text: "the machine's inspection report"}, 0), i.m.do(ctx, t, "boot_inspect")
		}}}
}

func (i testInspect) Inspected(ctx context.Context, t *driver.Task, d node.InspectionData) (node.Findings, error) {
	t.Node.Properties = node.Document{"cpus": "4"}
	found, err := i.Inspect.Inspected(ctx, t, d)
	found.Ports = []node.Port{{Address: "52:54:00:00:00:99", PXEEnabled: true}, {Address: mac1}}
	return found, err
}

func testTypes(m *machine) driver.Types {
	fakes := map[node.Interface][]driver.Implementation{node.RAID: {fake.NewOther(node.RAID)}, node.RescueIf: {fake.NewOther(node.RescueIf)}}
	all := map[node.Interface][]driver.Implementation{node.RAID: {fake.NewOther(node.RAID)},
		node.RescueIf: {testRescue{m}, fake.NewOther(node.RescueIf)}}
	return driver.Types{
		{Name: "fake-hardware", Power: []driver.Power{fake.NewPower()}, Management: []driver.Management{fake.NewManagement()},
			Boot: []driver.Boot{fake.NewBoot()}, Deploy: []driver.Deploy{fake.NewDeploy()},
			Inspect: []driver.Inspect{fake.NewInspect()}, Network: []driver.Network{fake.NewNetwork()}, Other: fakes},
		{Name: "test", Power: []driver.Power{testPower{fake.NewPower(), m}}, Management: []driver.Management{fake.NewManagement()},
			Boot: []driver.Boot{fake.NewBoot()}, Deploy: []driver.Deploy{testDeploy{m, "direct"}, testDeploy{m, "other"}},
			Inspect: []driver.Inspect{testInspect{fake.NewInspect(), m}}, Network: []driver.Network{fake.NewNetwork()}, Other: all},
	}
}

// world is a database, a machine and the conductors of a test, in a synctest bubble.
type world struct {
	t     *testing.T
	store *memory.Store
	way   *process // the conductors' to it, but for those that die
	m     *machine
	log   *safeBuffer
	cfg   Config
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inWorld runs a test with time of its own.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: memory.New(), way: newProcess(immortal), m: newMachine(), log: &safeBuffer{}}
		w.cfg = Config{Store: w.way.to(inMemory(w.store)), Types: testTypes(w.m), Host: "host-1", AutomatedClean: true,
			Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		test(w)
	})
}

// start runs a conductor until stop is called or the test ends.
func (w *world) start(cfg Config) (*Conductor, func()) {
	c := New(cfg)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	synctest.Wait()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return c, stop
}

// enroll stores a node of the given hardware type in the given state, with one port.
func (w *world) enroll(hardwareType string, state node.State) *node.Node {
	w.t.Helper()
	n := &node.Node{UUID: uuid1, Name: "blade", Driver: hardwareType, State: state,
		DriverInfo: node.Document{"ipmi_password": "hunter2-secret"}, InstanceInfo: node.Document{"image_source": "file:///img"}}
	if err := w.store.CreateNode(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.Ports.Create(w.t.Context(), &node.Port{UUID: id("p1"), NodeUUID: uuid1, Address: mac1, PXEEnabled: true}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// inventory is what inspection found of a node; nothing when it found nothing.
func (w *world) inventory(uuid string) node.Inventory {
	i, err := w.store.Inventory(w.t.Context(), uuid)
	if err != nil && node.KindOf(err) != node.NotFound {
		w.t.Error(err)
	}
	return i
}

// progress is how far the step under way of the node is; nil when nothing is known of it.
func (w *world) progress() *node.Progress {
	p, err := w.store.Progress(w.t.Context(), uuid1)
	if err != nil {
		w.t.Error(err)
	}
	return p
}

// boots gives the node a boot whose ramdisk shows the key.
func (w *world) boots(key string) {
	record := boot.Record{NodeUUID: uuid1, Kernel: "/k", Secret: "s", Key: key, Until: node.Now().Add(24 * time.Hour)}
	if err := w.store.PutRecord(w.t.Context(), record); err != nil {
		w.t.Error(err)
	}
}

// rules are the inspection rules from now on, and templates the deploy templates.
func (w *world) rules(all ...node.InspectionRule) {
	w.t.Helper()
	err := w.store.InspectionRules.DeleteAll(w.t.Context())
	for _, r := range all {
		err = errors.Join(err, w.store.InspectionRules.Create(w.t.Context(), &r))
		w.spoil(r.UUID, r.Unreadable)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) templates(all ...node.DeployTemplate) {
	w.t.Helper()
	err := w.store.DeployTemplates.DeleteAll(w.t.Context())
	for _, t := range all {
		err = errors.Join(err, w.store.DeployTemplates.Create(w.t.Context(), &t))
		w.spoil(t.UUID, t.Unreadable)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) spoil(uuid string, damage node.Unreadable) {
	for field, why := range damage {
		w.store.Spoil(uuid, field, why)
	}
}

// id is a UUID for what a test calls by a short name; short undoes it in texts.
func id(name string) string {
	if name == "" {
		return ""
	}
	digits := fmt.Sprintf("%-32s", hex.EncodeToString([]byte(name)))
	digits = strings.ReplaceAll(digits, " ", "0")
	return strings.Join([]string{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]}, "-")
}

var ids = regexp.MustCompile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

func short(text string) string {
	return ids.ReplaceAllStringFunc(text, func(uuid string) string {
		name, _ := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
		name = bytes.TrimRight(name, "\x00")
		if len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
			return uuid
		}
		return string(name)
	})
}

func (w *world) node() *node.Node {
	w.t.Helper()
	n, err := w.store.Node(w.t.Context(), uuid1)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// edit changes the stored node behind everybody's back.
func (w *world) edit(change func(*node.Node)) {
	w.store.Edit(uuid1, change)
}

// settle waits until the node's state is none that moves by itself, at most a day.
func (w *world) settle() *node.Node {
	w.t.Helper()
	for range 24 * 3600 {
		synctest.Wait()
		n := w.node()
		if c := n.State.Class(); c != node.Busy && c != node.Waiting && !n.Lease.Held(time.Now()) && n.TargetPower == "" {
			return n
		}
		time.Sleep(time.Second)
	}
	w.t.Fatalf("the node is still in state %q, lease %+v, plan %+v", w.node().State, w.node().Lease, w.node().Plan)
	return nil
}

// reach waits until the node is in the given state, at most an hour.
func (w *world) reach(s node.State) *node.Node {
	w.t.Helper()
	for range 3600 {
		synctest.Wait()
		if n := w.node(); n.State == s && !n.Lease.Held(time.Now()) {
			return n
		}
		time.Sleep(time.Second)
	}
	w.t.Fatalf("the node never was in state %q; it is in %q: %s", s, w.node().State, w.node().LastError)
	return nil
}

// reachWaiting waits until the node waits or nothing moves it any more, at most an hour.
func (w *world) reachWaiting() {
	w.t.Helper()
	for range 3600 {
		synctest.Wait()
		if n := w.node(); n.State.Class() != node.Busy && !n.Lease.Held(time.Now()) {
			return
		}
		time.Sleep(time.Second)
	}
	w.t.Fatalf("the node is still in state %q", w.node().State)
}

func (w *world) provision(c *Conductor, req node.ProvisionRequest) {
	w.t.Helper()
	if err := c.Provision(w.t.Context(), uuid1, req); err != nil {
		w.t.Fatalf("%s: %v", req.Event, err)
	}
}

// heartbeat plays the machine's agent: lookup when it has no token yet, then a call.
func (w *world) heartbeat(c *Conductor) {
	w.t.Helper()
	token := w.node().Agent.Token
	if token == "" {
		var err error
		if _, token, err = c.LookupAgent(w.t.Context(), node.AgentLookup{MACs: []string{mac1}, WantToken: true}); err != nil {
			w.t.Fatal(err)
		}
	}
	time.Sleep(time.Millisecond)
	err := c.Heartbeat(w.t.Context(), uuid1, node.Heartbeat{CallbackURL: "https://10.0.0.5:9999", AgentToken: token, AgentVersion: "1",
		VerifyCA: "pem"})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) events() []string {
	var all []string
	nodes, err := w.store.Nodes(w.t.Context(), node.NodeFilter{IncludeChildren: true}, node.Page{Hot: true})
	var history []node.HistoryEvent
	for _, n := range nodes {
		of, again := w.store.History(w.t.Context(), n.UUID, node.Page{})
		history, err = append(history, of...), errors.Join(err, again)
	}
	if err != nil {
		w.t.Error(err)
	}
	slices.SortFunc(history, func(a, b node.HistoryEvent) int { return cmp.Compare(a.ID, b.ID) })
	for _, e := range history {
		all = append(all, e.Severity+" "+e.EventType+": "+e.Event)
	}
	return all
}

func (w *world) wantState(n *node.Node, s node.State) {
	w.t.Helper()
	if n.State != s {
		w.t.Fatalf("state %q, want %q; last_error: %s", n.State, s, n.LastError)
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, fmt.Sprintf("%q", got), fmt.Sprintf("%q", want))
	}
}

// heartbeat is what the driver of the test waits for.
var heartbeat = node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}

func finishing(step string) node.Await {
	return node.Await{For: node.Command, Text: "the agent to finish " + step}
}
