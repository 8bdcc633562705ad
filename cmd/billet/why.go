package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The reason of a failure comes first, then what it rests on, so that the sentence can be doubted: phases, events, lines of the
// agent and the console, and the files that hold the rest.

// why is the answer of GET /billet/v1/nodes/{node}/why.
type why struct {
	UUID     string    `json:"uuid"`
	Name     *string   `json:"name"`
	State    string    `json:"provision_state"`
	Sentence *string   `json:"sentence"`
	WayOn    *string   `json:"way_on"`
	Running  *evidence `json:"running"`
	Failed   *evidence `json:"failed"`
}

// evidence is what is known of a machine in a flow.
type evidence struct {
	Flow      string     `json:"flow"`
	Sentence  string     `json:"sentence"`
	StartedAt *time.Time `json:"started_at"`
	FailedAt  *time.Time `json:"failed_at"`
	Steps     []struct {
		Interface, Step string
		StartedAt       *time.Time `json:"started_at"`
		EndedAt         *time.Time `json:"ended_at"`
	} `json:"steps"`
	Phases []struct {
		Phase       string
		First, Last time.Time
		Times       int
		What        string
	} `json:"phases"`
	BootEvents []bootEvent    `json:"boot_events"`
	Serial     lastLines      `json:"serial"`
	AgentLog   lastLines      `json:"agent_log"`
	Files      []string       `json:"files"`
	Network    *networkReport `json:"network"`
}

// networkReport is what the network service says that serves DHCP where Billet does not.
type networkReport struct {
	Service string
	Silent  *string
	Ports   []struct {
		ID, Status string
		MAC        string `json:"mac_address"`
		Bound, Up  bool
		Failed     bool `json:"binding_failed"`
		Addresses  []string
		DHCP       struct {
			Agents []struct {
				Host  string
				Alive bool
			}
		}
	}
}

type lastLines struct {
	Lines []struct {
		At   time.Time
		Text string
	} `json:"lines"`
	Note *string `json:"note"`
}

func nodeWhy() *cobra.Command {
	var asJSON bool
	var lines int
	cmd := &cobra.Command{Use: "why NODE", Short: "Say why a node failed or what it waits for, and what was seen of it",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			c, out := newClient(cmd), cmd.OutOrStdout()
			var raw json.RawMessage
			if err := c.do(cmd.Context(), "GET", "/billet/v1/nodes/"+url.PathEscape(args[0])+"/why", nil, &raw); err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(out)
				e.SetIndent("", "  ")
				e.SetEscapeHTML(false)
				return e.Encode(raw)
			}
			return explain(cmd.Context(), c, out, args[0], raw, lines)
		}}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all that is known as JSON")
	cmd.Flags().IntVar(&lines, "lines", 20, "how many of the last lines of the agent and of the serial line to print, 0 to 200")
	return cmd
}

// explain prints for people: the sentence first, then what it rests on.
func explain(ctx context.Context, c *client, out io.Writer, ident string, raw json.RawMessage, lines int) error {
	var w why
	if err := decodeShown(raw, &w); err != nil {
		return err
	}
	h, err := c.newest(ctx, ident, 20)
	if err != nil {
		return err
	}
	who := w.UUID
	if w.Name != nil {
		who = *w.Name + " (" + w.UUID + ")"
	}
	fmt.Fprintf(out, "Node %s is %q.\n", who, w.State)
	if w.Sentence != nil {
		fmt.Fprintf(out, "Why: %s\n", *w.Sentence)
	}
	if w.WayOn != nil {
		fmt.Fprintf(out, "The way on: %s\n", *w.WayOn)
	}
	e := w.Running
	if e == nil && w.Failed != nil {
		e = w.Failed
		if w.Sentence == nil || *w.Sentence != e.Sentence {
			fmt.Fprintf(out, "Its last failure, %s of %s: %s\n", e.Flow, clock(e.FailedAt), e.Sentence)
		}
	}
	if e != nil {
		e.print(out, lines)
	}
	fmt.Fprintln(out, "\nHistory, newest first:")
	for _, e := range h.History {
		fmt.Fprintf(out, "  %s  %-5s %s\n", e.CreatedAt.Format(time.DateTime), e.Severity, e.Event)
	}
	return nil
}

func (e *evidence) print(out io.Writer, lines int) {
	fmt.Fprintf(out, "\nSteps of the %s begun %s:\n", e.Flow, clock(e.StartedAt))
	for _, s := range e.Steps {
		switch {
		case s.StartedAt == nil:
			fmt.Fprintf(out, "            %s.%s\n", s.Interface, s.Step)
		case s.EndedAt == nil:
			fmt.Fprintf(out, "  %s  %s.%s has not ended\n", s.StartedAt.Format(time.TimeOnly), s.Interface, s.Step)
		default:
			fmt.Fprintf(out, "  %s  %s.%s took %.1f s\n", s.StartedAt.Format(time.TimeOnly), s.Interface, s.Step,
				s.EndedAt.Sub(*s.StartedAt).Seconds())
		}
	}
	fmt.Fprintln(out, "\nHow far the machine came:")
	for _, p := range e.Phases {
		seen := "once"
		if p.Times > 1 {
			seen = fmt.Sprintf("%d times, last %s", p.Times, p.Last.Format(time.TimeOnly))
		}
		fmt.Fprintf(out, "  %s  %s, %s: %s\n", p.First.Format(time.TimeOnly), p.Phase, seen, p.What)
	}
	fmt.Fprintln(out, "\nWhat the boot services saw:")
	for _, ev := range e.BootEvents {
		fmt.Fprintf(out, "  %s  %-5s %s %s\n", ev.At.Format(time.TimeOnly), ev.Service, ev.MAC, ev.What)
	}
	if e.Network != nil {
		e.Network.print(out)
	}
	e.AgentLog.print(out, "The agent's log", lines)
	e.Serial.print(out, "The serial line", lines)
	if len(e.Files) > 0 {
		where := "on the conductor's host"
		if slices.ContainsFunc(e.Files, func(f string) bool { return strings.HasPrefix(f, "swift:") }) {
			where = "in Swift (container/object), or " + where
		}
		fmt.Fprintf(out, "\nKept %s:\n  %s\n", where, strings.Join(e.Files, "\n  "))
	}
}

func (r *networkReport) print(out io.Writer) {
	fmt.Fprintf(out, "\nWhat %s says of its ports:\n", r.Service)
	if r.Silent != nil {
		fmt.Fprintf(out, "  (nothing: %s)\n", *r.Silent)
	}
	for _, p := range r.Ports {
		fmt.Fprintf(out, "  %s  %s %s %s", p.MAC, p.ID, p.Status, strings.Join(p.Addresses, ","))
		for _, is := range []struct {
			so   bool
			text string
		}{{p.Failed, "binding failed"}, {!p.Bound, "not bound to this node"}, {!p.Up, "switched off"}} {
			if is.so {
				fmt.Fprintf(out, ", %s", is.text)
			}
		}
		for _, a := range p.DHCP.Agents {
			fmt.Fprintf(out, ", DHCP agent on %s (alive: %v)", a.Host, a.Alive)
		}
		fmt.Fprintln(out)
	}
}

func (l lastLines) print(out io.Writer, what string, most int) {
	shown := l.Lines[max(0, len(l.Lines)-max(0, most)):]
	fmt.Fprintf(out, "\n%s, the last %d of %d lines kept:\n", what, len(shown), len(l.Lines))
	for _, line := range shown {
		fmt.Fprintf(out, "  %s  %s\n", line.At.Format(time.TimeOnly), line.Text)
	}
	if l.Note != nil {
		fmt.Fprintf(out, "  (%s)\n", *l.Note)
	}
}

func clock(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.DateTime)
}
