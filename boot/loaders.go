package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
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
	BIOS:          {IPXE: "undionly.kpxe", PXE: "pxelinux.0"},
	UEFI:          {IPXE: "snponly.efi", PXE: "grubnetx64.efi"},
	UEFIAlso:      {IPXE: "snponly.efi", PXE: "grubnetx64.efi"},
	UEFIArm64:     {IPXE: "snponly-arm64.efi", PXE: "grubnetaa64.efi"},
	UEFIHTTP:      {IPXE: "snponly.efi", PXE: "snponly.efi"},
	UEFIArm64HTTP: {IPXE: "snponly-arm64.efi", PXE: "snponly-arm64.efi"},
}

// DefaultLoaderDirs are where Debian's packages ipxe, pxelinux, syslinux-common and
// grub-efi-*-bin put the boot loaders.
var DefaultLoaderDirs = []string{
	"/usr/lib/ipxe",
	"/usr/lib/PXELINUX",
	"/usr/lib/syslinux/modules/bios",
	"/usr/lib/grub/x86_64-efi/monolithic",
	"/usr/lib/grub/arm64-efi/monolithic",
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

// Open opens a loader by its name. Names that would leave the directories, also through a
// symbolic link, do not exist (fs.ErrNotExist).
func (l Loaders) Open(name string) (*os.File, error) {
	name = strings.TrimPrefix(name, "/")
	if !fs.ValidPath(name) || name == "." {
		return nil, fmt.Errorf("boot loader %q: %w", name, fs.ErrNotExist)
	}
	for _, dir := range l.dirs() {
		f, err := openIn(dir, name)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("opening boot loader %s: %w", path.Join(dir, name), err)
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
