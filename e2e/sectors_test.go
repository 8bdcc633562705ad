package e2e

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// On disks with sectors of 4096 bytes (4Kn) an instance starts by its own GRUB and reads its config drive,
// and what lies there is what Linux can mount there: with the agent's writer and over iSCSI, whatever
// kind of disk it is.
func TestLongDisksOf4KiBSectors(t *testing.T) {
	for _, tt := range []struct{ deploy, model, ephemeral string }{
		{"direct", "virtio", "vfat"}, {"iscsi", "scsi", "ext4"}, {"direct", "nvme", "ext4"},
	} {
		t.Run(tt.deploy+"/"+tt.model, func(t *testing.T) {
			s := newSite(t)
			m := s.machine("four-k-"+tt.model, "--firmware", "uefi", "--memory", "512", "--disk", "5G",
				"--disk-model", tt.model, "--sector-size", "4096")
			m.patch("/properties/capabilities", "boot_mode:uefi")
			m.patch("/deploy_interface", tt.deploy)
			m.available()
			m.deploy(s.partitionImage(map[string]any{"swap_mb": 128, "ephemeral_gb": 1, "ephemeral_format": tt.ephemeral}))
			m.arrive("active", 10*time.Minute)
			m.prints(6*time.Minute, "BILLET-INSTANCE-UP tiny-root", "hostname: "+m.name, m.name+" login:")
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "power off"}, nil, 202)
			m.isOff()
			want := "vfat ESP, " + tt.ephemeral + " ephemeral0, swap swap1, ext4 tiny-root, vfat config-2"
			if got := m.fileSystems(); got != want {
				t.Errorf("the partitions hold %s; want %s", got, want)
			}
		})
	}
}

// fileSystems lists what blkid sees in the partitions of a disk with sectors of 4096 bytes.
func (m *machine) fileSystems() string {
	t := m.s.t
	t.Helper()
	loop, err := exec.Command("losetup", "--find", "--show", "--partscan", "--read-only",
		"--sector-size", "4096", m.Disks[0].Path).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, loop)
	}
	disk := strings.TrimSpace(string(loop))
	defer exec.Command("losetup", "--detach", disk).Run()
	out, err := exec.Command("sfdisk", "--list", "--output", "start,sectors", "--quiet", disk).CombinedOutput()
	if err != nil {
		t.Fatalf("sfdisk: %v: %s", err, out)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[0] == "Start" {
			continue
		}
		start, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		probe := func(what string) string {
			// Where blkid finds nothing, it says nothing.
			out, _ := exec.Command("blkid", "--probe", "--offset", fmt.Sprint(start*4096), "-s", what, "-o", "value", disk).Output()
			return strings.TrimSpace(string(out))
		}
		found = append(found, probe("TYPE")+" "+probe("LABEL"))
	}
	return strings.Join(found, ", ")
}
