package images

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The whole disk of the same file system: what firmware and GRUB look for is where they look.
func TestTinyDiskImage(t *testing.T) {
	img, err := Build(t.Context(), "tiny-disk", Options{OutDir: t.TempDir(), CacheDir: sharedCache(t)})
	if err != nil {
		t.Fatal(err)
	}
	if out := run(t, "gdisk", "sgdisk", "--verify", "--print", img.Path); !strings.Contains(out, "No problems found") ||
		!strings.Contains(out, "EF02") || !strings.Contains(out, "EF00") {
		t.Errorf("sgdisk: %s", out)
	}
	esp, root := fmt.Sprint(espStart*sector), fmt.Sprint((espStart+4*2048)*sector)
	config := run(t, "mtools", "mtype", "-i", img.Path+"@@"+esp, "::/grub/grub.cfg")
	if !strings.Contains(config, "--fs-uuid "+tinyRootUUID) || !strings.Contains(config, "root=UUID="+tinyRootUUID) {
		t.Errorf("GRUB's configuration: %s", config)
	}
	run(t, "mtools", "mdir", "-i", img.Path+"@@"+esp, "::/EFI/BOOT/BOOTX64.EFI")
	if out := run(t, "util-linux", "blkid", "--probe", "--offset", root, "--output", "export", img.Path); !strings.Contains(out,
		"UUID="+tinyRootUUID) {
		t.Errorf("blkid: %s", out)
	}
}

// What the agent and the firmware will look for is asked of e2fsprogs and qemu-img.
func TestTinyRootImage(t *testing.T) {
	dir := t.TempDir()
	img, err := Build(t.Context(), "tiny-root", Options{OutDir: dir, CacheDir: sharedCache(t)})
	if err != nil {
		t.Fatal(err)
	}
	if img.Format != "raw" || img.Size >= 80_000_000 || img.Virtual != img.Size || img.Cached {
		t.Errorf("%+v: want a raw image below 80 MB, newly built", img)
	}
	if again, err := Build(t.Context(), "tiny-root", Options{OutDir: dir, CacheDir: sharedCache(t)}); err != nil || !again.Cached ||
		again.SHA256 != img.SHA256 {
		t.Errorf("a second time: %+v %v, want the same, cached", again, err)
	}
	run(t, "e2fsprogs", "e2fsck", "-f", "-n", img.Path)
	for name, kind := range map[string]string{
		"/usr/sbin/init": "regular", "/usr/sbin/update-grub": "symlink", "/usr/sbin/grub-install": "regular", "/usr/sbin/grub-probe": "regular",
		"/usr/lib/grub/i386-pc/normal.mod": "regular", "/usr/lib/grub/i386-pc/boot.img": "regular",
		"/usr/lib/grub/x86_64-efi/normal.mod": "regular",
		"/usr/sbin/mdadm":                     "regular", "/boot/vmlinuz": "regular", "/boot/initrd.img": "regular", "/boot/efi": "directory",
		"/mnt": "directory", "/lib64": "symlink",
	} {
		if out := run(t, "e2fsprogs", "debugfs", "-R", "stat "+name, img.Path); !strings.Contains(out, "Type: "+kind) {
			t.Errorf("%s is no %s: %s", name, kind, out)
		}
	}
	if out := run(t, "util-linux", "blkid", "--probe", "--output", "export", img.Path); !strings.Contains(out, "UUID="+tinyRootUUID) {
		t.Errorf("blkid: %s", out)
	}
	run(t, "qemu-utils", "qemu-img", "compare", "-f", "raw", "-F", "qcow2", img.Path, filepath.Join(dir, "tiny-root.qcow2"))
	for _, name := range []string{"tiny-root.raw", "tiny-root.qcow2", "tiny-root.vmlinuz", "tiny-root.initrd"} {
		cmd := exec.Command("sha256sum", "--check", "--status", name+".sha256")
		cmd.Dir = dir
		if err := cmd.Run(); err != nil {
			t.Errorf("the checksum beside %s: %v", name, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "tiny-root.initrd")); err != nil {
		t.Fatal(err)
	}
	if _, cached := built(dir, recipes["tiny-root"], img.Key); cached {
		t.Error("an image whose initrd is gone counts as built")
	}
	// The programs must start with the libraries that came along, and nothing of this host's.
	root := filepath.Join(dir, "out")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "e2fsprogs", "debugfs", "-R", "rdump /usr "+root, img.Path)
	for _, name := range []string{"grub-install", "grub-probe", "mdadm"} {
		out := run(t, "grub2-common", filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path",
			filepath.Join(root, "usr/lib/x86_64-linux-gnu"), filepath.Join(root, "usr/sbin", name), "--version")
		if !strings.Contains(out, "GRUB") && !strings.Contains(out, "mdadm") {
			t.Errorf("%s says %s", name, out)
		}
	}
}
