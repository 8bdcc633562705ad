package ipmi

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// ipmitool runs somebody else's client against the same BMC: what it accepts, we accept too.
func ipmitool(t *testing.T, info node.Document, args ...string) string {
	t.Helper()
	out, err := tryIpmitool(t, info, args...)
	if err != nil {
		t.Fatalf("ipmitool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryIpmitool(t *testing.T, info node.Document, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Fatal("ipmitool is missing; scripts/deps test installs it")
	}
	all := append([]string{"-I", "lanplus", "-H", info.String("ipmi_address"), "-p", info.String("ipmi_port"),
		"-U", info.String("ipmi_username"), "-P", info.String("ipmi_password")}, args...)
	out, err := exec.CommandContext(t.Context(), path, all...).CombinedOutput()
	return string(out), err
}
