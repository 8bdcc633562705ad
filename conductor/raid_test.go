package conductor

import (
	"fmt"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/node"
)

func mirror(sizeGB any) node.Document {
	return node.Document{"logical_disks": []any{map[string]any{"raid_level": "1", "size_gb": sizeGB}}}
}

func TestSetTargetRAIDConfig(t *testing.T) {
	for _, tt := range []struct {
		name, iface string
		config      node.Document
		kind        node.Kind
		want        string // of the error; "": taken
	}{
		{"a mirror", "fake", mirror(100.0), 0, ""},
		{"taken back", "fake", node.Document{}, 0, ""},
		{"what the interface refuses", "fake", mirror("all"), node.Invalid,
			`logical_disks[0] of the RAID configuration must be an object with raid_level, a text, and size_gb, a whole number of at least 1 or ` +
				`"MAX".`},
		{"an interface that builds nothing", "no-raid", mirror(100.0), node.NotFound,
			node.Unsupported("test", "raid").Error() + ` The node's raid_interface is "no-raid".`},
		{"taken back where there is nothing", "no-raid", node.Document{}, node.NotFound,
			node.Unsupported("test", "raid").Error() + ` The node's raid_interface is "no-raid".`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				for i := range w.cfg.Types {
					w.cfg.Types[i].Other[node.RAID] = []driver.Implementation{fake.NewRAID(), none{}}
				}
				w.enroll("test", node.Manageable)
				before := mirror(7.0)
				w.edit(func(n *node.Node) {
					n.TargetRAIDConfig = before
					n.Interfaces = map[node.Interface]string{node.RAID: tt.iface}
				})
				c, _ := w.start(w.cfg)
				err := c.SetTargetRAIDConfig(w.t.Context(), uuid1, tt.config)
				want := tt.config
				if tt.want != "" {
					want = before
					if err == nil || err.Error() != tt.want || node.KindOf(err) != tt.kind {
						t.Errorf("got %v (kind %v)\nwant %s", err, node.KindOf(err), tt.want)
					}
				} else if err != nil {
					t.Error(err)
				}
				n := w.node()
				if fmt.Sprint(n.TargetRAIDConfig) != fmt.Sprint(want) || n.Lease.Holder != "" {
					t.Errorf("target_raid_config is %v, want %v; lease %+v", n.TargetRAIDConfig, want, n.Lease)
				}
			})
		})
	}
}

// none is an interface that is not there.
type none struct{ driver.Implementation }

func (none) Name() string                  { return "no-raid" }
func (none) Properties() map[string]string { return nil }

func TestSetTargetRAIDConfigOfALockedNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.enroll("test", node.Manageable)
		c, _ := w.start(w.cfg)
		if _, err := w.store.Reserve(w.t.Context(), uuid1, "somebody", time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := c.SetTargetRAIDConfig(w.t.Context(), uuid1, mirror(1.0)); node.KindOf(err) != node.Conflict {
			t.Errorf("%v (kind %v), want that it is locked", err, node.KindOf(err))
		}
		if err := c.SetTargetRAIDConfig(w.t.Context(), "nobody", mirror(1.0)); node.KindOf(err) != node.NotFound {
			t.Errorf("%v (kind %v), want that it is not found", err, node.KindOf(err))
		}
	})
}

func TestLogicalDiskProperties(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range w.cfg.Types {
			w.cfg.Types[i].Other[node.RAID] = []driver.Implementation{none{}, fake.NewRAID()} // the default need not be it
		}
		c := New(w.cfg)
		properties, err := c.LogicalDiskProperties(w.t.Context(), "test")
		if err != nil || properties["size_gb"] == "" {
			t.Errorf("%v, %v", properties, err)
		}
		if _, err := c.LogicalDiskProperties(w.t.Context(), "ilo"); node.KindOf(err) != node.NotFound {
			t.Errorf("an unknown driver: %v", err)
		}
		for i := range w.cfg.Types {
			w.cfg.Types[i].Other[node.RAID] = []driver.Implementation{none{}}
		}
		if _, err := New(w.cfg).LogicalDiskProperties(w.t.Context(), "test"); node.KindOf(err) != node.NotFound ||
			err.Error() != node.Unsupported("test", "raid").Error() {
			t.Errorf("a driver without raid: %v", err)
		}
	})
}
