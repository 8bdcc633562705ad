package lab

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/lab/bmc"
)

func TestDiskChanges(t *testing.T) {
	whole := Machine{Name: "m1", Disks: []Disk{{Path: "/lab/disk0.raw", Size: 1 << 20, Model: "scsi", Serial: "S0"},
		{Path: "/lab/disk1.raw", Size: 1 << 20, Model: "virtio", Serial: "S1", Pulled: true, BadAt: 512}}}
	for _, c := range []struct {
		change DiskChange
		want   Disk // the changed disk's Pulled and BadAt
		err    string
	}{
		{DiskChange{Number: 0, Do: "pull"}, Disk{Pulled: true}, ""},
		{DiskChange{Number: 1, Do: "plug"}, Disk{BadAt: 512}, ""},
		{DiskChange{Number: 0, Do: "break", BadAt: 4096}, Disk{BadAt: 4096}, ""},
		{DiskChange{Number: 1, Do: "heal"}, Disk{Pulled: true}, ""},
		{DiskChange{Number: 0, Do: "plug"}, Disk{}, "plug disk 0: it is so already"},
		{DiskChange{Number: 1, Do: "pull"}, Disk{}, "pull disk 1: it is so already"},
		{DiskChange{Number: 2, Do: "pull"}, Disk{}, "disk 2: machine m1 has 2, counted from 0"},
		{DiskChange{Number: -1, Do: "pull"}, Disk{}, "disk -1: machine m1 has 2, counted from 0"},
		{DiskChange{Number: 0, Do: "break"}, Disk{}, "break disk 0 at byte 0: allowed are 1 to 1048575"},
		{DiskChange{Number: 0, Do: "break", BadAt: 1 << 20}, Disk{}, "break disk 0 at byte 1048576: allowed are 1 to 1048575"},
		{DiskChange{Number: 0, Do: "kick"}, Disk{}, `disk action "kick": allowed are pull, plug, break, heal`},
	} {
		got, err := changed(whole, c.change)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%+v: error %v, want %s", c.change, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c.change, err)
			continue
		}
		if d := got[c.change.Number]; d.Pulled != c.want.Pulled || d.BadAt != c.want.BadAt {
			t.Errorf("%+v: pulled %v, bad at %d; want %v, %d", c.change, d.Pulled, d.BadAt, c.want.Pulled, c.want.BadAt)
		}
	}
	if d := whole.Disks[0]; d.Pulled || d.BadAt != 0 {
		t.Errorf("the machine given was changed: %+v", d)
	}
}

// A running machine refuses what QEMU cannot do before it asks QEMU (this guest has no monitor to ask).
func TestDiskChangesWhileOn(t *testing.T) {
	for _, c := range []struct {
		change DiskChange
		model  string
		err    string
	}{
		{DiskChange{Number: 0, Do: "break", BadAt: 512}, "scsi", "break disk 0: the machine is on, switch it off first"},
		{DiskChange{Number: 0, Do: "heal"}, "scsi", "heal disk 0: the machine is on, switch it off first"},
		{DiskChange{Number: 0, Do: "pull"}, "nvme",
			"pull disk 0: the machine is on, and only disks of the model scsi can be changed then; this one is nvme"},
	} {
		if err := (&guest{}).changeDisk(t.Context(), Disk{Model: c.model}, c.change); err == nil || err.Error() != c.err {
			t.Errorf("%+v: error %v, want %s", c.change, err, c.err)
		}
	}
}

func TestArgumentsOfFaultyDisks(t *testing.T) {
	m := Machine{Name: "m1", Firmware: "bios", Disks: []Disk{
		{Path: "/lab/disk0.raw", Model: "scsi", Serial: "S0", WWN: "0x5000", Pulled: true},
		{Path: "/lab/disk1.raw", Model: "scsi", Serial: "S1", WWN: "0x5001", BadAt: 8 << 20},
	}}
	got := strings.Join(arguments(m, bootOrder(m, bmc.BootDevice{})), " ")
	if strings.Contains(got, "disk0") {
		t.Errorf("the pulled disk is there: %s", got)
	}
	want := "-drive if=none,id=drive1,format=raw,cache=unsafe,discard=unmap,file.driver=blkdebug,file.image.driver=file," +
		"file.image.filename=disk1.raw,file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.errno=5," +
		"file.inject-error.0.sector=16384 -device scsi-hd,bus=scsi0.0,scsi-id=1,wwn=0x5001,id=disk1,drive=drive1,serial=S1,bootindex=1"
	if !strings.Contains(got, want) {
		t.Errorf("the broken disk is not %s: %s", want, got)
	}
}
