package steps

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/wire"
)

// mark writes a few bytes somewhere on a disk of a recorded machine.
func mark(t *testing.T, root, name string, at int64, magic string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(root, "dev", name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(magic), at); err != nil {
		t.Fatal(err)
	}
}

const vmfs = "\x0d\xd0\x01\xc0"

// Somebody else's file system stops every erase step before the first byte, also on the other disks, unless
// a key of the node says otherwise or the disk is protected.
func TestSharedFileSystemsAreNotErased(t *testing.T) {
	for name, step := range map[string]func(a *machine, ctx context.Context, c Call) (any, error){
		"erase_devices_metadata": (*machine).eraseMetadata, "erase_devices": (*machine).eraseDevices,
		"erase_devices_express": (*machine).eraseExpress,
	} {
		root := twoDisks(t)
		mark(t, root, "vdb", 1<<20, vmfs)
		before, err := os.ReadFile(filepath.Join(root, "dev/vdb"))
		if err != nil {
			t.Fatal(err)
		}
		a := still(root, 0)
		for _, n := range []wire.Node{
			{}, {DriverInfo: map[string]any{wipeKey: "False"}}, {DriverInfo: map[string]any{}, DriverInternalInfo: map[string]any{wipeKey: true}},
		} {
			_, err := step(a, t.Context(), Call{Node: n, Report: noReport})
			want := `nothing was erased: /dev/vdb (serial "disk-2") holds VMFS volume (VMware): other machines may be using it; ` +
				`protect the disk with the node's property skip_block_devices, or set driver_info/wipe_special_filesystems to true to erase it`
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v", name, err)
			}
			kept(t, root, "vda", 8<<20)
			if after, err := os.ReadFile(filepath.Join(root, "dev/vdb")); err != nil || string(after) != string(before) {
				t.Errorf("%s: vdb was changed (%v)", name, err)
			}
		}
		_, err = step(a, t.Context(), Call{Node: wire.Node{DriverInfo: map[string]any{wipeKey: "perhaps"}}, Report: noReport})
		if err == nil || err.Error() != "nothing was erased: driver_info/wipe_special_filesystems is perhaps; true and false are allowed" {
			t.Errorf("%s: %v", name, err)
		}
		protected := wire.Node{Properties: map[string]any{"skip_block_devices": []any{map[string]any{"serial": "disk-2"}}}}
		if _, err := step(a, t.Context(), Call{Node: protected, Report: noReport}); err != nil {
			t.Errorf("%s of the other disk: %v", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(root, "dev/vdb")); err != nil || string(after) != string(before) {
			t.Errorf("%s: the protected disk was changed (%v)", name, err)
		}
		for _, allowed := range []wire.Node{{DriverInfo: map[string]any{wipeKey: "True"}}, {DriverInternalInfo: map[string]any{wipeKey: true}}} {
			mark(t, root, "vdb", 1<<20, vmfs)
			if _, err := step(a, t.Context(), Call{Node: allowed, Report: noReport}); err != nil {
				t.Errorf("%s as asked for: %v", name, err)
			}
		}
		mark(t, root, "vdb", 1<<20, vmfs)
		a.WipeShared = true
		if _, err := step(a, t.Context(), Call{Report: noReport}); err != nil {
			t.Errorf("%s as the kernel parameter asks for: %v", name, err)
		}
	}
}

// An image is not written over it either.
func TestNoImageOverASharedFileSystem(t *testing.T) {
	root := twoDisks(t)
	mark(t, root, "vdb", 64<<10, "\x01\x16\x19\x70")
	a := still(root, 0)
	n := wire.Node{Properties: map[string]any{"root_device": map[string]any{"serial": "disk-2"}}}
	_, err := a.write(t.Context(), Call{Node: n, Report: noReport}, wire.ImageInfo{ID: "img", URLs: []string{"http://127.0.0.1:1/"}}, "")
	want := `nothing was written: /dev/vdb (serial "disk-2") holds GFS2 or GFS (Red Hat), which other machines may be using; ` +
		`choose another disk with root device hints, or set driver_info/wipe_special_filesystems to true`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	n.DriverInfo = map[string]any{wipeKey: true}
	c, cancel := context.WithCancel(t.Context())
	cancel() // it gets as far as reading the image
	_, err = a.write(c, Call{Node: n, Report: noReport}, wire.ImageInfo{ID: "img", URLs: []string{"http://127.0.0.1:1/"}}, "")
	if err == nil || strings.Contains(err.Error(), "GFS2") {
		t.Errorf("%v", err)
	}
}

// attach puts a disk of a recorded machine behind a bus.
func attach(t *testing.T, root, name, device string) {
	t.Helper()
	put(t, root, "sys/devices/"+device+"/state", "running")
	put(t, root, "sys/devices/"+device+"/wwid", "naa.600a0b80000f1eb1000005ae4e5c9d4a")
	put(t, root, "sys/devices/"+device+"/vpd_pg83", "\x00\x83\x00\x0c\x01\x03\x00\x08unitunit")
	if err := os.Symlink(filepath.Join(root, "sys/devices", device), filepath.Join(root, "sys/block", name, "device")); err != nil {
		t.Fatal(err)
	}
}

// A disk on a storage network is erased when the node's hints name it, or the key says so.
func TestDisksOfAStorageNetwork(t *testing.T) {
	named := map[string]any{"root_device": map[string]any{"serial": "lun"}}
	for _, tt := range []struct {
		name    string
		devices []string // of the LUN's paths
		node    wire.Node
		want    string
	}{
		{"Fibre Channel", []string{"host0/rport-0:0-0/0:0:0:1"}, wire.Node{},
			`/dev/sda (serial "lun") is reached over a storage network (fc) and no root device hint names it`},
		{"iSCSI", []string{"host0/session1/0:0:0:1"}, wire.Node{}, `is reached over a storage network (iscsi)`},
		{"two paths", []string{"host0/0:0:0:1", "host1/1:0:0:1"}, wire.Node{}, `is reached over a storage network (also as /dev/sdb)`},
		{"two paths of an enclosure", []string{"host0/end_device-0:0/0:0:0:1", "host1/end_device-1:0/1:0:0:1"}, wire.Node{}, ""},
		{"named by a hint", []string{"host0/rport-0:0-0/0:0:0:1", "host1/rport-1:0-0/1:0:0:1"}, wire.Node{Properties: named}, ""},
		{"the key", []string{"host0/rport-0:0-0/0:0:0:1"}, wire.Node{DriverInfo: map[string]any{wipeKey: true}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := twoDisks(t)
			for i, device := range tt.devices {
				name := "sd" + string(rune('a'+i))
				put(t, root, "dev/"+name, strings.Repeat("\xa5", 8<<20))
				for file, text := range map[string]string{"size": "16384", "serial": "lun", "queue/logical_block_size": "512"} {
					put(t, root, "sys/block/"+name+"/"+file, text)
				}
				attach(t, root, name, device)
			}
			if len(tt.devices) == 2 { // both paths show one disk
				if err := os.Remove(filepath.Join(root, "dev/sdb")); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("sda", filepath.Join(root, "dev/sdb")); err != nil {
					t.Fatal(err)
				}
			}
			got, err := still(root, 0).eraseMetadata(t.Context(), Call{Node: tt.node, Report: noReport})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, %v", got, err)
				}
				kept(t, root, "sda", 8<<20)
				kept(t, root, "vda", 8<<20)
				return
			}
			if err != nil || strings.Count(says(got), `serial "lun"`) != 1 {
				t.Errorf("%v, %v", got, err)
			}
			if len(tt.devices) == 2 && !strings.Contains(says(got), "left alone: /dev/sdb (another path of /dev/sda)") {
				t.Errorf("%s", says(got))
			}
		})
	}
}
