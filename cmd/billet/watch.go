package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// trip is the answer of GET /billet/v1/nodes/{node}/progress.
type trip struct {
	UUID      string     `json:"uuid"`
	State     string     `json:"provision_state"`
	Target    *string    `json:"target_provision_state"`
	Flow      string     `json:"flow"`
	StartedAt *time.Time `json:"started_at"`
	Steps     []tripStep `json:"steps"`
	Progress  *struct {
		Step, Detail string
		Done, Total  int64
	} `json:"progress"`
	LastError  *string     `json:"last_error"`
	BootEvents []bootEvent `json:"boot_events"`
}

type tripStep struct {
	Interface  string     `json:"interface"`
	Step       string     `json:"step"`
	StartedAt  *time.Time `json:"started_at"`
	EndedAt    *time.Time `json:"ended_at"`
	WaitingFor string     `json:"waiting_for"`
	Current    bool       `json:"current"`
}

type bootEvent struct {
	MAC, Service, What string
	At                 time.Time
}

type watchOptions struct {
	Timeout     time.Duration
	UntilStable bool
}

func nodeWatch() *cobra.Command {
	var until bool
	var timeout time.Duration
	cmd := &cobra.Command{Use: "watch NODE", Short: "Show live what a node goes through", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return watch(cmd.Context(), newClient(cmd), args[0], cmd.OutOrStdout(), watchOptions{Timeout: timeout, UntilStable: until})
	}}
	cmd.Flags().BoolVar(&until, "until-stable", false, "end when the node arrives or fails")
	cmd.Flags().DurationVar(&timeout, "timeout", 24*time.Hour, "end after this")
	return cmd
}

// watch prints a line for each state, step, boot event and move of the progress, each with the
// seconds since the watch began. It ends with an error when the node fails.
func watch(ctx context.Context, c *client, ident string, out io.Writer, opts watchOptions) error {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	v := view{out: out, began: time.Now(), steps: map[string]bool{}, events: map[string]bool{}}
	for {
		var t trip
		err := c.do(ctx, "GET", "/billet/v1/nodes/"+url.PathEscape(ident)+"/progress", nil, &t)
		if ctx.Err() != nil {
			return fmt.Errorf("node %s is still %q after %s; it goes on without being watched", ident, v.state, opts.Timeout)
		}
		switch {
		case err != nil && !v.began.IsZero() && v.state != "":
			v.say("the service does not answer; trying again: %v", err)
		case err != nil:
			return err
		default:
			v.show(t)
			if opts.UntilStable && v.ended(t) {
				return v.verdict(t)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// view remembers what has been printed.
type view struct {
	out           io.Writer
	began         time.Time
	state         string
	steps, events map[string]bool
	progress      string
}

func (v *view) say(format string, args ...any) {
	fmt.Fprintf(v.out, "%7.1fs  %s\n", time.Since(v.began).Seconds(), fmt.Sprintf(format, args...))
}

func (v *view) show(t trip) {
	if t.State != v.state {
		v.say("%s", t.State)
		v.state = t.State
	}
	for _, e := range t.BootEvents {
		key := e.MAC + e.Service + e.What + e.At.String()
		if !v.events[key] && e.At.After(v.began.Add(-2*time.Second)) {
			v.say("    %-5s %s %s", e.Service, e.MAC, e.What)
		}
		v.events[key] = true
	}
	for _, s := range t.Steps {
		v.step(s)
	}
	if p := t.Progress; p != nil && p.Total > 0 {
		line := fmt.Sprintf("    %s %s of %s (%d %%) %s", p.Step, megabytes(p.Done), megabytes(p.Total), 100*p.Done/p.Total, p.Detail)
		if line != v.progress {
			v.say("%s", line)
		}
		v.progress = line
	}
}

func (v *view) step(s tripStep) {
	name := s.Interface + "." + s.Step
	if s.StartedAt != nil && !v.steps[name] {
		v.say("  step %s", name)
		v.steps[name] = true
	}
	if waiting := name + " waits"; s.Current && s.WaitingFor != "" && !v.steps[waiting] {
		v.say("  step %s waits for %s", name, s.WaitingFor)
		v.steps[waiting] = true
	}
	if ended := name + " ended"; s.EndedAt != nil && !v.steps[ended] {
		v.say("  step %s took %.1f s", name, s.EndedAt.Sub(*s.StartedAt).Seconds())
		v.steps[ended] = true
	}
}

// ended reports whether nothing moves any more: a flow is over when no target is left, or when it
// failed.
func (v *view) ended(t trip) bool {
	return t.Flow == "" && (t.Target == nil || failed(t.State))
}

func (v *view) verdict(t trip) error {
	if !failed(t.State) && (t.State != "enroll" || t.LastError == nil) {
		return nil
	}
	return fmt.Errorf("node %s is %q: %s", t.UUID, t.State, value(t.LastError))
}

func failed(state string) bool {
	switch state {
	case "error", "deploy failed", "clean failed", "inspect failed", "rescue failed", "unrescue failed", "adopt failed", "service failed":
		return true
	}
	return false
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func nodeWhy() *cobra.Command {
	return &cobra.Command{Use: "why NODE", Short: "Say why a node failed, and what was seen of it", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, out := newClient(cmd), cmd.OutOrStdout()
		var t trip
		if err := c.do(cmd.Context(), "GET", "/billet/v1/nodes/"+url.PathEscape(args[0])+"/progress", nil, &t); err != nil {
			return err
		}
		var h struct {
			History []struct {
				CreatedAt string `json:"created_at"`
				Severity  string
				Event     string
			}
		}
		if err := c.do(cmd.Context(), "GET", nodePath(args[0])+"/history?detail=True&sort_dir=desc&limit=20", nil, &h); err != nil {
			return err
		}
		fmt.Fprintf(out, "Node %s is %q.\n", t.UUID, t.State)
		if t.LastError != nil {
			fmt.Fprintf(out, "Why: %s\n", *t.LastError)
		}
		fmt.Fprintln(out, "\nWhat the boot services saw:")
		for _, e := range t.BootEvents {
			fmt.Fprintf(out, "  %s  %-5s %s %s\n", e.At.Format(time.TimeOnly), e.Service, e.MAC, e.What)
		}
		fmt.Fprintln(out, "\nHistory, newest first:")
		for _, e := range h.History {
			fmt.Fprintf(out, "  %s  %-5s %s\n", e.CreatedAt, e.Severity, e.Event)
		}
		return nil
	}}
}
