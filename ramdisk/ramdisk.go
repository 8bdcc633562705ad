// Package ramdisk owns the deploy ramdisk: it takes the kernel and the modules out of the
// distribution's own kernel package and puts the agent in front of them as /init. Nothing is
// installed, nothing needs root, and the same inputs give the same bytes. It refuses to know what
// the agent does, to load modules, and to serve files.
package ramdisk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Flavor picks the kernel package and the drivers.
type Flavor string

// The flavors.
const (
	Generic Flavor = "generic" // ordinary servers: every common storage and network driver
	Cloud   Flavor = "cloud"   // virtual machines: small and quick to unpack
)

// File names inside Options.OutDir.
const (
	KernelFile    = "vmlinuz"
	InitramfsFile = "initramfs"
	ManifestFile  = "manifest.json"
)

// Options say what to build. Init and OutDir must be set.
type Options struct {
	Flavor        Flavor   // "" is Generic
	Init          string   // static executable that becomes /init
	OutDir        string   // made when missing; its three files are replaced
	CacheDir      string   // keeps downloaded packages; "" is DefaultCacheDir()
	KernelVersion string   // "6.1.0-56"; "" is the newest the package lists know
	KernelPackage string   // path of a kernel .deb; "" downloads it
	Firmware      string   // directory like /lib/firmware; what chosen modules ask for is added. "": none
	Bare          bool     // without the programs that the agent calls: for another init
	Rescue        bool     // adds a shell and its commands, for people who rescue a machine
	Extra         []File   // further files of the initramfs
	Load          []string // modules to load on every machine besides the flavor's basic ones

	BusyboxPackage string // path of a busybox-static .deb; "" downloads it
	Log            *slog.Logger
}

// Manifest says what was built. Sizes are bytes, checksums SHA-256 in hex.
type Manifest struct {
	Flavor        Flavor   `json:"flavor"`
	KernelRelease string   `json:"kernel_release"` // uname -r
	KernelPackage string   `json:"kernel_package"` // file name of the .deb
	Kernel        Artifact `json:"kernel"`
	Initramfs     Artifact `json:"initramfs"`
	Init          Artifact `json:"init"`
	Modules       []string `json:"modules"`
	Absent        []string `json:"absent,omitempty"`           // drivers asked for that this kernel does not have
	NoFirmware    []string `json:"missing_firmware,omitempty"` // files that modules ask for and that are not in
}

// Artifact is one file of the result.
type Artifact struct {
	File   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// DefaultCacheDir is where downloads are kept: /var/cache/billet for root, else the user's own
// cache directory.
func DefaultCacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/billet"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "billet")
}

// Build writes vmlinuz, initramfs and manifest.json to o.OutDir. Errors name the package, file or
// tool that is missing and how to get it.
func Build(ctx context.Context, o Options) (Manifest, error) {
	if err := o.complete(); err != nil {
		return Manifest{}, err
	}
	init, err := readInit(o.Init)
	if err != nil {
		return Manifest{}, err
	}
	deb, err := kernelPackage(ctx, o)
	if err != nil {
		return Manifest{}, err
	}
	kernel, err := readPackage(ctx, deb)
	if err != nil {
		return Manifest{}, err
	}
	chosen, err := kernel.choose(o.Flavor, o.Load...)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Flavor: o.Flavor, KernelRelease: kernel.release, KernelPackage: filepath.Base(deb),
		Modules: chosen.names(), Absent: chosen.absent}
	files := append(skeleton(init), chosen.files()...)
	firmware, missing, err := chosen.firmware(o.Firmware)
	if err != nil {
		return Manifest{}, err
	}
	m.NoFirmware = missing
	var programs []File
	if !o.Bare {
		if programs, err = tools(ctx, o); err != nil {
			return Manifest{}, err
		}
	}
	commands, err := busybox(ctx, o)
	if err != nil {
		return Manifest{}, err
	}
	files = slices.Concat(files, firmware, programs, commands, o.Extra)
	o.Log.Info("packing the ramdisk", "modules", len(m.Modules), "kernel", m.KernelRelease)
	packed, err := pack(files)
	if err != nil {
		return Manifest{}, err
	}
	m.Init = artifact("init", init)
	m.Kernel = artifact(KernelFile, kernel.image)
	m.Initramfs = artifact(InitramfsFile, packed)
	return m, o.write(m, kernel.image, packed)
}

func (o *Options) complete() error {
	if o.Flavor == "" {
		o.Flavor = Generic
	}
	if _, ok := flavors[o.Flavor]; !ok {
		return fmt.Errorf("unknown ramdisk flavor %q; allowed are: %s, %s", o.Flavor, Generic, Cloud)
	}
	if o.Init == "" || o.OutDir == "" {
		return fmt.Errorf("building a ramdisk: both the init program and the output directory must be named")
	}
	if o.CacheDir == "" {
		o.CacheDir = DefaultCacheDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (o *Options) write(m Manifest, kernel, initramfs []byte) error {
	if err := os.MkdirAll(o.OutDir, 0o755); err != nil {
		return fmt.Errorf("making the ramdisk's directory: %w", err)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{KernelFile, kernel}, {InitramfsFile, initramfs}, {ManifestFile, append(text, '\n')}} {
		if err := replace(filepath.Join(o.OutDir, f.name), f.data); err != nil {
			return err
		}
	}
	return nil
}

// replace swaps a file in one step: a boot service may be reading the old one.
func replace(path string, data []byte) error {
	part := fmt.Sprintf("%s.part%d", path, os.Getpid())
	if err := os.WriteFile(part, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(part, path); err != nil {
		os.Remove(part)
		return fmt.Errorf("putting %s in place: %w", path, err)
	}
	return nil
}

func artifact(name string, data []byte) Artifact {
	sum := sha256.Sum256(data)
	return Artifact{File: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// skeleton is what the kernel needs before /init has mounted anything: mount points, and a console
// node so that init's first words are seen.
func skeleton(init []byte) []File {
	files := []File{
		{Path: "init", Mode: 0o755, Data: init},
		{Path: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
	}
	for _, dir := range []string{"proc", "sys", "run", "tmp", "root", "etc", "mnt", "lib/firmware", "modules"} {
		files = append(files, File{Path: dir, Mode: fs.ModeDir | 0o755})
	}
	return files
}

// firmware collects what the chosen modules ask for from dir, and names what is not there.
func (c choice) firmware(dir string) (files []File, missing []string, err error) {
	wanted := map[string]bool{}
	for _, m := range c.modules {
		for _, f := range m.info.firmware {
			wanted[f] = true
		}
	}
	for name := range wanted {
		// A module's own text names the file: keep it inside dir.
		if !fs.ValidPath(name) || dir == "" {
			missing = append(missing, name)
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case os.IsNotExist(err):
			missing = append(missing, name)
		case err != nil:
			return nil, nil, fmt.Errorf("reading firmware: %w", err)
		default:
			files = append(files, File{Path: "lib/firmware/" + name, Mode: 0o644, Data: data})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(missing)
	return files, missing, nil
}
