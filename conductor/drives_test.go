package conductor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

// objectStore is a store of objects that fails on request.
type objectStore struct {
	mu   sync.Mutex
	has  map[string]string
	fail map[string]error // by what is asked: put, get, list, delete, url, check
	asks int
}

func newObjectStore() *objectStore {
	return &objectStore{has: map[string]string{}, fail: map[string]error{}}
}

// do does something unless it is to fail. An error that is left out fails nothing.
func (o *objectStore) do(what string, do func()) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asks++
	if err := o.fail[what]; err != nil {
		return err
	}
	do()
	return nil
}

func (o *objectStore) set(what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail[what] = err
}

func (o *objectStore) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.has))
}

func (o *objectStore) Put(_ context.Context, container, object string, body io.ReadSeeker, _ time.Duration) error {
	b, err := io.ReadAll(body)
	return errors.Join(err, o.do("put", func() { o.has[container+"/"+object] = string(b) }))
}

func (o *objectStore) Get(_ context.Context, container, object string, _ int64) (b []byte, err error) {
	err = o.do("get", func() { b = []byte(o.has[container+"/"+object]) })
	if err == nil && len(b) == 0 {
		err = node.Errorf(node.NotFound, "no such object")
	}
	return b, err
}

func (o *objectStore) List(_ context.Context, container, prefix string) (found []string, err error) {
	err = o.do("list", func() {
		for name := range o.has {
			if object, ok := strings.CutPrefix(name, container+"/"); ok && strings.HasPrefix(object, prefix) {
				found = append(found, object)
			}
		}
	})
	return found, err
}

func (o *objectStore) Delete(_ context.Context, container, object string) error {
	return o.do("delete", func() { delete(o.has, container+"/"+object) })
}

func (o *objectStore) URL(_ context.Context, container, object string, end time.Time) (url string, err error) {
	err = o.do("url", func() {
		url = fmt.Sprintf("http://swift/v1/AUTH_a/%s/%s?temp_url_sig=0a1b2c3d&temp_url_expires=%d", container, object, end.Unix())
	})
	return url, err
}

func (o *objectStore) Check(_ context.Context, url string) (err error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(url, "http://swift/v1/AUTH_a/"), "?")
	there := false
	if err = o.do("check", func() { _, there = o.has[name] }); err == nil && !there {
		err = node.Errorf(node.NotFound, "404")
	}
	return err
}

var errAway = node.ServiceAway("Swift was asked to keep something: it can not be reached", errors.New("connection refused"))

// largeDrive is a config drive that the database does not take, and the secret in it.
func largeDrive(t *testing.T, more string) (drive, secret string) {
	t.Helper()
	random := make([]byte, 8000)
	for i := range random {
		random[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[rand.N(36)]
	}
	secret = "toor-toor-" + more
	drive, err := configdrive.Build(node.ConfigDriveParts{UserData: "#!/bin/sh\n# " + string(random) + "\nroot:" + secret + "\n"},
		&node.Node{UUID: uuid1})
	if err != nil || len(drive) < 4000 {
		t.Fatal(len(drive), err)
	}
	return drive, secret
}

// withObjects gives the conductors of a world a store for drives of more than 4,000 bytes.
func (w *world) withObjects() *objectStore {
	o := newObjectStore()
	w.cfg.Objects, w.cfg.Drives = o, DriveKeep{Container: "drives", Over: 4000, For: 24 * time.Hour}
	w.cfg.AutomatedClean = false
	return o
}

// deployed carries a node from one verb to active.
func (w *world) deployed(c *Conductor, req node.ProvisionRequest) *node.Node {
	w.t.Helper()
	w.provision(c, req)
	w.reach(node.DeployWait)
	w.heartbeat(c)
	n := w.settle()
	w.wantState(n, node.Active)
	return n
}

// A large config drive lies in the store of objects from the start of the deploy until the instance is gone, and in nothing that
// people or the database see; a rebuild puts another in its place, or uses it again.
func TestALargeDriveIsKeptElsewhere(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		o := w.withObjects()
		c, _ := w.start(w.cfg)
		drive, _ := largeDrive(t, "one")
		n := w.deployed(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive})
		kept, ok := configdrive.KeptOf(n.ConfigDrive, n.UUID)
		if !ok || o.has["drives/"+kept.Object] != drive || len(o.has) != 1 {
			t.Fatalf("%q, and in the store %v", n.ConfigDrive, o.names())
		}
		url, err := (drives{c.core}).DriveURL(w.t.Context(), n)
		if err != nil || !strings.HasPrefix(url, "http://swift/v1/AUTH_a/drives/"+n.UUID) {
			t.Errorf("%s %v", url, err)
		}
		if text, err := (drives{c.core}).DriveText(w.t.Context(), n); err != nil || text != drive {
			t.Errorf("%d bytes %v", len(text), err)
		}
		again := w.deployed(c, node.ProvisionRequest{Event: node.EventRebuild})
		if again.ConfigDrive != n.ConfigDrive || len(o.has) != 1 {
			t.Errorf("a rebuild without a drive: %q, and in the store %v", again.ConfigDrive, o.names())
		}
		other, _ := largeDrive(t, "two")
		n = w.deployed(c, node.ProvisionRequest{Event: node.EventRebuild, ConfigDrive: other})
		if kept, _ = configdrive.KeptOf(n.ConfigDrive, n.UUID); o.has["drives/"+kept.Object] != other || len(o.has) != 1 {
			t.Errorf("a rebuild with another: %q, and in the store %v", n.ConfigDrive, o.names())
		}
		n = w.deployed(c, node.ProvisionRequest{Event: node.EventRebuild, ConfigDrive: "H4sIAAAAAAAA/wMAAAAAAAAAAAA="})
		if n.ConfigDrive != "H4sIAAAAAAAA/wMAAAAAAAAAAAA=" || len(o.has) != 0 {
			t.Errorf("a rebuild with a small one: %q, and in the store %v", n.ConfigDrive, o.names())
		}
		w.deployed(c, node.ProvisionRequest{Event: node.EventRebuild, ConfigDrive: drive})
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		if n = w.settle(); n.ConfigDrive != "" || len(o.has) != 0 || n.LastError != "" {
			t.Errorf("after the end of the instance: %q, in the store %v, %s", n.ConfigDrive, o.names(), n.LastError)
		}
		for _, text := range []string{w.log.String(), strings.Join(w.events(), "\n")} {
			if strings.Contains(text, "temp_url_sig") || strings.Contains(text, drive[:60]) {
				t.Errorf("a secret stands in\n%s", text)
			}
		}
	})
}

// What is wrong with the store is the deploy's failure before the machine is touched, and nothing stays there; the same deploy
// asked for again goes well when the store does.
func TestALargeDriveCannotBeKept(t *testing.T) {
	for name, tt := range map[string]struct {
		what, want string
		err        error
	}{
		"away":       {"put", "Swift was asked to keep something: it can not be reached", errAway},
		"refused":    {"put", "answered 403", node.Errorf(node.Forbidden, "Swift answered 403")},
		"too large":  {"put", "answered 413", node.Errorf(node.Invalid, "Swift answered 413")},
		"wrong key":  {"check", "does not take a temporary URL", node.Errorf(node.Forbidden, "Swift does not take a temporary URL (401)")},
		"key denied": {"url", "no key", node.Errorf(node.Invalid, "no key")},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				o := w.withObjects()
				c, _ := w.start(w.cfg)
				drive, _ := largeDrive(t, "one")
				o.set(tt.what, tt.err)
				begin := time.Now()
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive})
				n := w.settle()
				w.wantState(n, node.DeployFailed)
				if !strings.HasPrefix(n.LastError, "The deploy failed: the config drive of ") || !strings.Contains(n.LastError, tt.want) {
					t.Errorf("last_error %s", n.LastError)
				}
				if took := time.Since(begin); took > 6*time.Minute || tt.err == errAway && took < 4*time.Minute {
					t.Errorf("it took %s", took)
				}
				if done := w.m.done(); slices.Contains(done, "boot_deploy") || len(o.has) > 0 {
					t.Errorf("done to the machine: %v; in the store: %v", done, o.names())
				}
				o.set(tt.what, nil)
				if n = w.deployed(c, node.ProvisionRequest{Event: node.EventDeploy}); len(o.has) != 1 {
					t.Errorf("in the store: %v", o.names())
				}
			})
		})
	}
}

// A store that is back before the deploy's patience ends is waited for; one that cannot delete holds nothing up.
func TestTheStoreOfDrivesComesBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		o := w.withObjects()
		c, _ := w.start(w.cfg)
		drive, _ := largeDrive(t, "one")
		o.set("put", errAway)
		go func() { time.Sleep(3 * time.Minute); o.set("put", nil) }()
		w.deployed(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive})
		if len(o.has) != 1 {
			t.Errorf("in the store: %v", o.names())
		}
		o.set("delete", errAway)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		if n := w.settle(); n.State != node.Available || n.ConfigDrive != "" || n.LastError != "" {
			t.Errorf("%s: %s", n.State, n.LastError)
		}
		if all := strings.Join(w.events(), "\n"); !strings.Contains(all, "An earlier config drive stays in the object store until its end") {
			t.Errorf("the history is\n%s", all)
		}
	})
}

// A drive that is gone, or whose store nobody knows any more, is said so before the machine is touched.
func TestADriveThatIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		o := w.withObjects()
		c, stop := w.start(w.cfg)
		drive, _ := largeDrive(t, "one")
		w.deployed(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive})
		booted := w.m.count("boot_deploy")
		clear(o.has)
		w.provision(c, node.ProvisionRequest{Event: node.EventRebuild})
		if n := w.settle(); n.State != node.DeployFailed || !strings.Contains(n.LastError, "is gone, deleted or ended: give the config") {
			t.Errorf("%s: %s", n.State, n.LastError)
		}
		stop()
		w.cfg.Objects = nil
		c, _ = w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventRebuild})
		if n := w.settle(); n.State != node.DeployFailed || !strings.Contains(n.LastError, "this service knows none") {
			t.Errorf("%s: %s", n.State, n.LastError)
		}
		if again := w.m.count("boot_deploy"); again != booted {
			t.Error("the machine was booted")
		}
	})
}

// What a machine quotes of a drive that is kept elsewhere is hidden, by a process that has not seen the drive too.
func TestQuotesOfADriveThatIsKeptElsewhereAreHidden(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		w.withObjects()
		c, stop := w.start(w.cfg)
		drive, secret := largeDrive(t, "unseen")
		w.provision(c, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive})
		w.reach(node.DeployWait)
		w.heartbeat(c)
		stop()
		hiders.Lock()
		clear(hiders.drives)
		hiders.Unlock()
		c = New(w.cfg)
		w.edit(func(n *node.Node) {
			n.Agent.Token = "agent-token-1"
			n.Plan = &node.Plan{Flow: node.FlowDeploy, StartedAt: node.Now(), Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "write"}}}
		})
		quotes := []node.Line{{Text: "wrote root:" + secret}, {Text: "GET /v1/AUTH_a/c/o?temp_url_sig=0a1b2c3d&x=1"}}
		if err := c.AgentLines(w.t.Context(), uuid1, "agent-token-1", quotes); err != nil {
			t.Fatal(err)
		}
		lines, err := w.store.Lines(w.t.Context(), uuid1, node.AgentLog)
		all := texts(lines.Lines)
		if err != nil || strings.Contains(all, secret) || strings.Contains(all, "0a1b2c3d") || !strings.Contains(all, "wrote ") {
			t.Errorf("%s %v", all, err)
		}
	})
}

// Kill -9 at any write of a deploy with a large drive: the one after it ends the deploy, and one drive is in the store.
func TestAConductorThatDiesWithALargeDrive(t *testing.T) {
	drive, _ := largeDrive(t, "one")
	tr := trip{
		name: "deploy", from: node.Available, req: node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: drive}, want: node.Active,
		done: []string{"boot_deploy", "write_image", "agent:erase", "boot_instance", "read_power"},
	}
	writes := 1 << 30
	for k := writes; k >= 0; k-- {
		inWorld(t, func(w *world) {
			o := w.withObjects()
			made := w.travel(tr, k)
			if k > made {
				k = made
			}
			n := w.node()
			if kept, ok := configdrive.KeptOf(n.ConfigDrive, n.UUID); !ok || o.has["drives/"+kept.Object] != drive || len(o.has) != 1 {
				t.Errorf("dead after %d writes: %d bytes, and in the store %v", k, len(n.ConfigDrive), o.names())
			}
		})
	}
}
