package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The live view reads what every client can read, twice a second, and prints what is new. A service that is restarted meanwhile
// is asked again, as the flow goes on too.

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
		Disks        []diskProgress
	} `json:"progress"`
	LastError  *string     `json:"last_error"`
	BootEvents []bootEvent `json:"boot_events"`
}

// diskProgress is how far a step is with one of the disks it works on at once.
type diskProgress struct {
	Name, Serial, What string
	Done, Total        int64
}

type tripStep struct {
	Interface  string `json:"interface"`
	Step       string `json:"step"`
	WaitingFor string `json:"waiting_for"`
	Current    bool   `json:"current"`
}

// historyPage is the answer of GET /v1/nodes/{node}/history.
type historyPage struct {
	History []struct {
		UUID      string    `json:"uuid"`
		CreatedAt time.Time `json:"created_at"`
		Severity  string    `json:"severity"`
		Event     string    `json:"event"`
	}
}

// newest reads the node's last events, newest first.
func (c *client) newest(ctx context.Context, ident string, limit int) (h historyPage, err error) {
	err = c.do(ctx, "GET", fmt.Sprintf("%s/history?detail=True&sort_dir=desc&limit=%d", nodePath(ident), limit), nil, &h)
	return h, err
}

type bootEvent struct {
	MAC, Service, What string
	At                 time.Time
}

type watchOptions struct {
	Since       time.Time // what happened before is not shown; zero: now
	Timeout     time.Duration
	UntilStable bool
}

func nodeWatch() *cobra.Command {
	var until bool
	var timeout time.Duration
	cmd := &cobra.Command{Use: "watch NODE", Short: "Show live what a node goes through", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return watch(cmd.Context(), newClient(cmd), args[0], cmd.OutOrStdout(), watchOptions{Timeout: timeout, UntilStable: until})
		}}
	cmd.Flags().BoolVar(&until, "until-stable", false, "end when the node arrives or fails")
	cmd.Flags().DurationVar(&timeout, "timeout", 24*time.Hour, "end after this")
	return cmd
}

// watch prints a line for each event of the node's history, each boot event, each wait and each
// move of the progress, with the seconds since the watch began. It ends with an error when the node fails.
func watch(ctx context.Context, c *client, ident string, out io.Writer, opts watchOptions) error {
	asked := ctx
	ctx, cancel := context.WithTimeout(asked, opts.Timeout)
	defer cancel()
	v := view{out: out, began: opts.Since, seen: map[string]bool{}}
	if v.began.IsZero() {
		v.began = time.Now()
	}
	for {
		var t trip
		err := c.do(ctx, "GET", "/billet/v1/nodes/"+url.PathEscape(ident)+"/progress", nil, &t)
		var h historyPage
		if err == nil {
			h, err = c.newest(ctx, ident, 60)
		}
		switch {
		case asked.Err() != nil:
			return fmt.Errorf("no longer watched: node %s is %q and goes on", ident, v.state)
		case ctx.Err() != nil:
			return fmt.Errorf("node %s is still %q after %s; it goes on without being watched", ident, v.state, opts.Timeout)
		}
		switch {
		case err != nil && v.state != "":
			v.say("the service does not answer; trying again: %v", err)
		case err != nil:
			return err
		default:
			v.show(t, h)
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
	out      io.Writer
	began    time.Time
	state    string
	seen     map[string]bool
	progress string
}

func (v *view) say(format string, args ...any) {
	fmt.Fprintf(v.out, "%7.1fs  %s\n", time.Since(v.began).Seconds(), fmt.Sprintf(format, args...))
}

// once says something about a moment after the watch began that has not been said yet.
func (v *view) once(key string, at time.Time, format string, args ...any) {
	if !v.seen[key] && at.After(v.began) {
		v.say(format, args...)
	}
	v.seen[key] = true
}

func (v *view) show(t trip, h historyPage) {
	for _, e := range slices.Backward(h.History) {
		v.once(e.UUID, e.CreatedAt, "%s", e.Event)
	}
	for _, e := range t.BootEvents {
		v.once(e.MAC+e.Service+e.What+e.At.String(), e.At, "    %-5s %s %s", e.Service, e.MAC, e.What)
	}
	for _, s := range t.Steps {
		if s.Current && s.WaitingFor != "" {
			v.once("wait "+s.Step+s.WaitingFor, time.Now(), "  %s.%s waits for %s", s.Interface, s.Step, s.WaitingFor)
		}
	}
	if p := t.Progress; p != nil && p.Total > 0 {
		detail := p.Detail
		if len(p.Disks) > 1 {
			detail = ""
		}
		line := strings.TrimRight(fmt.Sprintf("    %s %s of %s (%d %%) %s", p.Step, megabytes(p.Done), megabytes(p.Total), 100*p.Done/p.Total,
			detail), " ")
		for _, d := range p.Disks {
			if len(p.Disks) > 1 && d.Total > 0 {
				line += fmt.Sprintf("; %s %s %d %%", d.Name, d.What, 100*d.Done/d.Total)
			}
		}
		if line != v.progress {
			v.say("%s", line)
		}
		v.progress = line
	}
	if t.State != v.state {
		v.say("%s", t.State)
		v.state = t.State
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
