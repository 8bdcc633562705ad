package inventory

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/wire"
)

// lun is one path to a disk, as the kernel shows it.
type lun struct {
	name, hctl, serial, wwn string
	bus                     string // "rport-0:0-0": a part of its device's path
	names                   []byte // designators of page 83
	state, access           string
	content                 []byte // nil: cannot be read
	sectors                 string
}

// naa is a designator of page 83: association, type NAA, and 8 bytes.
func naa(association byte, id string) []byte {
	return append([]byte{1, association<<4 | 3, 0, byte(len(id))}, id...)
}

func (l lun) put(t *testing.T, root string) {
	t.Helper()
	device := filepath.Join(root, "sys/devices/pci0000:00", l.bus, "target", l.hctl)
	files := map[string]string{
		device + "/vendor": "ACME", device + "/model": "Array", device + "/wwid": "naa." + l.wwn, device + "/state": l.state,
		device + "/vpd_pg80":                             "\x00\x80\x00\x08" + l.serial,
		device + "/vpd_pg83":                             string(append([]byte{0, 0x83, 0, byte(len(l.names))}, l.names...)),
		filepath.Join(root, "sys/block", l.name, "size"): l.sectors, filepath.Join(root, "sys/block", l.name, "queue/logical_block_size"): "512",
		filepath.Join(root, "sys/block", l.name, "dev"): "8:" + l.hctl[:1],
	}
	if l.access != "" {
		files[device+"/access_state"] = l.access
	}
	if l.content != nil {
		files[filepath.Join(root, "dev", l.name)] = string(l.content)
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(device, filepath.Join(root, "sys/block", l.name, "device")); err != nil {
		t.Fatal(err)
	}
}

// One disk over two paths is marked once as such; what only looks like it is not.
func TestPaths(t *testing.T) {
	content := bytes.Repeat([]byte("billet"), 700000)
	one := lun{name: "sda", hctl: "0:0:0:1", bus: "rport-0:0-0", serial: "S1", wwn: "600a0b80000f1eb1000005ae4e5c9d4a", sectors: "8192",
		state: "running", content: content, names: append(naa(0, "unitunit"), naa(1, "port---1")...)}
	two := one
	two.name, two.hctl, two.bus, two.names = "sdb", "1:0:0:1", "rport-1:0-0", append(naa(0, "unitunit"), naa(1, "port---2")...)
	change := func(l lun, f func(*lun)) lun { f(&l); return l }
	for _, tt := range []struct {
		name  string
		paths []lun
		want  string
	}{
		{"two paths", []lun{one, two}, "sda sdb→sda"},
		{"the first in standby", []lun{change(one, func(l *lun) { l.access = "standby" }), two}, "sda→sdb sdb"},
		{"the first not optimized", []lun{change(one, func(l *lun) { l.access = "active/non-optimized" }),
			change(two, func(l *lun) { l.access = "active/optimized" })}, "sda→sdb sdb"},
		{"the first cannot be read", []lun{change(one, func(l *lun) { l.content = nil }), two}, "sda→sdb sdb"},
		{"the first is offline", []lun{change(one, func(l *lun) { l.state = "offline" }), two}, "sda→sdb sdb"},
		{"neither can be read", []lun{change(one, func(l *lun) { l.content = nil }), change(two, func(l *lun) { l.content = nil })},
			"sda sdb→sda"},
		{"another serial number", []lun{one, change(two, func(l *lun) { l.serial = "S2" })}, "sda sdb"},
		{"another WWN", []lun{one, change(two, func(l *lun) { l.wwn = "600a0b80000f1eb1000005ae4e5c9d4b" })}, "sda sdb"},
		{"another size", []lun{one, change(two, func(l *lun) { l.sectors = "8193" })}, "sda sdb"},
		{"another name of the unit", []lun{one, change(two, func(l *lun) { l.names = naa(0, "otherone") })}, "sda sdb"},
		{"no names of the unit", []lun{change(one, func(l *lun) { l.names = naa(1, "port---1") }),
			change(two, func(l *lun) { l.names = naa(1, "port---2") })}, "sda sdb"},
		{"another content", []lun{one, change(two, func(l *lun) { l.content = append([]byte("x"), content[1:]...) })}, "sda sdb"},
		{"two units of one port", []lun{one, change(two, func(l *lun) { l.hctl = "0:0:0:2"; l.bus = "rport-0:0-1" })}, "sda sdb"},
		{"disks with one cable each", []lun{change(one, func(l *lun) { l.bus = "ata1" }), change(two, func(l *lun) { l.bus = "ata2" })},
			"sda sdb"},
		{"no serial number", []lun{change(one, func(l *lun) { l.serial = "" }), change(two, func(l *lun) { l.serial = "" })}, "sda sdb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, l := range tt.paths {
				l.put(t, root)
			}
			m := Machine{Root: root}
			for range 2 {
				if got := shown(m.Disks()); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
			if n := len(m.Read().Disks); n != 2-strings.Count(tt.want, "→") {
				t.Errorf("the inventory has %d disks", n)
			}
		})
	}
}

// What was judged stays judged while a path is written to, which reads from the other one see in between.
func TestPathsAreJudgedOnce(t *testing.T) {
	root := t.TempDir()
	one := lun{name: "sda", hctl: "0:0:0:1", bus: "rport-0", serial: "S1", wwn: "600a0b80000f1eb1000005ae4e5c9d4a",
		sectors: "8192", state: "running", content: make([]byte, 4<<20), names: naa(0, "unitunit")}
	two := one
	two.name, two.hctl, two.bus = "sdb", "1:0:0:1", "rport-1"
	one.put(t, root)
	two.put(t, root)
	m := Machine{Root: root}
	first := shown(m.Disks())
	if err := os.WriteFile(filepath.Join(root, "dev/sda"), []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := shown(m.Disks()); first != "sda sdb→sda" || again != first {
		t.Errorf("%s, then %s", first, again)
	}
}

func shown(disks []wire.Disk) string {
	var out []string
	for _, d := range disks {
		text := strings.TrimPrefix(d.Name, "/dev/")
		if d.PathOf != "" {
			text += "→" + strings.TrimPrefix(d.PathOf, "/dev/")
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}
