package write

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/disk/bootable"
	"github.com/billet-metal/billet/disk/disktest"
)

// An image that nothing starts from is written when that is asked for.
func TestAnyBootWritesAllTheSame(t *testing.T) {
	file := disktest.Pattern(3 << 20)
	s := serveFile(t, file)
	d := dirtyDisk(t, 8<<20)
	w := writer(s)
	w.AnyBoot = true
	img := imageOf(s.URL, "raw", file)
	img.BootMode = "bios"
	if _, err := w.WriteImage(context.Background(), d, img, ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(contents(t, d), file) {
		t.Error("it was not written")
	}
}

// The firmware is asked: SeaBIOS starts hybrid images once they are written with a config drive.
func TestHybridImagesStart(t *testing.T) {
	for _, kind := range []string{"xorriso", "isohybrid --uefi"} {
		file := disktest.Hybrid(t, kind)
		s := serveFile(t, file)
		d := dirtyDisk(t, 20<<20)
		img := imageOf(s.URL, "raw", file)
		img.BootMode = "bios"
		if _, err := write(t, s, d, img, pack(t, isoDrive(t))); err != nil {
			t.Fatal(err)
		}
		if said := seaBIOS(t, d.Path(), "ISOLINUX 6", "No bootable device"); !strings.Contains(said, "ISOLINUX 6") {
			t.Errorf("%s: %s", kind, said)
		}
	}
}

// What is refused for BIOS would not start: SeaBIOS says so too.
func TestSeaBIOSAgrees(t *testing.T) {
	path := disktest.Sparse(t, "disk", 1<<20)
	if err := os.WriteFile(path, disktest.Pattern(1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := seaBIOS(t, path, "No bootable device"); !strings.Contains(said, "No bootable device") {
		t.Error(said)
	}
	disktest.WantError(t, bootable.Check(openDevice(t, path), "bios", "amd64"), "its first sector is no boot sector")
}

// seaBIOS starts a machine from a disk and returns what it and its firmware said, up to one of the words.
func seaBIOS(t *testing.T, disk string, until ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := os.CreateTemp(t.TempDir(), "said")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "pc", "-accel", "tcg", "-m", "64",
		"-chardev", "file,id=said,append=on,path="+out.Name(), "-serial", "chardev:said",
		"-chardev", "file,id=log,append=on,path="+out.Name()+".log", "-device", "isa-debugcon,iobase=0x402,chardev=log",
		"-drive", "file="+disk+",format=raw,if=ide,snapshot=on")
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (apt-get install qemu-system-x86)", err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	for ctx.Err() == nil {
		said := string(disktest.Read(t, out.Name()))
		if log, err := os.ReadFile(out.Name() + ".log"); err == nil {
			said += string(log)
		}
		for _, words := range until {
			if strings.Contains(said, words) {
				return said
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return string(disktest.Read(t, out.Name())) + string(disktest.Read(t, out.Name()+".log"))
}
