package grub

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace runs the rest of a test as a child with mounts of its own.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("IN_NAMESPACE") == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove("/dev/disk/by-uuid/" + rootUUID) })
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts and must run as root")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "IN_NAMESPACE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() // also while the test ends
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

const rootUUID = "b111e700-0000-4000-8000-0000000000f0"

// image is a disk with a root file system: busybox, and programs that are its shell's scripts.
func image(t *testing.T, scripts map[string]string, links map[string]string) Target {
	t.Helper()
	dir := tree(t, "usr/lib/grub/i386-pc/normal.mod", "usr/lib/grub/x86_64-efi/normal.mod", "bin/busybox")
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v (apt-get install busybox-static)", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range scripts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/busybox sh\nbb=/bin/busybox\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(t.TempDir(), "disk")
	run(t, "mke2fs", "-q", "-t", "ext4", "-U", rootUUID, "-d", dir, disk, "16M")
	loop := run(t, "losetup", "--find", "--show", disk)
	t.Cleanup(func() { run(t, "losetup", "--detach", loop) })
	return Target{Disks: []string{loop}, Root: loop, RootFS: "ext4", RootUUID: rootUUID, Mode: "bios",
		Dir: filepath.Join(t.TempDir(), "instance"), Log: slog.New(slog.DiscardHandler)}
}

// read mounts the root file system again and reads a file of it.
func (t Target) read(tt *testing.T, name string) string {
	tt.Helper()
	dir := tt.TempDir()
	if err := unix.Mount(t.Root, dir, t.RootFS, unix.MS_RDONLY, ""); err != nil {
		tt.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// mounted lists what is mounted in the target's folder.
func (t Target) mounted(tt *testing.T) (list []string) {
	tt.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		tt.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], t.Dir) {
			list = append(list, f[1])
		}
	}
	return list
}

// note is a script that writes down how it was called and what it sees.
const note = `{
	echo "called $0 $*"
	echo "path $PATH language $LC_ALL home $HOME secret ${SECRET:-none}"
	echo "directory $($bb pwd)"
	[ $$ != 1 ] && echo not the first process
	$bb grep -q "^proc /proc proc" /proc/mounts && echo proc
	$bb test -d /sys/class && echo sys
	$bb test -c /dev/null && echo dev
	echo "cards $($bb grep -c eth /proc/net/dev)"
	$bb mkdir /sys/made 2>/dev/null || echo sys cannot be changed
	$bb touch /run/made && echo run can
	$bb readlink /dev/disk/by-uuid/` + rootUUID + `
} >> /noted`

// TestInstall runs programs of an image as they will be run: inside it, with what GRUB looks at.
func TestInstall(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	t.Setenv("SECRET", "of the agent")
	target := image(t, map[string]string{"usr/sbin/grub-install": note, "usr/sbin/update-grub": note}, nil)
	var log bytes.Buffer
	target.Log = slog.New(slog.NewTextHandler(&log, nil))
	for range 2 { // again is no harm
		if err := Install(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		if left := target.mounted(t); left != nil {
			t.Errorf("still mounted: %v", left)
		}
	}
	seen := "path /usr/sbin:/usr/bin:/sbin:/bin language C home /root secret none\ndirectory /\nnot the first process\nproc\nsys\ndev\n" +
		"cards 0\nsys cannot be changed\nrun can\n" + target.Root + "\n"
	want := "called /usr/sbin/grub-install --target=i386-pc --recheck " + target.Disks[0] + "\n" + seen + "called /usr/sbin/update-grub \n" +
		seen
	if got := target.read(t, "noted"); got != want+want {
		t.Errorf("the programs noted\n%s\nwant\n%s twice", got, want)
	}
	if got := target.read(t, "run/made"); !strings.Contains(got, "no such file") {
		t.Errorf("what is only for a run stayed in the image: %q", got)
	}
	if !strings.Contains(log.String(), "/usr/sbin/update-grub") {
		t.Errorf("the log does not tell what was run: %s", &log)
	}
}

// TestInstallFails: whatever the image's programs do, the reason is told and nothing stays mounted.
func TestInstallFails(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	tests := []struct {
		name    string
		scripts map[string]string
		links   map[string]string
		change  func(*Target)
		within  time.Duration // how long the caller waits; 0: for ever
		want    string
		noMenu  bool // the second program is not run
	}{
		{name: "grub-install fails", scripts: map[string]string{"usr/sbin/grub-install": "echo $1; echo no room for core.img >&2; exit 1",
			"usr/sbin/update-grub": "echo > /menu"},
			want: "running the image's /usr/sbin/grub-install --target=i386-pc --recheck /dev/loop", noMenu: true},
		{name: "its words come with it", scripts: map[string]string{"usr/sbin/grub-install": "echo $1; echo no room for core.img >&2; exit 1",
			"usr/sbin/update-grub": "true"},
			want: "exit status 1: --target=i386-pc no room for core.img"},
		{name: "it says too much", scripts: map[string]string{"usr/sbin/grub-install": "$bb yes word | $bb head -n 100000; echo the end; exit 3",
			"usr/sbin/update-grub": "true"}, want: "word the end"},
		{name: "update-grub fails", scripts: map[string]string{"usr/sbin/grub-install": "true", "usr/sbin/update-grub": "exit 7"},
			want: "running the image's /usr/sbin/update-grub: exit status 7"},
		{name: "its interpreter is missing", scripts: map[string]string{"usr/sbin/update-grub": "true"},
			links: map[string]string{"usr/sbin/grub-install": "/no/such/program"}, want: "running the image's /usr/sbin/grub-install"},
		{name: "there is none", scripts: map[string]string{"usr/sbin/update-grub": "true"}, want: "the image has no grub-install"},
		{name: "it hangs", scripts: map[string]string{"usr/sbin/grub-install": "($bb sleep 100; echo > /menu) & $bb sleep 100",
			"usr/sbin/update-grub": "echo > /menu"}, within: time.Second, want: "signal: killed", noMenu: true},
		{name: "another file system", scripts: map[string]string{"usr/sbin/grub-install": "true"},
			change: func(target *Target) { target.RootFS = "xfs" }, want: "mounting /dev/loop"},
		{name: "a file system nobody knows", change: func(target *Target) { target.RootFS = "zfs-of-tomorrow" },
			want: "the deploy ramdisk's kernel has no driver for zfs-of-tomorrow; build the ramdisk of the generic flavor"},
		{name: "the disk has gone", change: func(target *Target) { target.Root = "/dev/none" },
			want: "mounting /dev/none (ext4) to install the boot loader: no such file"},
		{name: "a link as mount point", links: map[string]string{"dev": "/etc"}, want: "/dev of the image is no directory"},
		{name: "a link on the way to the ESP", links: map[string]string{"boot": "/tmp"},
			change: func(target *Target) { target.Mode, target.ESP = "uefi", target.Disks[0] }, want: "/boot/efi of the image is no directory"},
		{name: "an ESP that is none", scripts: map[string]string{"usr/sbin/grub-install": "true"},
			change: func(target *Target) { target.Mode, target.ESP = "uefi", target.Disks[0] }, want: "(vfat) to install the boot loader"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := image(t, tt.scripts, tt.links)
			if tt.change != nil {
				tt.change(&target)
			}
			ctx := t.Context()
			if tt.within > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.within)
				defer cancel()
			}
			began := time.Now()
			err := Install(ctx, target)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && len(err.Error()) > 1500 {
				t.Errorf("the reason has %d bytes", len(err.Error()))
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			if left := target.mounted(t); left != nil {
				t.Errorf("still mounted: %v", left)
			}
			if text := target; tt.noMenu && !strings.Contains(text.read(t, "menu"), "no such file") {
				t.Error("the menu was made though the loader was not installed")
			}
		})
	}
}

// TestAProcessLeftBehind: what a program leaves running in the image ends with it: the disk is not
// written to, and can be unmounted, when the step is over.
func TestAProcessLeftBehind(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	const leaves = "$bb setsid $bb sh -c 'exec < /dev/null > /left 2>&1; trap \"\" TERM HUP; while :; do echo; $bb sleep 0.1; done' &\n$bb " +
		"sleep 0.3"
	target := image(t, map[string]string{"usr/sbin/grub-install": leaves,
		"usr/sbin/update-grub": "$bb wc -c < /left > /then; $bb sleep 0.5; $bb wc -c < /left > /later"}, nil)
	if err := Install(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if left := target.mounted(t); left != nil {
		t.Errorf("still mounted: %v", left)
	}
	then, later := target.read(t, "then"), target.read(t, "later")
	if then != later || strings.TrimSpace(then) == "0" {
		t.Errorf("it had written %q, and half a second later %q", then, later)
	}
}
