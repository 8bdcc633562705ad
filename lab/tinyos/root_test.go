package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const someUUID = "b111e700-0000-4000-8000-000000000040"

func TestRootUUID(t *testing.T) {
	for line, want := range map[string]string{
		"": "", "console=ttyS0 quiet": "", "root=/dev/vda1 ro": "", "root=LABEL=root": "", "xroot=UUID=abc": "",
		"BOOT_IMAGE=/boot/vmlinuz root=UUID=" + someUUID + " ro\n": someUUID,
		"root=UUID=B111E700-0000-4000-8000-000000000040":           someUUID,
		"root=UUID=old root=UUID=new":                              "new", // the kernel takes the last, too
	} {
		if got := rootUUID(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// mke2fs is the peer: what it says it made is what is read.
func TestExt4UUID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fs")
	out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-U", someUUID, path, "8M").CombinedOutput()
	if err != nil {
		t.Fatalf("mke2fs: %v: %s (apt-get install e2fsprogs)", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := ext4UUID(f); got != someUUID {
		t.Errorf("got %q, want %q", got, someUUID)
	}
	for name, data := range map[string][]byte{"zeros": make([]byte, 4096), "nothing": nil, "short": make([]byte, 1500)} {
		if got := ext4UUID(bytes.NewReader(data)); got != "" {
			t.Errorf("%s: %q, want no UUID", name, got)
		}
	}
}

func TestFindRootGivesUp(t *testing.T) {
	_, err := findRoot("no-such-uuid", time.Millisecond, func() {})
	if want := "no disk holds the root file system no-such-uuid"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Each look that finds nothing starts the arrays there are, before the next.
func TestFindRootStartsArrays(t *testing.T) {
	started := 0
	_, err := findRoot("no-such-uuid", 600*time.Millisecond, func() { started++ })
	if err == nil || started == 0 {
		t.Errorf("arrays were started %d times, %v", started, err)
	}
}

const mountinfo = `1 1 0:2 / / rw - rootfs rootfs rw,size=180000k
22 1 254:1 / / ro,relatime - ext4 /dev/vda1 ro
23 22 0:21 / /proc rw,relatime - proc proc rw
24 22 0:6 / /dev rw,relatime shared:1 - devtmpfs devtmpfs rw
a line that is none
`

func TestMounts(t *testing.T) {
	for text, want := range map[string]string{mountinfo: "/dev/vda1 ext4", "": "unknown",
		"1 1 0:2 / / rw - rootfs rootfs rw\n": "rootfs rootfs"} {
		if got := rootMount(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for dir, want := range map[string]bool{"/proc": true, "/dev": true, "/": true, "/sys": false, "/pro": false} {
		if got := isMounted(mountinfo, dir); got != want {
			t.Errorf("%s mounted: %v, want %v", dir, got, want)
		}
	}
}

// GRUB's own checker reads the menu.
func TestGrubMenu(t *testing.T) {
	menu := grubMenu(someUUID)
	cmd := exec.Command("grub-script-check")
	cmd.Stdin = strings.NewReader(menu)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("grub-script-check: %v: %s (apt-get install grub-common)", err, out)
	}
	for _, line := range []string{
		"search --no-floppy --set=root --fs-uuid " + someUUID + "\n",
		"linux /boot/vmlinuz root=UUID=" + someUUID + " ro console=ttyS0,115200 panic=30 quiet\n",
	} {
		if !strings.Contains(menu, line) {
			t.Errorf("the menu has no %q:\n%s", line, menu)
		}
	}
}
