package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Machine is one virtual machine as `billet lab create` prints it.
type Machine struct {
	Name       string `json:"name"`
	UUID       string `json:"uuid"`                  // in the machine's SMBIOS and its BMC
	Firmware   string `json:"firmware"`              // "bios" or "uefi"
	SecureBoot bool   `json:"secure_boot,omitempty"` // the firmware starts only what is signed
	MemoryMB   int    `json:"memory_mb"`
	CPUs       int    `json:"cpus"`
	NICs       []NIC  `json:"nics"`
	Disks      []Disk `json:"disks"`
	CDROM      string `json:"cdrom,omitempty"` // path of the file in its CD drive
	// "ipxe": cards carry iPXE; "none": the firmware's own network boot; "http": the same without PXE, UEFI only
	NICROM string `json:"nic_rom"`
	BMC    BMC    `json:"bmc"`
	Serial string `json:"serial_log"`           // path; everything the machine ever said
	Inside bool   `json:"bmc_inside,omitempty"` // the machine sees its BMC, as a KCS interface
	Power  string `json:"power,omitempty"`
	Boot   string `json:"boot,omitempty"` // override in force: "pxe", "disk once"…
}

// NIC is a network card.
type NIC struct {
	MAC   string `json:"mac"`
	Model string `json:"model"` // "virtio", "e1000e" or "e1000"
	Tap   string `json:"tap"`   // inside the lab's namespace

	SwitchPort string `json:"switch_port,omitempty"` // where its cable ends on this host; "": on the lab's bridge
}

// own is the name of an interface that only this card has.
func (n NIC) own(kind string) string { return kind + n.Tap[1:] }

// Disk is a disk, a sparse raw file.
type Disk struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`  // bytes
	Model  string `json:"model"` // "virtio", "nvme", "ahci" or "scsi"
	Serial string `json:"serial"`
	WWN    string `json:"wwn,omitempty"` // ahci and scsi only; 0x and 16 hex digits

	SectorSize int64 `json:"sector_size,omitempty"` // bytes of a logical sector; 0: 512
	Paths      int   `json:"paths,omitempty"`       // ways to it, each through a controller of its own; 0: one

	Pulled bool  `json:"pulled,omitempty"` // not in the machine now
	BadAt  int64 `json:"bad_at,omitempty"` // a byte that cannot be written; 0: none
}

// BMC is how to reach the machine's management controller.
type BMC struct {
	Address  string `json:"address"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// MachineOptions say what to create. Zero values get the defaults in brackets.
type MachineOptions struct {
	Name        string
	Firmware    string   // ["bios"] or "uefi"
	SecureBoot  bool     // UEFI that starts only what a key of Microsoft has signed
	MemoryMB    int      // [384]
	CPUs        int      // [1]
	Disks       []int64  // bytes [one of 6 GiB]; an empty list that is not nil makes a machine without disks
	DiskModel   string   // ["virtio"], "nvme", "ahci", "scsi"
	SectorSize  int64    // of the disks, logical and physical [512], 4096; not with ahci
	DiskPaths   int      // to each disk [1], 2; scsi only
	CDROM       string   // file in a CD drive, absolute [no drive]
	NICs        int      // [1]
	NICModel    string   // ["virtio"], "e1000e", "e1000"
	NICROM      string   // ["ipxe", with SecureBoot "none"], "none", "http"
	MACs        []string // of the cards, in order [made up]
	SwitchPort  bool     // each card has a cable to put into a switch on this host, and is not on the lab's bridge
	BMCPort     int      // UDP on 127.0.0.1 [any free one]
	BMCUser     string   // ["admin"]
	BMCPassword string   // [made up]
	BMCInside   bool     // the machine sees its BMC too
}

var validMachine = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?$`)

func (o *MachineOptions) complete() error {
	if o.NICROM == "" && o.SecureBoot {
		o.NICROM = "none"
	}
	for _, d := range []struct {
		field *string
		value string
	}{{&o.Firmware, "bios"}, {&o.DiskModel, "virtio"}, {&o.NICModel, "virtio"}, {&o.NICROM, "ipxe"}, {&o.BMCUser, "admin"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	o.MemoryMB, o.CPUs, o.NICs = orElse(o.MemoryMB, 384), orElse(o.CPUs, 1), orElse(o.NICs, 1)
	if o.Disks == nil {
		o.Disks = []int64{6 << 30}
	}
	if o.BMCPassword == "" {
		o.BMCPassword = randomHex(8)
	}
	return o.check()
}

func (o *MachineOptions) check() error {
	if !validMachine.MatchString(o.Name) {
		return fmt.Errorf("machine name %q: only 1 to 32 of a-z, 0-9, '-' and '.' are allowed", o.Name)
	}
	for _, c := range []struct {
		what, value string
		allowed     []string
	}{
		{"firmware", o.Firmware, []string{"bios", "uefi"}},
		{"disk model", o.DiskModel, []string{"virtio", "nvme", "ahci", "scsi"}},
		{"NIC model", o.NICModel, []string{"virtio", "e1000e", "e1000"}},
		{"NIC ROM", o.NICROM, []string{"ipxe", "none", "http"}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s %q: allowed are %s", c.what, c.value, strings.Join(c.allowed, ", "))
		}
	}
	if o.NICROM == "http" && o.Firmware != "uefi" {
		return fmt.Errorf("NIC ROM http needs the firmware uefi, not %s", o.Firmware)
	}
	if o.SecureBoot && o.Firmware != "uefi" {
		return fmt.Errorf("the firmware for Secure Boot is uefi, not %s", o.Firmware)
	}
	if o.SecureBoot && o.NICROM == "ipxe" {
		return errors.New("NIC ROM ipxe is signed by nobody, so Secure Boot would not start it: allowed are none, http")
	}
	for _, c := range []struct {
		what          string
		value, lo, hi int
	}{
		{"memory in MiB", o.MemoryMB, 64, 1 << 20}, {"CPUs", o.CPUs, 1, 64}, {"number of NICs", o.NICs, 1, 8},
		{"number of disks", len(o.Disks), 0, 6}, {"BMC port", o.BMCPort, 0, 65535},
		{"length of the BMC user", len(o.BMCUser), 1, 16}, {"length of the BMC password", len(o.BMCPassword), 1, 20},
	} {
		if c.value < c.lo || c.value > c.hi {
			return fmt.Errorf("%s %d: allowed are %d to %d", c.what, c.value, c.lo, c.hi)
		}
	}
	if err := errors.Join(o.checkMACs(), o.checkDisks()); err != nil {
		return err
	}
	if o.CDROM != "" {
		info, err := os.Stat(o.CDROM)
		if err != nil {
			return fmt.Errorf("CD-ROM: %w", err)
		}
		if !filepath.IsAbs(o.CDROM) || !info.Mode().IsRegular() {
			return fmt.Errorf("CD-ROM %s: an absolute path of a file is wanted", o.CDROM)
		}
	}
	return nil
}

func (o *MachineOptions) checkDisks() error {
	sector := max(o.SectorSize, 512)
	if sector != 512 && sector != 4096 {
		return fmt.Errorf("sector size %d: allowed are 512, 4096", o.SectorSize)
	}
	if sector != 512 && o.DiskModel == "ahci" {
		return errors.New("sector size 4096: QEMU's disks of the model ahci have 512; allowed with it are virtio, nvme, scsi")
	}
	if o.DiskPaths > 2 || o.DiskPaths < 0 || o.DiskPaths == 2 && o.DiskModel != "scsi" {
		return fmt.Errorf("%d paths to disks of the model %s: allowed are 1, and with scsi 2", o.DiskPaths, o.DiskModel)
	}
	for _, size := range o.Disks {
		if size < 1<<20 || size%sector != 0 {
			return fmt.Errorf("disk size %d bytes: at least 1 MiB and a multiple of %d is wanted", size, sector)
		}
	}
	return nil
}

// checkMACs writes the cards' addresses as everybody writes them, and refuses what is no card's.
func (o *MachineOptions) checkMACs() error {
	if len(o.MACs) > o.NICs {
		return fmt.Errorf("%d MAC addresses for %d NICs", len(o.MACs), o.NICs)
	}
	o.MACs = slices.Clone(o.MACs)
	for i, text := range o.MACs {
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
			return fmt.Errorf("MAC address %q: six pairs of hex digits are wanted, such as 52:54:00:00:00:01, and no group's address", text)
		}
		if o.MACs[i] = mac.String(); slices.Contains(o.MACs[:i], o.MACs[i]) {
			return fmt.Errorf("MAC address %s is there twice", mac)
		}
	}
	return nil
}

// Create makes a machine, switched off, with its BMC answering.
func (l *Lab) Create(ctx context.Context, o MachineOptions) (Machine, error) {
	if err := o.complete(); err != nil {
		return Machine{}, err
	}
	if err := socketsFit(l.machineDir(o.Name)); err != nil {
		return Machine{}, err
	}
	if err := mayMakeNetworks(); err != nil {
		return Machine{}, err
	}
	if err := mayRun(o); err != nil {
		return Machine{}, err
	}
	unlock, err := l.lock()
	if err != nil {
		return Machine{}, err
	}
	defer unlock()
	if _, err := l.State(); err != nil {
		return Machine{}, err
	}
	dir := l.machineDir(o.Name)
	if _, err := os.Stat(dir); err == nil {
		return Machine{}, fmt.Errorf("machine %s exists already; remove it with: billet lab destroy %s", o.Name, o.Name)
	}
	m := newMachine(o, dir)
	if err := l.build(ctx, m, dir); err != nil {
		return Machine{}, errors.Join(err, l.remove(context.WithoutCancel(ctx), m))
	}
	return l.Machine(ctx, m.Name)
}

// maxSocketPath is how long the path of a Unix socket may be (unix(7): sun_path, less its final zero).
const maxSocketPath = 107

// socketsFit refuses a machine's directory in which its sockets could not be made.
func socketsFit(dir string) error {
	path := filepath.Join(dir, controlSocket)
	if len(path) > maxSocketPath {
		return fmt.Errorf("the path of the machine's control socket would have %d characters, at most %d are allowed: %s; choose a shorter "+
			"--dir or machine name", len(path), maxSocketPath, path)
	}
	return nil
}

func newMachine(o MachineOptions, dir string) Machine {
	id := uuid.New()
	h := hex.EncodeToString(id[:])
	m := Machine{
		Name: o.Name, UUID: id.String(),
		Firmware: o.Firmware, SecureBoot: o.SecureBoot, MemoryMB: o.MemoryMB, CPUs: o.CPUs, NICROM: o.NICROM, CDROM: o.CDROM, Inside: o.BMCInside,
		Serial: filepath.Join(dir, "serial.log"),
		BMC:    BMC{Address: "127.0.0.1", Port: o.BMCPort, User: o.BMCUser, Password: o.BMCPassword},
	}
	for i := range o.NICs {
		// 52:54:00 is QEMU's own prefix.
		mac := fmt.Sprintf("52:54:00:%02x:%02x:%02x", id[0], id[1], int(id[2])&0xf8|i)
		if i < len(o.MACs) {
			mac = strings.ToLower(o.MACs[i])
		}
		card := NIC{MAC: mac, Model: o.NICModel, Tap: fmt.Sprintf("t%sn%d", h[:8], i)}
		if o.SwitchPort {
			card.SwitchPort = card.own(switchPort)
		}
		m.NICs = append(m.NICs, card)
	}
	for i, size := range o.Disks {
		d := Disk{
			Path: filepath.Join(dir, fmt.Sprintf("disk%d.raw", i)), Size: size, Model: o.DiskModel, SectorSize: o.SectorSize, Paths: o.DiskPaths,
			Serial: fmt.Sprintf("BILLET%s%d", strings.ToUpper(h[:8]), i),
		}
		if o.DiskModel == "ahci" || o.DiskModel == "scsi" {
			d.WWN = fmt.Sprintf("0x5%s%02x", h[:13], i) // NAA type 5
		}
		m.Disks = append(m.Disks, d)
	}
	return m
}

// build makes a machine's files and taps and starts its supervisor.
func (l *Lab) build(ctx context.Context, m Machine, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the machine's directory: %w", err)
	}
	if err := saveJSON(filepath.Join(dir, "machine.json"), m); err != nil {
		return err
	}
	for _, d := range m.Disks {
		if err := sparseFile(d.Path, d.Size); err != nil {
			return err
		}
	}
	if m.Firmware == "uefi" {
		// A copy of its own: boot entries written by the machine outlive power cycles.
		if err := copyFile(firmwareVars(m.SecureBoot), filepath.Join(dir, "vars.fd")); err != nil {
			return err
		}
	}
	for _, n := range m.NICs {
		if err := l.network().addTap(ctx, n); err != nil {
			return err
		}
	}
	return l.startSupervisor(ctx, m.Name)
}

// Machine tells about one machine, its power included.
func (l *Lab) Machine(ctx context.Context, name string) (Machine, error) {
	m, err := l.load(name)
	if err != nil {
		return m, err
	}
	m.Power = "unknown" // no supervisor: nobody answers for the BMC either
	if reply, err := l.ask(ctx, name, request{Op: opStatus}); err == nil {
		m.Power, m.Boot = reply.Power, reply.Boot
	}
	return m, nil
}

func (l *Lab) load(name string) (Machine, error) {
	var m Machine
	err := loadJSON(filepath.Join(l.machineDir(name), "machine.json"), &m)
	if !validMachine.MatchString(name) || errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("there is no machine %s in the lab in %s; see: billet lab list", name, l.Dir)
	}
	return m, err
}

// Machines lists all machines by name.
func (l *Lab) Machines(ctx context.Context) ([]Machine, error) {
	entries, err := os.ReadDir(l.machinesDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the lab's machines: %w", err)
	}
	list := []Machine{}
	for _, e := range entries {
		if m, err := l.Machine(ctx, e.Name()); err == nil {
			list = append(list, m)
		}
	}
	return list, nil
}

// Destroy removes one machine and everything of it.
func (l *Lab) Destroy(ctx context.Context, name string) error {
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	m, err := l.load(name)
	if err != nil {
		return err
	}
	return l.remove(ctx, m)
}

func (l *Lab) remove(ctx context.Context, m Machine) error {
	errs := []error{l.stopMachines(ctx, m.Name)}
	for _, n := range m.NICs {
		errs = append(errs, l.network().removeTap(ctx, n))
	}
	return errors.Join(append(errs, os.RemoveAll(l.machineDir(m.Name)))...)
}

// stopMachines ends the supervisor and the QEMU of one machine, or of all for "". It recognises
// them by their arguments, so it needs no notes about them.
func (l *Lab) stopMachines(ctx context.Context, name string) error {
	supervisors, err := allProcesses(func(args []string) bool { return l.supervises(args, name) })
	if err != nil {
		return err
	}
	errs := []error{killProcesses(ctx, supervisors)} // before QEMU: they would restart or report it
	uuids := map[string]bool{}
	entries, _ := os.ReadDir(l.machinesDir()) // none: no machines
	for _, e := range entries {
		if m, err := l.load(e.Name()); err == nil && (name == "" || m.Name == name) {
			uuids[m.UUID] = true
		}
	}
	machines, err := allProcesses(func(args []string) bool {
		i := slices.Index(args, "-uuid")
		return i > 0 && i+1 < len(args) && uuids[args[i+1]]
	})
	return errors.Join(append(errs, err, killProcesses(ctx, machines))...)
}

// supervises reports whether args are those startSupervisor gives; any machine for "".
func (l *Lab) supervises(args []string, name string) bool {
	want := l.supervisorArgs(name)
	if len(args) <= len(want) {
		return false
	}
	tail := args[len(args)-len(want):]
	return slices.Equal(tail[:len(tail)-1], want[:len(want)-1]) && (name == "" || tail[len(tail)-1] == name)
}

// supervisesAnywhere reports whether args are those of a supervisor in a lab of this name, whatever its directory.
func (l *Lab) supervisesAnywhere(args []string) bool {
	if len(args) < 6 {
		return false
	}
	there := *l
	there.Dir = args[len(args)-4]
	return there.supervises(args, "")
}

func (l *Lab) supervisorArgs(name string) []string {
	return []string{"run-machine", "--dir", l.Dir, "--name", l.Name, name}
}

func (l *Lab) machineDir(name string) string { return filepath.Join(l.machinesDir(), name) }

func sparseFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making a disk: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("making a disk of %d bytes: %w", size, err)
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copying %s: %w", filepath.Base(from), err)
	}
	return os.WriteFile(to, data, 0o600)
}

func orElse(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}
