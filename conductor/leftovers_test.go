package conductor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

// forgetful is a network interface of whose nodes something is left somewhere.
type forgetful struct {
	fake.Network
	m    *machine
	left []string
}

func (f *forgetful) Left(context.Context) ([]string, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return slices.Clone(f.left), nil
}

func (f *forgetful) Disconnect(ctx context.Context, t *driver.Task, purpose driver.NetworkPurpose) error {
	if err := f.m.do(ctx, t, "leave "+string(purpose)); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.left = nil
	return nil
}

// What a flow left is taken back as soon as a conductor starts, and later, but from no node that is at work.
func TestWhatFlowsLeaveAtNetworkServices(t *testing.T) {
	for state, taken := range map[node.State]int{
		node.Available: 1, node.CleanFailed: 1, node.Active: 1, node.CleanWait: 0, node.DeployHold: 0,
	} {
		inWorld(t, func(w *world) {
			net := &forgetful{fake.NewNetwork(), w.m, []string{uuid1, id("not ours")}}
			w.cfg.Types[1].Network = []driver.Network{net}
			w.enroll("test", state)
			if taken == 0 {
				w.edit(func(n *node.Node) {
					n.Plan = &node.Plan{Flow: node.FlowClean, Steps: []node.PlannedStep{{Step: "boot_clean", Interface: node.Deploy,
						StartedAt: node.Now()}}, Deadline: node.Now().Add(time.Hour)}
				})
			}
			_, stop := w.start(w.cfg)
			synctest.Wait()
			if got := w.m.count("leave provisioning"); got != taken {
				t.Errorf("%s: taken back %d times, want %d", state, got, taken)
			}
			w.m.mu.Lock()
			net.left = []string{uuid1}
			w.m.mu.Unlock()
			time.Sleep(leftoverSweep + time.Second)
			synctest.Wait()
			if got := w.m.count("leave provisioning"); got != 2*taken {
				t.Errorf("%s: taken back %d times, want %d", state, got, 2*taken)
			}
			if holder := w.node().Lease.Holder; holder != "" {
				t.Errorf("%s: the node stays locked by %s", state, holder)
			}
			stop()
		})
	}
}

// Moves makes it one that takes machines off their network.
func (f *forgetful) Moves() bool { return true }

// Fast track is off where a ramdisk that is left running would lose its network.
func TestNoFastTrackAcrossNetworks(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.enroll("test", node.Available)
		w.cfg.FastTrack = true
		if within, err := New(w.cfg).fastTrack(n); err != nil || within == 0 {
			t.Errorf("standing alone: %s, %v", within, err)
		}
		w.cfg.Types[1].Network = []driver.Network{&forgetful{fake.NewNetwork(), w.m, nil}}
		if within, err := New(w.cfg).fastTrack(n); err != nil || within != 0 {
			t.Errorf("with a network that moves: %s, %v", within, err)
		}
	})
}

// A node that is deleted leaves its networks, unless their service is away.
func TestADeletedNodeLeavesItsNetworks(t *testing.T) {
	for _, why := range []error{nil, errors.New("Neutron is away")} {
		inWorld(t, func(w *world) {
			w.cfg.Types[1].Network = []driver.Network{&forgetful{fake.NewNetwork(), w.m, nil}}
			w.enroll("test", node.Manageable)
			w.m.refuse("leave tenant", why)
			if err := New(w.cfg).DeleteNode(w.t.Context(), uuid1); err != nil {
				t.Fatal(err)
			}
			if _, err := w.store.Node(w.t.Context(), uuid1); node.KindOf(err) != node.NotFound || w.m.count("leave tenant") != 1 {
				t.Errorf("left %d times; the node: %v", w.m.count("leave tenant"), err)
			}
		})
	}
}
