package iscsi

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// The ramdisk knows nothing of arrays: it would export a disk that is part of one.
func TestSoftwareRAIDIsNotWritten(t *testing.T) {
	w := newWorld(t, "deploy")
	for _, tt := range []struct {
		state   node.State
		raid    any
		refused bool
	}{
		{node.Available, "software", true}, {node.Active, "software", true}, {node.DeployFailed, "software", true},
		{node.Manageable, "software", false}, {node.Available, "Smart Array P822", false}, {node.Available, nil, false},
	} {
		w.task.Node.State, w.task.Node.RAIDConfig = tt.state, node.Document{"logical_disks": []any{map[string]any{"controller": tt.raid}}}
		err := w.Validate(t.Context(), w.task)
		if tt.refused && (node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(),
			"has software RAID, which the deploy interface iscsi does not write to")) || !tt.refused && err != nil {
			t.Errorf("%s with %v: %v", tt.state, tt.raid, err)
		}
	}
}
