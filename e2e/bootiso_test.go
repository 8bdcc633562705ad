package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// iso makes a disc that BIOS boots: GRUB, with the small partition image's kernel and a ramdisk that needs
// nothing else.
func (s *site) iso() string {
	s.t.Helper()
	images := filepath.Join(cache, "images")
	s.lab("image", "tiny-root", "--out", images)
	tree := filepath.Join(s.dir, "iso")
	grub := filepath.Join(tree, "boot", "grub")
	if err := os.MkdirAll(grub, 0o755); err != nil {
		s.t.Fatal(err)
	}
	config := "serial --unit=0 --speed=115200\nterminal_output serial\necho BILLET-DISC\nlinux /vmlinuz console=ttyS0 quiet\ninitrd /initrd\nboot\n"
	if err := os.WriteFile(filepath.Join(grub, "grub.cfg"), []byte(config), 0o644); err != nil {
		s.t.Fatal(err)
	}
	for from, to := range map[string]string{"tiny-root.vmlinuz": "vmlinuz", "tiny-root.initrd": "initrd"} {
		b, err := os.ReadFile(filepath.Join(images, from))
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, to), b, 0o644)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	out := filepath.Join(s.dir, "disc.iso")
	for _, command := range [][]string{
		{"grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot/grub", "-o", filepath.Join(grub, "eltorito.img"), "biosdisk", "iso9660", "normal", "linux", "serial", "terminal", "echo", "boot"},
		{"genisoimage", "-quiet", "-R", "-b", "boot/grub/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-o", out, tree},
	} {
		if said, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			s.t.Fatalf("%v: %v: %s", command, err, said)
		}
	}
	return out
}

// An instance may be a disc image: iPXE boots it as if it lay in the machine's drive, at every start, and the
// disk stays as it was.
func TestBootISO(t *testing.T) {
	s := newSite(t)
	m := s.machine("disc", "--firmware", "bios", "--memory", "384", "--disk", "64M")
	m.patch("/deploy_interface", "ramdisk")
	m.available()
	info := map[string]any{"boot_iso": "file:///etc/passwd"}
	m.patch("/instance_info", info)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/provision", map[string]any{"target": "active"}, nil, 400)
	info["boot_iso"] = "file://" + s.iso()
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
