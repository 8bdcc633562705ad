package conductor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// wire is a machine's serial line: what a test says on it is heard by whoever listens.
type wire struct {
	fake.Management
	mu     sync.Mutex
	heard  func([]byte)
	refuse error // instead of listening
	end    chan error
	calls  int
	most   int // listeners at the same time
	now    int
	panics bool
}

func newWire() *wire { return &wire{Management: fake.NewManagement(), end: make(chan error)} }

func (w *wire) ListenSerial(ctx context.Context, t *driver.Task, heard func([]byte)) error {
	w.mu.Lock()
	w.calls++
	refuse, panics := w.refuse, w.panics
	if refuse == nil && !panics {
		w.heard = heard
		w.now++
		w.most = max(w.most, w.now)
	}
	w.mu.Unlock()
	if panics {
		panic("index out of range: hunter2-secret")
	}
	if refuse != nil {
		return refuse
	}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-w.end:
		return err
	}
}

func (w *wire) says(text string) {
	w.mu.Lock()
	heard := w.heard
	w.mu.Unlock()
	heard([]byte(text))
}

func (w *wire) listening() (calls, now int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls, w.now
}

// hearing runs a test in a world whose hardware type "test" has a serial line.
func hearing(t *testing.T, test func(w *world, line *wire)) {
	inWorld(t, func(w *world) {
		line := newWire()
		for i := range w.cfg.Types {
			if w.cfg.Types[i].Name == "test" {
				w.cfg.Types[i].Management = []driver.Management{line}
			}
		}
		w.cfg.CaptureSerial = true
		w.cfg.BootPhaseTimeout, w.cfg.FirmwareTimeout = 110*time.Second, 25*time.Minute
		w.enroll("test", node.Available)
		test(w, line)
	})
}

func (w *world) serial() node.MachineLines {
	w.t.Helper()
	l, err := w.store.Lines(w.t.Context(), uuid1, node.SerialLine)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// A kernel that panics fails the deploy at once, with its own words, which are kept; nobody listens any more.
func TestAPanicFailsTheFlowAtOnce(t *testing.T) {
	hearing(t, func(w *world, line *wire) {
		w.cfg.LogDir = filepath.Join(w.t.TempDir(), "deploy-logs")
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		line.says("SeaBIOS\r\nthe BMC's password is hunter2-secret\r\n")
		time.Sleep(20 * time.Second)
		began := time.Now()
		line.says("[    1.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n")
		n := w.reach(node.DeployFailed)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("failed %s after the panic", took)
		}
		const want = `: the machine's kernel panicked 0.0 s ago: "Kernel panic - not syncing: VFS: Unable to mount root fs on ` +
			`unknown-block(0,0)".`
		if !strings.Contains(n.LastError, "of waiting for the agent's first heartbeat"+want) {
			t.Errorf("last_error: %s", n.LastError)
		}
		synctest.Wait()
		if _, now := line.listening(); now != 0 {
			t.Errorf("%d still listen", now)
		}
		kept, _ := filepath.Glob(filepath.Join(w.cfg.LogDir, uuid1+"-*-serial.log"))
		if len(kept) != 1 {
			t.Fatalf("kept %q", kept)
		}
		text, err := os.ReadFile(kept[0])
		if err != nil || strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), " the BMC's password is ******\n") ||
			strings.Count(string(text), "\n") != 3 {
			t.Errorf("%v, %s", err, text)
		}
		if all := strings.Join(w.events(), "\n"); !strings.Contains(all, "INFO deploy: The machine's last 3 serial lines are kept in "+kept[0]) {
			t.Errorf("history:\n%s", all)
		}
		failure, err := w.store.Failure(w.t.Context(), uuid1)
		if err != nil || failure.Sentence != n.LastError || failure.Step != "deploy.boot_deploy" || len(failure.Serial.Lines) != 3 ||
			strings.Join(failure.Files, "") != kept[0] {
			t.Errorf("%v, %+v", err, failure)
		}
		if strings.Contains(w.log.String(), "hunter2") {
			t.Error("the log holds the password")
		}
	})
}

// In the middle of its work too; the agent need not be asked first.
func TestAPanicDuringAStepOfTheAgent(t *testing.T) {
	hearing(t, func(w *world, line *wire) {
		w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "burnin", Priority: 90, Agent: true}}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		for w.m.count("agent:burnin") == 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		line.says("Kernel panic - not syncing: Out of memory and no killable processes...\r\n")
		n := w.reach(node.DeployFailed)
		if !strings.Contains(n.LastError, `of waiting for the agent to finish burnin: the machine's kernel panicked`) {
			t.Errorf("last_error: %s", n.LastError)
		}
	})
}

// What was never asked for is never listened to.
func TestWhoIsListenedTo(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*node.Node, *Config)
		want int
	}{
		{"by default", func(*node.Node, *Config) {}, 1},
		{"the service does not", func(_ *node.Node, c *Config) { c.CaptureSerial = false }, 0},
		{"the node does not", func(n *node.Node, _ *Config) { n.DriverInfo["capture_serial"] = false }, 0},
		{"the node alone does", func(n *node.Node, c *Config) { n.DriverInfo["capture_serial"], c.CaptureSerial = true, false }, 1},
		{"its console is in use", func(n *node.Node, _ *Config) { n.ConsoleEnabled = true }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hearing(t, func(w *world, line *wire) {
				w.edit(func(n *node.Node) { tt.edit(n, &w.cfg) })
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				synctest.Wait()
				if calls, now := line.listening(); calls != tt.want || now != tt.want {
					t.Errorf("listened to %d times, %d now; want %d", calls, now, tt.want)
				}
				w.heartbeat(c)
				w.reach(node.Active)
				synctest.Wait()
				if calls, now := line.listening(); calls != tt.want || now != 0 {
					t.Errorf("at the end listened to %d times, %d now", calls, now)
				}
			})
		})
	}
}

// Whatever the listener meets, the flow goes on as if it were not there; what can pass is tried again.
func TestTheListenerHarmsNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		refuse error
		panics bool
		note   string
		again  bool
	}{
		{"in use", node.Errorf(node.Conflict, "the serial line is in use by another console"), false,
			"the serial line is in use by another console", true},
		{"unreachable", node.Errorf(node.Unavailable, "no answer from hunter2-secret"), false, "no answer from ******", true},
		{"an error of any kind", errors.New("some error"), false, "some error", true},
		{"not supported", node.Errorf(node.Invalid, "has Serial over LAN switched off"), false, "has Serial over LAN switched off", false},
		{"taken", &node.Err{Kind: node.Conflict, Cause: driver.ErrSerialTaken, Msg: "ended"}, false,
			"somebody else took the console; this service stays away until the flow has ended", false},
		{"a mistake", nil, true, "a mistake in the driver (panic); the service's log has more", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hearing(t, func(w *world, line *wire) {
				line.refuse, line.panics = tt.refuse, tt.panics
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				time.Sleep(time.Minute)
				synctest.Wait()
				if l := w.serial(); l.Note != tt.note || len(l.Lines) != 0 {
					t.Errorf("note %q, want %q", l.Note, tt.note)
				}
				if calls, _ := line.listening(); (calls > 1) != tt.again || calls > 10 {
					t.Errorf("tried %d times in a minute", calls)
				}
				line.mu.Lock()
				line.refuse = nil
				line.mu.Unlock()
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if _, now := line.listening(); (now == 1) != tt.again {
					t.Errorf("%d listen when it could be heard again", now)
				}
				if tt.again {
					line.says("now\n")
					time.Sleep(5 * time.Second)
					synctest.Wait()
					if l := w.serial(); l.Note != "" || texts(l.Lines) != "now" {
						t.Errorf("%+v", l)
					}
				}
				w.heartbeat(c)
				w.reach(node.Active)
				if strings.Contains(w.log.String(), "hunter2") {
					t.Error("the log holds the password")
				}
			})
		})
	}
}

// A process that takes a flow over listens on, and one capture is all there is; that of a process that lost its flow
// to another ends by itself.
func TestAnotherProcessListensOn(t *testing.T) {
	hearing(t, func(w *world, line *wire) {
		c, stop := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		line.says("said to the first\n")
		time.Sleep(3 * time.Second)
		stop()
		if _, now := line.listening(); now != 0 {
			t.Errorf("%d listen after the process has ended", now)
		}
		cfg := w.cfg
		cfg.Host = "host-2"
		c2, _ := w.start(cfg)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if _, now := line.listening(); now != 1 {
			t.Fatalf("%d listen in the second process", now)
		}
		line.says("Kernel panic - not syncing: heard by the second\n")
		n := w.reach(node.DeployFailed)
		if !strings.Contains(n.LastError, "heard by the second") || line.most != 1 {
			t.Errorf("at most %d listened; last_error: %s", line.most, n.LastError)
		}
		_ = c2

		w.provision(c2, node.ProvisionRequest{Event: node.EventDelete})
		w.reach(node.CleanWait)
		synctest.Wait()
		if _, now := line.listening(); now != 1 {
			t.Fatalf("%d listen to the cleaning", now)
		}
		w.edit(func(n *node.Node) { n.State, n.Plan = node.Available, nil }) // as another process would
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if _, now := line.listening(); now != 0 {
			t.Errorf("%d listen although the flow has ended elsewhere", now)
		}
	})
}

// A machine that says the same again and again writes to the store now and then, not for each line.
func TestLinesAreSavedNowAndThen(t *testing.T) {
	hearing(t, func(w *world, line *wire) {
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
		w.reach(node.DeployWait)
		before := w.way.used("SaveLines")
		for range 600 {
			line.says("one line of many\n")
			time.Sleep(100 * time.Millisecond)
		}
		saves := w.way.used("SaveLines") - before
		if saves < 20 || saves > 35 {
			t.Errorf("saved %d times in a minute", saves)
		}
		if l := w.serial(); len(l.Lines) != node.LinesKept {
			t.Errorf("%d lines kept", len(l.Lines))
		}
	})
}
