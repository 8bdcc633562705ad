package bmc

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIpmitoolDrives(t *testing.T) {
	s := &Server{Machine: &fakeMachine{}, GUID: [16]byte{1, 2, 3, 4}}
	addr := start(t, s)
	for _, tt := range []struct{ args, want string }{
		{"-C 3 power status", "Chassis Power is off"},
		{"-C 17 power on", "Chassis Power Control: Up/On"},
		{"power status", "Chassis Power is on"},
		{"power reset", "Chassis Power Control: Reset"},
		{"power cycle", "Chassis Power Control: Cycle"},
		{"mc info", "IPMI Version              : 2.0"},
		{"mc guid", "01020304000000000000000000000000"},
		{"mc selftest", "Selftest: passed"},
		{"lan print 1", "RMCP+ Cipher Suites     : 17,3"},
		{"user list 1", "2   admin            true    true       true       ADMINISTRATOR"},
		{"sdr list all", "Billet BMC"},
		{"sel list", "SEL has no entries"},
		{"fru print", "Product Name          : virtual machine"},
		{"sol info 1", "Volatile Bit Rate (kbps)        : 115.2"},
		{"channel info 1", "Channel Medium Type   : 802.3 LAN"},
		{"session info active", "privilege level               : ADMINISTRATOR"},
		{"chassis status", "System Power         : on"},
		{"chassis identify", "Chassis identify interval: default (15 seconds)"},
		{"power off", "Chassis Power Control: Down/Off"},
		{"power status", "Chassis Power is off"},
	} {
		out, err := ipmitool(t, s, addr, strings.Fields(tt.args)...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("ipmitool %s: %v, want %q in:\n%s", tt.args, err, tt.want, out)
		}
	}
	if st := s.Stats(); st.Sessions != 0 || st.PowerActions != 4 {
		t.Errorf("%+v, want no session left and 4 power actions", st)
	}
}

func TestIpmitoolSetsTheBootDevice(t *testing.T) {
	m := &fakeMachine{}
	s := &Server{Machine: m}
	addr := start(t, s)
	for _, tt := range []struct {
		args string
		want BootDevice
		read string
	}{
		{"pxe", BootDevice{Device: "pxe"}, "Force PXE"},
		{"disk options=persistent", BootDevice{Device: "disk", Persistent: true}, "Force Boot from default Hard-Drive"},
		{"cdrom options=efiboot", BootDevice{Device: "cdrom", UEFI: true}, "Force Boot from CD/DVD"},
		{"bios options=efiboot,persistent", BootDevice{Device: "bios", Persistent: true, UEFI: true}, "Force Boot into BIOS Setup"},
		{"safe", BootDevice{Device: "safe"}, "request Safe-Mode"},
		{"none", BootDevice{}, "No override"},
	} {
		out, err := ipmitool(t, s, addr, append([]string{"chassis", "bootdev"}, strings.Fields(tt.args)...)...)
		if got := m.BootDevice(); err != nil || got != tt.want {
			t.Errorf("bootdev %s: got %+v, want %+v (%v: %s)", tt.args, got, tt.want, err, out)
		}
		out, err = ipmitool(t, s, addr, "chassis", "bootparam", "get", "5")
		if err != nil || !strings.Contains(out, tt.read) {
			t.Errorf("after bootdev %s: %v, want %q in:\n%s", tt.args, err, tt.read, out)
		}
	}
	if out, err := ipmitool(t, s, addr, "chassis", "bootdev", "floppy"); !strings.Contains(out, "Invalid data field") {
		t.Errorf("a floppy was accepted: %v %s", err, out)
	}
}

func TestFreeIPMIDrives(t *testing.T) {
	m := &fakeMachine{}
	s := &Server{Machine: m}
	addr := start(t, s)
	for _, suite := range []string{"3", "17"} {
		common := []string{"-D", "LAN_2_0", "-I", suite, "-h", addr.String(), "-u", s.User, "-p", s.Password}
		for _, tt := range []struct{ name, args, want string }{
			{"ipmipower", "--stat", "off"},
			{"ipmipower", "--on --wait-until-on", "ok"},
			{"ipmipower", "--stat", "on"},
			{"ipmipower", "--reset", "ok"},
			{"ipmi-chassis", "--get-chassis-status", "System Power                        : on"},
			{"ipmi-chassis-config", "--checkout -e Chassis_Boot_Flags:Boot_Device", "NO-OVERRIDE"},
			{"bmc-info", "--get-device-id", "IPMI Version          : 2.0"},
			{"ipmipower", "--off --wait-until-off", "ok"},
		} {
			out, err := tool(t, tt.name, append(slices.Clone(common), strings.Fields(tt.args)...)...)
			if err != nil || !strings.Contains(out, tt.want) {
				t.Errorf("%s -I %s %s: %v, want %q in:\n%s", tt.name, suite, tt.args, err, tt.want, out)
			}
		}
	}
	if want := []Action{On, Reset, Off, On, Reset, Off}; !slices.Equal(m.did(), want) {
		t.Errorf("the machine did %v, want %v", m.did(), want)
	}
}

func TestRefusals(t *testing.T) {
	const noSession = "Unable to establish IPMI v2 / RMCP+ session"
	for _, tt := range []struct {
		name   string
		server *Server
		faults Faults
		tool   string
		args   string
		want   string
	}{
		{"wrong password", &Server{}, Faults{}, "ipmipower", "-p wrong --stat", "password invalid"},
		{"wrong user", &Server{}, Faults{}, "ipmipower", "-u nobody --stat", "username invalid"},
		{"refused log-in", &Server{}, Faults{RefuseLogin: true}, "ipmipower", "--stat", "password invalid"},
		{"wrong password, ipmitool", &Server{}, Faults{}, "ipmitool", "-P wrong power status", noSession},
		{"wrong user, ipmitool", &Server{}, Faults{}, "ipmitool", "-U nobody power status", noSession},
		{"suite 17 not offered", &Server{CipherSuites: []int{3}}, Faults{}, "ipmitool", "-C 17 power status", "no matching cipher suite"},
		{"suite 0", &Server{}, Faults{}, "ipmitool", "-C 0 power status", "no matching cipher suite"},
		{"no slots", &Server{}, Faults{NoSlots: true}, "ipmitool", "power status", "insufficient resources for session"},
		{"level too high", &Server{Privilege: Operator}, Faults{}, "ipmipower", "-l ADMIN --stat",
			"privilege level cannot be obtained for this user"},
		{"not as user", &Server{}, Faults{}, "ipmitool", "-L USER power on", "Insufficient privilege level"},
		{"IPMI 1.5", &Server{Password: "short"}, Faults{}, "ipmitool", "-I lan power status", "Unable to establish LAN session"},
		{"broken status", &Server{}, Faults{BrokenPower: true}, "ipmitool", "power status", "Unspecified error"},
		{"busy", &Server{}, Faults{BusyCommands: 1000}, "ipmitool", "power status", "Node busy"},
		{"reset while off", &Server{}, Faults{}, "ipmitool", "power reset", "not supported in present state"},
		{"dead", &Server{}, Faults{Dead: true}, "ipmitool", "-R 1 -N 1 power status", noSession},
		{"garbage", &Server{}, Faults{Garbage: true}, "ipmitool", "-R 1 -N 1 power status", noSession},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.server.Password != "" {
				tt.server.User = "admin"
			}
			addr := start(t, tt.server)
			tt.server.SetFaults(tt.faults)
			var out string
			var err error
			if tt.tool == "ipmitool" {
				out, err = ipmitool(t, tt.server, addr, strings.Fields(tt.args)...)
			} else {
				args := []string{"-D", "LAN_2_0", "-h", addr.String(), "-u", tt.server.User, "-p", tt.server.Password}
				out, err = tool(t, tt.tool, append(args, strings.Fields(tt.args)...)...)
			}
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("%s %s: %v, want %q in:\n%s", tt.tool, tt.args, err, tt.want, out)
			}
			if st := tt.server.Stats(); st.PowerActions != 0 {
				t.Errorf("the machine was switched: %+v", st)
			}
		})
	}
}

func TestKG(t *testing.T) {
	s := &Server{KG: []byte("0123456789abcdefghij")}
	addr := start(t, s)
	if out, err := ipmitool(t, s, addr, "-k", string(s.KG), "power", "status"); err != nil {
		t.Errorf("with the right key: %v\n%s", err, out)
	}
	if out, err := ipmitool(t, s, addr, "power", "status"); err == nil {
		t.Errorf("without the key: %s", out)
	}
}

// ipmitool starts its log-in four times at most and repeats no part of it, so it gets little loss;
// FreeIPMI repeats everything.
func TestLossAndDelayAreSurvived(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faults Faults
		tool   string
		args   string
	}{
		{"every seventh packet lost", Faults{DropEvery: 7}, "ipmitool", "-C 17 -N 1 -R 10 power on"},
		{"300 ms late", Faults{Delay: 300 * time.Millisecond}, "ipmitool", "-C 17 power on"},
		{"every third packet lost", Faults{DropEvery: 3}, "ipmipower", "--session-timeout 20000 --retransmission-timeout 200 --on"},
		{"20 % lost", Faults{DropPercent: 20}, "ipmipower", "--session-timeout 20000 --retransmission-timeout 200 --on"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &fakeMachine{}
			s := &Server{Machine: m}
			addr := start(t, s)
			s.SetFaults(tt.faults)
			var out string
			var err error
			if tt.tool == "ipmitool" {
				out, err = ipmitool(t, s, addr, strings.Fields(tt.args)...)
			} else {
				args := []string{"-D", "LAN_2_0", "-I", "3", "-h", addr.String(), "-u", s.User, "-p", s.Password}
				out, err = tool(t, tt.tool, append(args, strings.Fields(tt.args)...)...)
			}
			if got := m.did(); err != nil || !slices.Equal(got, []Action{On}) {
				t.Errorf("the machine did %v, want one On (%v: %s)", got, err, out)
			}
		})
	}
}
