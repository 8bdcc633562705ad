package conductor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// Severities of history events.
const (
	infoSeverity  = "INFO"
	errorSeverity = "ERROR"
)

// lastErrorLimit is the most bytes that last_error keeps.
const lastErrorLimit = 4096

// tidyTime bounds what is done to a machine after its flow has failed.
const tidyTime = 3 * time.Minute

// fail ends a flow badly: the reason is saved, the machine is tidied up, and only then the state
// says failed. So whoever sees a failed node may start over, and a crash on the way changes
// neither the end nor the words.
func (r *run) fail(ctx context.Context, reason string) error {
	if leaseLost(ctx) {
		return node.ErrLeaseLost
	}
	p := r.n.Plan
	if p.Failure == "" {
		if lost := p.Quiet.Lost; lost != "" && !p.Aborting {
			reason = lost + " It was started again, and then: " + reason
		}
		p.Failure = cut(scrub(r.n, reason))
		if r.n.State.Class() == node.Waiting {
			p.PollAt = node.Now() // found as work if this process dies here
		}
		if err := r.c.nodes.Save(ctx, r.n); err != nil && ctx.Err() == nil {
			return err
		}
	}
	r.keepEvidence(ctx, r.keepLogs(ctx))
	r.c.stopCapture(r.n.UUID) // the machine is switched off next, and its BMC is asked to
	tidy := r.tidyUp(ctx)
	if ctx.Err() != nil { // the next conductor tidies up
		return r.stopped(ctx)
	}
	event := node.EventFail
	if _, ok := r.n.State.Next(node.EventAbort); ok && p.Aborting {
		event = node.EventAbort
	}
	if err := r.n.Apply(event); err != nil {
		return err
	}
	r.n.LastError = p.Failure
	if r.flow.forget != nil {
		r.flow.forget(r.n)
	}
	fault := r.flow.fault
	if p.Aborting {
		fault = node.NoFault
		if !tidy {
			fault = r.flow.stuck
		}
	}
	if fault != node.NoFault {
		r.n.Maintenance, r.n.Fault, r.n.MaintenanceReason = true, fault, r.n.LastError
	}
	r.n.Plan = nil
	delete(r.n.Unreadable, "plan") // it is over, whatever it was
	r.c.note(ctx, r.n, string(p.Flow), errorSeverity, r.n.LastError)
	r.clearProgress(ctx)
	r.log.Warn("flow failed", "flow", p.Flow, "state", r.n.State, "reason", r.n.LastError)
	return r.c.release(ctx, r.n)
}

// tidyUp leaves the machine as a failed flow should. What cannot be tidied is told, not fatal; it
// returns whether all could.
func (r *run) tidyUp(ctx context.Context) (tidy bool) {
	if r.flow.tidy == nil || r.task == nil {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	err := patiently(limited, func() error {
		return guarded(r.log, func() error { return r.flow.tidy(r.task.Hardware)(limited, r.task) })
	})
	if err != nil && ctx.Err() == nil {
		r.note(ctx, errorSeverity, fmt.Sprintf("Tidying up after %s: %v", r.flow.noun, err))
		return false
	}
	if ctx.Err() == nil {
		r.readPower(ctx)
	}
	return true
}

func abortedBy(f *flow) string {
	return fmt.Sprintf("%s was aborted by request.", capital(f.noun))
}

func (r *run) note(ctx context.Context, severity, text string) {
	r.c.note(ctx, r.n, string(r.n.Plan.Flow), severity, text)
}

// noteStep tells people about a step; what belongs to the frame of a flow only goes to the log.
func (r *run) noteStep(ctx context.Context, step *node.PlannedStep, what string) {
	if step.Hidden {
		r.log.Debug("frame step", "flow", r.n.Plan.Flow, "step", name(step), "what", what)
		return
	}
	r.note(ctx, infoSeverity, fmt.Sprintf("Step %s %s.", name(step), what))
}

// note adds a line to the node's history and to the log. History is for people: losing a line
// stops nothing.
func (c *core) note(ctx context.Context, n *node.Node, kind, severity, text string) {
	e := node.HistoryEvent{
		UUID: uuid.NewString(), NodeUUID: n.UUID, Conductor: c.cfg.Host, EventType: kind,
		Severity: severity, Event: cut(scrub(n, text)), CreatedAt: node.Now(),
	}
	if err := c.notes.AddHistory(ctx, e); err != nil && ctx.Err() == nil {
		c.log.Warn("history not written", "node", n.UUID, "error", err)
	}
	level := slog.LevelInfo
	if severity == errorSeverity {
		level = slog.LevelWarn
	}
	c.log.Log(ctx, level, "node history", "node", n.UUID, "flow", kind, "event", e.Event)
}

// progress keeps the latest progress of the step under way.
func (r *run) progress(ctx context.Context, p node.Progress) {
	p.NodeUUID, p.Flow, p.At = r.n.UUID, r.n.Plan.Flow, node.Now()
	if step := r.n.Plan.Current(); p.Step == "" && step != nil {
		p.Step = step.Step
	}
	if err := r.c.notes.SaveProgress(ctx, p); err != nil && ctx.Err() == nil {
		r.log.Warn("progress not written", "error", err)
	}
}

func (r *run) clearProgress(ctx context.Context) {
	if err := r.c.notes.ClearProgress(ctx, r.n.UUID); err != nil && ctx.Err() == nil {
		r.log.Warn("progress not cleared", "error", err)
	}
}

func cut(text string) string {
	if len(text) <= lastErrorLimit {
		return text
	}
	text = text[:lastErrorLimit-len("…")]
	for !utf8.ValidString(text) && text != "" {
		text = text[:len(text)-1]
	}
	return text + "…"
}

func name(s *node.PlannedStep) string { return string(s.Interface) + "." + s.Step }

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// since says how long ago t was, as people say it.
func since(t time.Time) string { return diagnosis.Spell(node.Since(t)) }
