package ipmi

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver/quirk"
	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

// startAs runs a BMC of one of the lab's profiles, its times cut down to what a test can wait for.
func startAs(t *testing.T, profile string) (node.Document, *bmc.Server, *machine) {
	t.Helper()
	faults, ok := bmc.Profiles[profile]
	if !ok {
		t.Fatalf("lab/bmc has no profile %q", profile)
	}
	faults.SlowPower, faults.DelaysPower = min(faults.SlowPower, 1200*time.Millisecond), min(faults.DelaysPower, 7*time.Second)
	m := &machine{}
	s := &bmc.Server{Machine: m}
	s.SetFaults(faults)
	return start(t, s), s, m
}

// brief is the driver's table with times that fit startAs.
func brief() quirk.Table {
	table := slices.Clone(quirks)
	for i := range table {
		switch table[i].Does {
		case powerSettles:
			table[i].Value = 2
		case powerWithin:
			table[i].Value = 30
		}
	}
	return table
}

// life is what a deploy asks of a BMC, whose power commands may act late. It returns what went wrong.
func life(ctx context.Context, table quirk.Table, info node.Document, m *machine, late time.Duration) error {
	o := quick
	o.Quirks = table
	power, management := New(o)
	task := task(info)
	task.Node.BootMode = "uefi"
	want := bmc.BootDevice{Device: "disk", Persistent: true, UEFI: true}
	for _, target := range []node.PowerState{node.PowerOff, node.PowerOn, node.Rebooting} {
		if err := management.SetBootDevice(ctx, task, node.BootDevice{Device: "disk", Persistent: true}); err != nil {
			return err
		}
		if got, err := management.BootDevice(ctx, task); err != nil || got.Device != "disk" {
			return fmt.Errorf("the BMC names %v, %v", got, err)
		}
		if err := power.SetPowerState(ctx, task, target); err != nil {
			return err
		}
		time.Sleep(late)
	}
	if boots := m.bootedFrom(); len(boots) != 2 || boots[0] != want || boots[1] != want {
		return fmt.Errorf("the machine booted from %v, want twice %v", boots, want)
	}
	if !m.PoweredOn() {
		return fmt.Errorf("the machine is off")
	}
	return nil
}

// Each row of the table is needed by the BMC that it is about, and is enough for it.
func TestQuirks(t *testing.T) {
	for i, row := range quirks {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			late := time.Duration(0)
			if row.Does == powerSettles {
				late = 1300 * time.Millisecond
			}
			info, _, m := startAs(t, row.Name)
			if row.Who.Asked {
				info = with(info, quirksKey, row.Name)
			}
			if err := life(t.Context(), brief(), info, m, late); err != nil {
				t.Errorf("with the row: %v", err)
			}
			info, _, m = startAs(t, row.Name)
			if err := life(t.Context(), slices.Delete(brief(), i, i+1), info, m, late); err == nil {
				t.Error("the row is not needed: it works without")
			} else {
				t.Logf("without the row: %v", err)
			}
		})
	}
}

// What the table is not needed for.
func TestOddBMCs(t *testing.T) {
	for _, profile := range bmc.ProfileNames() {
		if slices.Contains(quirks.Names(), profile) || strings.HasPrefix(profile, "forgets-boot") {
			continue
		}
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			info, _, m := startAs(t, profile)
			if err := life(t.Context(), quirks, info, m, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// ipmitool is the oracle: a BMC with a quirk is one that people use.
func TestIpmitoolTakesTheSameBMCs(t *testing.T) {
	options := map[string][]string{"suite-17-broken": {"-C", "3"}, "wrong-suites": {"-C", "17"}, "repeats-suites": {"-C", "3"}}
	for _, profile := range bmc.ProfileNames() {
		if profile == "packet-padding" || profile == "open-role" { // it looks for the code at the very end; FreeIPMI knows of the role
			continue
		}
		t.Run(profile, func(t *testing.T) {
			info, _, _ := startAs(t, profile)
			out := ipmitool(t, info, append(options[profile], "chassis", "power", "status")...)
			if want := "Chassis Power is off"; !strings.Contains(out, want) {
				t.Errorf("ipmitool says %q, want %q", out, want)
			}
		})
	}
}

// FreeIPMI knows of BMCs that make codes with the Open Session request's privilege level.
func TestFreeIPMITakesOpenRole(t *testing.T) {
	path, err := exec.LookPath("ipmipower")
	if err != nil {
		t.Fatal("ipmipower is missing; scripts/deps test installs it")
	}
	info, _, _ := startAs(t, "open-role")
	for flags, want := range map[string]string{"opensesspriv": "127.0.0.1: off", "none": "password invalid"} {
		out, _ := exec.CommandContext(t.Context(), path, "-D", "LAN_2_0", "-h",
			info.String("ipmi_address")+":"+info.String("ipmi_port"), "-u", "admin", "-p", password,
			"-l", "ADMIN", "-I", "3", "-W", flags, "--stat").CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("-W %s: %q, want %q", flags, out, want)
		}
	}
}

func TestThePagesListEveryQuirk(t *testing.T) {
	hardware, err := os.ReadFile("../../docs/hardware-ipmi.md")
	if err != nil {
		t.Fatal(err)
	}
	lab, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range quirks {
		if !strings.Contains(string(hardware), "| `"+row.Name+"` |") || row.Why == "" || row.Seen == "" {
			t.Errorf("docs/hardware-ipmi.md does not list %s, or it does not say why", row.Name)
		}
	}
	for _, profile := range bmc.ProfileNames() {
		if !strings.Contains(string(lab), "`"+profile+"`") {
			t.Errorf("docs/lab.md does not name the profile %s", profile)
		}
	}
}
