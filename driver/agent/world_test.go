package agent

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

const (
	testUUID  = "7b9f3c64-8f2a-4a53-9f52-0d2a5a7c9e11"
	testToken = "tok-0123456789abcdefghijklmnopqrstuvwxyz-ABC"
)

// fakeAgent speaks the agent's side of the protocol. It belongs to one test.
type fakeAgent struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	list     []wire.CommandResult
	got      []wire.Command // every command that arrived, refused ones too
	ids      int
	versions map[string]string
	steps    map[string]map[string][]wire.Step // "clean" → manager → steps

	// What goes wrong; each is used up by one request.
	hangUpBefore int               // close the connection before a command is looked at
	hangUpAfter  int               // close it after the command was begun
	answer       map[string]string // command (short) → body answered with status 400
	outcome      map[string]wire.CommandResult
	boot         *wire.BootInfo // what it says of its machine's boot; nil: nothing, as agents other than Billet's
	unfinished   bool           // long commands stay RUNNING until finish is called
}

func newFakeAgent(t *testing.T) *fakeAgent {
	a := &fakeAgent{
		t: t, versions: map[string]string{"generic": "1.2"},
		steps: map[string]map[string][]wire.Step{}, answer: map[string]string{}, outcome: map[string]wire.CommandResult{},
	}
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.server.StartTLS()
	t.Cleanup(a.server.Close)
	return a
}

func (a *fakeAgent) certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw}))
}

// row is what the store knows of the agent once it has called.
func (a *fakeAgent) row() node.Agent {
	return node.Agent{URL: a.server.URL, Token: testToken, TokenGiven: true, VerifyCA: a.certificate(),
		LastHeartbeat: node.Now().Add(time.Millisecond)}
}

// reboot forgets every command, as RAM does.
func (a *fakeAgent) reboot() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = nil
}

// finish ends the command under way.
func (a *fakeAgent) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.list {
		if a.list[i].Status == wire.Running {
			a.list[i] = a.end(a.list[i])
		}
	}
}

func (a *fakeAgent) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Query().Get("agent_token") != testToken {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"faultcode":"Client","faultstring":"Token invalid."}`)
		return
	}
	if r.URL.Path != "/v1/commands/" {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodGet {
		json.NewEncoder(w).Encode(wire.Commands{Commands: a.list})
		return
	}
	a.post(w, r)
}

func (a *fakeAgent) post(w http.ResponseWriter, r *http.Request) {
	if a.hangUpBefore > 0 {
		a.hangUpBefore--
		panic(http.ErrAbortHandler)
	}
	var c wire.Command
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		a.t.Errorf("the command is not JSON: %v", err)
	}
	a.got = append(a.got, c)
	short := shortName(c.Name)
	if text, ok := a.answer[short]; ok {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, text)
		return
	}
	if i := slices.IndexFunc(a.list, func(c wire.CommandResult) bool { return c.Status == wire.Running }); i >= 0 {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, `{"faultcode":"Client","faultstring":"Agent is busy: executing command %s"}`, a.list[i].Name)
		return
	}
	a.ids++
	params, _ := json.Marshal(c.Params)
	result := wire.CommandResult{ID: fmt.Sprintf("command-%d", a.ids), Name: short, Status: wire.Running, Params: params}
	if r.URL.Query().Get("wait") == "true" || !a.unfinished {
		result = a.end(result)
	}
	a.list = append(a.list, result)
	if a.hangUpAfter > 0 {
		a.hangUpAfter--
		panic(http.ErrAbortHandler)
	}
	json.NewEncoder(w).Encode(result)
}

// end gives a command its outcome.
func (a *fakeAgent) end(c wire.CommandResult) wire.CommandResult {
	params := struct{ Step json.RawMessage }{}
	json.Unmarshal(c.Params, &params)
	c.Params = nil
	if o, ok := a.outcome[c.Name]; ok {
		c.Status, c.Error, c.Result = o.Status, o.Error, o.Result
		return c
	}
	c.Status = wire.Succeeded
	switch {
	case strings.HasPrefix(c.Name, "get_") && strings.HasSuffix(c.Name, "_steps"):
		kind := strings.TrimSuffix(strings.TrimPrefix(c.Name, "get_"), "_steps")
		answer := map[string]any{kind + "_steps": a.steps[kind], "hardware_manager_version": a.versions}
		if a.boot != nil {
			answer["boot"] = a.boot
		}
		c.Result = raw(answer)
	case strings.HasPrefix(c.Name, "execute_"):
		kind := strings.TrimSuffix(strings.TrimPrefix(c.Name, "execute_"), "_step")
		c.Result = raw(map[string]any{kind + "_result": nil, kind + "_step": params.Step})
	case c.Name == "get_partition_uuids":
		c.Result = raw(wire.PartitionUUIDs{Root: "root-1", ESP: "ABCD-0123"})
	default:
		c.Result = raw(map[string]any{"result": c.Name + ": done"})
	}
	return c
}

// count says how often a command arrived.
func (a *fakeAgent) count(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, c := range a.got {
		if c.Name == name {
			n++
		}
	}
	return n
}

// params of the last command of the name.
func (a *fakeAgent) params(name string) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range slices.Backward(a.got) {
		if c.Name == name {
			return c.Params
		}
	}
	a.t.Fatalf("the agent never got %s", name)
	return nil
}

func raw(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// world is one machine with its BMC, its boot record, its agent, and its row in the store. It is
// all that outlives a crash of the service.
type world struct {
	t      *testing.T
	direct *Direct
	agent  *fakeAgent
	log    []string // what happened to the machine, in order

	stored   node.Node
	row      node.Agent // the agent's row
	power    node.PowerState
	fails    map[string]error // "PowerState", "SetPowerState power off", "PrepareRamdisk", …
	params   map[string]string
	deaf     bool // the machine does not switch itself off
	ports    []node.Port
	fast     time.Duration // Task.FastTrack
	byHand   bool          // the power interface is the agent's own
	patience time.Duration // how long the BMC was given to tell the power state, last; 0: for ever
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, agent: newFakeAgent(t), power: node.PowerOff, fails: map[string]error{}}
	w.direct = &Direct{
		Sources: &fakeSources{}, Images: fakeImages{}, ImageURL: "http://10.0.0.1:6386", APIURL: "http://10.0.0.1:6386/",
		Client: Client{Pause: time.Millisecond, Timeout: 20 * time.Second},
	}
	w.stored = node.Node{
		UUID: testUUID, Name: "rack1-u7", Driver: "ipmi",
		Properties:   node.Document{"cpus": "4"},
		DriverInfo:   node.Document{"ipmi_address": "10.1.1.7", "ipmi_password": "hunter22"},
		InstanceInfo: node.Document{"image_source": "debian-12", "capabilities": map[string]any{"boot_mode": "uefi"}},
	}
	w.ports = []node.Port{{ID: 1, UUID: "p1", NodeUUID: testUUID, Address: "52:54:00:00:00:01", PXEEnabled: true}}
	return w
}

// plan puts the node at the start of a flow with the steps that the interface has for it.
func (w *world) plan(flow node.Flow, steps []driver.Step, more ...node.PlannedStep) {
	p := &node.Plan{Flow: flow, StartedAt: node.Now()}
	for _, s := range steps {
		if prio := s.Priority[flow]; prio != 0 { // 0 runs only when asked for
			p.Steps = append(p.Steps, node.PlannedStep{Interface: node.Deploy, Step: s.Name, Priority: prio})
		}
	}
	p.Steps = append(p.Steps, more...)
	slices.SortStableFunc(p.Steps, func(a, b node.PlannedStep) int { return b.Priority - a.Priority })
	w.stored.Plan = p
}

// task loads the node as a fresh process would.
// atRest is a task for looking at the stored node's notes, and leaving some.
func (w *world) atRest() *driver.Task { return &driver.Task{Node: &w.stored} }

// noted is a note of the stored node.
func noted[T any](w *world, n driver.Note[T]) T { return n.Get(w.atRest()) }

func (w *world) task() *driver.Task {
	n := w.stored.Clone()
	n.Agent = w.row
	m := &machine{world: w}
	t := &driver.Task{
		Node: n, Ports: w.ports,
		Hardware: &driver.Hardware{Type: "ipmi", Power: m, Management: nil, Boot: m, Network: m, Deploy: w.direct},
	}
	t.FastTrack = w.fast
	if w.byHand {
		t.Hardware.Power = noBMC{Power{Client: w.direct.Client}, w}
	}
	t.Save = func(context.Context) error { w.keep(n); return nil }
	t.ForgetAgent = func(context.Context) error {
		n.Agent, w.row = node.Agent{}, node.Agent{}
		w.note("forget agent")
		return nil
	}
	return t
}

// noBMC is the power interface "agent"; an order that gets to the agent takes it down.
type noBMC struct {
	Power
	*world
}

func (p noBMC) Name() string                                       { return p.Power.Name() }
func (p noBMC) Validate(ctx context.Context, t *driver.Task) error { return p.Power.Validate(ctx, t) }
func (p noBMC) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	p.note("agent: " + string(target))
	err := p.Power.SetPowerState(ctx, t, target)
	if err == nil {
		p.agent.reboot()
	}
	return err
}

// keep is a save of the node: not of its agent.
func (w *world) keep(n *node.Node) {
	w.stored = *n.Clone()
	w.stored.Agent = node.Agent{}
}

func (w *world) note(what string) { w.log = append(w.log, what) }

// calls has the agent heartbeat.
func (w *world) calls() { w.row = w.agent.row() }

// machine is the world's machine as its interfaces see it.
type machine struct {
	*world
	network.Noop // virtual interfaces are nobody's business here
}

func (m *machine) Name() string                                       { return "fake" }
func (m *machine) Properties() map[string]string                      { return nil }
func (m *machine) Validate(context.Context, *driver.Task) error       { return nil }
func (m *machine) do(what string) error                               { m.note(what); return m.fails[what] }
func (m *machine) CleanUpRamdisk(context.Context, *driver.Task) error { return m.do("CleanUpRamdisk") }
func (m *machine) PrepareInstance(context.Context, *driver.Task) error {
	return m.do("PrepareInstance")
}
func (m *machine) CleanUpInstance(context.Context, *driver.Task) error {
	return m.do("CleanUpInstance")
}

func (m *machine) PowerState(ctx context.Context, _ *driver.Task) (node.PowerState, error) {
	m.patience = 0
	if until, ends := ctx.Deadline(); ends {
		m.patience = time.Until(until)
	}
	if !m.deaf && m.agent.count("standby.power_off") > 0 && m.power == node.PowerOn {
		m.power = node.PowerOff
	}
	return m.power, m.fails["PowerState"]
}

func (m *machine) SetPowerState(_ context.Context, _ *driver.Task, target node.PowerState) error {
	if err := m.do(string(target)); err != nil {
		return err
	}
	if target == node.PowerOff || target == node.Rebooting {
		m.agent.reboot()
	}
	m.power = target
	if target == node.Rebooting {
		m.power = node.PowerOn
	}
	return nil
}

func (m *machine) PrepareRamdisk(_ context.Context, _ *driver.Task, params map[string]string) error {
	m.params = params
	return m.do("PrepareRamdisk")
}

func (m *machine) Connect(_ context.Context, _ *driver.Task, p driver.NetworkPurpose) error {
	return m.do("connect " + string(p))
}

func (m *machine) Disconnect(_ context.Context, _ *driver.Task, p driver.NetworkPurpose) error {
	return m.do("disconnect " + string(p))
}

// fakeSources finds every image it is asked for, the same one.
type fakeSources struct {
	resolved image.Resolved
	err      error
	asked    []image.Ref
}

func (f *fakeSources) Validate(ref image.Ref) error { return f.err }

func (f *fakeSources) Describe(context.Context, image.Ref) (*image.Described, error) {
	return nil, f.err
}

func (f *fakeSources) InRegistry(string) bool { return false }

func (f *fakeSources) KeepFile(context.Context, string) (string, error) { return "", f.err }

func (f *fakeSources) Begin(ctx context.Context, ref image.Ref) (image.Resolved, error) {
	return f.Resolve(ctx, ref)
}

func (f *fakeSources) File(_ context.Context, source string) (string, error) {
	return strings.TrimPrefix(source, "file://"), f.err
}

func (f *fakeSources) Resolve(_ context.Context, ref image.Ref) (image.Resolved, error) {
	f.asked = append(f.asked, ref)
	if f.resolved.HashAlgo == "" {
		f.resolved = image.Resolved{
			Path: "/images/debian-12", Size: 1000, HashAlgo: "sha256", HashValue: strings.Repeat("ab", 32),
			Info: image.Info{Format: image.QCOW2, VirtualSize: 4000, Size: 1000},
		}
	}
	return f.resolved, f.err
}

type fakeImages struct{}

func (fakeImages) ServeImage(_ context.Context, uuid, path string) (string, error) {
	if uuid != testUUID || path == "" {
		return "", errors.New("wrong image asked for")
	}
	return "/boot/0123456789abcdef0123456789abcdef/image", nil
}
