package bmc

import (
	"strings"
	"testing"
)

func TestIpmitool(t *testing.T) {
	m := &fakeMachine{}
	s := &Server{Machine: m, GUID: [16]byte{1, 2, 3, 4}}
	addr := start(t, s)
	for _, tt := range []struct{ args, want string }{
		{"-C 3 power status", "Chassis Power is off"},
		{"-C 17 power on", "Chassis Power Control: Up/On"},
		{"power status", "Chassis Power is on"},
		{"-C 17 chassis bootdev pxe", "Set Boot Device to pxe"},
		{"-C 3 mc info", "IPMI Version              : 2.0"},
		{"mc guid", "System GUID"},
		{"lan print 1", "Cipher Suite Priv Max"},
		{"user list 1", "admin"},
		{"sdr list", ""},
		{"sel list", "SEL has no entries"},
		{"fru print", "virtual machine"},
		{"sol info 1", "115.2"},
		{"channel info 1", "802.3 LAN"},
		{"session info active", ""},
		{"chassis status", "System Power         : on"},
		{"chassis bootparam get 5", "Force PXE"},
		{"power off", "Down/Off"},
	} {
		out, err := ipmitool(t, s, addr, strings.Fields(tt.args)...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("ipmitool %s: %v, want %q in:\n%s", tt.args, err, tt.want, out)
		}
		t.Log(tt.args, "\n", out)
	}
	for _, args := range []string{"-D LAN_2_0 -I 3", "-D LAN_2_0 -I 17"} {
		out, err := tool(t, "ipmipower", append(strings.Fields(args), "-h", addr.String(), "-u", s.User, "-p", s.Password, "--stat")...)
		t.Log(out, err)
		out, err = tool(t, "ipmi-chassis", append(strings.Fields(args), "-h", addr.String(), "-u", s.User, "-p", s.Password, "--get-chassis-status")...)
		t.Log(out, err)
	}
}
