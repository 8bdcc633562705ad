package inventory

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// Array is a software RAID array that the kernel has started.
type Array struct {
	Name    string   // "/dev/md0"
	UUID    string   // as md writes it; "" when no member tells
	Level   string   // "raid1"
	Members []string // device nodes: "/dev/sda3"
	Missing int      // members it lacks
}

// Arrays lists the arrays that are running, by name.
func (m Machine) Arrays() []Array {
	var out []Array
	for _, name := range m.names("sys/block") {
		if !m.isRunning(name) {
			continue
		}
		a := Array{Name: "/dev/" + name, Level: m.text("sys/block", name, "md/level"), Missing: int(m.number("sys/block", name, "md/degraded"))}
		for _, member := range m.names("sys/block", name, "slaves") {
			a.Members = append(a.Members, "/dev/"+member)
		}
		a.UUID = m.arrayUUID(a)
		out = append(out, a)
	}
	return out
}

// arrayUUID asks the members: not every kernel shows it in /sys.
func (m Machine) arrayUUID(a Array) string {
	for _, member := range a.Members {
		if s, err := m.Superblock(member); err == nil {
			return s.UUID
		}
	}
	return ""
}

// Superblock reads what a partition or disk says of the array it is part of; raid.ErrNone: nothing.
func (m Machine) Superblock(device string) (raid.Superblock, error) {
	f, err := os.Open(m.path(device))
	if err != nil {
		return raid.Superblock{}, err
	}
	defer f.Close()
	return raid.ReadSuperblock(f, m.number("sys/class/block", strings.TrimPrefix(device, "/dev/"), "size")*512)
}

// Partitions lists the device nodes of a disk's partitions, as the kernel shows them.
func (m Machine) Partitions(disk string) []string {
	name := strings.TrimPrefix(disk, "/dev/")
	var out []string
	for _, p := range m.names("sys/block", name) {
		if strings.HasPrefix(p, name) && m.text("sys/block", name, p, "partition") != "" {
			out = append(out, "/dev/"+p)
		}
	}
	return out
}

// isArray tells "md0" and "md127" from other names.
func isArray(name string) bool {
	_, err := strconv.Atoi(strings.TrimPrefix(name, "md"))
	return strings.HasPrefix(name, "md") && err == nil
}

// isRunning leaves out arrays that are stopped or lack too many members.
func (m Machine) isRunning(name string) bool {
	state := m.text("sys/block", name, "md/array_state")
	return isArray(name) && state != "" && state != "clear" && state != "inactive"
}

// describeArray fills in what an array has in place of hardware. Its UUID is its serial number: what
// root device hints name it by, as its device name may change.
func (m Machine) describeArray(d *wire.Disk, name string) {
	d.RAID = m.text("sys/block", name, "md/level")
	d.Vendor, d.Model, d.ByPath, d.Tran = "Linux", "Software RAID "+strings.TrimPrefix(d.RAID, "raid"), "", ""
	for _, member := range m.names("sys/block", name, "slaves") {
		if s, err := m.Superblock("/dev/" + member); err == nil {
			d.Serial = s.UUID
			return
		}
	}
}

// memberOf lists the arrays that hold a disk or a partition of it.
func (m Machine) memberOf(name string) string {
	holders := m.names("sys/block", name, "holders")
	for _, p := range m.Partitions("/dev/" + name) {
		holders = append(holders, m.names("sys/block", name, strings.TrimPrefix(p, "/dev/"), "holders")...)
	}
	slices.Sort(holders)
	var arrays []string
	for _, h := range slices.Compact(holders) {
		if isArray(h) {
			arrays = append(arrays, "/dev/"+h)
		}
	}
	return strings.Join(arrays, ", ")
}

// ArrayNodes lists the device nodes of all arrays that hold disks, also of those that do not run.
func (m Machine) ArrayNodes() []string {
	var out []string
	for _, name := range m.names("sys/block") {
		if isArray(name) && m.text("sys/block", name, "md/array_state") != "clear" {
			out = append(out, "/dev/"+name)
		}
	}
	return out
}
