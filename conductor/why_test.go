package conductor

import (
	"testing"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// What the BMC said of its boot device reaches the diagnosis.
func TestTheDiagnosisHearsWhatTheBMCSaid(t *testing.T) {
	pxe := node.BootDevice{Device: "pxe"}
	for _, tt := range []struct {
		answer driver.OverrideAnswer
		want   diagnosis.OverrideAnswer
	}{
		{driver.OverrideUntold, diagnosis.OverrideUntold},
		{driver.OverrideLost, diagnosis.OverrideLost},
		{driver.OverrideKept, diagnosis.OverrideKept},
	} {
		n := &node.Node{Plan: &node.Plan{}}
		driver.Override.Set(&driver.Task{Node: n}, driver.BootOverride{Asked: pxe, Answer: tt.answer})
		want := diagnosis.Override{Device: "pxe", Answer: tt.want}
		if got := New(Config{}).waitOf(n).Override; got != want {
			t.Errorf("%s: %+v, want %+v", tt.answer, got, want)
		}
	}
	if got := New(Config{}).waitOf(&node.Node{Plan: &node.Plan{}}).Override; got != (diagnosis.Override{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
