package inventory

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/wire"
)

// markPaths finds disks that the kernel shows several times because several paths lead to them, and marks
// all but the best path. Hardware is not always honest: disks with one serial number, or one WWN, may be
// several. So all must agree, what the standards make a logical unit's name (SPC-4, 7.8.6) too; the paths
// must lead over different ports; and what can be read must be the same. What is left in doubt stays
// unmarked, and is ambiguous to whoever chooses.
func (m Machine) markPaths(disks []wire.Disk) {
	groups := map[string][]int{}
	for i, d := range disks {
		if id := m.unitID(d); id != "" {
			groups[id] = append(groups[id], i)
		}
	}
	for id, members := range groups {
		if len(members) < 2 {
			continue
		}
		var paths []wire.Disk
		for _, i := range members {
			paths = append(paths, disks[i])
		}
		best := m.bestPath(id, paths)
		for _, i := range members {
			if best != "" && disks[i].Name != best {
				disks[i].PathOf = best
			}
		}
	}
}

// pointToPoint are transports on which a disk has one port and one cable.
var pointToPoint = []string{"sata", "usb", "nvme", "mmc"}

// unitID is everything that must agree of two paths to one disk; "" when a disk does not say enough.
func (m Machine) unitID(d wire.Disk) string {
	if d.WWNWithExtension == "" || d.Serial == "" || d.HCTL == "" || slices.Contains(pointToPoint, d.Tran) {
		return ""
	}
	unit := m.unitNames("sys/block/" + strings.TrimPrefix(d.Name, "/dev/"))
	if unit == "" {
		return ""
	}
	return fmt.Sprintf("%s %q %d %d %q %q %x", d.WWNWithExtension, d.Serial, d.Size, d.LogicalSectors, d.Vendor, d.Model, unit)
}

// unitNames are the designators of the Device Identification page that name the logical unit; those that
// name the port differ from path to path.
func (m Machine) unitNames(dir string) string {
	page, err := os.ReadFile(m.path(dir, "device/vpd_pg83"))
	if err != nil || len(page) < 4 {
		return ""
	}
	const header, association, ofUnit = 4, 0x30, 0
	var names []string
	list := page[header:min(len(page), header+int(binary.BigEndian.Uint16(page[2:])))]
	for len(list) >= header {
		length := header + int(list[3])
		if length > len(list) {
			break
		}
		if list[1]&association == ofUnit {
			names = append(names, string(list[:length]))
		}
		list = list[length:]
	}
	slices.Sort(names)
	return strings.Join(names, "|")
}

// judged keeps what was found out about paths, by machine and what it was about. They are looked at once:
// later one of them may be written to.
var judged sync.Map

// bestPath is the name of the path to use; "" when they are not one disk.
func (m Machine) bestPath(id string, paths []wire.Disk) string {
	key := m.Root + id
	for _, p := range paths {
		key += " " + p.Name + " " + p.HCTL + " " + p.DevNumber
	}
	if best, ok := judged.Load(key); ok {
		return best.(string)
	}
	best := m.judge(paths)
	judged.Store(key, best)
	return best
}

func (m Machine) judge(paths []wire.Disk) string {
	type path struct {
		wire.Disk
		rank int
		head []byte
	}
	var all []path
	ports := map[string]bool{}
	for _, d := range paths {
		p := path{Disk: d, rank: m.pathRank(d)}
		if p.rank < passive {
			if p.head = m.readHead(d.Name); p.head == nil {
				p.rank = passive
			}
		}
		all = append(all, p)
		ports[d.HCTL[:strings.LastIndexByte(d.HCTL, ':')+1]] = true
	}
	if len(ports) < len(paths) {
		return "" // two units behind one port are two disks, whatever they say
	}
	slices.SortStableFunc(all, func(a, b path) int { return cmp.Compare(a.rank, b.rank) })
	for _, p := range all[1:] {
		if p.head != nil && all[0].head != nil && !bytes.Equal(p.head, all[0].head) {
			return ""
		}
	}
	return all[0].Name
}

const passive = 2 // a rank from which on a path takes no reads

// pathRank orders paths by what the array says of them (ALUA, SPC-4, 5.15.2), as the kernel shows it where
// it knows, and by whether the kernel still believes in them.
func (m Machine) pathRank(d wire.Disk) int {
	dir := "sys/block/" + strings.TrimPrefix(d.Name, "/dev/")
	if state := m.text(dir, "device/state"); state != "" && state != "running" {
		return passive + 1
	}
	switch m.text(dir, "device/access_state") {
	case "", "active/optimized":
		return 0
	case "active/non-optimized":
		return 1
	}
	return passive
}

// headTime bounds how long a path may take: one that is dead takes minutes.
const headTime = 20 * time.Second

// headLength is what is compared: boot sector, tables and the first file system.
const headLength = 2 << 20

// readHead reads the beginning of a disk past the page cache, which knows each path apart; nil when the path
// does not let it.
func (m Machine) readHead(name string) []byte {
	done := make(chan []byte, 1)
	go func() {
		const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
		fd, err := unix.Open(m.path(name), flags|unix.O_DIRECT, 0)
		if err == unix.EINVAL { // a file of a file system without direct I/O
			fd, err = unix.Open(m.path(name), flags, 0)
		}
		if err != nil {
			done <- nil
			return
		}
		defer unix.Close(fd)
		buf, err := unix.Mmap(-1, 0, headLength, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			done <- nil
			return
		}
		defer unix.Munmap(buf)
		n, err := unix.Pread(fd, buf, 0)
		if err != nil || n <= 0 {
			done <- nil
			return
		}
		done <- bytes.Clone(buf[:n])
	}()
	select {
	case head := <-done:
		return head
	case <-time.After(headTime):
		return nil
	}
}
