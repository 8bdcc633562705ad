package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// command is one entry of the table of commands.
type command struct {
	async bool // runs in the background; the answer comes at once, the result is asked for later
	run   func(ctx context.Context, p steps.Params) (any, error)
}

// extensions is the table of commands: extension → command.
type extensions map[string]map[string]command

// mismatch is the error of a step that was planned with other hardware manager versions.
type mismatch struct{ asked, have string }

func (m *mismatch) Error() string {
	return fmt.Sprintf("the steps were planned with hardware manager versions %s, but this agent has %s", m.asked, m.have)
}

// commands runs commands, one at a time, and keeps their results since boot: conductors find out
// by them what was done. Its methods are safe for several goroutines.
type commands struct {
	ctx   context.Context // of background commands: the agent's own
	table extensions
	done  func() // called after each background command
	log   *slog.Logger

	wg   sync.WaitGroup
	mu   sync.Mutex
	list []*record // oldest first
}

// record is one command and its result.
type record struct {
	result wire.CommandResult // guarded by commands.mu
	ended  chan struct{}
}

// start checks and starts a command; a synchronous one has ended when start returns.
func (c *commands) start(ctx context.Context, name string, p steps.Params) (*record, error) {
	extension, short, ok := strings.Cut(name, ".")
	if !ok {
		return nil, &steps.Fault{Code: http.StatusBadRequest,
			Text: fmt.Sprintf("Invalid command: %s: a command is written extension.command", name)}
	}
	if c.table[extension] == nil {
		return nil, &steps.Fault{Code: http.StatusNotFound, Text: fmt.Sprintf("Extension %s could not be found", extension)}
	}
	cmd, ok := c.table[extension][short]
	if !ok {
		return nil, &steps.Fault{Code: http.StatusBadRequest, Text: fmt.Sprintf("Unknown command: %s", name)}
	}
	r, err := c.enter(short)
	if err != nil {
		return nil, err
	}
	c.log.Info("command", "command", name, "id", r.result.ID)
	if !cmd.async {
		c.carryOut(ctx, cmd, r, p)
		return r, nil
	}
	c.wg.Go(func() {
		c.carryOut(c.ctx, cmd, r, p)
		c.done()
	})
	return r, nil
}

// enter adds a command to the list unless another one is running.
func (c *commands) enter(name string) (*record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.list {
		if r.result.Status == wire.Running {
			return nil, &steps.Fault{Code: http.StatusConflict, Text: "Agent is busy: executing command " + r.result.Name}
		}
	}
	r := &record{
		result: wire.CommandResult{ID: uuid.NewString(), Name: name, Status: wire.Running},
		ended:  make(chan struct{}),
	}
	c.list = append(c.list, r)
	return r, nil
}

// carryOut runs a command and files its result.
func (c *commands) carryOut(ctx context.Context, cmd command, r *record, p steps.Params) {
	result, err := guarded(ctx, cmd, p)
	text, isText := result.(string)
	if isText && cmd.async {
		text = r.result.Name + ": " + text
	}
	if isText {
		result = map[string]string{"result": text}
	}
	raw, encodeErr := json.Marshal(result)
	if err == nil {
		err = encodeErr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(r.ended)
	r.result.Status, r.result.Result = wire.Succeeded, raw
	if err != nil {
		r.result.Status, r.result.Result, r.result.Error = wire.Failed, nil, commandError(r.result.Name, err)
		if wrong := (*mismatch)(nil); errors.As(err, &wrong) {
			r.result.Status = wire.VersionMismatch
		}
		c.log.Error("command failed", "command", r.result.Name, "id", r.result.ID, "error", err)
		return
	}
	c.log.Info("command done", "command", r.result.Name, "id", r.result.ID)
}

// guarded turns a panic into an error: one broken step must not take the agent down, and the
// reason must reach people.
func guarded(ctx context.Context, cmd command, p steps.Params) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w\n%s", steps.Panicked(r), debug.Stack())
		}
	}()
	return cmd.run(ctx, p)
}

func commandError(name string, err error) *wire.CommandError {
	e := &wire.CommandError{Type: "CommandExecutionError", Code: http.StatusInternalServerError,
		Message: "Command execution failed: " + name, Details: err.Error()}
	if f := (*steps.Fault)(nil); errors.As(err, &f) {
		e.Type, e.Code = "InvalidCommandParamsError", f.Code
	}
	if f := (*steps.EraseFailed)(nil); errors.As(err, &f) {
		e.Disks = f.Disks
	}
	if wrong := (*mismatch)(nil); errors.As(err, &wrong) {
		e.Type, e.Code = "VersionMismatch", http.StatusConflict
	}
	return e
}

// result is a copy of how a command stands.
func (c *commands) result(r *record) wire.CommandResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.result
}

// all are the results since boot, oldest first.
func (c *commands) all() wire.Commands {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := wire.Commands{Commands: []wire.CommandResult{}}
	for _, r := range c.list {
		out.Commands = append(out.Commands, r.result)
	}
	return out
}

func (c *commands) find(id string) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.list, func(r *record) bool { return r.result.ID == id })
	if i < 0 {
		return nil
	}
	return c.list[i]
}
