package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// maxRestarts is how often one step is started again on an agent that forgot it.
const maxRestarts = 3

// work is one long command of the agent, begun by one call of a step and watched by others,
// perhaps in other processes. What it knows is in the plan's memo; the agent's own list says the rest,
// so nothing is begun twice and nothing finished is done again, wherever a process died.
type work struct {
	name   string // "deploy.execute_deploy_step"
	what   string // for people: "write_image"
	params func(ctx context.Context) (map[string]any, error)
	within time.Duration
	// ended says what its success means for the step; not asked by give and look.
	ended func(ctx context.Context, c *wire.CommandResult) (driver.Result, error)
}

// commands gives an agent its long commands, and watches them.
type commands struct {
	client     Client
	within     time.Duration // one step; see Direct.StepTimeout
	lost, dead time.Duration
	every      time.Duration // how often a working agent is asked
}

func (d *Direct) commands() commands {
	return commands{client: d.Client, within: orElse(d.StepTimeout, DefaultStepTimeout), lost: d.AgentLost, dead: d.AgentDead, every: d.Poll}
}

// run is give, for a step that ends with its command.
func (c commands) run(ctx context.Context, t *driver.Task, w work) (driver.Result, error) {
	r, got, err := c.give(ctx, t, w)
	if err != nil || got == nil {
		return r, err
	}
	return w.ended(ctx, got)
}

// poll is look, for a step that ends with its command.
func (c commands) poll(ctx context.Context, t *driver.Task, w work) (driver.Result, error) {
	r, got, err := c.look(ctx, t, w)
	if err != nil || got == nil {
		return r, err
	}
	return w.ended(ctx, got)
}

// give begins the work, or finds it begun. The result is empty while it goes on.
func (c commands) give(ctx context.Context, t *driver.Task, w work) (driver.Result, *wire.CommandResult, error) {
	s, err := c.client.open(t.Node.Agent)
	if err != nil {
		return driver.Done(), nil, err
	}
	list, err := s.commands(ctx)
	if err != nil {
		return driver.Done(), nil, fmt.Errorf("before %s: %w", w.what, err)
	}
	if found := find(list, w, commandNote.Get(t)); found != nil {
		return c.stands(t, w, found, w.within)
	}
	restarts(t, 0)
	return c.begin(ctx, t, s, list, w)
}

// look looks how the work stands. An agent that cannot be reached is waited for while it calls; one
// that has forgotten the work, because it was started anew, gets it again.
func (c commands) look(ctx context.Context, t *driver.Task, w work) (driver.Result, *wire.CommandResult, error) {
	s, err := c.client.open(t.Node.Agent)
	if err != nil {
		return driver.Done(), nil, err
	}
	s.Attempts = 1 // the next poll is the next attempt
	list, err := s.commands(ctx)
	if err != nil {
		return c.silent(ctx, t, w, err)
	}
	s.Attempts = c.client.attempts()
	present(t)
	if !t.LookedUp.IsZero() {
		silenceNote.Edit(t, func(s *agentSilence) { s.LookedUp = t.LookedUp })
	}
	if found := find(list, w, commandNote.Get(t)); found != nil {
		return c.stands(t, w, found, 0)
	}
	n := commandNote.Get(t).Restarts
	if n >= maxRestarts {
		return driver.Done(), nil, fmt.Errorf("the agent was started anew %d times during %s: is the machine losing power?", n+1, w.what)
	}
	restarts(t, n+1)
	t.Logger().Warn("the agent has forgotten a command and gets it again", "command", w.what, "time", n+1)
	return c.begin(ctx, t, s, list, w)
}

// find looks for the work in the agent's list: by its id when that was saved; else the newest
// command, when it has the work's name and no earlier step saw it end.
func find(list []wire.CommandResult, w work, known agentCommand) *wire.CommandResult {
	if len(list) == 0 {
		return nil
	}
	if known.ID != "" && known.ID != known.Done {
		for i := range list {
			if list[i].ID == known.ID {
				return &list[i]
			}
		}
	}
	newest := &list[len(list)-1]
	if newest.Name == shortName(w.name) && newest.ID != known.Done {
		return newest
	}
	return nil
}

func (c commands) begin(ctx context.Context, t *driver.Task, s *session, list []wire.CommandResult,
	w work) (driver.Result, *wire.CommandResult, error) {
	params, err := w.params(ctx)
	if err != nil {
		return driver.Done(), nil, err
	}
	last := ""
	if len(list) > 0 {
		last = list[len(list)-1].ID
	}
	started, err := s.start(ctx, w.name, params, last)
	if err != nil {
		return driver.Done(), nil, fmt.Errorf("starting %s: %w", w.what, err)
	}
	commandNote.Edit(t, func(known *agentCommand) { known.ID = started.ID })
	if err := t.Checkpoint(ctx); err != nil {
		return driver.Done(), nil, err
	}
	return c.stands(t, w, &started, w.within)
}

// stands turns how a command stands into how the step stands; within is the deadline of a wait that
// starts now, 0 for one that goes on.
func (c commands) stands(
	t *driver.Task, w work, got *wire.CommandResult, within time.Duration,
) (driver.Result, *wire.CommandResult, error) {
	commandNote.Edit(t, func(known *agentCommand) { known.ID = got.ID })
	switch got.Status {
	case wire.Running:
		r := c.waitFor(finishing(w.what), within)
		r.Alive = w.within
		return r, nil, nil
	case wire.Succeeded, wire.VersionMismatch:
		finished(t, got.ID)
		return driver.Done(), got, nil
	}
	finished(t, got.ID)
	return driver.Done(), nil, &failed{w.what, got.Error}
}

// silent decides about an agent that does not answer: as long as it calls, it lives.
func (c commands) silent(ctx context.Context, t *driver.Task, w work, err error) (driver.Result, *wire.CommandResult, error) {
	quiet := node.Now().Sub(t.Node.Agent.LastHeartbeat)
	if !isUnreachable(err) {
		return driver.Done(), nil, fmt.Errorf("during %s: %w", w.what, err)
	}
	if quiet > orElse(c.lost, DefaultAgentLost) {
		return driver.Done(), nil, machineLost(fmt.Errorf("during %s: the agent has not called for %s, and %w", w.what, quiet.Round(time.Second),
			err))
	}
	if again := node.Now().Sub(t.LookedUp); !t.LookedUp.IsZero() && !silenceNote.Get(t).LookedUp.Equal(t.LookedUp) && again > takesOver {
		return driver.Done(), nil,
			machineLost(fmt.Errorf("during %s: the machine started anew by itself: an agent asked for its node %s ago, and the one before does not "+
				"answer", w.what, again.Round(time.Second)))
	}
	absent, polls := c.absent(t, err)
	if polls > 1 {
		asking, cancel := context.WithTimeout(ctx, powerAnswer)
		state, err := t.Hardware.Power.PowerState(asking, t)
		cancel()
		if err == nil && state == node.PowerOff {
			return driver.Done(), nil,
				machineLost(fmt.Errorf("during %s: the machine is off, as its BMC says: it lost its power, or somebody switched it off", w.what))
		}
	}
	if polls >= absentPolls && absent > orElse(c.dead, DefaultAgentDead) {
		return driver.Done(), nil, machineLost(fmt.Errorf("during %s: nobody has listened at the agent's address for %s, nor called, and %w",
			w.what, absent.Round(time.Second), err))
	}
	t.Logger().Warn("the agent does not answer but has called lately", "command", w.what, "error", err)
	r := c.waitFor(finishing(w.what), 0)
	r.Silent, r.GivesUp = err.Error(), t.Node.Agent.LastHeartbeat.Add(orElse(c.lost, DefaultAgentLost))
	if dead := node.Now().Add(orElse(c.dead, DefaultAgentDead) - absent); polls > 0 && dead.Before(r.GivesUp) {
		r.GivesUp = dead
	}
	return r, nil, nil
}

const (
	powerAnswer = 30 * time.Second // how long a BMC may take to say its power state

	// takesOver is how long an agent that was started anew in the same boot may take from its lookup, which
	// gets no token, to the first call with the token it had.
	takesOver = 15 * time.Second
)

// absentPolls is how many polls in a row must find nobody: after a restart of this service, or when it was busy, two
// polls may lie far apart.
const absentPolls = 4

// absent is for how long, and in how many polls, nobody was found to listen at the agent's address since the agent
// called last; 0 when something listens there, if only slowly.
func (c commands) absent(t *driver.Task, err error) (long time.Duration, polls int) {
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" {
		present(t)
		return 0, 0
	}
	seen := silenceNote.Get(t)
	if seen.Absent.IsZero() || t.Node.Agent.LastHeartbeat.After(seen.Absent) {
		seen.Absent, seen.Polls = node.Now(), 0
	}
	seen.Polls++
	silenceNote.Set(t, seen)
	return node.Now().Sub(seen.Absent), seen.Polls
}

// present notes that something listens at the agent's address.
func present(t *driver.Task) {
	silenceNote.Edit(t, func(s *agentSilence) { s.Absent, s.Polls = time.Time{}, 0 })
}

func restarts(t *driver.Task, n int) {
	commandNote.Edit(t, func(c *agentCommand) { c.Restarts = n })
}

func finished(t *driver.Task, id string) {
	commandNote.Edit(t, func(c *agentCommand) { c.Done = id })
}

// machineLost marks an error as the loss of the machine's agent, which the conductor looks for the cause of.
func machineLost(err error) error { return fmt.Errorf("%w%w", err, driver.ErrMachineLost) }

// finishing is what a working agent is waited for with.
func finishing(what string) node.Await {
	return node.Await{For: node.Command, Text: "the agent to finish " + what}
}

func (c commands) waitFor(what node.Await, within time.Duration) driver.Result {
	return driver.Result{WaitFor: what, Within: within, PollEvery: orElse(c.every, DefaultPoll)}
}

// version returns hardware_manager_version as the agent gave it with its steps.
func version(t *driver.Task) map[string]string {
	if v := versionNote.Get(t); v != nil {
		return v
	}
	return map[string]string{}
}
