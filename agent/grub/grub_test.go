package grub

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is an image's root with the given files.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrograms(t *testing.T) {
	for _, tt := range []struct {
		name, mode string
		files      []string
		want, err  string
	}{
		{"Debian, BIOS", "bios", []string{"usr/sbin/grub-install", "usr/sbin/update-grub", "usr/lib/grub/i386-pc/normal.mod"},
			"/usr/sbin/grub-install --target=i386-pc --recheck /dev/sda; /usr/sbin/update-grub", ""},
		{"Debian, UEFI", "uefi", []string{"usr/sbin/grub-install", "usr/sbin/update-grub", "usr/lib/grub/x86_64-efi/normal.mod"},
			"/usr/sbin/grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable --recheck; /usr/sbin/update-grub", ""},
		{"Red Hat", "bios", []string{"usr/sbin/grub2-install", "usr/sbin/grub2-mkconfig", "usr/lib/grub/i386-pc/normal.mod"},
			"/usr/sbin/grub2-install --target=i386-pc --recheck /dev/sda; /usr/sbin/grub2-mkconfig -o /boot/grub2/grub.cfg", ""},
		{"nothing", "bios", nil, "", "the image has no grub-install and no grub2-install, so it cannot be made to boot from its disk: " +
			"install GRUB (grub2-common and grub-pc-bin (Debian) or grub2-pc (Red Hat)) in the image, deploy a whole-disk image, " +
			"or use boot_option netboot"},
		{"the other firmware's", "uefi", []string{"usr/sbin/grub-install", "usr/sbin/update-grub", "usr/lib/grub/i386-pc/normal.mod"},
			"", "the image's GRUB has no /usr/lib/grub/x86_64-efi, which booting in UEFI mode needs: install grub-efi-amd64-bin (Debian) or " +
				"grub2-efi-x64-modules (Red Hat) in the image"},
		{"two disks of RAID, BIOS", "bios raid", []string{"usr/sbin/grub-install", "usr/sbin/update-grub", "usr/sbin/mdadm",
			"usr/lib/grub/i386-pc/normal.mod"},
			"/usr/sbin/grub-install --target=i386-pc --recheck /dev/sda; /usr/sbin/grub-install --target=i386-pc --recheck /dev/sdb; " +
				"/usr/sbin/update-grub", ""},
		{"two disks of RAID, UEFI", "uefi raid", []string{"usr/sbin/grub-install", "usr/sbin/update-grub", "sbin/mdadm",
			"usr/lib/grub/x86_64-efi/normal.mod"},
			"/usr/sbin/grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable --recheck; /usr/sbin/update-grub", ""},
		{"RAID without mdadm", "bios raid", []string{"usr/sbin/grub-install", "usr/sbin/update-grub", "usr/lib/grub/i386-pc/normal.mod"},
			"", "the image has no mdadm, which GRUB and the image's own start need where the root file system is on software RAID: install mdadm " +
				"in the image"},
		{"RAID without GRUB", "bios raid", nil, "", "the image has no grub-install and no grub2-install, so it cannot be made to boot from its " +
			"disk: install GRUB (grub2-common and grub-pc-bin (Debian) or grub2-pc (Red Hat)) in the image"},
		{"no menu", "bios", []string{"usr/sbin/grub-install", "usr/lib/grub/i386-pc/normal.mod"},
			"", "the image has no update-grub and no grub-mkconfig, so it has no boot menu: install GRUB's programs in the image"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mode, onRAID := strings.CutSuffix(tt.mode, " raid")
			disks := []string{"/dev/sda", "/dev/sdb"}
			if !onRAID {
				disks = disks[:1]
			}
			target := Target{Disks: disks, Mode: mode, Dir: tree(t, tt.files...), Log: slog.New(slog.DiscardHandler)}
			install, menu, err := target.programs()
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got  %v\nwant %s", err, tt.err)
				}
				return
			}
			if got := commands(append(install, menu)); err != nil || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func commands(all [][]string) string {
	var lines []string
	for _, c := range all {
		lines = append(lines, strings.Join(c, " "))
	}
	return strings.Join(lines, "; ")
}

// A link in the image must not have the ramdisk's own folders mounted over.
func TestMountPointsStayInside(t *testing.T) {
	dir := tree(t, "boot/kernel")
	if err := os.Symlink("/etc", filepath.Join(dir, "dev")); err != nil {
		t.Fatal(err)
	}
	target := Target{Dir: dir}
	for to, want := range map[string]string{"dev": "/dev of the image is no directory",
		"boot/kernel": "/boot/kernel of the image is no directory", "boot/efi": "", "proc": ""} {
		err := target.inside(to)
		if err != nil {
			got := err.Error()
			if want == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s, want %s", to, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: no error, want %s", to, want)
		}
	}
}
