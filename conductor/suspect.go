package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

// What people were told of a quiet machine is kept in the plan's memo, so that they are told once, also by the process
// that goes on after this one. What it is suspected of is judged in diagnosis.

const (
	memoSuspect = "conductor.suspect" // what people were told, a suspected in JSON
	memoSilent  = "conductor.silent"  // since when the working agent does not answer, a diagnosis.Silence in JSON
	memoLost    = "conductor.lost"    // where the step under way lost its machine first, for people
)

// suspected is what people were told of a quiet machine.
type suspected struct {
	diagnosis.Suspicion
	Told []string // "<step> <phase>" that are in the history already: once each
}

func recall[T any](p *node.Plan, key string) (v T) {
	_ = json.Unmarshal([]byte(p.Memo[key]), &v) // "" or what keep wrote
	return v
}

func keep(p *node.Plan, key string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		return
	}
	if p.Memo == nil {
		p.Memo = map[string]string{}
	}
	p.Memo[key] = string(text)
}

// suspect tells people, once a phase, that the machine is quiet, and that it has gone on.
func (r *run) suspect(ctx context.Context, s diagnosis.Suspicion) {
	p := r.n.Plan
	before := recall[suspected](p, memoSuspect)
	if s.Phase == "" {
		r.wentOn(ctx, before)
		return
	}
	now := suspected{s, before.Told}
	if key := name(p.Current()) + " " + now.Phase; !slices.Contains(now.Told, key) {
		now.Told = append(now.Told, key)
		r.note(ctx, infoSeverity, now.Text)
	}
	keep(p, memoSuspect, now)
}

// wentOn takes back what a machine was suspected of.
func (r *run) wentOn(ctx context.Context, s suspected) {
	if s.Phase == "" {
		return
	}
	r.log.Info("the quiet machine goes on", "phase", s.Phase)
	if key := "went on " + s.Phase; !slices.Contains(s.Told, key) {
		s.Told = append(s.Told, key)
		r.note(ctx, infoSeverity, fmt.Sprintf("The machine that was quiet (%s) goes on.", s.Phase))
	}
	s.Phase = ""
	keep(r.n.Plan, memoSuspect, s)
}

// silent takes down since when a working agent answers no polls, and whether it is suspected for it.
func (r *run) silent(ctx context.Context, why string, until time.Time) {
	p := r.n.Plan
	before := recall[suspected](p, memoSuspect)
	if why == "" {
		if _, ok := p.Memo[memoSilent]; ok {
			delete(p.Memo, memoSilent)
			r.wentOn(ctx, before)
		}
		return
	}
	now := recall[diagnosis.Silence](p, memoSilent)
	if now.Since.IsZero() {
		now.Since = r.asked // an agent that hangs takes a question, and its time
	}
	now.Until, now.Why = until, cut(scrub(r.n, why))
	keep(p, memoSilent, now)
	if node.Since(now.Since) >= diagnosis.WorkQuiet || before.Phase != "" {
		r.c.heardSoFar(ctx, r.n.UUID)
		r.suspect(ctx, diagnosis.Judge(r.evidence(ctx)).Suspect)
	}
}

// lostFirst takes down where a step lost its machine that is started again now: if that does not help, the flow's
// failure begins with it.
func (r *run) lostFirst(ctx context.Context, step *node.PlannedStep, how string) {
	p := r.n.Plan
	if how == "" || p.Memo[memoLost] != "" {
		return
	}
	text := fmt.Sprintf("The machine was lost first at %s in step %s, %s after that began",
		node.Now().UTC().Format("15:04:05 UTC"), name(step), since(step.StartedAt))
	if q := recall[diagnosis.Silence](p, memoSilent); !q.Since.IsZero() {
		text += fmt.Sprintf(" (it has not answered since %s)", q.Since.UTC().Format("15:04:05 UTC"))
	}
	text += ": " + how + "."
	if did := r.atWork(ctx, step); did != "" {
		text += " Under way, as last told: " + did + "."
	}
	if p.Memo == nil {
		p.Memo = map[string]string{}
	}
	p.Memo[memoLost] = cut(scrub(r.n, text))
	delete(p.Memo, memoSilent)
	delete(p.Memo, memoSuspect)
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
