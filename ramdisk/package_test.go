package ramdisk

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeApt puts scripts in the place of apt's programs; each gets its arguments and, for a download,
// runs in the directory the package goes to.
func fakeApt(t *testing.T, aptCache, aptGet string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{"apt-cache": aptCache, "apt-get": aptGet} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

const knowsTheKernel = `case "$*" in
*depends*linux-image-amd64) echo 'linux-image-amd64'; echo '  Depends: linux-image-6.1.0-56-amd64';;
*show*linux-image-6.1.0-5[06]-amd64)
	echo 'Package: x'; echo 'Filename: pool/updates/main/l/linux-image_6.1.192-2_amd64.deb'; echo 'Size: 1';;
*) echo "E: No packages found" >&2; exit 100;;
esac`

func TestKernelPackage(t *testing.T) {
	for _, c := range []struct {
		name, aptCache, aptGet string
		o                      Options
		file, err              string
	}{
		{"newest", knowsTheKernel, `echo deb > got.deb`, Options{Flavor: Generic}, "linux-image_6.1.192-2_amd64.deb", ""},
		{"named", knowsTheKernel, `echo deb > got.deb`, Options{Flavor: Generic, KernelVersion: "6.1.0-50"}, "linux-image_6.1.192-2_amd64.deb",
			""},
		{"given", "exit 9", "exit 9", Options{KernelPackage: "/some/linux.deb"}, "linux.deb", ""},
		{"unknown version", knowsTheKernel, "exit 9", Options{Flavor: Cloud, KernelVersion: "6.1.0-50"}, "",
			"apt-cache linux-image-6.1.0-50-cloud-amd64: exit status 100: E: No packages found (are the package lists there? run: apt-get update)"},
		{"empty lists", "exit 0", "exit 9", Options{Flavor: Generic}, "",
			"the package lists do not say which kernel linux-image-amd64 is; run: apt-get update"},
		{"no archive", `case "$*" in *depends*) echo '  Depends: linux-image-6.1.0-1-amd64';; esac`, "exit 9", Options{Flavor: Generic}, "",
			"the package linux-image-6.1.0-1-amd64 cannot be downloaded: no archive in the package lists has it; run: apt-get update"},
		{"download fails", knowsTheKernel, `echo 'E: Failed to fetch' >&2; exit 100`, Options{Flavor: Generic}, "",
			"apt-get linux-image-6.1.0-56-amd64: exit status 100: E: Failed to fetch (are the package lists there? run: apt-get update)"},
		{"download of nothing", knowsTheKernel, `exit 0`, Options{Flavor: Generic}, "",
			"downloading linux-image-6.1.0-56-amd64: apt-get left 0 package files, want 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeApt(t, c.aptCache, c.aptGet)
			c.o.CacheDir, c.o.Log = t.TempDir(), slog.New(slog.DiscardHandler)
			deb, err := kernelPackage(t.Context(), c.o)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.err || err == nil && filepath.Base(deb) != c.file {
				t.Errorf("got  %s, %s\nwant %s, %s", deb, got, c.file, c.err)
			}
			left, err := filepath.Glob(filepath.Join(c.o.CacheDir, "kernels", "download-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("half a download is left: %v %v", left, err)
			}
		})
	}
}

// A package that is in the cache is not downloaded again.
func TestKernelPackageCached(t *testing.T) {
	fakeApt(t, knowsTheKernel, `echo "asked twice" >&2; exit 1`)
	cache := t.TempDir()
	want := filepath.Join(cache, "kernels", "linux-image_6.1.192-2_amd64.deb")
	if err := errors.Join(os.MkdirAll(filepath.Dir(want), 0o755), os.WriteFile(want, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	got, err := kernelPackage(t.Context(), Options{Flavor: Generic, CacheDir: cache})
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestAptIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := kernelPackage(t.Context(), Options{Flavor: Generic, CacheDir: t.TempDir()})
	if want := "apt-cache is not installed; kernels come from Debian's package archive (or name a kernel package file)"; err == nil ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func tarOf(t *testing.T, files map[string]string) *tar.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return tar.NewReader(&b)
}

// readTar reads a package's entries as readPackage does.
func readTar(t *tar.Reader) (*kernel, error) {
	k := &kernel{modules: map[string]*module{}, builtin: map[string]bool{}}
	return k, eachEntry(t, k.entry)
}

func TestReadTar(t *testing.T) {
	k, err := readTar(tarOf(t, map[string]string{
		"./boot/vmlinuz-6.1.0-56-amd64":                        "KERNEL",
		"./boot/config-6.1.0-56-amd64":                         "CONFIG_X=y",
		"./usr/lib/modules/6.1.0-56-amd64/modules.builtin":     "kernel/fs/nls/nls_base.ko\nkernel/drivers/nvme/host/nvme-core.ko\n",
		"./lib/modules/6.1.0-56-amd64/kernel/sound/snd.ko":     "passed over unread",
		"./usr/share/doc/linux-image-6.1.0-56-amd64/copyright": "GPL",
		"./lib/modules/6.1.0-56-amd64/modules.builtin.modinfo": "\x00",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if k.release != "6.1.0-56-amd64" || string(k.image) != "KERNEL" || len(k.modules) != 0 {
		t.Errorf("kernel %q %q with %d modules", k.release, k.image, len(k.modules))
	}
	if diff := cmp.Diff(map[string]bool{"nls_base": true, "nvme_core": true}, k.builtin); diff != "" {
		t.Errorf("built in (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"./lib/modules/6.12/kernel/fs/ext4.ko.xz": "lib/modules/6.12/kernel/fs/ext4.ko.xz: " +
			"compressed modules are not understood; take a kernel with plain .ko files, as Debian 12 has",
		"./lib/modules/6.1/kernel/fs/ext4.ko": "kernel/fs/ext4.ko: reading a kernel module: ",
	} {
		if _, err := readTar(tarOf(t, map[string]string{name: "junk"})); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestFindProgram(t *testing.T) {
	outside := t.TempDir()
	t.Chdir(outside)
	if _, err := FindProgram(t.Context(), "billet-nothing", "cmd/billet-nothing", t.TempDir()); err == nil ||
		!strings.Contains(err.Error(), "billet-nothing is not there; put it beside ") {
		t.Errorf("outside the source tree: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(filepath.Dir(self), "billet-beside")
	if err := os.WriteFile(beside, nil, fs.FileMode(0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(beside) })
	if got, err := FindProgram(t.Context(), "billet-beside", "cmd/x", t.TempDir()); err != nil || got != beside {
		t.Errorf("got %s, %v; want %s", got, err, beside)
	}
}

func TestFindProgramBuilds(t *testing.T) {
	cache := t.TempDir()
	got, err := FindProgram(t.Context(), "billet-tinyos", "lab/tinyos", cache)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(cache, "bin", "billet-tinyos"); got != want {
		t.Errorf("built at %s, want %s", got, want)
	}
	if _, err := readInit(got); err != nil {
		t.Errorf("what was built cannot be an init: %v", err)
	}
}
