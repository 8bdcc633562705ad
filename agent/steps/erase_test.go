package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/erase"
	"github.com/billet-metal/billet/wire"
)

func TestEraseSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		info map[string]any
		want eraseSettings
		err  string
	}{
		{"the defaults", nil, eraseSettings{erase.Options{ATA: true, NVMe: true}, 4, false}, ""},
		{"passes", map[string]any{"agent_erase_devices_iterations": 3.0, "agent_erase_devices_zeroize": false},
			eraseSettings{erase.Options{ATA: true, NVMe: true, Passes: erase.Passes{Random: 3, NoZeros: true}}, 4, false}, ""},
		{"zeros after one pass", map[string]any{"agent_erase_devices_iterations": "1", "agent_erase_devices_zeroize": "true"},
			eraseSettings{erase.Options{ATA: true, NVMe: true, Passes: erase.Passes{Random: 1}}, 4, false}, ""},
		{"the older name", map[string]any{"agent_continue_if_ata_erase_failed": true},
			eraseSettings{erase.Options{ATA: true, NVMe: true, Overwrite: true}, 4, false}, ""},
		{"the newer name wins", map[string]any{"agent_continue_if_ata_erase_failed": true,
			"agent_continue_if_secure_erase_failed": false}, eraseSettings{erase.Options{ATA: true, NVMe: true}, 4, false}, ""},
		{"no pass", map[string]any{"agent_erase_devices_zeroize": false}, eraseSettings{},
			"driver_internal_info/agent_erase_devices_zeroize is false and agent_erase_devices_iterations is 0, so overwriting would write nothing"},
		{"passes without end", map[string]any{"agent_erase_devices_iterations": 101.0}, eraseSettings{},
			"driver_internal_info/agent_erase_devices_iterations is 101; a whole number from 0 to 100 is allowed"},
		{"fewer than none", map[string]any{"agent_erase_devices_iterations": -1.0}, eraseSettings{},
			"driver_internal_info/agent_erase_devices_iterations is -1; a whole number from 0 to 100 is allowed"},
		{"null is the default", map[string]any{"agent_enable_ata_secure_erase": nil, "disk_erasure_concurrency": nil},
			eraseSettings{erase.Options{ATA: true, NVMe: true}, 4, false}, ""},
		{"all set", map[string]any{
			"agent_enable_ata_secure_erase": false, "agent_enable_nvme_secure_erase": "False", "agent_continue_if_secure_erase_failed": true,
			"agent_erase_skip_read_only": "true", "disk_erasure_concurrency": 2.0,
		}, eraseSettings{erase.Options{Overwrite: true}, 2, true}, ""},
		{"no truth", map[string]any{"agent_enable_nvme_secure_erase": "maybe"}, eraseSettings{},
			"driver_internal_info/agent_enable_nvme_secure_erase is maybe; true and false are allowed"},
		{"none at once", map[string]any{"disk_erasure_concurrency": 0.0}, eraseSettings{},
			"driver_internal_info/disk_erasure_concurrency is 0; a whole number of at least 1 is allowed"},
		{"half a disk", map[string]any{"disk_erasure_concurrency": 1.5}, eraseSettings{},
			"driver_internal_info/disk_erasure_concurrency is 1.5; a whole number of at least 1 is allowed"},
	} {
		got, err := readEraseSettings(tt.info)
		if tt.err == "" && (err != nil || got != tt.want) || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

// A setting that cannot be understood erases nothing.
func TestAWrongSettingErasesNothing(t *testing.T) {
	root := twoDisks(t)
	c := Call{Node: wire.Node{DriverInternalInfo: map[string]any{"disk_erasure_concurrency": "many"}}, Report: noReport}
	_, err := still(root, 0).eraseDevices(t.Context(), c)
	if err == nil || !strings.HasPrefix(err.Error(), "nothing was erased: driver_internal_info/disk_erasure_concurrency is many") {
		t.Error(err)
	}
	kept(t, root, "vda", 8<<20)
}

// says is the sentence of an erase step's result.
func says(result any) string { return result.(wire.Erasure).Says }

func kept(t *testing.T, root, name string, size int) {
	t.Helper()
	if size == 0 { // a hole of addDisk
		if info, err := os.Stat(filepath.Join(root, "dev", name)); err != nil || info.Sys().(*syscall.Stat_t).Blocks != 0 {
			t.Errorf("%s was changed (%v)", name, err)
		}
		return
	}
	if b, err := os.ReadFile(filepath.Join(root, "dev", name)); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{0xa5}, size)) {
		t.Errorf("%s was changed (%v)", name, err)
	}
}

// A disk that cannot be erased keeps its last user's data: the machine is not clean, unless somebody
// said that it does not matter.
func TestReadOnlyDisks(t *testing.T) {
	root := twoDisks(t)
	put(t, root, "sys/block/vdb/ro", "1")
	a, c := still(root, 0), Call{Report: noReport}
	_, err := a.eraseDevices(t.Context(), c)
	want := `nothing was erased: /dev/vdb (serial "disk-2") is read-only and would keep its data; protect it with ` +
		`skip_block_devices, or let read-only disks be skipped (agent_erase_skip_read_only)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	kept(t, root, "vda", 8<<20)
	c.Node.DriverInternalInfo = map[string]any{"agent_erase_skip_read_only": true}
	got, err := a.eraseDevices(t.Context(), c)
	if says(got) == "" || err != nil || !strings.HasSuffix(says(got), "; left alone: /dev/vdb (read-only)") {
		t.Error(got, err)
	}
	kept(t, root, "vdb", 16<<20)
}

func TestEraseProgressCountsAllDisks(t *testing.T) {
	for _, atOnce := range []any{1, 4} {
		a := still(twoDisks(t), 0)
		var told []string
		each := func(detail string, disks []wire.DiskProgress) {
			line := detail
			for _, d := range disks {
				line += fmt.Sprintf("; %s %s %s %d/%d", d.Name, d.Serial, d.What, d.Done, d.Total)
			}
			told = append(told, line)
		}
		c := Call{Node: wire.Node{DriverInternalInfo: map[string]any{"disk_erasure_concurrency": atOnce}}, Report: noReport, Disks: each}
		if _, err := a.eraseDevices(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		last := told[len(told)-1]
		if !strings.HasSuffix(last, "; /dev/vda disk-1 erased 8388608/8388608; /dev/vdb disk-2 erased 16777216/16777216") || len(told) != 4 {
			t.Errorf("%v at once: the progress was %q", atOnce, told)
		}
		if atOnce == 1 && !strings.HasSuffix(told[0], "8388608/8388608; /dev/vdb disk-2 waits for its turn 0/16777216") {
			t.Errorf("one at a time the first of the progress was %q", told[0])
		}
	}
}

// A disk that failed says so, with what was done of it until then, and the others go on.
func TestEraseProgressNamesTheDiskThatFailed(t *testing.T) {
	a := still(twoDisks(t), 0)
	var last []wire.DiskProgress
	c := Call{Report: noReport, Disks: func(_ string, each []wire.DiskProgress) { last = each }}
	_, err := a.eraseBy(t.Context(), c,
		func(_ context.Context, d disk.Disk, _ erase.Hardware, _ erase.Options, progress func(string, int64)) (erase.Result, error) {
			progress("overwriting", d.Size()/2)
			if d.Size() == 8<<20 {
				return erase.Result{}, errors.New("a bad sector")
			}
			return erase.Result{Method: "overwritten"}, nil
		})
	if err == nil || !strings.Contains(err.Error(), "/dev/vda: a bad sector") {
		t.Errorf("%v", err)
	}
	want := []wire.DiskProgress{{Name: "/dev/vda", Serial: "disk-1", What: "failed", Done: 4 << 20, Total: 8 << 20},
		{Name: "/dev/vdb", Serial: "disk-2", What: "erased", Done: 16 << 20, Total: 16 << 20}}
	if !slices.Equal(last, want) {
		t.Errorf("the last of the progress is %+v, want %+v", last, want)
	}
}

// Disks are worked on side by side, but never more than allowed.
func TestDisksAtOnce(t *testing.T) {
	root := t.TempDir()
	for i := range 6 {
		addDisk(t, root, fmt.Sprintf("sd%c", 'a'+i), fmt.Sprint("serial-", i), 1)
	}
	a := still(root, 0)
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{})
	got, err := a.eachDisk(t.Context(), Call{Report: noReport}, 3, func(_ *disk.Device, d wire.Disk) (erase.Result, error) {
		mu.Lock()
		now++
		if most = max(most, now); now == 3 && most == 3 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full // the first three wait for one another
		mu.Lock()
		now--
		mu.Unlock()
		return erase.Result{Method: "by " + d.Name, Verified: "seen"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.(wire.Erasure).Disks { // in the order of the disks, whoever was first
		name := fmt.Sprintf("/dev/sd%c", 'a'+i)
		if r.Name != name || r.Method != "by "+name || r.Serial != fmt.Sprint("serial-", i) || r.Seconds < 0 {
			t.Errorf("disk %d: %+v", i, r)
		}
	}
	if most != 3 {
		t.Errorf("%d at once", most)
	}
}

// Every disk that fails is named, and so is what was erased all the same; a fault is one disk's.
func TestEveryFailureIsNamed(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"sda", "sdb", "sdc"} {
		addDisk(t, root, name, name, 1)
	}
	_, err := still(root, 0).eachDisk(t.Context(), Call{Report: noReport}, 2, func(_ *disk.Device, d wire.Disk) (erase.Result, error) {
		switch d.Serial {
		case "sda":
			return erase.Result{}, errors.New("worn out")
		case "sdb":
			panic("oops")
		}
		return erase.Result{Method: "well", Verified: "seen"}, nil
	})
	const fault = "the agent has a fault: a panic with a value of type string"
	want := "erasing: /dev/sda: worn out\n/dev/sdb: " + fault + "; erased: /dev/sdc (serial \"sdc\", 1073741824 bytes: well, seen)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// The error carries what became of each disk.
	var told *EraseFailed
	if !errors.As(fmt.Errorf("wrapped: %w", err), &told) {
		t.Fatalf("%T", err)
	}
	var text []string
	for _, d := range told.Disks {
		text = append(text, d.Name+" "+d.Method+d.Error)
	}
	if got := strings.Join(text, ", "); got != "/dev/sda worn out, /dev/sdb "+fault+", /dev/sdc well" {
		t.Errorf("disk by disk: %s", got)
	}
}

// What is left alone, and why, is in the record beside what was erased.
func TestTheRecordOfAnErase(t *testing.T) {
	root := twoDisks(t)
	addDisk(t, root, "sdx", "stick", 1)
	put(t, root, "sys/block/sdx/removable", "1")
	put(t, root, "sys/block/sdy/size", "0")
	put(t, root, "sys/block/sdz/size", "0")
	put(t, root, "sys/block/sdz/hidden", "1")
	put(t, root, "sys/block/loop0/size", "0")
	put(t, root, "sys/block/vda/wwid", "eui.0025385b71b00c3f")
	put(t, root, "sys/block/vda/device/model", "QEMU")
	got, err := still(root, 0).eraseDevices(t.Context(),
		Call{Report: noReport, Node: wire.Node{DriverInternalInfo: map[string]any{"agent_erase_devices_iterations": 1.0}}})
	if err != nil {
		t.Fatal(err)
	}
	disks := got.(wire.Erasure).Disks
	for i := range disks {
		if disks[i].Skipped == "" && disks[i].Seconds <= 0 {
			t.Errorf("%s took %v s", disks[i].Name, disks[i].Seconds)
		}
		disks[i].Seconds = 0
	}
	const how = "overwritten with random data once, then with zeros"
	want := []wire.ErasedDisk{
		{Name: "/dev/vda", Serial: "disk-1", WWN: "eui.0025385b71b00c3f", Model: "QEMU", Size: 8 << 20, Method: how,
			Verified: "64 samples read back"},
		{Name: "/dev/vdb", Serial: "disk-2", Size: 16 << 20, Method: how, Verified: "64 samples read back"},
		{Name: "/dev/sdx", Serial: "stick", Size: 1 << 30, Skipped: "removable"},
		{Name: "/dev/sdy", Skipped: "no medium in it (size 0)"},
	}
	if diff := cmp.Diff(want, disks); diff != "" {
		t.Error(diff)
	}
	kept(t, root, "sdx", 0)
}

// One disk over two paths is not erased twice at once; protecting one path is the way out.
func TestTheSameDiskTwiceErasesNothing(t *testing.T) {
	root := twoDisks(t)
	put(t, root, "sys/block/vda/wwid", "naa.5000c500a1b2c3d4")
	put(t, root, "sys/block/vdb/wwid", "naa.5000c500a1b2c3d4")
	a, c := still(root, 0), Call{Report: noReport}
	for name, erase := range map[string]func(context.Context, Call) (any, error){"metadata": a.eraseMetadata,
		"all": a.eraseDevices, "express": a.eraseExpress} {
		if _, err := erase(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), "nothing was erased: /dev/vda, ") ||
			!strings.Contains(err.Error(), "have the same WWN") {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept(t, root, "vda", 8<<20)
	kept(t, root, "vdb", 16<<20)
	c.Node = skipping(map[string]any{"serial": "disk-2"})
	if _, err := a.eraseMetadata(t.Context(), c); err != nil {
		t.Error(err)
	}
	kept(t, root, "vdb", 16<<20)
}
