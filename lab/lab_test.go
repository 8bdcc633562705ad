package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/lab/images"
)

// patience is how long a machine may take for anything: an emulated processor that is shared with
// other tests is slow, and no test here asks how fast.
const patience = 4 * time.Minute

// testLab makes a lab that no other test run shares, and checks at the end that nothing is left.
func testLab(t *testing.T) *Lab {
	t.Helper()
	if err := mayMakeNetworks(); err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	dir, err := os.MkdirTemp("", "lab") // t.TempDir's names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(Lab{Dir: dir, Name: "t" + strconv.Itoa(os.Getpid()%1e6), Supervisor: []string{self}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Errorf("down: %v", err)
		}
		nothingLeft(t, l)
	})
	if _, err := l.Up(t.Context(), testCIDR()); err != nil {
		t.Fatal(err)
	}
	return l
}

func testCIDR() string {
	return fmt.Sprintf("10.%d.%d.1/24", 100+os.Getpid()%100, os.Getpid()/100%256)
}

// nothingLeft looks for everything a lab can leave behind.
func nothingLeft(t *testing.T, l *Lab) {
	t.Helper()
	left, err := allProcesses(func(args []string) bool {
		return l.supervises(args, "") || slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, l.Dir) })
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range left {
		t.Errorf("process %d is left: %q", p.pid, p.args)
	}
	if _, err := os.Stat("/run/netns/billet-" + l.Name); err == nil {
		t.Error("the namespace is left")
	}
	if _, err := net.InterfaceByName("billet-" + l.Name); err == nil {
		t.Error("the host's interface is left")
	}
	if entries, err := os.ReadDir(l.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files are left in %s: %v", l.Dir, entries)
	}
}

// ipmi runs ipmitool against a machine's BMC.
func ipmi(t *testing.T, m Machine, args ...string) string {
	t.Helper()
	base := []string{"-I", "lanplus", "-H", m.BMC.Address, "-p", strconv.Itoa(m.BMC.Port), "-U", m.BMC.User, "-P", m.BMC.Password}
	out, err := exec.Command("ipmitool", append(base, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ipmitool %v: %v: %s (is the package ipmitool installed?)", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// serial follows a machine's serial log from where the last wait ended.
type serial struct {
	path string
	at   int
}

// wait returns when text has appeared; it goes on after it.
func (s *serial) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		log, err := os.ReadFile(s.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if i := bytes.Index(log[min(s.at, len(log)):], []byte(text)); i >= 0 {
			s.at += i + len(text)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q did not appear; the serial line said: %q", text, log[min(s.at, len(log)):])
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for: %s", what)
		}
	}
}

func (l *Lab) mustMachine(t *testing.T, name string) Machine {
	t.Helper()
	m, err := l.Machine(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMachine takes one machine of each firmware through its life, as Billet will: power and boot
// devices by IPMI, the rest by looking at the serial line.
func TestMachine(t *testing.T) {
	l := testLab(t)
	img, err := images.Build(t.Context(), "grub", images.Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ firmware, network string }{
		{"bios", "Configuring (net0"}, // iPXE asks for an address
		{"uefi", "Configuring (net0"},
	} {
		t.Run(c.firmware, func(t *testing.T) {
			m, err := l.Create(t.Context(), MachineOptions{Name: "m-" + c.firmware, Firmware: c.firmware, BMCUser: "root", BMCPassword: "calvin"})
			if err != nil {
				t.Fatal(err)
			}
			if m.Power != "off" {
				t.Errorf("a new machine is %q, want off", m.Power)
			}
			s := &serial{path: m.Serial}

			// A bare machine: its disk is empty, and a boot device is set for one boot.
			ipmi(t, m, "chassis", "bootdev", "pxe")
			if got := l.mustMachine(t, m.Name).Boot; got != "pxe once" {
				t.Errorf("the boot device is %q", got)
			}
			ipmi(t, m, "power", "on")
			waitUntil(t, "power on", func() bool { return ipmi(t, m, "power", "status") == "Chassis Power is on" })
			s.wait(t, c.network)
			waitUntil(t, "the boot device's end", func() bool { return l.mustMachine(t, m.Name).Boot == "" })

			// Something is deployed; the next start takes the disk.
			if err := pour(img.Path, m.Disks[0].Path); err != nil {
				t.Fatal(err)
			}
			ipmi(t, m, "power", "reset")
			s.wait(t, images.GrubMarker)

			// Network once, while it runs; then the disk again.
			ipmi(t, m, "chassis", "bootdev", "pxe")
			ipmi(t, m, "power", "reset")
			s.wait(t, c.network)
			ipmi(t, m, "power", "cycle")
			s.wait(t, images.GrubMarker)

			// Persistent: it stays.
			ipmi(t, m, "chassis", "bootdev", "pxe", "options=persistent")
			for range 2 {
				ipmi(t, m, "power", "off")
				waitUntil(t, "power off", func() bool { return l.mustMachine(t, m.Name).Power == "off" })
				ipmi(t, m, "power", "on")
				s.wait(t, c.network)
			}
			if got := l.mustMachine(t, m.Name).Boot; got != "pxe" {
				t.Errorf("a persistent boot device became %q", got)
			}
			if err := l.Destroy(t.Context(), m.Name); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Machine(t.Context(), m.Name); err == nil {
				t.Error("a destroyed machine is still there")
			}
		})
	}
}

// pour writes an image to the beginning of a disk, as an agent does.
func pour(image, disk string) error {
	data, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data, 0)
	return err
}

func TestConsoleAndFaults(t *testing.T) {
	l := testLab(t)
	m, err := l.Create(t.Context(), MachineOptions{Name: "m1", Disks: []int64{}})
	if err != nil {
		t.Fatal(err)
	}
	console, err := l.Console(t.Context(), "m1")
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	if err := l.Power(t.Context(), "m1", "on"); err != nil {
		t.Fatal(err)
	}
	var heard bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(heard.String(), "iPXE") {
		n, err := console.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, heard.String())
		}
		heard.Write(buf[:n])
	}
	var followed bytes.Buffer
	if err := l.Follow(t.Context(), "m1", &followed, FollowOptions{Until: "SeaBIOS", Within: patience}); err != nil {
		t.Error(err)
	}
	err = l.Follow(t.Context(), "m1", &followed, FollowOptions{Until: "no machine says this", Within: time.Second})
	if err == nil || !strings.HasPrefix(err.Error(),
		`"no machine says this" did not appear on the serial line of m1: context deadline exceeded; it ended with: `) {
		t.Errorf("waiting in vain: %v", err)
	}

	if err := l.SetFaults(t.Context(), "m1", bmc.Faults{Dead: true}); err != nil {
		t.Fatal(err)
	}
	ask := []string{"-I", "lanplus", "-N", "1", "-R", "1", "-H", m.BMC.Address, "-p", strconv.Itoa(m.BMC.Port), "-U", m.BMC.User, "-P",
		m.BMC.Password, "power", "status"}
	if out, err := exec.Command("ipmitool", ask...).CombinedOutput(); err == nil {
		t.Errorf("a dead BMC answers: %s", out)
	}
	if err := l.SetFaults(t.Context(), "m1", bmc.Faults{}); err != nil {
		t.Fatal(err)
	}
	if got := ipmi(t, m, "power", "status"); got != "Chassis Power is on" {
		t.Errorf("a healed BMC says %q", got)
	}
}

// TestCrash kills what can be killed and wants Down to find the rest. testLab looks afterwards.
func TestCrash(t *testing.T) {
	l := testLab(t)
	for _, name := range []string{"m1", "m2"} {
		if _, err := l.Create(t.Context(), MachineOptions{Name: name, Disks: []int64{1 << 20}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Power(t.Context(), "m1", "on"); err != nil {
		t.Fatal(err)
	}
	supervisors, err := allProcesses(func(args []string) bool { return l.supervises(args, "") })
	if err != nil || len(supervisors) != 2 {
		t.Fatalf("supervisors: %v %v, want 2", supervisors, err)
	}
	uuid := l.mustMachine(t, "m1").UUID
	for _, p := range supervisors {
		if err := p.signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	waitUntil(t, "the supervisors' end", func() bool { return !supervisors[0].alive() && !supervisors[1].alive() })
	orphans, err := allProcesses(func(args []string) bool { return slices.Contains(args, uuid) })
	if err != nil || len(orphans) != 1 {
		t.Fatalf("QEMU without its supervisor: %v %v, want 1", orphans, err)
	}
	if got := l.mustMachine(t, "m1").Power; got != "unknown" {
		t.Errorf("without a supervisor power is %q, want unknown", got)
	}
	// A machine whose supervisor died comes back when it is asked for.
	if err := l.Power(t.Context(), "m1", "on"); err != nil {
		t.Fatal(err)
	}
	if orphans[0].alive() {
		t.Error("the old QEMU still runs beside the new one")
	}
	// Once more, and this time the notes go too: only looking helps now.
	supervisors, err = allProcesses(func(args []string) bool { return l.supervises(args, "m1") })
	if err != nil || len(supervisors) != 1 {
		t.Fatalf("supervisors: %v %v, want 1", supervisors, err)
	}
	if err := supervisors[0].signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"lab.json", "machines/m1/machine.json"} {
		if err := os.Remove(filepath.Join(l.Dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, l)
	left, err := allProcesses(func(args []string) bool { return slices.Contains(args, uuid) })
	if err != nil || len(left) != 0 {
		t.Errorf("QEMU is left: %v %v", left, err)
	}
	if err := l.Down(t.Context()); err != nil {
		t.Errorf("down with nothing there: %v", err)
	}
}

func TestUp(t *testing.T) {
	l := testLab(t)
	cidr := testCIDR()
	first, err := l.Up(t.Context(), cidr)
	if err != nil {
		t.Fatalf("up a second time: %v", err)
	}
	want := State{Name: l.Name, CIDR: cidr, Interface: "billet-" + l.Name, Namespace: "billet-" + l.Name, Dir: l.Dir}
	if first != want {
		t.Errorf("state is %+v, want %+v", first, want)
	}
	i, err := net.InterfaceByName(first.Interface)
	if err != nil {
		t.Fatal(err)
	}
	if addrs, err := i.Addrs(); err != nil || len(addrs) == 0 || addrs[0].String() != cidr {
		t.Errorf("the host's interface has %v %v, want %s", addrs, err, cidr)
	}
	other := &Lab{Dir: t.TempDir(), Name: "t-other", Log: l.Log}
	for _, c := range []struct {
		lab  *Lab
		cidr string
		want string
	}{
		{l, "10.222.0.1/24", "lab " + l.Name + " is up already with " + cidr + "; to change it: billet lab down"},
		{l, "10.222.0.1", `lab network "10.222.0.1": an IPv4 address with a prefix of at most 29 bits is wanted, such as 10.99.0.1/24`},
		{l, "fd00::1/64", `lab network "fd00::1/64": an IPv4 address with a prefix of at most 29 bits is wanted, such as 10.99.0.1/24`},
		{other, cidr, "the lab's network " + cidr + " overlaps this host's address " + cidr + "; choose another --cidr"},
		{&Lab{Dir: t.TempDir(), Name: l.Name, Log: l.Log}, "10.222.0.1/24",
			"another lab named " + l.Name + " is there (network namespace billet-" + l.Name +
				"); choose another --name, or: billet lab down --name " + l.Name},
	} {
		if _, err := c.lab.Up(t.Context(), c.cidr); err == nil || err.Error() != c.want {
			t.Errorf("up %s\n got %v\nwant %s", c.cidr, err, c.want)
		}
	}
	if _, err := os.Stat("/run/netns/billet-t-other"); err == nil {
		t.Error("a lab that was refused left its namespace")
	}
	if _, err := l.Machine(t.Context(), "nobody"); err == nil ||
		err.Error() != "there is no machine nobody in the lab in "+l.Dir+"; see: billet lab list" {
		t.Errorf("an unknown machine: %v", err)
	}
}

// TestDownFromElsewhere: who knows only the name of a lab, as the refusal of a second one tells it, gets rid of
// its machines and their supervisors too.
func TestDownFromElsewhere(t *testing.T) {
	l := testLab(t)
	if _, err := l.Create(t.Context(), MachineOptions{Name: "m1", Disks: []int64{1 << 20}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Power(t.Context(), "m1", "on"); err != nil {
		t.Fatal(err)
	}
	uuid := l.mustMachine(t, "m1").UUID
	elsewhere := &Lab{Dir: t.TempDir(), Name: l.Name, Log: l.Log}
	if err := elsewhere.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := allProcesses(func(args []string) bool { return slices.Contains(args, uuid) || l.supervises(args, "") })
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if l.network().exists(t.Context()) {
		t.Error("the network is left")
	}
}

// TestWithoutRights runs this program as nobody.
func TestWithoutRights(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "billet")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "may-i")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("running as nobody: %v: %s", err, out)
	}
	want := "a lab makes a network namespace, a bridge and taps, and this user may not: run it with sudo, or give the program the rights " +
		"once: sudo setcap cap_net_admin,cap_sys_admin,cap_dac_override+ep " + copied + "\n"
	if string(out) != want {
		t.Errorf("got  %swant %s", out, want)
	}
}
