package tftp

import (
	"io"
	"net/netip"
	"strings"
	"testing"
)

// A machine gets the token of its own deployment, under the names clients ask for, and no other.
func TestToken(t *testing.T) {
	s, _, _ := start(t, 0)
	records := s.Lookup.(fakeLookup).records
	records[secret].CommandLine = "quiet deployment_id=node-1"
	token := records[secret].DeployToken()
	for _, tt := range []struct{ name, mac, want string }{
		{"token-node-1", ourMAC, token},
		{"/tftpboot/token-node-1", ourMAC, token},
		{"token-node-2", ourMAC, ""},
		{"token-", ourMAC, ""},
		{"token-node-1", "52:54:00:00:00:02", ""},
		{"token-node-1", "", ""},
	} {
		s.MACOf = func(netip.Addr) string { return tt.mac }
		f, err := s.open(t.Context(), tt.name, s.Addr.Addr())
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s for %q is given", tt.name, tt.mac)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, _ := io.ReadAll(f)
		if string(got) != tt.want || f.size != int64(len(tt.want)) {
			t.Errorf("%s: got %q, size %d", tt.name, got, f.size)
		}
	}
	s.MACOf = func(netip.Addr) string { return "52:54:00:00:00:66" }
	if _, err := s.open(t.Context(), "token-node-1", s.Addr.Addr()); err == nil || !strings.Contains(err.Error(), "looking up the machine") {
		t.Errorf("a lost database: %v", err)
	}
}
