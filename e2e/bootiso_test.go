package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const discConfig = `serial --unit=0 --speed=115200
terminal_output serial
echo BILLET-DISC
linux /vmlinuz console=ttyS0 quiet
initrd /initrd
boot
`

// iso makes a disc that BIOS boots, or UEFI: GRUB, with the small partition image's kernel and a ramdisk that
// needs nothing else. UEFI starts GRUB from a FAT file system in the disc.
func (s *site) iso(firmware string) string {
	s.t.Helper()
	images := filepath.Join(cache, "images")
	s.lab("image", "tiny-root", "--out", images)
	tree, out := filepath.Join(s.dir, "iso"), filepath.Join(s.dir, "disc.iso")
	config := filepath.Join(tree, "boot", "grub", "grub.cfg")
	if err := os.MkdirAll(filepath.Dir(config), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(discConfig), 0o644); err != nil {
		s.t.Fatal(err)
	}
	kernel, initrd := filepath.Join(images, "tiny-root.vmlinuz"), filepath.Join(images, "tiny-root.initrd")
	loader := filepath.Join(tree, "boot", "loader.img")
	modules := []string{"iso9660", "normal", "linux", "serial", "terminal", "echo", "boot"}
	commands := [][]string{
		{"cp", kernel, filepath.Join(tree, "vmlinuz")}, {"cp", initrd, filepath.Join(tree, "initrd")},
		append([]string{"grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot/grub", "-o", loader, "biosdisk"}, modules...),
		{"genisoimage", "-quiet", "-R", "-b", "boot/loader.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-o", out, tree},
	}
	if firmware == "uefi" {
		efi := filepath.Join(s.dir, "bootx64.efi")
		commands = append(commands[:2],
			append([]string{"grub-mkimage", "-O", "x86_64-efi", "-p", "/boot/grub", "-o", efi}, modules...),
			[]string{"truncate", "-s", "4M", loader}, []string{"mkfs.vfat", "-F", "12", loader},
			[]string{"mmd", "-i", loader, "::/EFI", "::/EFI/BOOT"}, []string{"mcopy", "-i", loader, efi, "::/EFI/BOOT/BOOTX64.EFI"},
			[]string{"genisoimage", "-quiet", "-R", "-eltorito-alt-boot", "-e", "boot/loader.img", "-no-emul-boot", "-o", out, tree},
		)
	}
	for _, command := range commands {
		if said, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			s.t.Fatalf("%v: %v: %s", command, err, said)
		}
	}
	return out
}

// An instance may be a disc image: iPXE boots it as if it lay in the machine's drive, at every start, and the
// disk stays as it was.
func TestBootISO(t *testing.T)         { bootISO(t, "bios") }
func TestLongBootISOUEFI(t *testing.T) { bootISO(t, "uefi") }

func bootISO(t *testing.T, firmware string) {
	s := newSite(t)
	m := s.machine("disc-"+firmware, "--firmware", firmware, "--memory", "384", "--disk", "64M")
	m.patch("/deploy_interface", "ramdisk")
	m.available()
	info := map[string]any{"boot_iso": "file:///etc/passwd"}
	m.patch("/instance_info", info)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	info["boot_iso"] = "file://" + s.iso(firmware)
	m.patch("/instance_info", info)
	m.provision(map[string]any{"target": "active"})
	m.arrive("active", time.Minute)
	for n := range 2 {
		if n > 0 {
			s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
		}
		s.eventually(3*time.Minute, "the disc to start its system", func() (bool, string) {
			seen := m.console()
			return bytes.Count(seen, []byte("BILLET-DISC")) > n && bytes.Count(seen, []byte("BILLET-INSTANCE-UP tiny")) > n, tail(seen, 2500)
		})
	}
	if b, err := os.ReadFile(m.Disks[0].Path); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("something was written to the disk (%v)", err)
	}
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}
