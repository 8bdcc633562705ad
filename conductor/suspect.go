package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// What people were told of a quiet machine is kept in the plan, so that they are told once, also by the process that
// goes on after this one. What it is suspected of is judged in diagnosis.

// suspect tells people, once a phase, that the machine is quiet, and that it has gone on.
func (r *run) suspect(ctx context.Context, s diagnosis.Suspicion) {
	if s.Phase == "" {
		r.wentOn(ctx)
		return
	}
	r.tellOnce(ctx, name(r.n.Plan.Current())+" "+s.Phase, s.Text)
	before := &r.n.Plan.Quiet.Suspected
	before.Since, before.Phase = s.Since, s.Phase
}

// wentOn takes back what the machine was suspected of.
func (r *run) wentOn(ctx context.Context) {
	before := &r.n.Plan.Quiet.Suspected
	if before.Phase == "" {
		return
	}
	r.log.Info("the quiet machine goes on", "phase", before.Phase)
	r.tellOnce(ctx, "went on "+before.Phase, fmt.Sprintf("The machine that was quiet (%s) goes on.", before.Phase))
	before.Phase = ""
}

// tellOnce notes what people were not told yet of this step's machine.
func (r *run) tellOnce(ctx context.Context, key, text string) {
	told := &r.n.Plan.Quiet.Suspected.Told
	if !slices.Contains(*told, key) {
		*told = append(*told, key)
		r.note(ctx, infoSeverity, text)
	}
}

// silent records since when a working agent answers no polls, and whether it is suspected for it.
func (r *run) silent(ctx context.Context, why string, until time.Time) {
	q := &r.n.Plan.Quiet
	if why == "" {
		if !q.Silence.Since.IsZero() {
			q.Silence = node.Silence{}
			r.wentOn(ctx)
		}
		return
	}
	if q.Silence.Since.IsZero() {
		q.Silence.Since = r.asked // an agent that hangs takes a question, and its time
	}
	q.Silence.Until, q.Silence.Why = until, cut(scrub(r.n, why))
	if node.Since(q.Silence.Since) >= diagnosis.WorkQuiet || q.Suspected.Phase != "" {
		r.c.heardSoFar(ctx, r.n.UUID)
		r.suspect(ctx, diagnosis.Judge(r.evidence(ctx)).Suspect)
	}
}

// lostFirst records where a step lost its machine that is started again now: if that does not help, the flow's
// failure begins with it.
func (r *run) lostFirst(ctx context.Context, step *node.PlannedStep, how string) {
	q := &r.n.Plan.Quiet
	if how == "" || q.Lost != "" {
		return
	}
	text := fmt.Sprintf("The machine was lost first at %s in step %s, %s after that began",
		node.Now().UTC().Format("15:04:05 UTC"), name(step), since(step.StartedAt))
	if since := q.Silence.Since; !since.IsZero() {
		text += fmt.Sprintf(" (it has not answered since %s)", since.UTC().Format("15:04:05 UTC"))
	}
	text += ": " + how + "."
	if did := r.atWork(ctx, step); did != "" {
		text += " Under way, as last told: " + did + "."
	}
	q.Lost = cut(scrub(r.n, text))
	q.Silence, q.Suspected = node.Silence{}, node.Suspected{}
}

// atWork is what the step was doing, as its progress told last; "" when it told nothing.
func (r *run) atWork(ctx context.Context, step *node.PlannedStep) string {
	p, err := r.c.store.Notes.Progress(ctx, r.n.UUID)
	if err != nil || p == nil || p.Step != step.Step || p.At.Before(step.StartedAt) {
		return ""
	}
	at := " at " + p.At.UTC().Format("15:04:05 UTC")
	var disks []string
	for _, d := range p.Disks {
		disks = append(disks, fmt.Sprintf("%s %s%s", d.Name, d.What, percent(d.Done, d.Total)))
	}
	if len(disks) > 0 {
		return strings.Join(disks, ", ") + at
	}
	return strings.TrimSpace(p.Detail+percent(p.Done, p.Total)) + at
}

func percent(done, total int64) string {
	if total <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%d %%)", 100*done/total)
}
