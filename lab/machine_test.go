package lab

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMachineOptionsCheck(t *testing.T) {
	for _, c := range []struct {
		o    MachineOptions
		want string
	}{
		{MachineOptions{Name: "m1"}, ""},
		{MachineOptions{Name: "rack-1.node"}, ""},
		{MachineOptions{Name: "m1", Disks: []int64{}}, ""},
		{MachineOptions{}, `machine name "": only 1 to 32 of a-z, 0-9, '-' and '.' are allowed`},
		{MachineOptions{Name: "../m"}, `machine name "../m": only 1 to 32 of a-z, 0-9, '-' and '.' are allowed`},
		{MachineOptions{Name: "m1", Firmware: "efi"}, `firmware "efi": allowed are bios, uefi`},
		{MachineOptions{Name: "m1", DiskModel: "ide"}, `disk model "ide": allowed are virtio, nvme, ahci, scsi`},
		{MachineOptions{Name: "m1", NICModel: "rtl"}, `NIC model "rtl": allowed are virtio, e1000e, e1000`},
		{MachineOptions{Name: "m1", NICROM: "pxe"}, `NIC ROM "pxe": allowed are ipxe, none, http`},
		{MachineOptions{Name: "m1", NICROM: "http"}, `NIC ROM http needs the firmware uefi, not bios`},
		{MachineOptions{Name: "m1", NICROM: "http", Firmware: "uefi"}, ""},
		{MachineOptions{Name: "m1", SecureBoot: true}, "the firmware for Secure Boot is uefi, not bios"},
		{MachineOptions{Name: "m1", SecureBoot: true, Firmware: "uefi", NICROM: "ipxe"},
			"NIC ROM ipxe is signed by nobody, so Secure Boot would not start it: allowed are none, http"},
		{MachineOptions{Name: "m1", SecureBoot: true, Firmware: "uefi", NICROM: "http"}, ""},
		{MachineOptions{Name: "m1", SecureBoot: true, Firmware: "uefi"}, ""},
		{MachineOptions{Name: "m1", CDROM: "/etc/passwd"}, ""},
		{MachineOptions{Name: "m1", CDROM: "/nowhere.iso"}, "CD-ROM: stat /nowhere.iso: no such file or directory"},
		{MachineOptions{Name: "m1", CDROM: "/etc"}, "CD-ROM /etc: an absolute path of a file is wanted"},
		{MachineOptions{Name: "m1", CDROM: "machine_test.go"}, "CD-ROM machine_test.go: an absolute path of a file is wanted"},
		{MachineOptions{Name: "m1", MemoryMB: 1}, `memory in MiB 1: allowed are 64 to 1048576`},
		{MachineOptions{Name: "m1", NICs: 9}, `number of NICs 9: allowed are 1 to 8`},
		{MachineOptions{Name: "m1", BMCPort: 70000}, `BMC port 70000: allowed are 0 to 65535`},
		{MachineOptions{Name: "m1", BMCPassword: strings.Repeat("x", 21)}, `length of the BMC password 21: allowed are 1 to 20`},
		{MachineOptions{Name: "m1", SectorSize: 2048}, `sector size 2048: allowed are 512, 4096`},
		{MachineOptions{Name: "m1", SectorSize: 4096, DiskModel: "ahci"},
			`sector size 4096: QEMU's disks of the model ahci have 512; allowed with it are virtio, nvme, scsi`},
		{MachineOptions{Name: "m1", SectorSize: 4096, Disks: []int64{1<<20 + 512}},
			`disk size 1049088 bytes: at least 1 MiB and a multiple of 4096 is wanted`},
		{MachineOptions{Name: "m1", DiskPaths: 2, DiskModel: "scsi"}, ""},
		{MachineOptions{Name: "m1", DiskPaths: 2}, `2 paths to disks of the model virtio: allowed are 1, and with scsi 2`},
		{MachineOptions{Name: "m1", DiskPaths: 3, DiskModel: "scsi"}, `3 paths to disks of the model scsi: allowed are 1, and with scsi 2`},
		{MachineOptions{Name: "m1", Disks: []int64{1000}}, `disk size 1000 bytes: at least 1 MiB and a multiple of 512 is wanted`},
	} {
		got := ""
		if err := c.o.complete(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v\n got %s\nwant %s", c.o, got, c.want)
		}
	}
}

func TestSocketsFit(t *testing.T) {
	longest := "/" + strings.Repeat("d", maxSocketPath-len("//control.sock"))
	if err := socketsFit(longest); err != nil {
		t.Errorf("%d characters: %v", len(longest), err)
	}
	want := "the path of the machine's control socket would have 108 characters, at most 107 are allowed: " + longest +
		"x/control.sock; choose a shorter --dir or machine name"
	if err := socketsFit(longest + "x"); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	l := Lab{Name: "x", Dir: longest + "x"}
	if _, err := l.Create(t.Context(), MachineOptions{Name: "m1"}); err == nil || !strings.Contains(err.Error(), "choose a shorter --dir") {
		t.Errorf("Create: %v", err)
	}
}

func TestNewMachine(t *testing.T) {
	o := MachineOptions{Name: "m1", Disks: []int64{1 << 30, 2 << 30}, DiskModel: "scsi", NICs: 2, MACs: []string{"52:54:00:AA:00:01"}}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	m := newMachine(o, "/lab/machines/m1")
	for what, c := range map[string]struct{ got, pattern string }{
		"uuid":        {m.UUID, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		"given MAC":   {m.NICs[0].MAC, `^52:54:00:aa:00:01$`},
		"made-up MAC": {m.NICs[1].MAC, `^52:54:00:([0-9a-f]{2}:){2}[0-9a-f]{2}$`},
		"tap":         {m.NICs[1].Tap, `^t[0-9a-f]{8}n1$`},
		"serial":      {m.Disks[1].Serial, `^BILLET[0-9A-F]{8}1$`},
		"wwn":         {m.Disks[1].WWN, `^0x5[0-9a-f]{15}$`},
		"path":        {m.Disks[1].Path, `^/lab/machines/m1/disk1.raw$`},
		"password":    {m.BMC.Password, `^[0-9a-f]{16}$`},
	} {
		if !regexp.MustCompile(c.pattern).MatchString(c.got) {
			t.Errorf("%s is %q, want %s", what, c.got, c.pattern)
		}
	}
	if len(m.Disks[0].Serial) > 20 {
		t.Errorf("the serial number %q is too long for virtio (20 bytes)", m.Disks[0].Serial)
	}
	if m.Disks[0].WWN == m.Disks[1].WWN || m.Disks[0].Serial == m.Disks[1].Serial {
		t.Error("two disks have the same names")
	}
}

// A machine with Secure Boot has cards without a boot ROM of their own, and starts with Microsoft's keys.
func TestSecureMachine(t *testing.T) {
	o := MachineOptions{Name: "m1", SecureBoot: true, Firmware: "uefi"}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	m := newMachine(o, "/lab/machines/m1")
	if !m.SecureBoot || m.NICROM != "none" || m.Firmware != "uefi" {
		t.Errorf("made %+v", m)
	}
	keys, err := os.ReadFile(firmwareVars(true))
	if err != nil {
		t.Fatalf("%v: the package ovmf is missing", err)
	}
	plain, err := os.ReadFile(firmwareVars(false))
	if err != nil {
		t.Fatal(err)
	}
	// The variables' names and the certificates are in the store as they are (UTF-16 and DER).
	for _, part := range []string{"Microsoft Corporation UEFI CA 2011", "P\x00K\x00",
		"S\x00e\x00c\x00u\x00r\x00e\x00B\x00o\x00o\x00t\x00E\x00n\x00a\x00b\x00l\x00e\x00"} {
		if !strings.Contains(string(keys), part) || strings.Contains(string(plain), part) {
			t.Errorf("%q: want it with Secure Boot alone", part)
		}
	}
}

func TestSupervises(t *testing.T) {
	l := &Lab{Dir: "/lab", Name: "lab0"}
	for _, c := range []struct {
		args string
		name string
		want bool
	}{
		{"/usr/bin/billet lab run-machine --dir /lab --name lab0 m1", "m1", true},
		{"/usr/bin/billet lab run-machine --dir /lab --name lab0 m1", "", true},
		{"/usr/bin/billet lab run-machine --dir /lab --name lab0 m1", "m2", false},
		{"/usr/bin/billet lab run-machine --dir /other --name lab0 m1", "", false},
		{"vi run-machine", "", false},
		{"run-machine --dir /lab --name lab0 m1", "", false}, // no program before it
		{"", "", false},
	} {
		if got := l.supervises(strings.Fields(c.args), c.name); got != c.want {
			t.Errorf("supervises(%q, %q) = %v", c.args, c.name, got)
		}
	}
	for args, want := range map[string]bool{
		"/usr/bin/billet lab run-machine --dir /lab --name lab0 m1":   true,
		"/usr/bin/billet lab run-machine --dir /other --name lab0 m1": true,
		"/usr/bin/billet lab run-machine --dir /other --name lab1 m1": false,
		"run-machine --dir /lab --name lab0 m1":                       false,
		"vi --dir /other --name lab0 m1":                              false,
		"vi lab0":                                                     false,
		"":                                                            false,
	} {
		if got := l.supervisesAnywhere(strings.Fields(args)); got != want {
			t.Errorf("supervisesAnywhere(%q) = %v", args, got)
		}
	}
}

func TestOpen(t *testing.T) {
	for name, want := range map[string]string{
		"lab0": "", "": "", "a-1": "",
		"Lab": `lab name "Lab": only 1 to 8 of a-z, 0-9 and '-' are allowed`,
		"../": `lab name "../": only 1 to 8 of a-z, 0-9 and '-' are allowed`,
	} {
		got := ""
		if _, err := Open(Lab{Name: name}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Open(%q): %s, want %s", name, got, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for _, c := range []struct {
		stat, state, start string
		ok                 bool
	}{
		{"12 (qemu)" + rest, "S", "4711", true},
		{"12 (a) R 9 (b))" + rest, "S", "4711", true},
		{"12 (x) Z 1", "", "", false},
		{"", "", "", false},
	} {
		state, start, ok := parseStat([]byte(c.stat))
		if state != c.state || start != c.start || ok != c.ok {
			t.Errorf("parseStat(%q) = %q %q %v", c.stat, state, start, ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (qemu) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if state, start, ok := parseStat(stat); ok && (state == "" || start == "") {
			t.Errorf("parseStat(%q) = %q %q", stat, state, start)
		}
	})
}

func TestFindProcess(t *testing.T) {
	p, ok := findProcess(os.Getpid())
	if !ok || !p.alive() || diffArgs(p.args) != "" {
		t.Errorf("this process is %+v, %v", p, ok)
	}
	p.start = "1"
	if p.alive() {
		t.Error("a process with another start time is taken for this one")
	}
}

func diffArgs(args []string) string { return cmp.Diff(os.Args, args) }

// removeFiles must leave alone what the lab did not make.
func TestRemoveFilesKeepsOthers(t *testing.T) {
	dir := t.TempDir()
	l := &Lab{Dir: dir}
	mine := filepath.Join(dir, "thesis.txt")
	for _, path := range []string{mine, filepath.Join(dir, "lab.json"), filepath.Join(dir, "machines/m1/disk0.raw")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.removeFiles(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "thesis.txt" {
		t.Errorf("what is left: %v %v, want thesis.txt alone", entries, err)
	}
}
