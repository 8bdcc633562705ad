package images

import (
	"bytes"
	"context"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/bootable"
)

// tool runs a real program; a missing one fails the test and says where it comes from.
func run(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s (apt-get install %s)", name, err, out, pkg)
	}
	return string(out)
}

func TestPatched(t *testing.T) {
	boot, core := make([]byte, 512), make([]byte, 1000)
	b, c := patched(boot, core)
	if got := binary.LittleEndian.Uint64(b[0x5c:]); got != 2048 {
		t.Errorf("boot.img looks for the core in sector %d", got)
	}
	if b[0x64] != 0xff || b[0x66] != 0x90 || b[0x67] != 0x90 {
		t.Errorf("boot.img's drive and jump: % x", b[0x64:0x68])
	}
	if len(c) != 1024 {
		t.Errorf("the core has %d bytes, want whole sectors", len(c))
	}
	if diff := cmp.Diff([]byte{1, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0x20, 8}, c[0x1f4:0x200]); diff != "" {
		t.Errorf("block list (-want +got):\n%s", diff)
	}
	if !bytes.Equal(boot, make([]byte, 512)) || !bytes.Equal(core, make([]byte, 1000)) {
		t.Error("the originals were changed")
	}
}

func TestMeasureQcow2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.qcow2")
	run(t, "qemu-utils", "qemu-img", "create", "-q", "-f", "qcow2", path, "123M")
	img := Image{Kind: "x", Format: "qcow2"}
	if err := img.measure(path); err != nil {
		t.Fatal(err)
	}
	if img.Virtual != 123<<20 {
		t.Errorf("the disk has %d bytes, want 123 MiB", img.Virtual)
	}
	if sum := strings.Fields(run(t, "coreutils", "sha256sum", path))[0]; img.SHA256 != sum {
		t.Errorf("sha256 %s, sha256sum says %s", img.SHA256, sum)
	}
}

func TestRefuses(t *testing.T) {
	_, err := Build(t.Context(), "windows", Options{OutDir: t.TempDir()})
	if want := `unknown lab image "windows"; ` +
		`allowed are: grub, tiny, tiny-signed, tiny-root, tiny-disk, debian, debian-cloud, debian-root`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	err = installed([]tool{{"no-such-program", "pkg-a"}, {"/no/such/file", "pkg-b"}, {"/no/other", "pkg-b"}, {"sh", "dash"}})
	if want := "building this image needs more programs; run: apt-get install pkg-a pkg-b"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDebianInputsChangeWithEveryFile(t *testing.T) {
	b := &build{Options: Options{TinyOS: "/bin/true"}}
	first, err := debianInputs(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	old := debianFiles["etc/hostname"]
	t.Cleanup(func() { debianFiles["etc/hostname"] = old })
	debianFiles["etc/hostname"] = "other\n"
	second, err := debianInputs(t.Context(), b)
	if err != nil || first == second {
		t.Errorf("another file, the same key (%v)", err)
	}
}

func TestGrubImage(t *testing.T) {
	dir := t.TempDir()
	img, err := Build(t.Context(), "grub", Options{OutDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if img.Size > 6<<20 || img.Cached {
		t.Errorf("%+v: want about 5 MB, newly built", img)
	}
	again, err := Build(t.Context(), "grub", Options{OutDir: dir})
	want := img
	want.Cached = true
	if err != nil || again != want {
		t.Errorf("a second time: %+v %v, want %+v", again, err, want)
	}
	t.Chdir(t.TempDir())
	other, err := Build(t.Context(), "grub", Options{OutDir: "relative/dir"})
	if err != nil || other.SHA256 != img.SHA256 {
		t.Errorf("built elsewhere: %+v %v, want the same bytes", other, err)
	}
	checkDisk(t, img)
	for _, firmware := range []string{"bios", "uefi"} {
		said := boot(t, img, firmware, GrubMarker)
		if strings.Contains(said, NoConfigDrive) || !strings.Contains(strings.ReplaceAll(said, "\r\n", ""), `"hostname":"m1.example.org"`) {
			t.Errorf("%s: the config drive was not shown: %q", firmware, said)
		}
	}
}

func TestTinyImage(t *testing.T) {
	img, err := Build(t.Context(), "tiny", Options{OutDir: t.TempDir(), CacheDir: sharedCache(t)})
	if err != nil {
		t.Fatal(err)
	}
	checkDisk(t, img)
	for _, firmware := range []string{"bios", "uefi"} {
		said := strings.ReplaceAll(boot(t, img, firmware, "m1 login: "), "\r", "")
		for _, want := range []string{"BILLET-INSTANCE-UP tiny\nhostname: m1\nssh key: ssh-ed25519 AAAATEST me@home\n", "\nm1 login: "} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q is missing in %q", firmware, want, said)
			}
		}
	}
}

// The signed image has Debian's loaders as they were signed, byte for byte, where GRUB and the agent look for them,
// and a kernel with a signature; what nobody signed is only where the firmware looks without a boot entry.
func TestTinySignedImage(t *testing.T) {
	img, err := Build(t.Context(), "tiny-signed", Options{OutDir: t.TempDir(), CacheDir: sharedCache(t)})
	if err != nil {
		t.Fatal(err)
	}
	checkDisk(t, img)
	esp := fmt.Sprintf("%s@@%d", img.Path, espStart*sector)
	read := func(name string) []byte {
		t.Helper()
		out := filepath.Join(t.TempDir(), "file")
		run(t, "mtools", "mcopy", "-i", esp, "::/"+name, out)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, from := range map[string]string{"EFI/debian/shimx64.efi": signedShim, "EFI/debian/grubx64.efi": signedGRUB} {
		want, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(name), want) {
			t.Errorf("%s is not %s", name, from)
		}
	}
	if got := string(read("EFI/debian/grub.cfg")); got != signedConfig {
		t.Errorf("the signed GRUB's configuration: %q", got)
	}
	for name, want := range map[string]bool{"vmlinuz": true, "EFI/debian/shimx64.efi": true, "EFI/BOOT/BOOTX64.EFI": false} {
		if got := signedPE(t, read(name)); got != want {
			t.Errorf("%s carries a signature: %v, want %v", name, got, want)
		}
	}
	d, err := disk.Open(img.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if l, err := bootable.FindLoader(d); err != nil || l.Path != `\EFI\debian\shimx64.efi` {
		t.Errorf("the agent would start %q, %v", l.Path, err)
	}
}

// signedPE reports whether a program for UEFI has a table of certificates (PE format, data directory 4).
func signedPE(t *testing.T, b []byte) bool {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f.OptionalHeader.(*pe.OptionalHeader64).DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY].Size > 0
}

// sharedCache keeps the kernel package between runs; the program goes there too.
func sharedCache(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "billet-test")
}

func checkDisk(t *testing.T, img Image) {
	t.Helper()
	if out := run(t, "gdisk", "sgdisk", "--verify", img.Path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	cmd := exec.Command("sha256sum", "--check", "--status", img.Path+".sha256")
	cmd.Dir = filepath.Dir(img.Path)
	if err := cmd.Run(); err != nil {
		t.Errorf("the checksum beside the image is wrong: %v", err)
	}
}

const metaData = `{"hostname":"m1.example.org","public_keys":{"k":"ssh-ed25519 AAAATEST me@home"}}`

// boot puts the image on a larger disk with a config drive partition, as a deploy does, and starts
// it until text appears. It returns what the serial line said.
func boot(t *testing.T, img Image, firmware, text string) string {
	t.Helper()
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.raw")
	data, err := os.ReadFile(img.Path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(data)) + 64<<20
	if err := errors.Join(os.WriteFile(disk, data, 0o600), os.Truncate(disk, size)); err != nil {
		t.Fatal(err)
	}
	const drive = "9"
	first := (size-32<<20)/sector - 2048
	run(t, "gdisk", "sgdisk", "--move-second-header", "--new", fmt.Sprintf("%s:%d:+16M", drive, first), disk)
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := copyAt(f, configDrive(t, dir), first*sector); err != nil {
		t.Fatal(err)
	}
	args := []string{"-machine", "q35,graphics=off", "-cpu", "max", "-accel", "tcg,thread=multi", "-m", "384", "-nodefaults", "-display",
		"none",
		"-serial", "stdio", "-drive", "if=none,id=d,format=raw,cache=unsafe,file=" + disk, "-device", "virtio-blk-pci,drive=d,bootindex=1"}
	if firmware == "uefi" {
		vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
		if err != nil {
			t.Fatalf("%v (apt-get install ovmf)", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "vars.fd"), vars, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,unit=1,file="+filepath.Join(dir, "vars.fd"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	said := &until{text: text, found: cancel}
	cmd.Stdout = said
	cmd.Run() // killed when the text has come
	if !strings.Contains(said.all.String(), text) {
		t.Fatalf("%s: %q did not appear: %q", firmware, text, said.all.String())
	}
	return said.all.String()
}

// until collects output and calls found when the text is in it.
type until struct {
	text  string
	found func()
	all   bytes.Buffer
}

func (u *until) Write(p []byte) (int, error) {
	u.all.Write(p)
	if strings.Contains(u.all.String(), u.text) {
		u.found()
	}
	return len(p), nil
}

// configDrive makes the ISO 9660 file system of a config drive.
func configDrive(t *testing.T, dir string) string {
	t.Helper()
	tree := filepath.Join(dir, "drive/openstack/latest")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "meta_data.json"), []byte(metaData), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "drive.iso")
	run(t, "genisoimage", "genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-o", out, filepath.Join(dir, "drive"))
	return out
}
