package ipmi

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// chassisScript is the machine behind ipmi_sim: two files (man ipmi_lan, chassis_control).
const chassisScript = `#!/bin/sh
case "$2 $3" in
"get power") echo "power:$(cat DIR/power)" ;;
"get boot") echo "boot:$(cat DIR/boot)" ;;
"set power") echo "$4" > DIR/power; echo "$4" >> DIR/powers ;;
"set shutdown") echo 0 > DIR/power; echo soft >> DIR/powers ;;
"set boot") echo "$4" > DIR/boot ;;
esac
`

const simLAN = `name "sim"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 PORT
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "DIR/chassis.sh 0x20"
  user 1 false "" "" user 10 none md2 md5 straight
  user 2 true "admin" "PASSWORD" admin 10 none md2 md5 straight
`

const simBMC = `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
`

// startSim runs OpenIPMI's BMC, which shares no code and no author with ours. lan are more lines of its configuration.
func startSim(t *testing.T, lan ...string) (info node.Document, dir string) {
	t.Helper()
	path, err := exec.LookPath("ipmi_sim")
	if err != nil {
		t.Fatal("ipmi_sim is missing; install the Debian package openipmi")
	}
	dir = t.TempDir()
	port := freePort(t)
	for name, text := range map[string]string{
		"chassis.sh": chassisScript, "lan.conf": simLAN + strings.Join(lan, ""), "sim.emu": simBMC, "power": "0", "boot": "default", "powers": "",
	} {
		text = strings.NewReplacer("DIR", dir, "PORT", port, "PASSWORD", password).Replace(text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	cmd := exec.Command(path, "-c", filepath.Join(dir, "lan.conf"), "-f", filepath.Join(dir, "sim.emu"), "-s", dir, "-n")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("ipmi_sim said: %s", out.String())
		}
	})
	return node.Document{"ipmi_address": "127.0.0.1", "ipmi_port": port, "ipmi_username": "admin", "ipmi_password": password}, dir
}

func freePort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return fmt.Sprint(conn.LocalAddr().(*net.UDPAddr).Port)
}

func TestAgainstOpenIPMI(t *testing.T) {
	info, dir := startSim(t)
	o := quick
	o.CommandTimeout, o.OperationTimeout, o.PowerWait = 5*time.Second, 10*time.Second, 10*time.Second
	power, management := New(o)
	task := task(info)
	task.Node.BootMode = "bios"
	file := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(b)), " ")
	}
	for _, step := range []struct {
		target node.PowerState
		then   node.PowerState
	}{
		{node.PowerOff, node.PowerOff}, {node.PowerOn, node.PowerOn}, {node.Rebooting, node.PowerOn},
		{node.SoftPowerOff, node.PowerOff}, {node.SoftRebooting, node.PowerOn},
	} {
		if err := power.SetPowerState(t.Context(), task, step.target); err != nil {
			t.Fatalf("%s: %v", step.target, err)
		}
		if got, err := power.PowerState(t.Context(), task); err != nil || got != step.then {
			t.Fatalf("after %s: %q, %v", step.target, got, err)
		}
	}
	if got, want := file("powers"), "1 0 1 soft 1"; got != want {
		t.Errorf("the machine was told %q, want %q", got, want)
	}
	for device, want := range map[string]string{"pxe": "pxe", "disk": "default", "cdrom": "cdrom", "bios": "bios"} {
		err := management.SetBootDevice(t.Context(), task, node.BootDevice{Device: device})
		if err != nil && ReasonOf(err) != Refused || err == nil && file("boot") != want {
			t.Errorf("%s: the machine boots %q, want %q (%v)", device, file("boot"), want, err)
		}
	}
}

func TestOpenIPMIRefuses(t *testing.T) {
	info, _ := startSim(t)
	o := quick
	o.CommandTimeout, o.OperationTimeout = 5*time.Second, 10*time.Second
	for _, tt := range []struct {
		key, value string
		want       Reason
	}{
		{"ipmi_cipher_suite", "3", ""},
		{"ipmi_cipher_suite", "17", BadCipher},
		{"ipmi_password", "wrong", BadLogin},
		{"ipmi_username", "nobody", BadLogin},
	} {
		power, _ := New(o)
		if _, err := power.PowerState(t.Context(), task(with(info, tt.key, tt.value))); ReasonOf(err) != tt.want {
			t.Errorf("%s %s: %v, want reason %q", tt.key, tt.value, err, tt.want)
		}
	}
}
