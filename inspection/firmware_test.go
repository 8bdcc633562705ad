package inspection_test

import (
	"fmt"
	"testing"

	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// What a machine says of its boot is noted; what it leaves out stays as it was known.
func TestBooted(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		name       string
		said       wire.BootInfo
		mode       string
		secure     *bool
		wantMode   string
		wantSecure string
	}{
		{"nothing said, nothing known", wire.BootInfo{}, "", nil, "", "nil"},
		{"nothing said", wire.BootInfo{}, "uefi", &yes, "uefi", "true"},
		{"on", wire.BootInfo{CurrentBootMode: "uefi", SecureBoot: &yes}, "", nil, "uefi", "true"},
		{"switched off since", wire.BootInfo{CurrentBootMode: "UEFI", SecureBoot: &no}, "uefi", &yes, "uefi", "false"},
		{"an agent that does not know of it", wire.BootInfo{CurrentBootMode: "uefi"}, "bios", &yes, "uefi", "true"},
		{"BIOS has none", wire.BootInfo{CurrentBootMode: "bios"}, "uefi", &yes, "bios", "false"},
		{"a mode that is none", wire.BootInfo{CurrentBootMode: "legacy"}, "uefi", nil, "uefi", "nil"},
	} {
		n := &node.Node{BootMode: tt.mode, SecureBoot: tt.secure}
		inspection.Booted(n, tt.said)
		secure := "nil"
		if n.SecureBoot != nil {
			secure = fmt.Sprint(*n.SecureBoot)
		}
		if n.BootMode != tt.wantMode || secure != tt.wantSecure {
			t.Errorf("%s: %q, %s; want %q, %s", tt.name, n.BootMode, secure, tt.wantMode, tt.wantSecure)
		}
	}
}
