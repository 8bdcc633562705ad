package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Tables as depmod 6.1 writes them, cut to the drivers of a few servers.
const (
	depTable = `kernel/drivers/scsi/scsi_common.ko:
kernel/drivers/scsi/scsi_mod.ko: kernel/drivers/scsi/scsi_common.ko
kernel/drivers/scsi/sd_mod.ko: kernel/lib/crc-t10dif.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/lib/crc-t10dif.ko:
kernel/drivers/scsi/megaraid/megaraid_sas.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/scsi/mpt3sas/mpt3sas.ko: kernel/drivers/scsi/raid_class.ko kernel/drivers/scsi/scsi_transport_sas.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/scsi/raid_class.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/scsi/scsi_transport_sas.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libahci.ko kernel/drivers/ata/libata.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/libahci.ko: kernel/drivers/ata/libata.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/libata.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/nvme/host/nvme.ko: kernel/drivers/nvme/host/nvme-core.ko
kernel/drivers/nvme/host/nvme-core.ko:
kernel/drivers/usb/host/xhci-pci.ko: kernel/drivers/usb/host/xhci-hcd.ko kernel/drivers/usb/core/usbcore.ko
kernel/drivers/usb/host/xhci-hcd.ko: kernel/drivers/usb/core/usbcore.ko
kernel/drivers/usb/core/usbcore.ko:
kernel/drivers/usb/storage/usb-storage.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko:
`
	aliasTable = `# Aliases extracted from modules themselves.
alias pci:v00001000d0000005Dsv*sd*bc*sc*i* megaraid_sas
alias pci:v00001000d00000097sv*sd*bc*sc*i* mpt3sas
alias pci:v*d*sv*sd*bc01sc06i01* ahci
alias pci:v*d*sv*sd*bc01sc08i02* nvme
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage
alias scsi:t-0x00* sd_mod
alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e
alias pci:v00008086d000010D3sv*sd*bc*sc*i* not_in_this_ramdisk
`
)

// server is a machine whose drivers bring further devices to light: module → modalias files.
type server struct {
	devices map[string]string            // path below sys/bus → modalias
	brings  map[string]map[string]string // module file's name → devices
	fails   map[string]error
}

// boot loads the machine's drivers; it returns the names of the files in the order they were tried.
func (s server) boot(t *testing.T, order string) (loaded []string, log string) {
	t.Helper()
	dir := tree(t, map[string]string{"modules/order": order, "modules/modules.dep": depTable, "modules/modules.alias": aliasTable})
	add := func(devices map[string]string) {
		for path, alias := range devices {
			path = filepath.Join(dir, "sys/bus", path, "modalias")
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(alias+"\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(s.devices)
	var text bytes.Buffer
	m := Modules{Dir: dir + "/modules", Sys: dir + "/sys", Log: slog.New(slog.NewTextHandler(&text, nil)), Load: func(file string) error {
		name := strings.TrimSuffix(filepath.Base(file), ".ko")
		loaded = append(loaded, name)
		add(s.brings[name])
		return s.fails[name]
	}}
	if err := m.LoadAll(); err != nil {
		t.Fatal(err)
	}
	return loaded, text.String()
}

const (
	megaraid = "pci:v00001000d0000005Dsv00001028sd00001F4Abc01sc04i00"
	sasHBA   = "pci:v00001000d00000097sv00001000sd00003090bc01sc07i00"
	ahci     = "pci:v00008086d0000A182sv00001028sd00000715bc01sc06i01"
	nvme     = "pci:v0000144Dd0000A80Asv0000144Dsd0000A801bc01sc08i02"
	xhci     = "pci:v00008086d0000A1AFsv00001028sd00000715bc0Csc03i30"
	stick    = "usb:v0781p5567d0126dc00dsc00dp00ic08isc06ip50in00"
	e1000e   = "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00"
	scsiDisk = "scsi:t-0x00"
)

// Each machine gets its drivers, what they need before them, and nothing else.
func TestDriversOfServers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		order  string
		server server
		want   string
	}{
		{"nothing in it", "", server{}, ""},
		{"megaraid, whose disks show later", "", server{
			devices: map[string]string{"pci/devices/0000:3b:00.0": megaraid},
			brings:  map[string]map[string]string{"megaraid_sas": {"scsi/devices/0:2:0:0": scsiDisk}},
		}, "scsi_common scsi_mod megaraid_sas crc-t10dif sd_mod"},
		{"SAS", "", server{devices: map[string]string{"pci/devices/0000:18:00.0": sasHBA}},
			"scsi_common scsi_mod scsi_transport_sas raid_class mpt3sas"},
		{"AHCI with sd_mod loaded always",
			"kernel/drivers/scsi/scsi_common.ko\nkernel/drivers/scsi/scsi_mod.ko\nkernel/lib/crc-t10dif.ko\nkernel/drivers/scsi/sd_mod.ko\n", server{
				devices: map[string]string{"pci/devices/0000:00:17.0": ahci},
				brings:  map[string]map[string]string{"ahci": {"scsi/devices/0:0:0:0": scsiDisk}},
			}, "scsi_common scsi_mod crc-t10dif sd_mod libata libahci ahci"},
		{"NVMe", "", server{devices: map[string]string{"pci/devices/0000:01:00.0": nvme}}, "nvme-core nvme"},
		{"USB: controller, stick, disk, in three rounds", "", server{
			devices: map[string]string{"pci/devices/0000:00:14.0": xhci},
			brings: map[string]map[string]string{
				"xhci-pci":    {"usb/devices/1-2:1.0": stick},
				"usb-storage": {"scsi/devices/4:0:0:0": scsiDisk},
			},
		}, "usbcore xhci-hcd xhci-pci scsi_common scsi_mod usb-storage crc-t10dif sd_mod"},
		{"two of the same: the driver is loaded once", "", server{
			devices: map[string]string{"pci/devices/0000:01:00.0": nvme, "pci/devices/0000:02:00.0": nvme},
		}, "nvme-core nvme"},
		{"an alias of a driver that is not in the ramdisk", "", server{devices: map[string]string{"pci/devices/0000:00:1f.6": e1000e}}, "e1000e"},
		{"devices nobody drives", "", server{devices: map[string]string{"pci/devices/0000:00:1f.0": "pci:v00008086d0000A1C1bc06sc01i00",
			"acpi/devices/PNP0C0A:00": "acpi:PNP0C0A:"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loaded, log := tt.server.boot(t, tt.order)
			if got := strings.Join(loaded, " "); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			if log != "" {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// A driver that fails costs its own devices only.
func TestADriverThatFailsStopsNoOther(t *testing.T) {
	s := server{
		devices: map[string]string{"pci/devices/0000:01:00.0": nvme, "pci/devices/0000:3b:00.0": megaraid, "pci/devices/0000:00:17.0": ahci},
		fails:   map[string]error{"scsi_mod": errors.New("exec format error"), "ahci": fmt.Errorf("loading ahci.ko: %w", unix.ENODEV)},
	}
	loaded, log := s.boot(t, "")
	for _, want := range []string{"nvme", "megaraid_sas", "ahci"} {
		if !strings.Contains(" "+strings.Join(loaded, " ")+" ", " "+want+" ") {
			t.Errorf("%s was not tried: %v", want, loaded)
		}
	}
	if n := strings.Count(log, "\n"); n != 1 || !strings.Contains(log,
		`msg="a kernel module could not be loaded" module=kernel/drivers/scsi/scsi_mod.ko error="exec format error"`) {
		t.Errorf("logged %s", log)
	}
	tried := map[string]int{}
	for _, name := range loaded {
		if tried[name]++; tried[name] > 1 {
			t.Errorf("%s was tried again", name)
		}
	}
}

// A chain of devices longer than any machine's ends all the same, with what was reached.
func TestChainsEnd(t *testing.T) {
	var dep, alias strings.Builder
	for i := range 100 {
		fmt.Fprintf(&dep, "kernel/m%d.ko:\n", i)
		fmt.Fprintf(&alias, "alias step:%d m%d\n", i, i)
	}
	dir := tree(t, map[string]string{"modules/modules.dep": dep.String(), "modules/modules.alias": alias.String(),
		"sys/bus/x/devices/0/modalias": "step:0\n"})
	n := 0
	m := Modules{Dir: dir + "/modules", Sys: dir + "/sys", Log: slog.New(slog.DiscardHandler), Load: func(string) error {
		n++
		path := fmt.Sprintf("%s/sys/bus/x/devices/%d/modalias", dir, n)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, fmt.Appendf(nil, "step:%d", n), 0o644))
	}}
	if err := m.LoadAll(); err != nil || n < 10 || n > 100 {
		t.Errorf("%d modules, %v", n, err)
	}
}

// A table that needs itself does not turn round for ever.
func TestModulesThatNeedEachOther(t *testing.T) {
	dir := tree(t, map[string]string{
		"modules/modules.dep":          "kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\nno colon here\n",
		"modules/modules.alias":        "alias dev:1 a\nalias short\nalias dev:2 gone\nnonsense dev:1 b\n",
		"sys/bus/x/devices/1/modalias": "dev:1", "sys/bus/x/devices/2/modalias": "dev:2",
	})
	var loaded []string
	m := Modules{Dir: dir + "/modules", Sys: dir + "/sys", Log: slog.New(slog.DiscardHandler),
		Load: func(f string) error { loaded = append(loaded, filepath.Base(f)); return nil }}
	if err := m.LoadAll(); err != nil || strings.Join(loaded, " ") != "b.ko a.ko" {
		t.Errorf("%v, %v", loaded, err)
	}
}

// A table that cannot be read is an error with its name, not an empty table.
func TestTablesThatCannotBeRead(t *testing.T) {
	for _, table := range []string{"order", "modules.dep", "modules.alias"} {
		dir := tree(t, map[string]string{table + "/x": ""})
		m := Modules{Dir: dir, Sys: dir, Log: slog.New(slog.DiscardHandler), Load: func(string) error { return nil }}
		if err := m.LoadAll(); err == nil || !strings.Contains(err.Error(), "reading the module table "+table) {
			t.Errorf("%s: %v", table, err)
		}
	}
	long := tree(t, map[string]string{"order": strings.Repeat("x", 100<<10)})
	m := Modules{Dir: long, Sys: long, Log: slog.New(slog.DiscardHandler), Load: func(string) error { return nil }}
	if err := m.LoadAll(); err == nil || !strings.Contains(err.Error(), "reading the module table order") {
		t.Errorf("a line without an end: %v", err)
	}
}

// The shell matches patterns by the same rules; it is asked about many short ones.
func TestMatchAgreesWithTheShell(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Fatal("bash is needed to compare with: apt-get install bash")
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	word := func(letters string, most int) string {
		b := make([]byte, rnd.IntN(most))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return string(b)
	}
	type pair struct{ pattern, s string }
	var pairs []pair
	script := "LC_ALL=C\n"
	for range 3000 {
		p := pair{word("aab**?:", 7), word("aab:", 7)}
		switch rnd.IntN(4) {
		case 0:
			p.pattern += "[ab]" + word("a*b", 3)
		case 1:
			p.pattern += "[!a]" + word("a?b", 3)
		case 2:
			p.pattern += "[a-b0-9]*"
		}
		pairs = append(pairs, p)
		script += fmt.Sprintf("case '%s' in %s) echo 1;; *) echo 0;; esac\n", p.s, orEmpty(p.pattern))
	}
	cmd := exec.Command("bash", "--norc")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Fields(string(out))
	if len(answers) != len(pairs) {
		t.Fatalf("bash gave %d answers for %d questions", len(answers), len(pairs))
	}
	for i, p := range pairs {
		if got := match(p.pattern, p.s); got != (answers[i] == "1") {
			t.Errorf("match(%q, %q) = %v; bash says %s", p.pattern, p.s, got, answers[i])
		}
	}
}

// orEmpty is a pattern as the shell reads it; an empty one needs quotes.
func orEmpty(pattern string) string {
	if pattern == "" {
		return "''"
	}
	return pattern
}

// The child gets its environment and nothing of process 1's.
func TestTheChildsEnvironment(t *testing.T) {
	t.Setenv("OF_PROCESS_ONE", "secret")
	file := filepath.Join(t.TempDir(), "env")
	how, err := runChild([]string{"/bin/sh", "-c", "env > " + file}, []string{"PATH=/bin:/usr/bin", "MARK=1"})
	if err != nil || how != "exit status 0" {
		t.Fatal(how, err)
	}
	got, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(got), "OF_PROCESS_ONE") || !strings.Contains(string(got), "MARK=1\n") {
		t.Errorf("%s, %v", got, err)
	}
}

// Ends of a child as people read them.
func TestEndings(t *testing.T) {
	for script, want := range map[string]string{
		"kill -11 $$": "killed by signal segmentation fault",
		"kill -15 $$": "killed by signal terminated",
		"exit 0":      "exit status 0",
		"exit 255":    "exit status 255",
	} {
		if got, err := runChild([]string{"/bin/sh", "-c", script}, nil); err != nil || got != want {
			t.Errorf("%s: %q, %v", script, got, err)
		}
	}
}
