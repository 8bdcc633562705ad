// Package inventory owns the answer to: what is in this machine? It reads /sys, /proc and the
// firmware's tables below a root folder, so that tests run on recorded machines. It refuses to
// change anything, and what cannot be read is left empty rather than guessed.
package inventory

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// Machine is where to read.
type Machine struct {
	Root      string                     // "" or "/" is the running machine
	BootMAC   string                     // the interface the machine booted from, or ""
	Addresses func(name string) []net.IP // of an interface; nil: none
}

// Read returns everything that can be found.
func (m Machine) Read() wire.Inventory {
	host, err := os.Hostname()
	if err != nil || host == "(none)" { // what Linux says when nobody gave it a name
		host = ""
	}
	return wire.Inventory{
		Interfaces:   m.NICs(),
		CPU:          m.cpu(),
		Memory:       m.memory(),
		Disks:        slices.DeleteFunc(m.Disks(), func(d wire.Disk) bool { return d.PathOf != "" }),
		SystemVendor: m.systemVendor(),
		Boot:         m.Boot(),
		Hostname:     host,
	}
}

// Boot tells how the machine booted.
func (m Machine) Boot() wire.BootInfo {
	return wire.BootInfo{CurrentBootMode: m.BootMode(), PXEInterface: m.BootMAC, SecureBoot: m.SecureBoot()}
}

// secureBoot is the firmware's variable (UEFI Specification 2.10, section 3.3): behind its four bytes of attributes,
// 1 when only what is signed was started.
const secureBoot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// SecureBoot reports whether the firmware starts only what is signed; nil when it does not say. BIOS has no such thing,
// nor has a UEFI firmware whose other variables can be read.
func (m Machine) SecureBoot() *bool {
	b, err := os.ReadFile(m.path(secureBoot))
	on := err == nil && len(b) == 5 && b[4] == 1
	without := errors.Is(err, fs.ErrNotExist) && len(m.names(filepath.Dir(secureBoot))) > 0
	if err == nil && len(b) == 5 || without || m.BootMode() == "bios" {
		return &on
	}
	return nil
}

// BootMode is "uefi" when the firmware left its tables, else "bios".
func (m Machine) BootMode() string {
	if _, err := os.Stat(m.path("sys/firmware/efi")); err == nil {
		return "uefi"
	}
	return "bios"
}

func (m Machine) path(elem ...string) string {
	root := m.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// text reads a small file without its blanks; "" when it is not there.
func (m Machine) text(elem ...string) string {
	b, err := os.ReadFile(m.path(elem...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(b), "\x00"))
}

func (m Machine) number(elem ...string) int64 {
	n, err := strconv.ParseInt(m.text(elem...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// names lists a folder in order.
func (m Machine) names(elem ...string) []string {
	entries, err := os.ReadDir(m.path(elem...))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// link is where a symbolic link points, as a path below the root; "" when it is none.
func (m Machine) link(elem ...string) string {
	root, err := filepath.EvalSymlinks(m.path())
	if err != nil {
		return ""
	}
	to, err := filepath.EvalSymlinks(m.path(elem...))
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(root, to)
	if err != nil || strings.HasPrefix(rel, "..") {
		return ""
	}
	return rel
}

func (m Machine) cpu() wire.CPU {
	c := wire.CPU{Architecture: architecture(), Flags: []string{}}
	sockets := map[string]bool{}
	for line := range strings.Lines(m.text("proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch key {
		case "processor":
			c.Count++
		case "physical id":
			sockets[value] = true
		case "model name":
			c.ModelName = value
		case "cpu MHz":
			c.Frequency = value
		case "flags", "Features":
			c.Flags = strings.Fields(value)
		}
	}
	c.SocketCount = max(len(sockets), min(c.Count, 1))
	if khz := m.number("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"); khz > 0 {
		c.Frequency = strconv.FormatFloat(float64(khz)/1000, 'f', 4, 64)
	}
	slices.Sort(c.Flags)
	return c
}

// architecture is the kernel's name of it.
func architecture() string {
	if name, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]; ok {
		return name
	}
	return runtime.GOARCH
}

func (m Machine) memory() wire.Memory {
	var out wire.Memory
	for line := range strings.Lines(m.text("proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			out.Total = kib << 10
		}
	}
	table, err := os.ReadFile(m.path("sys/firmware/dmi/tables/DMI"))
	if err == nil {
		out.PhysicalMB = memoryDevices(table)
	}
	if out.PhysicalMB == 0 {
		out.PhysicalMB = out.Total >> 20
	}
	return out
}

func (m Machine) systemVendor() wire.SystemVendor {
	id := func(name string) string { return m.text("sys/class/dmi/id", name) }
	return wire.SystemVendor{
		ProductName: id("product_name"), SerialNumber: id("product_serial"), Manufacturer: id("sys_vendor"),
		Firmware: map[string]any{"vendor": id("bios_vendor"), "version": id("bios_version"), "build_date": id("bios_date")},
	}
}
