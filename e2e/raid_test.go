package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// mirror is a target_raid_config of one mirror over all disks.
func mirror(sizeGB any) map[string]any {
	return map[string]any{"logical_disks": []any{
		map[string]any{"size_gb": sizeGB, "raid_level": "1", "controller": "software", "is_root_volume": true, "volume_name": "root"},
	}}
}

type raidView struct {
	RAID struct {
		LogicalDisks []struct {
			Level   string   `json:"raid_level"`
			Size    float64  `json:"size_gb"`
			UUID    string   `json:"uuid"`
			Name    string   `json:"volume_name"`
			Root    bool     `json:"is_root_volume"`
			Members []string `json:"members"`
		} `json:"logical_disks"`
	} `json:"raid_config"`
	Target map[string]any `json:"target_raid_config"`
}

func (m *machine) raid() raidView {
	m.s.t.Helper()
	var v raidView
	m.s.call("GET", "/v1/nodes/"+m.uuid, nil, &v, 200)
	return v
}

func (m *machine) power(target string) {
	m.s.t.Helper()
	m.s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": target}, nil, 202)
}

// cleanBy runs clean steps of the raid interface on a manageable node.
func (m *machine) cleanBy(steps ...map[string]any) {
	m.s.t.Helper()
	m.provision(map[string]any{"target": "clean", "clean_steps": steps})
	m.arrive("manageable", 6*time.Minute)
}

func raidStep(name string) map[string]any { return map[string]any{"interface": "raid", "step": name} }

// withMirror is a machine of two disks with a mirror on them, available.
func (s *site) withMirror(name, firmware string) *machine {
	s.t.Helper()
	m := s.machine(name, "--firmware", firmware, "--memory", "512", "--disk", "4G", "--disk", "4G")
	m.patch("/properties/capabilities", "boot_mode:"+firmware)
	m.patch("/raid_interface", "agent")
	m.patch("/automated_clean", false)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/raid", mirror(2), nil, 204)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.cleanBy(raidStep("create_configuration"))
	built := m.raid().RAID.LogicalDisks
	if len(built) != 1 || built[0].Level != "1" || built[0].Size != 2 || built[0].Name != "root" || !built[0].Root ||
		len(built[0].UUID) != 35 || len(built[0].Members) != 2 {
		s.t.Fatalf("raid_config is %+v", built)
	}
	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", time.Minute)
	return m
}

// inSync waits until the mirror's first copy is whole: until then only one disk has it. The superblock
// at the end of the third partition says so (md_p.h: resync_offset at byte 208, all ones when done).
func (m *machine) inSync() {
	m.s.t.Helper()
	// Two gibibytes and md's own MiB, behind the boot partitions of 1 and 550 MiB and the first MiB.
	const start, length = 552 << 20, 2<<30 + 1<<20
	m.s.eventually(5*time.Minute, "the mirror to be in sync", func() (bool, string) {
		f, err := os.Open(m.Disks[1].Path)
		if err != nil {
			return false, err.Error()
		}
		defer f.Close()
		b := make([]byte, 256)
		if _, err := f.ReadAt(b, start+(length/512-16)/8*8*512); err != nil {
			return false, err.Error()
		}
		if binary.LittleEndian.Uint32(b) != 0xa92b4efc {
			m.s.t.Fatalf("no superblock where one is expected: % x", b[:16])
		}
		at := binary.LittleEndian.Uint64(b[208:])
		return at == math.MaxUint64, fmt.Sprintf("sector %d", at)
	})
}

// blankDisk gives the machine, which is off, a new disk in place of one.
func (m *machine) blankDisk(i int) {
	m.s.t.Helper()
	path := m.Disks[i].Path
	info, err := os.Stat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		m.s.t.Fatal(err)
	}
	f, err := os.Create(path)
	if err == nil {
		err = f.Truncate(info.Size())
	}
	if err != nil {
		m.s.t.Fatal(err)
	}
	f.Close()
}

// swapDisks has the machine, which is off, find its two disks in each other's place.
func (m *machine) swapDisks() {
	m.s.t.Helper()
	one, two, aside := m.Disks[0].Path, m.Disks[1].Path, m.Disks[0].Path+".aside"
	for _, r := range [][2]string{{one, aside}, {two, one}, {aside, two}} {
		if err := os.Rename(r[0], r[1]); err != nil {
			m.s.t.Fatal(err)
		}
	}
}

// The agent makes a mirror of two disks; an image goes onto it and boots from either of them, when the
// other has been replaced; then the mirror is deleted.
func TestLongRAIDMirror(t *testing.T) {
	for _, c := range []struct{ firmware, kind string }{
		{"bios", "partition"}, {"uefi", "whole-disk"}, {"bios", "whole-disk"}, {"uefi", "partition"},
	} {
		t.Run(c.firmware+"/"+c.kind, func(t *testing.T) {
			s := newSite(t)
			name := fmt.Sprintf("raid-%s-%.5s", c.firmware, c.kind)
			m := s.withMirror(name, c.firmware)
			info := s.raidImage(c.kind)
			began := time.Now()
			m.deploy(info)
			m.arrive("active", 10*time.Minute)
			t.Logf("active after %.1f s", time.Since(began).Seconds())
			m.prints(5*time.Minute, "BILLET-INSTANCE-UP tiny-root", "root: /dev/md", name+" login:")
			t.Logf("login prompt after %.1f s", time.Since(began).Seconds())

			m.inSync()
			m.power("power off")
			m.isOff()
			if c.firmware == "bios" { // it starts the first disk and no other: the second takes its place
				m.swapDisks()
				m.blankDisk(1)
			} else {
				m.blankDisk(0) // the first boot entry's
			}
			m.power("power on")
			m.comesUp(name+" login:", 2)
			t.Logf("login prompt without the first disk after %.1f s", time.Since(began).Seconds())
		})
	}
}

// An instance whose root file system is striped over two disks boots from them, again after a power cycle.
func TestLongRAIDStripe(t *testing.T) {
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			s := newSite(t)
			name := "stripe-" + firmware
			m := s.machine(name, "--firmware", firmware, "--memory", "512", "--disk", "4G", "--disk", "4G")
			m.patch("/properties/capabilities", "boot_mode:"+firmware)
			m.patch("/raid_interface", "agent")
			m.patch("/automated_clean", false)
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/raid", map[string]any{"logical_disks": []map[string]any{
				{"size_gb": 3, "raid_level": "0", "controller": "software", "is_root_volume": true},
			}}, nil, 204)
			m.provision(map[string]any{"target": "manage"})
			m.arrive("manageable", time.Minute)
			m.cleanBy(raidStep("create_configuration"))
			if built := m.raid().RAID.LogicalDisks; len(built) != 1 || built[0].Level != "0" || !built[0].Root || len(built[0].Members) != 2 {
				t.Fatalf("raid_config is %+v", built)
			}
			m.provision(map[string]any{"target": "provide"})
			m.arrive("available", time.Minute)
			m.deploy(s.raidImage("partition"))
			m.arrive("active", 5*time.Minute)
			m.prints(3*time.Minute, "BILLET-INSTANCE-UP tiny-root", "root: /dev/md", name+" login:")
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
			m.comesUp(name+" login:", 2)
		})
	}
}

// raidImage is the instance_info of the image whose root file system may be on RAID.
func (s *site) raidImage(kind string) map[string]any {
	s.t.Helper()
	if kind == "partition" {
		return s.partitionImage(nil)
	}
	s.lab("image", "tiny-disk", "--out", filepath.Join(cache, "images"))
	return imageInfo(s.t, "tiny-disk.raw")
}

// Two arrays on the same disks outlive automated cleaning and a full erase, with their UUIDs, and are
// gone when somebody deletes them; what cannot be built is refused when it is asked for.
func TestRAIDLife(t *testing.T) {
	s := newSite(t)
	m := s.machine("raid-life", "--firmware", "bios", "--memory", "512", "--disk", "4G", "--disk", "4G")
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/raid", mirror(1), nil, 404) // raid_interface is no-raid
	m.patch("/raid_interface", "agent")
	bad := mirror(1)
	bad["logical_disks"].([]any)[0].(map[string]any)["raid_level"] = "5"
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/raid", bad, nil, 400)
	both := mirror(1)
	both["logical_disks"] = append(both["logical_disks"].([]any),
		map[string]any{"size_gb": "MAX", "raid_level": "0", "controller": "software"})
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/raid", both, nil, 204)
	var properties map[string]string
	s.call("GET", "/v1/drivers/ipmi/raid/logical_disk_properties", nil, &properties, 200)
	if properties["raid_level"] == "" {
		t.Errorf("the properties of logical disks are %v", properties)
	}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)

	m.cleanBy(raidStep("create_configuration"))
	first := m.raid().RAID.LogicalDisks
	if len(first) != 2 || first[0].Size != 1 || first[1].Level != "0" || first[1].Size != 4 {
		t.Fatalf("raid_config is %+v", first)
	}
	m.provision(map[string]any{"target": "provide"}) // automated cleaning
	m.arrive("available", 6*time.Minute)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	m.cleanBy(map[string]any{"interface": "deploy", "step": "erase_devices"})
	if again := m.raid().RAID.LogicalDisks; fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("after cleaning raid_config is %+v, it was %+v", again, first)
	}
	m.cleanBy(raidStep("delete_configuration"))
	if left := m.raid().RAID.LogicalDisks; len(left) != 0 {
		t.Errorf("after deleting raid_config is %+v", left)
	}
	m.power("power off")
	m.isOff()
	for _, d := range m.Disks {
		f, err := os.Open(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<20)
		if _, err := f.ReadAt(b, 0); err != nil || len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("%s still has a partition table (%v)", d.Path, err)
		}
		f.Close()
	}
}
