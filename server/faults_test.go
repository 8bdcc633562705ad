package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ada@example"

// order is one with everything that Neutron gives.
func order() Order {
	return Order{Name: "web", Image: Image{Source: "debian.qcow2"}, Class: "gold", Networks: []string{"net-a", "net-b"}, Keys: []string{key},
		UserData: []byte("#!/bin/sh\n"), Wait: time.Minute}
}

// calls are those of a server that is made, or whose deploy breaks, without another fault.
func calls(t *testing.T, breaks string) []string {
	t.Helper()
	w := newWorld(1)
	w.breaks = breaks
	_, err := w.servers().Create(t.Context(), order())
	if (err == nil) != (breaks == "") {
		t.Fatal(err)
	}
	return w.calls
}

// Whichever call of making a server fails, once, before its work or after it with its answer lost: either the server is made all
// the same, or nothing of it is left and the error says why. The same when it is being taken back already.
func TestEachFaultIsUndone(t *testing.T) {
	failures := 0
	for _, breaks := range []string{"", "the disk is too small"} {
		for number, call := range calls(t, breaks) {
			for _, lost := range []bool{false, true} {
				for _, kind := range []node.Kind{node.Unavailable, node.Conflict, node.Invalid, node.Internal} {
					if lost && kind == node.Conflict {
						continue // nobody says so who has done it
					}
					w := newWorld(1)
					w.breaks = breaks
					w.fault = func(n int, _ string) (before, after error) {
						broken := node.Errorf(kind, "Broken by the test.")
						switch {
						case n != number+1:
							return nil, nil
						case lost:
							return nil, broken
						}
						return broken, nil
					}
					name := fmt.Sprintf("deploy breaks %q, call %d %s, lost %t, kind %d", breaks, number+1, call, lost, kind)
					_, err := w.servers().Create(t.Context(), order())
					w.fault = nil
					switch {
					case err != nil:
						failures++
						w.isClean(t, name)
						if !strings.Contains(err.Error(), "Broken by the test") && !strings.Contains(err.Error(), "too small") {
							t.Errorf("%s: %v", name, err)
						}
					default:
						if err := w.servers().Delete(t.Context(), "web", true); err != nil {
							t.Errorf("%s: %v", name, err)
						}
						w.isClean(t, name+", deleted")
					}
				}
			}
		}
	}
	if failures < 100 {
		t.Errorf("%d creates failed; the faults do not reach them", failures)
	}
}

// Who stops the program, at whichever call, gets what is promised: all of it is taken back.
func TestWhoGoesAwayTakesTheServerBack(t *testing.T) {
	all := calls(t, "")
	for number, call := range all[:slices.Index(all, "Progress")+1] {
		w := newWorld(1)
		ctx, cancel := context.WithCancel(t.Context())
		w.fault = func(n int, _ string) (error, error) {
			if n == number+1 {
				cancel()
			}
			return nil, nil
		}
		if _, err := w.servers().Create(ctx, order()); err == nil {
			t.Errorf("stopped at call %d %s: no error", number+1, call)
		}
		w.isClean(t, fmt.Sprintf("stopped at call %d %s", number+1, call))
		cancel()
	}
}

// A command that is killed at any call leaves what the next one finds by the name: a create of the same name says that something
// is there, delete removes it, and then the name is free.
func TestWhatAKilledCommandLeavesIsFoundByName(t *testing.T) {
	found := 0
	for number, call := range calls(t, "") {
		for _, lost := range []bool{false, true} {
			w := newWorld(1)
			killed := make(chan struct{})
			w.fault = func(n int, _ string) (before, after error) {
				if n != number+1 {
					return nil, nil
				}
				if lost {
					return nil, errKilled
				}
				w.fault = nil
				runtime.Goexit()
				return nil, nil
			}
			go func() {
				defer close(killed)
				_, _ = dying{w}.servers().Create(t.Context(), order())
			}()
			<-killed
			w.fault = nil
			name := fmt.Sprintf("killed at call %d %s, done %t", number+1, call, lost)
			if left := w.left(); len(left) > 0 {
				found++
				_, err := w.servers().Create(t.Context(), order())
				if err == nil || !strings.Contains(err.Error(), "`billet server delete web`") {
					t.Errorf("%s: made again beside %q: %v", name, left, err)
				}
				if err := w.servers().Delete(t.Context(), "web", false); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			w.isClean(t, name)
			if err := w.servers().Delete(t.Context(), "web", false); node.KindOf(err) != node.NotFound {
				t.Errorf("%s: deleted again: %v", name, err)
			}
			for range 5 { // until it is clean
				_, _ = w.Node(t.Context(), "n0")
			}
			if _, err := w.servers().Create(t.Context(), order()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d kills left something", found)
	}
}

// errKilled stands for a process that ends after a call was answered.
var errKilled = errors.New("killed")

// dying is a world whose client dies when it is told errKilled.
type dying struct{ *world }

func (d dying) servers() *Servers {
	s := d.world.servers()
	s.Allocations, s.Nodes, s.Networks = dyingAllocations{d.world}, dyingNodes{d.world}, dyingNetworks{d.world}
	return s
}

func die(err error) error {
	if errors.Is(err, errKilled) {
		runtime.Goexit()
	}
	return err
}

type dyingAllocations struct{ *world }

func (d dyingAllocations) CreateAllocation(ctx context.Context, a node.Allocation) (node.Allocation, error) {
	a, err := d.world.CreateAllocation(ctx, a)
	return a, die(err)
}

type dyingNodes struct{ *world }

func (d dyingNodes) SetInstance(ctx context.Context, uuid string, info node.Document) error {
	return die(d.world.SetInstance(ctx, uuid, info))
}

func (d dyingNodes) Provision(ctx context.Context, uuid string, req node.ProvisionRequest) error {
	return die(d.world.Provision(ctx, uuid, req))
}

func (d dyingNodes) AttachVIF(ctx context.Context, uuid string, vif node.VIF) error {
	return die(d.world.AttachVIF(ctx, uuid, vif))
}

type dyingNetworks struct{ *world }

func (d dyingNetworks) CreatePort(ctx context.Context, n Network, name, server string) (Port, error) {
	p, err := d.world.CreatePort(ctx, n, name, server)
	return p, die(err)
}

// What stays broken while a server is taken back is named with the command that finishes it, and that command does when the
// service works again.
func TestWhatCannotBeUndoneIsNamed(t *testing.T) {
	for _, broken := range []string{"Provision", "SetInstance", "DetachVIF", "DeleteAllocation", "Allocation", "Node", "Ports", "DeletePort"} {
		for _, breaks := range []string{"", "the disk is too small"} {
			w := newWorld(1)
			w.breaks = breaks
			s := w.servers()
			s.Patience = 20 * time.Millisecond
			off := false
			w.fault = func(_ int, call string) (before, after error) {
				// Without a deploy the machine is let go, with one it is torn down.
				if off = off || breaks == "" && call == "Provision" || breaks != "" && w.nodes[0].State == node.DeployFailed; off &&
					(call == broken || call == "Provision" && breaks == "") {
					return node.Errorf(node.Unavailable, "Away."), nil
				}
				return nil, nil
			}
			name := fmt.Sprintf("%s is broken, deploy breaks %q", broken, breaks)
			o := order()
			o.Wait = 200 * time.Millisecond
			_, err := s.Create(t.Context(), o)
			w.fault = nil
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			if len(w.left()) > 0 && !strings.Contains(err.Error(), "`billet server delete web` finishes that") {
				t.Errorf("%s: %v; left is %q", name, err, w.left())
			}
			if err := w.servers().Delete(t.Context(), "web", false); err != nil && node.KindOf(err) != node.NotFound {
				t.Errorf("%s: %v", name, err)
			}
			w.isClean(t, name)
		}
	}
}

// A tear-down that fails is not asked for over and over: a person must see to the machine. Deleted again, it is tried again.
func TestATearDownThatFailsIsSaid(t *testing.T) {
	w := newWorld(1)
	if _, err := w.servers().Create(t.Context(), order()); err != nil {
		t.Fatal(err)
	}
	w.stuckIn = node.Error
	err := w.servers().Delete(t.Context(), "web", true)
	if err == nil || !strings.Contains(err.Error(), `node n0 is "error": the BMC does not answer`) {
		t.Fatal(err)
	}
	w.stuckIn = ""
	if err := w.servers().Delete(t.Context(), "web", true); err != nil {
		t.Fatal(err)
	}
	w.isClean(t, "deleted again")
}

// Six are made at once on four machines: four are servers, two say that no machine is left, and no machine is given twice.
func TestServersMadeAtOnceShareNoMachine(t *testing.T) {
	w := newWorld(4)
	var orders []Order
	for i := range 6 {
		o := order()
		o.Name = fmt.Sprintf("web-%d", i)
		orders = append(orders, o)
	}
	made, errs := w.servers().CreateAll(t.Context(), orders)
	on, refused := map[string]bool{}, 0
	for i, v := range made {
		switch {
		case errs[i] == nil:
			on[v.NodeUUID] = true
		case strings.Contains(errs[i].Error(), "no available node has the resource class gold"):
			refused++
		default:
			t.Error(errs[i])
		}
	}
	if len(on) != 4 || refused != 2 || len(w.ports) != 8 {
		t.Errorf("%d machines, %d refused, %d ports", len(on), refused, len(w.ports))
	}
	if list, err := w.servers().List(t.Context()); err != nil || len(list) != 4 {
		t.Errorf("%v %v", list, err)
	}
}
