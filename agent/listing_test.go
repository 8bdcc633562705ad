package agent

import (
	"log/slog"
	"testing"

	"github.com/billet-metal/billet/agent/steps"
)

// The step's place in a deploy is the kernel parameter's.
func TestInjectPriority(t *testing.T) {
	for text, want := range map[string]int{"": 0, "75": 75} {
		cfg, err := NewConfig(map[string]string{"ipa-api-url": "http://h:1", "ipa-inject-files-priority": text})
		if err != nil {
			t.Fatal(err)
		}
		a := &Agent{Config: cfg, Log: slog.New(slog.DiscardHandler)}
		a.prepare()
		for _, s := range a.steps() {
			if s.Name == "inject_files" && s.Priority[steps.Deploy] != want {
				t.Errorf("%q: priority %d", text, s.Priority[steps.Deploy])
			}
		}
	}
}
