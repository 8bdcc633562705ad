package ramdisk

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// kernel is what a kernel package holds, in memory.
type kernel struct {
	release string // uname -r: "6.1.0-56-amd64"
	image   []byte
	modules map[string]*module // by canonical name
	builtin map[string]bool    // canonical names of what is not a module here
	folder  string             // of the modules: their kernel's release
}

type module struct {
	path string // in the package's tree: "kernel/drivers/net/virtio_net.ko"
	data []byte
	info modinfo
}

// passedOver are folders of modules that no ramdisk needs; they are not even read, which keeps a
// build at about 250 MB of memory.
var passedOver = []string{
	"kernel/sound/", "kernel/drivers/gpu/", "kernel/drivers/media/", "kernel/drivers/staging/",
	"kernel/drivers/net/wireless/", "kernel/drivers/iio/", "kernel/drivers/input/", "kernel/drivers/bluetooth/",
	"kernel/drivers/isdn/", "kernel/net/bluetooth/", "kernel/net/wireless/", "kernel/net/mac80211/", "kernel/arch/x86/kvm/",
}

// readPackage takes a kernel .deb apart without writing anything to disk.
func readPackage(ctx context.Context, deb string) (*kernel, error) {
	k := &kernel{modules: map[string]*module{}, builtin: map[string]bool{}}
	if err := eachFile(ctx, deb, k.entry); err != nil {
		return nil, err
	}
	if k.image == nil || len(k.modules) == 0 {
		return nil, fmt.Errorf("reading %s: it holds no kernel with modules; a package such as linux-image-6.1.0-56-amd64 is wanted", deb)
	}
	if k.folder != k.release {
		return nil, fmt.Errorf("reading %s: its kernel is %s and its modules are for %s, which that kernel would refuse", deb, k.release,
			k.folder)
	}
	return k, nil
}

// entry takes one entry of the package.
func (k *kernel) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return k.take(strings.TrimPrefix(path.Clean(h.Name), "/"), content)
}

// take keeps one file of the package if it is of use.
func (k *kernel) take(name string, content io.Reader) error {
	name = strings.TrimPrefix(name, "usr/") // where newer releases keep lib
	if release, ok := strings.CutPrefix(name, "boot/vmlinuz-"); ok {
		if k.image != nil {
			return fmt.Errorf("it holds two kernels, %s and %s", k.release, release)
		}
		k.release = release
		return readAll(content, &k.image)
	}
	below, ok := strings.CutPrefix(name, "lib/modules/")
	if !ok {
		return nil
	}
	folder, below, _ := strings.Cut(below, "/")
	switch {
	case below == "modules.builtin":
		return k.takeBuiltin(content)
	case strings.HasSuffix(below, ".ko"):
		if k.folder != "" && k.folder != folder {
			return fmt.Errorf("it holds modules for two kernels, %s and %s", k.folder, folder)
		}
		k.folder = folder
		return k.takeModule(below, content)
	case strings.HasPrefix(path.Ext(below), ".") && strings.Contains(path.Base(below), ".ko."):
		return fmt.Errorf("%s: compressed modules are not understood; take a kernel with plain .ko files, as Debian 12 has", name)
	}
	return nil
}

func (k *kernel) takeBuiltin(content io.Reader) error {
	var list []byte
	if err := readAll(content, &list); err != nil {
		return err
	}
	for line := range strings.FieldsSeq(string(list)) {
		k.builtin[moduleName(line)] = true
	}
	return nil
}

func (k *kernel) takeModule(file string, content io.Reader) error {
	for _, folder := range passedOver {
		if strings.HasPrefix(file, folder) {
			return nil
		}
	}
	m := &module{path: file}
	if err := readAll(content, &m.data); err != nil {
		return err
	}
	info, err := readModinfo(m.data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	m.info = info
	m.info.name = moduleName(file)
	k.modules[m.info.name] = m
	return nil
}

func moduleName(file string) string {
	return canonical(strings.TrimSuffix(path.Base(file), ".ko"))
}

func readAll(r io.Reader, into *[]byte) (err error) {
	*into, err = io.ReadAll(r)
	return err
}

// kernelPackage returns the path of the kernel's .deb, downloading it into the cache when needed.
func kernelPackage(ctx context.Context, o Options) (string, error) {
	if o.KernelPackage != "" {
		return o.KernelPackage, nil
	}
	name, err := packageName(ctx, o)
	if err != nil {
		return "", err
	}
	return archived(ctx, o, name)
}

// archived returns the path of a package's .deb, downloading it into the cache when needed.
func archived(ctx context.Context, o Options, name string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(o.CacheDir, "kernels"))
	if err != nil {
		return "", fmt.Errorf("finding the cache: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache: %w", err)
	}
	file, err := packageFile(ctx, name)
	if err != nil {
		return "", err
	}
	deb := filepath.Join(dir, file)
	if _, err := os.Stat(deb); err == nil {
		return deb, nil
	}
	o.Log.Info("downloading a package", "package", name)
	return deb, download(ctx, name, deb)
}

// download fetches into a directory of its own and moves the file when it is whole, so that two
// builds at once, or one that was killed, leave no half package behind.
func download(ctx context.Context, name, deb string) error {
	dir, err := os.MkdirTemp(filepath.Dir(deb), "download-")
	if err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	defer os.RemoveAll(dir)
	if _, err := apt(ctx, dir, "apt-get", "--quiet", "download", name); err != nil {
		return err
	}
	got, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(got) != 1 {
		return fmt.Errorf("downloading %s: apt-get left %d package files, want 1", name, len(got))
	}
	if err := os.Rename(got[0], deb); err != nil {
		return fmt.Errorf("keeping the package %s: %w", name, err)
	}
	return nil
}

// packageName is the package with the files: the flavor's own package only points at the newest.
func packageName(ctx context.Context, o Options) (string, error) {
	f := flavors[o.Flavor]
	if o.KernelVersion != "" {
		return "linux-image-" + o.KernelVersion + f.suffix, nil
	}
	out, err := apt(ctx, "", "apt-cache", "depends", "--important", f.metapackage)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-")
		if ok {
			return "linux-image-" + name, nil
		}
	}
	return "", fmt.Errorf("the package lists do not say which kernel %s is; run: apt-get update", f.metapackage)
}

// packageFile is the file name the archive gives the package, so the cache can be asked first.
func packageFile(ctx context.Context, name string) (string, error) {
	out, err := apt(ctx, "", "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if file, ok := strings.CutPrefix(line, "Filename: "); ok {
			return path.Base(strings.TrimSpace(file)), nil
		}
	}
	return "", fmt.Errorf("the package %s cannot be downloaded: no archive in the package lists has it; run: apt-get update", name)
}

// apt runs one of apt's programs and turns its usual complaint into what to do.
func apt(ctx context.Context, dir, program string, args ...string) (string, error) {
	if os.Geteuid() == 0 {
		// Without it apt warns that its own user cannot write here, and downloads as root anyway.
		args = append([]string{"-o", "APT::Sandbox::User=root"}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is not installed; kernels come from Debian's package archive (or name a kernel package file)", program)
	case err != nil:
		return "", fmt.Errorf("%s %s: %w: %s (are the package lists there? run: apt-get update)",
			program, args[len(args)-1], err, strings.Join(strings.Fields(said.String()), " "))
	}
	return out.String(), nil
}

// PackageName is the kernel package that Build would take for a flavor: its newest.
func PackageName(ctx context.Context, f Flavor) (string, error) {
	return packageName(ctx, Options{Flavor: f})
}
