package node

import (
	"fmt"
	"strings"
)

// StatesPage returns docs/states.md: the state machine as a Mermaid drawing and as a table.
func StatesPage() string {
	var b strings.Builder
	b.WriteString("# Provision states\n\nDrawn from `node/transitions.go`; do not edit. ")
	fmt.Fprintf(&b, "%d states, %d transitions.\n\n```mermaid\nstateDiagram-v2\n", len(States), len(Transitions))
	for _, s := range States {
		fmt.Fprintf(&b, "    %s: %s\n", diagramID(s), s)
	}
	for _, t := range Transitions {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", diagramID(t.From), diagramID(t.To), t.Event)
	}
	b.WriteString("```\n\n| from | class | event → to |\n|---|---|---|\n")
	classes := map[StateClass]string{Stable: "stable", Failed: "failed", Held: "held", Busy: "busy", Waiting: "waiting"}
	for _, s := range States {
		var moves []string
		for _, t := range Transitions {
			if t.From == s {
				moves = append(moves, fmt.Sprintf("%s → %s", t.Event, t.To))
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s, classes[s.Class()], strings.Join(moves, " · "))
	}
	return b.String()
}

func diagramID(s State) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(string(s))
}
