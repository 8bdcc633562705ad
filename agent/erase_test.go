package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/billet-metal/billet/agent/disk"
	"github.com/billet-metal/billet/agent/wire"
)

func TestEraseSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		info map[string]any
		want eraseSettings
		err  string
	}{
		{"the field's defaults", nil, eraseSettings{disk.EraseOptions{ATA: true, NVMe: true}, 4, false}, ""},
		{"null is the default", map[string]any{"agent_enable_ata_secure_erase": nil, "disk_erasure_concurrency": nil}, eraseSettings{disk.EraseOptions{ATA: true, NVMe: true}, 4, false}, ""},
		{"all set", map[string]any{
			"agent_enable_ata_secure_erase": false, "agent_enable_nvme_secure_erase": "False", "agent_continue_if_secure_erase_failed": true,
			"agent_erase_skip_read_only": "true", "disk_erasure_concurrency": 2.0,
		}, eraseSettings{disk.EraseOptions{Overwrite: true}, 2, true}, ""},
		{"no truth", map[string]any{"agent_enable_nvme_secure_erase": "maybe"}, eraseSettings{}, "driver_internal_info/agent_enable_nvme_secure_erase is maybe; true and false are allowed"},
		{"none at once", map[string]any{"disk_erasure_concurrency": 0.0}, eraseSettings{}, "driver_internal_info/disk_erasure_concurrency is 0; a whole number of at least 1 is allowed"},
		{"half a disk", map[string]any{"disk_erasure_concurrency": 1.5}, eraseSettings{}, "driver_internal_info/disk_erasure_concurrency is 1.5; a whole number of at least 1 is allowed"},
	} {
		got, err := readEraseSettings(tt.info)
		if tt.err == "" && (err != nil || got != tt.want) || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

// A setting that cannot be understood erases nothing.
func TestAWrongSettingErasesNothing(t *testing.T) {
	root := machineRoot(t)
	c := stepCall{node: wire.Node{DriverInternalInfo: map[string]any{"disk_erasure_concurrency": "many"}}, report: noReport}
	_, err := still(root, 0).eraseDevices(t.Context(), c)
	if err == nil || !strings.HasPrefix(err.Error(), "nothing was erased: driver_internal_info/disk_erasure_concurrency is many") {
		t.Error(err)
	}
	kept(t, root, "vda", 8<<20)
}

func kept(t *testing.T, root, name string, size int) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(root, "dev", name)); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{0xa5}, size)) {
		t.Errorf("%s was changed (%v)", name, err)
	}
}

// A disk that cannot be erased keeps its last user's data: the machine is not clean, unless somebody
// said that it does not matter.
func TestReadOnlyDisks(t *testing.T) {
	root := machineRoot(t)
	put(t, root, "sys/block/vdb/ro", "1")
	a, c := still(root, 0), stepCall{report: noReport}
	_, err := a.eraseDevices(t.Context(), c)
	want := `nothing was erased: /dev/vdb (serial "disk-2") is read-only and would keep its data; protect it with skip_block_devices, or let read-only disks be skipped (agent_erase_skip_read_only)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	kept(t, root, "vda", 8<<20)
	c.node.DriverInternalInfo = map[string]any{"agent_erase_skip_read_only": true}
	got, err := a.eraseDevices(t.Context(), c)
	if err != nil || !strings.HasSuffix(fmt.Sprint(got), "; left alone: /dev/vdb (read-only)") {
		t.Error(got, err)
	}
	kept(t, root, "vdb", 16<<20)
}

func TestEraseProgressCountsAllDisks(t *testing.T) {
	for _, atOnce := range []any{1, 4} {
		a := still(machineRoot(t), 0)
		var told []string
		report := func(detail string, done, total int64) {
			told = append(told, fmt.Sprintf("%s %d/%d", detail, done, total))
		}
		c := stepCall{node: wire.Node{DriverInternalInfo: map[string]any{"disk_erasure_concurrency": atOnce}}, report: report}
		if _, err := a.eraseDevices(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		last := told[len(told)-1]
		if !strings.HasSuffix(last, " 25165824/25165824") || !strings.Contains(last, "erased, ") || len(told) != 4 {
			t.Errorf("%v at once: the progress was %q", atOnce, told)
		}
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
	got, err := a.eachDisk(t.Context(), stepCall{report: noReport}, 3, func(_ *disk.Device, d wire.Disk) (string, error) {
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
		return "", nil
	})
	if want := "erased: /dev/sda, /dev/sdb, /dev/sdc, /dev/sdd, /dev/sde, /dev/sdf"; err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
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
	_, err := still(root, 0).eachDisk(t.Context(), stepCall{report: noReport}, 2, func(_ *disk.Device, d wire.Disk) (string, error) {
		switch d.Serial {
		case "sda":
			return "", errors.New("worn out")
		case "sdb":
			panic("oops")
		}
		return " (well)", nil
	})
	want := "erasing: /dev/sda: worn out\n/dev/sdb: the agent has a fault: oops; erased: /dev/sdc (well)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
