package boot

import (
	"cmp"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Arch is a client's system architecture, DHCP option 93 (RFC 4578 section 2.1 and IANA's
// "Processor Architecture Types").
type Arch uint16

// The architectures Billet has boot loaders for.
const (
	BIOS          Arch = 0  // x86 BIOS
	UEFI          Arch = 7  // x86-64 UEFI, in practice
	UEFIAlso      Arch = 9  // x86-64 UEFI by RFC 4578's erratum
	UEFIArm64     Arch = 11 // arm64 UEFI
	UEFIHTTP      Arch = 16 // x86-64 UEFI HTTP boot
	UEFIArm64HTTP Arch = 19 // arm64 UEFI HTTP boot
)

// HTTP reports whether the firmware fetches its boot file by HTTP.
func (a Arch) HTTP() bool { return a == UEFIHTTP || a == UEFIArm64HTTP }

func (a Arch) String() string {
	switch a {
	case BIOS:
		return "BIOS"
	case UEFI, UEFIAlso:
		return "x86-64 UEFI"
	case UEFIArm64:
		return "arm64 UEFI"
	case UEFIHTTP:
		return "x86-64 UEFI HTTP"
	case UEFIArm64HTTP:
		return "arm64 UEFI HTTP"
	}
	return "unknown firmware"
}

// loaderNames are the distribution's file names. UEFI HTTP boot always starts iPXE: it needs
// nothing but HTTP from there on.
var loaderNames = map[Arch]map[Loader]string{
	BIOS:          {IPXE: "undionly.kpxe", PXE: "pxelinux.0", Shim: "pxelinux.0"},
	UEFI:          {IPXE: "snponly.efi", PXE: "grubnetx64.efi", Shim: "shimx64.efi.signed"},
	UEFIAlso:      {IPXE: "snponly.efi", PXE: "grubnetx64.efi", Shim: "shimx64.efi.signed"},
	UEFIArm64:     {IPXE: "snponly-arm64.efi", PXE: "grubnetaa64.efi", Shim: "shimaa64.efi.signed"},
	UEFIHTTP:      {IPXE: "snponly.efi", PXE: "snponly.efi"},
	UEFIArm64HTTP: {IPXE: "snponly-arm64.efi", PXE: "snponly-arm64.efi"},
}

// secondStages are what a loader fetches next, by the name it asks for: shim wants GRUB beside itself.
var secondStages = map[string]string{"shimx64.efi.signed": "grubx64.efi", "shimaa64.efi.signed": "grubaa64.efi"}

// signed are the distribution's names of files that are asked for by another, and that only a signature makes the
// right ones: its unsigned GRUB for disks has the name under which shim asks for the signed one for networks.
var signed = map[string]string{"grubx64.efi": "grubnetx64.efi.signed", "grubaa64.efi": "grubnetaa64.efi.signed"}

// packages are Debian's packages with the loaders.
var packages = map[string]string{
	"undionly.kpxe": "ipxe", "snponly.efi": "ipxe", "snponly-arm64.efi": "ipxe", "pxelinux.0": "pxelinux", "ldlinux.c32": "syslinux-common",
	"grubnetx64.efi": "grub-efi-amd64-bin", "grubnetaa64.efi": "grub-efi-arm64-bin",
	"shimx64.efi.signed": "shim-signed", "shimaa64.efi.signed": "shim-signed",
	"grubx64.efi": "grub-efi-amd64-signed", "grubaa64.efi": "grub-efi-arm64-signed",
}

// DefaultLoaderDirs are where Debian's packages ipxe, pxelinux, syslinux-common, grub-efi-*-bin,
// shim-signed and grub-efi-*-signed put the boot loaders.
var DefaultLoaderDirs = []string{
	"/usr/lib/ipxe",
	"/usr/lib/PXELINUX",
	"/usr/lib/syslinux/modules/bios",
	"/usr/lib/grub/x86_64-efi/monolithic",
	"/usr/lib/grub/arm64-efi/monolithic",
	"/usr/lib/shim",
	"/usr/lib/grub/x86_64-efi-signed",
	"/usr/lib/grub/arm64-efi-signed",
}

// Loaders finds boot loaders on this machine. The zero value uses the distribution's.
type Loaders struct {
	Dirs  []string          // searched in order; empty: DefaultLoaderDirs
	Names map[string]string // the distribution's file name → the file to give instead
}

// Name returns the file the firmware starts first; "" when there is none for its architecture.
func (l Loaders) Name(a Arch, kind Loader) string {
	name := loaderNames[a][kind]
	if other := l.Names[name]; other != "" {
		return other
	}
	return name
}

// FileKind says what a loader asks for by a name that is no file of a record, script or menu.
func (l Loaders) FileKind(name string) node.BootFile {
	base := path.Base(name)
	for _, byKind := range loaderNames {
		for _, first := range byKind {
			if base == first || base == l.Names[first] {
				return loaderKind(base)
			}
		}
	}
	if signed[base] != "" {
		return loaderKind(base)
	}
	return node.OtherFile
}

func loaderKind(base string) node.BootFile {
	if strings.HasPrefix(base, "grub") && strings.HasSuffix(base, ".efi") {
		return node.GRUBFile
	}
	return node.LoaderFile
}

// Open opens a loader by its name. Names that would leave the directories, also through a
// symbolic link, do not exist (fs.ErrNotExist).
func (l Loaders) Open(name string) (*os.File, error) {
	name = strings.TrimPrefix(name, "/")
	if !fs.ValidPath(name) || name == "." {
		return nil, fmt.Errorf("boot loader %q: %w", name, fs.ErrNotExist)
	}
	names := []string{name}
	if signed[name] != "" {
		names = []string{signed[name], name}
	}
	for _, dir := range l.dirs() {
		for _, file := range names {
			f, err := openIn(dir, file)
			if err == nil && (len(names) == 1 || Signed(f)) {
				return f, nil
			}
			if err == nil {
				f.Close()
			}
			if errors.Is(err, fs.ErrPermission) {
				return nil, fmt.Errorf("opening boot loader %s: %w", path.Join(dir, file), err)
			}
		}
	}
	return nil, fmt.Errorf("boot loader %q is in none of %s: %w", name, strings.Join(l.dirs(), ", "), fs.ErrNotExist)
}

// Has reports whether the loader can be opened.
func (l Loaders) Has(name string) bool {
	f, err := l.Open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// Missing says why a machine of this architecture cannot start a loader of the kind, for people; "": it can.
func (l Loaders) Missing(a Arch, kind Loader) string {
	name := l.Name(a, kind)
	if name == "" {
		return fmt.Sprintf("no %s boot loader is known for this architecture", kind)
	}
	for ; name != ""; name = secondStages[name] {
		if l.Has(name) {
			continue
		}
		if pkg := packages[name]; pkg != "" {
			return fmt.Sprintf("%s is not in the directories of boot loaders; install the package %s", cmp.Or(signed[name], name), pkg)
		}
		return name + " is not in the directories of boot loaders; install the package that has it"
	}
	return ""
}

// Signed reports whether the loader carries a signature; see the function of this name.
func (l Loaders) Signed(name string) bool {
	f, err := l.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	return Signed(f)
}

// Signed reports whether a program for UEFI, a boot loader or a kernel, carries a signature (PE format, data
// directory 4). Whose it is, and whether it is good, the firmware checks.
func Signed(r io.ReaderAt) bool {
	program, err := pe.NewFile(r)
	if err != nil {
		return false
	}
	h, ok := program.OptionalHeader.(*pe.OptionalHeader64)
	return ok && h.NumberOfRvaAndSizes > pe.IMAGE_DIRECTORY_ENTRY_SECURITY && h.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY].Size > 0
}

func (l Loaders) dirs() []string {
	if len(l.Dirs) == 0 {
		return DefaultLoaderDirs
	}
	return l.Dirs
}

func openIn(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	st, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // opening a FIFO would hang
		return nil, fs.ErrNotExist
	}
	return root.Open(name)
}
