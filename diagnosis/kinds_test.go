package diagnosis

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Each kind of boot event has its row, and a row that tells of trouble says what was seen, once, and how it is mended.
func TestEveryKindOfBootEventHasItsRow(t *testing.T) {
	for _, kind := range node.BootKinds {
		row, ok := eventKinds[kind]
		if !ok {
			t.Errorf("no row for %q", kind)
		}
		if row.trouble != "" && (strings.Count(row.trouble, "%") != 1 || !strings.Contains(row.trouble, "(%s): ") ||
			!strings.ContainsAny(row.trouble[len(row.trouble)-1:], ".?")) {
			t.Errorf("%q: %s", kind, row.trouble)
		}
	}
	for kind := range eventKinds {
		if !kind.Known() {
			t.Errorf("a row for %q, which is no kind", kind)
		}
	}
}
