package conductor

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// What another attaches between a request's first look and its lease is seen: who was slower takes what is left, and is
// not told of a conflict, which the compute service reads as "it is attached". What another has replaced is not detached.
func TestVIFsAreChosenUnderTheLease(t *testing.T) {
	for _, tt := range []struct {
		name      string
		before    []string // the VIFs of the node's ports p1, p2…
		meanwhile string   // of p1
		do        func(ctx context.Context, c *Conductor) error
		want      string
		after     []string
	}{
		{"the best port is taken", []string{"", ""}, "faster", attaches(node.VIF{ID: "slower"}), "<nil>", []string{"faster", "slower"}},
		{"the only port is taken", []string{""}, "faster", attaches(node.VIF{ID: "slower"}),
			"Unable to attach VIF slower, not enough free physical ports on node " + uuid1 + ".", []string{"faster"}},
		{"the port wanted is taken", []string{"", ""}, "faster", attaches(node.VIF{ID: "slower", PortUUID: id("p1")}),
			"Unable to attach VIF slower because port p1 has VIF faster.", []string{"faster", ""}},
		{"another did it already", []string{"", ""}, "same", attaches(node.VIF{ID: "same"}),
			"Unable to attach VIF because VIF same is already attached to Ironic Port p1", []string{"same", ""}},
		{"another was attached", []string{"old"}, "next", detaches("old"), "VIF old is not attached to node " + uuid1, []string{"next"}},
		{"nothing happens", []string{"old"}, "old", detaches("old"), "<nil>", []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				put := func(i int, vif string) {
					p := node.Port{UUID: id(fmt.Sprint("p", i+1)), NodeUUID: uuid1, Address: fmt.Sprint("52:54:00:00:00:0", i+1), PXEEnabled: i == 0,
						InternalInfo: node.WithVIF(node.Document{"keep": "this"}, vif)}
					if err := saved(w.store.Ports, &p); err != nil {
						t.Fatal(err)
					}
				}
				for i, vif := range tt.before {
					put(i, vif)
				}
				cfg := w.cfg
				cfg.Store = late(w, func() { put(0, tt.meanwhile) })
				if err := tt.do(w.t.Context(), New(cfg)); short(fmt.Sprint(err)) != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				var after []string
				for i := range tt.before {
					info := is(w.store.Ports, id(fmt.Sprint("p", i+1))).InternalInfo
					after = append(after, info.String(node.VIFKey))
					if info["keep"] != "this" {
						t.Errorf("port %d keeps %v", i+1, info)
					}
				}
				if !slices.Equal(after, tt.after) || w.node().Lease.Holder != "" {
					t.Errorf("the ports have %q, want %q; the node's lease: %+v", after, tt.after, w.node().Lease)
				}
			})
		})
	}
}

func attaches(vif node.VIF) func(context.Context, *Conductor) error {
	return func(ctx context.Context, c *Conductor) error { return c.AttachVIF(ctx, uuid1, vif) }
}

func detaches(id string) func(context.Context, *Conductor) error {
	return func(ctx context.Context, c *Conductor) error { return c.DetachVIF(ctx, uuid1, id) }
}

// The compute service detaches after the tear-down, while the node is being cleaned: what is not attached needs no lease.
func TestDetachingNothingFromALockedNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Available)
		c := New(w.cfg)
		if _, err := w.store.Reserve(w.t.Context(), uuid1, "another", time.Hour); err != nil {
			t.Fatal(err)
		}
		err := c.DetachVIF(w.t.Context(), uuid1, "gone")
		if want := "VIF gone is not attached to node " + uuid1; node.KindOf(err) != node.Invalid || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := c.AttachVIF(w.t.Context(), uuid1, node.VIF{ID: "v"}); node.KindOf(err) != node.Conflict {
			t.Errorf("attached under another's lease: %v", err)
		}
	})
}

// A network interface that cannot detach fails the tear-down, and says which virtual interface stays; asked for again when
// it can, the tear-down ends.
func TestATearDownThatCannotDetach(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("fake-hardware", node.Active)
		w.edit(func(n *node.Node) { n.DriverInfo = node.Document{"fake_network_fail": "the network service is away"} })
		p := node.Port{UUID: id("p1"), NodeUUID: uuid1, Address: mac1, InternalInfo: node.Document{node.VIFKey: "v1"}}
		if err := saved(w.store.Ports, &p); err != nil {
			t.Fatal(err)
		}
		c, _ := w.start(w.cfg)
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		n := w.settle()
		w.wantState(n, node.Error)
		if want := "The tear-down failed: VIF v1 could not be detached: the network service is away"; n.LastError != want {
			t.Errorf("last_error is %q, want %q", n.LastError, want)
		}
		if vif := is(w.store.Ports, p.UUID).InternalInfo[node.VIFKey]; vif != "v1" || n.Lease.Holder != "" {
			t.Errorf("the port has %v, the lease is %+v", vif, n.Lease)
		}
		w.edit(func(n *node.Node) { n.DriverInfo = node.Document{} })
		w.provision(c, node.ProvisionRequest{Event: node.EventDelete})
		w.wantState(w.settle(), node.Available)
		if left := is(w.store.Ports, p.UUID).InternalInfo; len(left) != 0 {
			t.Errorf("the port has %v", left)
		}
	})
}
