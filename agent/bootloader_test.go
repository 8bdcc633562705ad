package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// program runs one of the programs that make the test's disk.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: apt-get install gdisk dosfstools mtools", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// diskWithLoader makes a disk with GRUB in an EFI system partition, its third, and returns the
// partition's GUID.
func diskWithLoader(t *testing.T, disk string) (guid string) {
	t.Helper()
	esp := filepath.Join(t.TempDir(), "esp")
	for path, size := range map[string]int{disk: 16 << 20, esp: 2 << 20} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program(t, "sgdisk", "--clear", "--new=3:4096:8191", "--typecode=3:ef00", disk)
	_, after, _ := strings.Cut(program(t, "sgdisk", "--info=3", disk), "unique GUID: ")
	program(t, "mkfs.vfat", esp)
	program(t, "mmd", "-i", esp, "::/EFI", "::/EFI/debian")
	program(t, "mcopy", "-i", esp, "/dev/null", "::/EFI/debian/grubx64.efi")
	program(t, "dd", "if="+esp, "of="+disk, "bs=1M", "seek=2", "conv=notrunc")
	return strings.ToLower(after[:36])
}

// A machine that booted in UEFI mode gets a boot entry for the loader on the disk.
func TestBootEntryIsMade(t *testing.T) {
	s := newService(t)
	var vars string
	var guid string
	startAgent(t, s, func(c *Config) {
		vars = filepath.Join(c.Root, "sys/firmware/efi/efivars")
		if err := os.MkdirAll(vars, 0o755); err != nil {
			t.Fatal(err)
		}
		guid = diskWithLoader(t, filepath.Join(c.Root, "dev/vdb"))
	})
	c := conductorFor(t, receive(t, s.heartbeats))
	if got, want := c.succeed("standby.get_partition_uuids", map[string]any{}),
		`{"root uuid":"","efi system partition uuid":"`+guid+`","PReP Boot partition uuid":""}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for range 2 { // safe to run again; the mode of this machine is taken when none is named
		got := c.succeed("image.install_bootloader", map[string]any{"root_uuid": nil, "efi_system_part_uuid": guid})
		if want := `{"result":"install_bootloader: boot entry Boot0000 starts \\EFI\\debian\\grubx64.efi of partition 3"}`; got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	files, err := filepath.Glob(vars + "/*")
	if err != nil || len(files) != 2 {
		t.Errorf("the firmware has %s, %v", files, err)
	}
}

// Firmware without room for a boot entry starts the disk by itself where it has \EFI\BOOT; the note says so.
// Where it has not, that is no success.
func TestNoRoomForABootEntry(t *testing.T) {
	for _, removable := range []bool{true, false} {
		s := newService(t)
		startAgent(t, s, func(c *Config) {
			vars := filepath.Join(c.Root, "sys/firmware/efi/efivars")
			if err := os.MkdirAll(vars, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", vars, "tmpfs", 0, "nr_inodes=1"); err != nil {
				t.Fatalf("mounting (the test needs root): %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(vars, unix.MNT_DETACH) })
			diskWithLoader(t, filepath.Join(c.Root, "dev/vdb"))
			if esp := filepath.Join(c.Root, "dev/vdb@@2M"); removable {
				program(t, "mmd", "-i", esp, "::/EFI/BOOT")
				program(t, "mcopy", "-i", esp, "/dev/null", "::/EFI/BOOT/BOOTX64.EFI")
			}
		})
		c := conductorFor(t, receive(t, s.heartbeats))
		r := c.do("image.install_bootloader", map[string]any{"target_boot_mode": "uefi"})
		const full = "making a boot entry: the firmware's memory for variables is full (0 boot entries of others are left)"
		if removable && (r.Error != nil ||
			!strings.Contains(string(r.Result), "the firmware has to start \\\\EFI\\\\BOOT\\\\BOOTX64.EFI of /dev/vdb by itself")) {
			t.Errorf("%v, %s", r.Error, r.Result)
		}
		if !removable && (r.Error == nil || !strings.Contains(r.Error.Details, full)) {
			t.Errorf("%v, %s", r.Error, r.Result)
		}
	}
}
