// Package images owns the operating system images the lab deploys: "grub" (a boot loader that
// prints what it found, no kernel), "tiny" (a Linux kernel and one program), "tiny-signed" (the same
// behind Debian's signed boot loaders, for Secure Boot), "tiny-disk" (the same on a root file system,
// which may be on software RAID), "debian" (Debian 12) and "debian-cloud" (the same with cloud-init
// and netplan, as clouds install it). Each boots from BIOS and from UEFI. "tiny-root" and
// "debian-root" are root file systems alone: partition images, with their kernel and initial ramdisk
// beside them. The package needs no loop device and no mount: it makes file systems from directories
// and puts them into place by their bytes. It refuses to be a general image builder.
package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/ramdisk"
)

// Kinds lists what Build can make.
var Kinds = []string{"grub", "tiny", "tiny-signed", "tiny-root", "tiny-disk", "debian", "debian-cloud", "debian-root"}

// Options say where things go. OutDir must be set.
type Options struct {
	OutDir   string
	CacheDir string // kernel packages; "" is ramdisk.DefaultCacheDir()
	TinyOS   string // the program inside the tiny and Debian images; "": found or built by ramdisk.FindProgram
	Log      *slog.Logger
}

// Image is one built image. The file SHA256 names is also written beside it, as sha256sum does.
type Image struct {
	Kind    string `json:"kind"`
	Path    string `json:"path"`
	Format  string `json:"format"`       // "raw" or "qcow2"
	Size    int64  `json:"size"`         // bytes of the file
	Virtual int64  `json:"virtual_size"` // bytes of the disk
	SHA256  string `json:"sha256"`
	Key     string `json:"key"` // of everything it was made from
	Cached  bool   `json:"cached"`
}

// recipe makes one kind of image.
type recipe struct {
	file   string
	format string
	tools  []tool
	inputs func(ctx context.Context, b *build) (string, error) // a text that changes when the image would
	make   func(ctx context.Context, b *build, out string) error
	beside []string // further files that make leaves in the scratch directory; they go beside the image
}

// tool is a program or file that a recipe needs, and the package with it.
type tool struct{ path, pkg string }

var diskTools = []tool{
	{"sgdisk", "gdisk"}, {"mkfs.vfat", "dosfstools"}, {"mcopy", "mtools"}, {"grub-mkimage", "grub-common"},
	{"/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"}, {"/usr/lib/grub/x86_64-efi/normal.mod", "grub-efi-amd64-bin"},
}

var systemTools = []tool{{"mmdebstrap", "mmdebstrap"}, {"mke2fs", "e2fsprogs"}, {"qemu-img", "qemu-utils"}}

var recipes = map[string]recipe{
	"grub":         {"grub.raw", "raw", diskTools, grubInputs, makeGrub, nil},
	"tiny":         {"tiny.raw", "raw", diskTools, tinyInputs, makeTiny, nil},
	"tiny-signed":  {"tiny-signed.raw", "raw", append(slices.Clone(diskTools), signedTools...), tinySignedInputs, makeTinySigned, nil},
	"debian":       {"debian.qcow2", "qcow2", append(slices.Clone(diskTools), systemTools...), debianInputs, makeDebian, nil},
	"debian-cloud": {"debian-cloud.qcow2", "qcow2", append(slices.Clone(diskTools), systemTools...), cloudInputs, makeDebianCloud, nil},
	"tiny-root": {tinyRootFile, "raw", tinyRootTools, tinyRootInputs, makeTinyRoot,
		[]string{tinyRootQCOW2, tinyRootKernel, tinyRootInitrd}},
	"tiny-disk":   {"tiny-disk.raw", "raw", append(slices.Clone(diskTools), tinyRootTools...), tinyDiskInputs, makeTinyDisk, nil},
	"debian-root": {rootFile, "qcow2", systemTools, rootInputs, makeDebianRoot, []string{rootKernelFile, rootInitrdFile}},
}

// build is one run of a recipe.
type build struct {
	Options
	dir string // scratch, removed at the end
	// program is the one whose checksum is in the key: another build may replace the file meanwhile.
	program []byte
}

// Build makes an image, or returns the one that is there when its inputs have not changed.
// A missing program is an error that names its package.
func Build(ctx context.Context, kind string, o Options) (Image, error) {
	r, ok := recipes[kind]
	if !ok {
		return Image{}, fmt.Errorf("unknown lab image %q; allowed are: %s", kind, strings.Join(Kinds, ", "))
	}
	if o.CacheDir == "" {
		o.CacheDir = ramdisk.DefaultCacheDir()
	}
	if err := o.absolute(); err != nil {
		return Image{}, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := installed(r.tools); err != nil {
		return Image{}, err
	}
	unlock, err := lock(ctx, o.OutDir)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	b := &build{Options: o}
	inputs, err := r.inputs(ctx, b)
	if err != nil {
		return Image{}, err
	}
	sum := sha256.Sum256([]byte(kind + "\n" + inputs))
	key := hex.EncodeToString(sum[:16])
	if img, ok := built(o.OutDir, r, key); ok {
		return img, nil
	}
	return b.run(ctx, r, Image{Kind: kind, Path: filepath.Join(o.OutDir, r.file), Format: r.format, Key: key})
}

// lock waits for another build into the same directory: two at once would leave files of the one with
// checksums of the other, and what the first has made the second need not make again.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the images' directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the images' directory: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking the images' directory: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another build in %s: %w", dir, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// absolute makes the paths good for programs that run in the scratch directory.
func (o *Options) absolute() error {
	for _, path := range []*string{&o.OutDir, &o.CacheDir, &o.TinyOS} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("finding %s: %w", *path, err)
		}
		*path = abs
	}
	return nil
}

func (b *build) run(ctx context.Context, r recipe, img Image) (Image, error) {
	dir, err := os.MkdirTemp(b.OutDir, ".build-")
	if err != nil {
		return Image{}, fmt.Errorf("making a directory to build in: %w", err)
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if b.program != nil {
		b.TinyOS = filepath.Join(dir, "program")
		if err := os.WriteFile(b.TinyOS, b.program, 0o755); err != nil {
			return Image{}, fmt.Errorf("keeping the images' program: %w", err)
		}
	}
	part := filepath.Join(dir, r.file)
	if err := r.make(ctx, b, part); err != nil {
		return Image{}, fmt.Errorf("building the %s image: %w", img.Kind, err)
	}
	if err := img.measure(part); err != nil {
		return Image{}, err
	}
	// The old description goes first: an image must never be there with another one's checksum.
	os.Remove(img.Path + ".json")
	for _, name := range r.beside {
		if err := placeBeside(filepath.Join(dir, name), filepath.Join(b.OutDir, name)); err != nil {
			return Image{}, fmt.Errorf("putting %s in place: %w", name, err)
		}
	}
	if err := errors.Join(os.Rename(part, img.Path), sidecar(img.Path, img.SHA256)); err != nil {
		return Image{}, fmt.Errorf("putting the %s image in place: %w", img.Kind, err)
	}
	text, err := json.MarshalIndent(img, "", "  ")
	if err != nil {
		return Image{}, fmt.Errorf("describing the %s image: %w", img.Kind, err)
	}
	return img, os.WriteFile(img.Path+".json", append(text, '\n'), 0o644)
}

// placeBeside moves a file that goes with the image into place and leaves its checksum there too.
func placeBeside(from, to string) error {
	var file Image
	if err := file.measure(from); err != nil {
		return err
	}
	return errors.Join(os.Rename(from, to), sidecar(to, file.SHA256))
}

// sidecar writes the checksum beside an image. It replaces the file: copies of the directory that share it by
// hard links keep the checksums of their own images.
func sidecar(path, sum string) error {
	part := path + ".sha256.part"
	if err := os.WriteFile(part, fmt.Appendf(nil, "%s  %s\n", sum, filepath.Base(path)), 0o644); err != nil {
		return err
	}
	return os.Rename(part, path+".sha256")
}

// built returns the image that is there if it was made from the same inputs.
func built(dir string, r recipe, key string) (Image, bool) {
	var img Image
	path := filepath.Join(dir, r.file)
	text, err := os.ReadFile(path + ".json")
	if err != nil || json.Unmarshal(text, &img) != nil || img.Key != key {
		return Image{}, false
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != img.Size {
		return Image{}, false
	}
	for _, name := range r.beside {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Image{}, false
		}
	}
	img.Path, img.Cached = path, true
	return img, true
}

func (img *Image) measure(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("measuring the %s image: %w", img.Kind, err)
	}
	defer f.Close()
	h := sha256.New()
	if img.Size, err = io.Copy(h, f); err != nil {
		return fmt.Errorf("measuring the %s image: %w", img.Kind, err)
	}
	img.SHA256 = hex.EncodeToString(h.Sum(nil))
	img.Virtual = img.Size
	if img.Format == "qcow2" {
		// Bytes 24 to 31 of the header, big-endian (QEMU, docs/interop/qcow2.txt).
		header := make([]byte, 32)
		if _, err := f.ReadAt(header, 0); err != nil {
			return fmt.Errorf("measuring the %s image: %w", img.Kind, err)
		}
		img.Virtual = 0
		for _, c := range header[24:] {
			img.Virtual = img.Virtual<<8 | int64(c)
		}
	}
	return nil
}

// installed names every missing package at once.
func installed(tools []tool) error {
	var missing []string
	for _, t := range tools {
		var err error
		if filepath.IsAbs(t.path) {
			_, err = os.Stat(t.path)
		} else {
			_, err = exec.LookPath(t.path)
		}
		if err != nil && !slices.Contains(missing, t.pkg) {
			missing = append(missing, t.pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("building this image needs more programs; run: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// command runs one program and puts what it said into the error.
func (b *build) command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "SOURCE_DATE_EPOCH=946684800") // times in file systems: 1 January 2000
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w: %s", name, err, strings.Join(lines[max(0, len(lines)-5):], " | "))
	}
	return nil
}

// write puts a text into the scratch directory and returns its path.
func (b *build) write(name, text string) (string, error) {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return path, nil
}

// versions asks dpkg which versions of packages are here, as part of an image's inputs.
func versions(ctx context.Context, packages ...string) (string, error) {
	args := append([]string{"-W", "-f", "${Package} ${Version}\n"}, packages...)
	out, err := exec.CommandContext(ctx, "dpkg-query", args...).Output()
	if err != nil {
		return "", fmt.Errorf("asking dpkg for the versions of %s: %w", strings.Join(packages, ", "), err)
	}
	return string(out), nil
}
