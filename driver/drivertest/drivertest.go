// Package drivertest owns the conformance suites that every Power, Management and Boot
// implementation must pass. It knows no driver and starts no machine: a driver's own tests hand it
// a harness. It refuses to look behind the interface; what it asserts is what the conductor relies on.
package drivertest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Harness is one machine to test against, behind a BMC of its own. A suite asks for a new one for
// each of its tests, so tests never see each other's machine.
type Harness struct {
	// Task is a task on a node that the driver can reach; its Hardware is filled by the suite.
	Task *driver.Task
	// Dead is a task on a node whose BMC never answers; nil when the driver has no network.
	Dead *driver.Task
	// BMC is the dead node's BMC address: errors must name it.
	BMC string
	// Secrets must appear in no error and no log line.
	Secrets []string
	// Invalid are nodes that Validate must refuse, by what is wrong with them.
	Invalid map[string]*driver.Task
}

// NewTask returns a task on a node of the given hardware type and driver_info, as a conductor
// would make it for a short call: there is no plan and nothing to save to.
func NewTask(hardwareType string, info node.Document) *driver.Task {
	return &driver.Task{
		Node: &node.Node{
			UUID: "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", Driver: hardwareType, State: node.Manageable,
			DriverInfo: info, DriverInternalInfo: node.Document{}, Properties: node.Document{},
			InstanceInfo: node.Document{}, Plan: &node.Plan{Flow: node.FlowDeploy},
		},
		Hardware:    &driver.Hardware{Type: hardwareType},
		Log:         slog.New(slog.DiscardHandler),
		Save:        func(context.Context) error { return nil },
		ForgetAgent: func(context.Context) error { return nil },
		Progress:    func(node.Progress) {},
	}
}

// patience bounds one call to a BMC that answers.
const patience = 20 * time.Second

// slack is how much later than its deadline a call may come back.
const slack = 2 * time.Second

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// implementation asserts what every interface owes.
func implementation(t *testing.T, impl driver.Implementation, h Harness) {
	t.Run("says what it is", func(t *testing.T) {
		if impl.Name() == "" {
			t.Error("Name is empty")
		}
		for key, help := range impl.Properties() {
			if !strings.HasSuffix(help, ".") {
				t.Errorf("the help of %s is no sentence: %q", key, help)
			}
		}
	})
	if b, ok := impl.(driver.BMCAddresser); ok {
		t.Run("knows its BMC by the address", func(t *testing.T) { addresses(t, b, impl.Properties()) })
	}
	t.Run("validates without a network", func(t *testing.T) {
		task := h.Task
		if h.Dead != nil {
			task = h.Dead // a BMC that is away must not matter
		}
		// A context that has ended makes every use of the network fail.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := impl.Validate(ctx, task); err != nil {
			t.Errorf("a good node is refused: %v", err)
		}
	})
	for what, task := range h.Invalid {
		t.Run("refuses "+what, func(t *testing.T) {
			err := impl.Validate(t.Context(), task)
			if err == nil {
				t.Fatal("a bad node is accepted")
			}
			if node.KindOf(err) != node.Invalid {
				t.Errorf("kind %v of %v, want node.Invalid", node.KindOf(err), err)
			}
			noSecrets(t, err, h.Secrets)
		})
	}
}

// unreachable asserts how a call to a BMC that never answers ends: by the deadline, with an error
// for people that names the BMC and no secret.
func unreachable(t *testing.T, h Harness, call func(context.Context, *driver.Task) error) {
	t.Helper()
	if h.Dead == nil {
		return
	}
	const deadline = 1500 * time.Millisecond
	start := time.Now()
	err := call(within(t, deadline), h.Dead)
	if took := time.Since(start); took > deadline+slack {
		t.Errorf("came back after %v, the deadline was %v", took, deadline)
	}
	if err == nil {
		t.Fatal("no error from a BMC that does not answer")
	}
	if _, ok := errors.AsType[*node.Err](err); !ok {
		t.Errorf("%T is no *node.Err: %v", err, err)
	}
	if h.BMC != "" && !strings.Contains(err.Error(), h.BMC) {
		t.Errorf("the error does not name the BMC %s: %v", h.BMC, err)
	}
	noSecrets(t, err, h.Secrets)
}

func noSecrets(t *testing.T, err error, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("the error shows a secret: %s", strings.ReplaceAll(err.Error(), s, "‹secret›"))
		}
	}
}
