package disk

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

// File systems that machines share are found on a whole disk and in partitions, as blkid finds them.
func TestShared(t *testing.T) {
	at := func(off int64, magic string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte(magic), off); err != nil {
				t.Fatal(err)
			}
		}
	}
	program := func(args ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { disktest.Run(t, args[0], append(args[1:], path)...) }
	}
	ocfs2 := func(t *testing.T, path string) {
		cmd := exec.Command("mkfs.ocfs2", "-q", "-F", "--fs-features=local", path)
		cmd.Stdin = strings.NewReader("y\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mkfs.ocfs2 (ocfs2-tools): %v\n%s", err, out)
		}
	}
	for _, tt := range []struct {
		name, blkid, want string
		make              func(t *testing.T, path string)
	}{
		{"gfs2", "gfs2", "GFS2 or GFS (Red Hat)", program("mkfs.gfs2", "-O", "-p", "lock_nolock", "-j", "1", "-J", "8")},
		{"ocfs2", "ocfs2", "OCFS2 (Oracle)", ocfs2},
		{"VMFS volume", "VMFS_volume_member", "VMFS volume (VMware)", at(1<<20, "\x0d\xd0\x01\xc0\x03\x00\x00\x00")},
		{"VMFS", "VMFS", "VMFS (VMware)", at(2<<20, "\x5e\xf1\xab\x2f\x04\x00\x00\x00\x05")},
		{"Oracle ASM", "oracleasm", "Oracle ASM", at(32, "ORCLDISKVOL1")},
		{"GPFS", "", "GPFS (IBM)", at(1024, "NSD descriptor for /dev/sdb created by GPFS Mon May  9 16:33:48 2011")},
		{"ext4", "ext4", "", program("mke2fs", "-q", "-F", "-t", "ext4")},
		{"LVM", "LVM2_member", "", at(512, "LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001")},
		{"nothing", "", "", func(*testing.T, string) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := disktest.Sparse(t, "whole", 200<<20)
			tt.make(t, path)
			out, _ := disktest.TryRun("blkid", "-p", "-o", "value", "-s", "TYPE", path)
			if got := strings.TrimSpace(out); got != tt.blkid && tt.name != "LVM" { // whose label has a checksum
				t.Errorf("blkid finds %q, the test wants %q", got, tt.blkid)
			}
			if got, err := Shared(openDevice(t, path)); got != tt.want || err != nil {
				t.Errorf("found %q, %v; want %q", got, err, tt.want)
			}
			// The same in a logical partition.
			disk := disktest.Sparse(t, "disk", 260<<20)
			disktest.Feed(t, "label: dos\n2048,8192,L\n16384,,E\n20480,,L\n", "sfdisk", "--quiet", disk)
			disktest.Run(t, "dd", "if="+path, "of="+disk, "bs=1M", "seek=10", "conv=notrunc,sparse", "status=none")
			want := tt.want
			if want != "" {
				want += fmt.Sprintf(" in the partition at byte %d", 20480*512)
			}
			if got, err := Shared(openDevice(t, disk)); got != want || err != nil {
				t.Errorf("in a partition found %q, %v; want %q", got, err, want)
			}
		})
	}
}

// Partition types are enough, also of a partition that was never formatted.
func TestSharedPartitionTypes(t *testing.T) {
	for script, want := range map[string]string{
		"label: dos\n2048,8192,L\n16384,8192,fb\n":                                   "VMFS (VMware) in partition 2",
		"label: gpt\n2048,8192,AA31E02A-400F-11DB-9590-000C2911D1B8\n":               "VMFS (VMware) in partition 1",
		"label: gpt\n2048,8192,L\n16384,8192,37AFFC90-EF7D-4E96-91C3-2D7AE055B174\n": "GPFS (IBM) in partition 2",
		"label: gpt\n2048,8192,381CFCCC-7288-11E0-92EE-000C2911D0B2\n":               "vSAN (VMware) in partition 1",
		"label: gpt\n2048,8192,6A898CC3-1DD2-11B2-99A6-080020736631\n" +
			"16384,8192,E6D6D379-F507-44C2-A23C-238F2A3DF928": "", // ZFS and LVM
	} {
		path := disktest.Sparse(t, "disk", 64<<20)
		disktest.Feed(t, script, "sfdisk", "--quiet", path)
		if got, err := Shared(openDevice(t, path)); got != want || err != nil {
			t.Errorf("%s: found %q, %v; want %q", script, got, err, want)
		}
	}
	if got, err := Shared(openDevice(t, disktest.Sparse(t, "small", 4096))); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A disk over two paths is one to hints, whichever path they name, and is protected on all of them.
func TestPathsAreOneDisk(t *testing.T) {
	a := wire.Disk{Name: "/dev/sda", Size: 10 << 30,
		Serial: "S", WWN: "0x6", WWNWithExtension: "0x6", HCTL: "0:0:0:1", ByPath: "one", Tran: "fc"}
	b := a
	b.Name, b.HCTL, b.ByPath, b.PathOf = "/dev/sdb", "1:0:0:1", "two", "/dev/sda"
	other := wire.Disk{Name: "/dev/sdc", Size: 10 << 30, Serial: "T", WWN: "0x7", WWNWithExtension: "0x7"}
	all := []wire.Disk{a, b, other}
	for field, value := range map[string]any{"serial": "S", "wwn": "0x6", "hctl": "1:0:0:1", "by_path": "two", "name": "/dev/sdb"} {
		if d, err := Select(all, map[string]any{field: value}); err != nil || d.Name != "/dev/sda" {
			t.Errorf("%s %v: %s, %v", field, value, d.Name, err)
		}
		skipped, err := Skipped(all, []any{map[string]any{field: value}})
		if err != nil || len(skipped) != 2 || !skipped["/dev/sda"] || !skipped["/dev/sdb"] {
			t.Errorf("%s %v protects %v, %v", field, value, skipped, err)
		}
	}
	b.PathOf = "" // nobody knows that they are one
	_, err := Select([]wire.Disk{a, b, other}, map[string]any{"serial": "S"})
	disktest.WantError(t, err, "match 2 disks")
	disktest.WantError(t, Unidentified([]wire.Disk{a, b}), "have the same WWN")
	if _, err := SelectMembers(all, []map[string]any{{"serial": "S"}, {"hctl": "1:0:0:1"}}); err == nil {
		t.Error("an array was to be made of one disk twice")
	}
}
