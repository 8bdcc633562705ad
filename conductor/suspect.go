package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// A flow fails late, as a slow machine must not be given up; people are told early. A machine that has been quiet for
// a while is suspected: one sentence says since when, the likely cause and when the flow will fail. It is taken back
// when the machine shows itself again.

const (
	bootQuiet = 90 * time.Second // without a sign of life a booting machine is suspected; boot_phase_timeout when that is less
	workQuiet = 40 * time.Second // the same of one whose agent works: it is asked every few seconds

	troubleStands = 20 * time.Second // what holds a machine up may pass by itself: firmware asks a few times

	memoSuspect = "conductor.suspect" // what the machine is suspected of, a suspicion in JSON
	memoSilent  = "conductor.silent"  // since when the working agent does not answer, a silence in JSON
	memoLost    = "conductor.lost"    // where the step under way lost its machine first, for people
)

// suspicion is what people were told of a quiet machine.
type suspicion struct {
	Since time.Time // the last sign of life then; zero when there was none
	Phase string    // "" when it was taken back
	Text  string    `json:"-"`
	Told  []string  // "<step> <phase>" that are in the history already: once each
}

// silence is since when a working agent answers no polls, until when it may, and why the last was not answered.
type silence struct {
	Since, Until time.Time
	Why          string
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
func (r *run) suspect(ctx context.Context, e evidence) {
	p := r.n.Plan
	before := recall[suspicion](p, memoSuspect)
	now := e.suspicion(p, r.c.cfg.BootPhaseTimeout, r.c.cfg.FirmwareTimeout)
	if now.Phase == "" {
		r.wentOn(ctx, before)
		return
	}
	now.Told = before.Told
	if key := name(p.Current()) + " " + now.Phase; !slices.Contains(now.Told, key) {
		now.Told = append(now.Told, key)
		r.note(ctx, infoSeverity, now.Text)
	}
	keep(p, memoSuspect, now)
}

// wentOn takes back what a machine was suspected of.
func (r *run) wentOn(ctx context.Context, s suspicion) {
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

// suspicion is what a quiet machine is suspected of; without a phase when it is not. A machine that was suspected
// before this process began to hear it still is, until it shows itself.
func (e evidence) suspicion(p *node.Plan, phase, firmware time.Duration) suspicion {
	if e.unread || p.Failure != "" {
		return suspicion{}
	}
	began := e.now.Add(-e.waited)
	if !e.waitedFor.For.Boots() {
		return e.workSuspicion(p)
	}
	if phase <= 0 || e.agent.LastHeartbeat.After(began) {
		return suspicion{}
	}
	signs := e.since(began)
	if signs.loading() {
		return suspicion{}
	}
	last, limit := signs.own().patience(phase, firmware)
	seenLast, _ := signs.patience(phase, firmware)
	s := suspicion{Since: seenLast, Phase: "firmware"}
	if seen := signs.phases(began); len(seen) > 0 {
		s.Phase = seen[len(seen)-1].Name
	} else if len(signs.events) > 0 {
		s.Phase = "dhcp"
	}
	if e.agent.TokenGivenAt.After(began) {
		s.Phase = "lookup"
		if e.agent.TokenGivenAt.After(s.Since) {
			s.Since = e.agent.TokenGivenAt
		}
	}
	if n := signs.ramdisks(); n > 1 { // whatever it shows meanwhile, it does not get on
		return suspicion{Since: began, Phase: "starting over", Text: fmt.Sprintf(
			"The machine has loaded its ramdisk %s since %s. Most likely: it starts over each time: %s This ends when it has loaded it %d times.",
			times(n), began.UTC().Format("15:04:05 UTC"), signs.withConsole("does its kernel panic, or does something reset the machine?"+readConsole), loadsTooOften+1)}
	}
	if t := signs.trouble(); t != nil && e.now.Sub(signs.troubledSince(t)) >= troubleStands {
		return suspicion{Since: signs.troubledSince(t), Phase: string(t.Kind), Text: fmt.Sprintf("The machine has not got on since %s: %s%s",
			signs.troubledSince(t).UTC().Format("15:04:05 UTC"), signs.withConsole(signs.explain(t)), ends(e.fails(p.Deadline, last, limit)))}
	}
	known, quietSince := recall[suspicion](p, memoSuspect), s.Since
	if s.Since.IsZero() {
		quietSince = began
	}
	stands := known.Phase == s.Phase && known.Since.Equal(s.Since)
	if !stands && e.quiet(quietSince) < min(phase, bootQuiet) {
		return suspicion{}
	}
	fails := e.fails(p.Deadline, last, limit)
	seen := s.Phase
	if s.Since.IsZero() {
		seen = "nothing seen yet"
	}
	s.Text = e.quietText(quietSince, seen, signs.cause(), fails)
	return s
}

// workSuspicion is suspicion of a machine whose agent works and does not answer.
func (e evidence) workSuspicion(p *node.Plan) suspicion {
	quiet := recall[silence](p, memoSilent)
	if quiet.Since.IsZero() {
		return suspicion{}
	}
	last := quiet.Since
	if e.agent.LastHeartbeat.After(last) {
		last = e.agent.LastHeartbeat
	}
	if l := e.agentLog.Lines; len(l) > 0 && l[len(l)-1].At.After(last) {
		last = l[len(l)-1].At
	}
	known := recall[suspicion](p, memoSuspect)
	s := suspicion{Since: last, Phase: "work"}
	if !(known.Phase == s.Phase && known.Since.Equal(s.Since)) && e.quiet(last) < workQuiet {
		return suspicion{}
	}
	cause := "it lost its power or its network, or its agent hangs (" + quiet.Why + ")."
	if e.panicked() != nil {
		cause = e.cause()
	} else if said := e.lastWords(); said != "" {
		cause += " " + said
	}
	fails := p.Deadline
	if !quiet.Until.IsZero() && quiet.Until.Before(fails) {
		fails = quiet.Until
	}
	s.Text = e.quietText(last, "the agent's last answer, call or log line", cause, fails)
	return s
}

// fails is when a wait ends that nothing comes to.
func (e evidence) fails(deadline, last time.Time, limit time.Duration) time.Time {
	if limit == 0 {
		return deadline
	}
	if last.IsZero() {
		last = e.now.Add(-e.waited)
	}
	if at := e.now.Add(limit - e.quiet(last)); at.Before(deadline) || deadline.IsZero() {
		return at
	}
	return deadline
}

func ends(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(" This ends at %s if nothing comes.", at.UTC().Format("15:04:05 UTC"))
}

func (e evidence) quietText(since time.Time, seen, cause string, fails time.Time) string {
	return fmt.Sprintf("The machine has shown nothing for %s, since %s (%s). Most likely: %s%s",
		spell(e.now.Sub(since)), since.UTC().Format("15:04:05 UTC"), strings.ReplaceAll(seen, "dhcp", "DHCP"), cause, ends(fails))
}

// since leaves only the signs of life from t on.
func (e evidence) since(t time.Time) evidence {
	e.events = slices.DeleteFunc(slices.Clone(e.events), func(ev node.BootEvent) bool { return ev.At.Before(t) })
	return e
}

// own leaves only the signs that are the machine's own: what anybody could have caused explains, and decides nothing.
func (e evidence) own() evidence {
	e.events = slices.DeleteFunc(slices.Clone(e.events), func(ev node.BootEvent) bool { return !ev.Bound() })
	return e
}

// patience is the last sign of life that counts, zero when there was none, and how long after it the wait for a
// booting machine fails; 0: only the step's deadline counts.
func (e evidence) patience(phase, firmware time.Duration) (last time.Time, limit time.Duration) {
	if len(e.events) == 0 {
		return time.Time{}, firmware
	}
	last = e.events[len(e.events)-1].At
	answered := e.answered(e.of("dhcp"))
	switch {
	case len(e.of("tftp", "http")) == 0 && len(answered) > 1:
		return answered[0].At, phase // DHCP alone goes round in circles
	case e.ramdiskHasAddress() && e.waitedFor.For != node.FirstCall:
		return last, 0 // collecting an inventory takes as long as it takes
	case e.ramdisks() > 0 || e.agent.TokenGiven:
		// The system in the ramdisk starts, and shows nothing while it unpacks, loads firmware into its cards
		// and waits for its disks: failing a living machine is worse than telling late.
		return last, phase * startsPhases
	}
	return last, phase
}

// silent takes down since when a working agent answers no polls, and whether it is suspected for it.
func (r *run) silent(ctx context.Context, why string, until time.Time) {
	p := r.n.Plan
	before := recall[suspicion](p, memoSuspect)
	if why == "" {
		if _, ok := p.Memo[memoSilent]; ok {
			delete(p.Memo, memoSilent)
			r.wentOn(ctx, before)
		}
		return
	}
	now := recall[silence](p, memoSilent)
	if now.Since.IsZero() {
		now.Since = r.asked // an agent that hangs takes a question, and its time
	}
	now.Until, now.Why = until, cut(scrub(r.n, why))
	keep(p, memoSilent, now)
	if node.Since(now.Since) >= workQuiet || before.Phase != "" {
		r.c.heardSoFar(ctx, r.n.UUID)
		r.suspect(ctx, r.evidence(ctx))
	}
}

// lostFirst takes down where a step lost its machine that is started again now: if that does not help, the flow's
// failure begins with it.
func (r *run) lostFirst(ctx context.Context, step *node.PlannedStep, how string) {
	p := r.n.Plan
	if how == "" || p.Memo[memoLost] != "" {
		return
	}
	text := fmt.Sprintf("The machine was lost first at %s in step %s, %s after that began", node.Now().UTC().Format("15:04:05 UTC"), name(step), since(step.StartedAt))
	if q := recall[silence](p, memoSilent); !q.Since.IsZero() {
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
	p, err := r.c.store.Progress(ctx, r.n.UUID)
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
