package conductor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// What people were told of a quiet machine is kept in the plan, so that they are told once, also by the process that
// goes on after this one. What it is suspected of is judged in diagnosis.

// suspect tells people, once a phase, that the machine is quiet, and that it has gone on.
func (r *run) suspect(ctx context.Context, s diagnosis.Suspicion) {
	if s.Phase == "" {
		r.clearSuspicion(ctx)
		return
	}
	r.tellOnce(ctx, name(r.n.Plan.Current())+" "+s.Phase, s.Text)
	before := &r.n.Plan.Quiet.Suspected
	before.Since, before.Phase = s.Since, s.Phase
}

// clearSuspicion takes back what the machine was suspected of.
func (r *run) clearSuspicion(ctx context.Context) {
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

// recordSilence records since when a working agent answers no polls, and whether it is suspected for it.
func (r *run) recordSilence(ctx context.Context, why string, until time.Time) {
	q := &r.n.Plan.Quiet
	if why == "" {
		if !q.Silence.Since.IsZero() {
			q.Silence = node.Silence{}
			r.clearSuspicion(ctx)
		}
		return
	}
	if q.Silence.Since.IsZero() {
		q.Silence.Since = r.asked // an agent that hangs takes a question, and its time
	}
	q.Silence.Until, q.Silence.Why = until, cut(scrub(r.n, why))
	if node.Since(q.Silence.Since) >= diagnosis.WorkQuiet || q.Suspected.Phase != "" {
		r.c.saveCapture(ctx, r.n.UUID)
		r.suspect(ctx, diagnosis.Judge(r.evidence(ctx)).Suspect)
	}
}

// recordLoss records where a step lost its machine that is started again now.
func (r *run) recordLoss(ctx context.Context, how string) {
	q := &r.n.Plan.Quiet
	if how == "" || q.Lost != "" {
		return
	}
	progress, err := r.c.notes.Progress(ctx, r.n.UUID)
	if err != nil {
		progress = nil
	}
	q.Lost = cut(scrub(r.n, r.c.waitOf(r.n).LostFirst(how, progress)))
	q.Silence, q.Suspected = node.Silence{}, node.Suspected{}
}
