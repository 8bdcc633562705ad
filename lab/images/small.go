package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/billet-metal/billet/ramdisk"
)

// What the small images say on the serial line, for people and tests to wait for.
const (
	GrubMarker    = "BILLET-INSTANCE-UP grub"
	NoConfigDrive = "BILLET-NO-CONFIG-DRIVE"
)

const grubConfig = serialConfig + `echo
if search --no-floppy --set=cd --label config-2; then
  echo "BILLET-CONFIG-DRIVE:"
  cat ($cd)/openstack/latest/meta_data.json
  echo
else
  echo "` + NoConfigDrive + `"
fi
echo "` + GrubMarker + `"
while true; do sleep 3600; done
`

const tinyConfig = serialConfig + `linux ($root)/vmlinuz console=ttyS0,115200 panic=30 quiet
initrd ($root)/initramfs
boot
`

func grubInputs(ctx context.Context, _ *build) (string, error) {
	v, err := versions(ctx, "grub-pc-bin", "grub-efi-amd64-bin")
	return grubConfig + earlyConfig + v, err
}

func makeGrub(ctx context.Context, b *build, out string) error {
	return b.makeDisk(ctx, layout{grubConfig: grubConfig, espMiB: 2, diskGUID: "b111e700-0000-4000-8000-000000000010"}, out)
}

// instanceProgram finds the program that runs inside images and returns its checksum.
func (b *build) instanceProgram(ctx context.Context) (string, error) {
	if b.TinyOS == "" {
		path, err := ramdisk.FindProgram(ctx, "billet-tinyos", "lab/tinyos", b.CacheDir)
		if err != nil {
			return "", err
		}
		b.TinyOS = path
	}
	program, err := os.ReadFile(b.TinyOS)
	if err != nil {
		return "", fmt.Errorf("reading the images' program: %w", err)
	}
	b.program = program
	sum := sha256.Sum256(program)
	return hex.EncodeToString(sum[:]), nil
}

func tinyInputs(ctx context.Context, b *build) (string, error) {
	program, err := b.instanceProgram(ctx)
	if err != nil {
		return "", err
	}
	kernel, err := ramdisk.PackageName(ctx, ramdisk.Cloud)
	if err != nil {
		return "", err
	}
	grub, err := grubInputs(ctx, b)
	return tinyConfig + kernel + program + grub, err
}

func makeTiny(ctx context.Context, b *build, out string) error {
	return b.withTinyOS(ctx, layout{grubConfig: tinyConfig, diskGUID: "b111e700-0000-4000-8000-000000000020", espMiB: 4}, out)
}

// withTinyOS makes a disk of a layout with the kernel and its ramdisk added.
func (b *build) withTinyOS(ctx context.Context, l layout, out string) error {
	rd := filepath.Join(b.dir, "ramdisk")
	m, err := ramdisk.Build(ctx, ramdisk.Options{Flavor: ramdisk.Cloud, Init: b.TinyOS, Bare: true, OutDir: rd, CacheDir: b.CacheDir,
		Log: b.Log})
	if err != nil {
		return err
	}
	l.espMiB += int((m.Kernel.Size + m.Initramfs.Size) >> 20)
	l.espFiles = append(l.espFiles, espFile{"vmlinuz", filepath.Join(rd, ramdisk.KernelFile)},
		espFile{"initramfs", filepath.Join(rd, ramdisk.InitramfsFile)})
	return b.makeDisk(ctx, l, out)
}

// Debian's signed boot loaders: shim by Microsoft, GRUB by Debian, whose key shim trusts. GRUB's own idea of
// where its configuration is, /EFI/debian, is part of what was signed.
const (
	signedShim = "/usr/lib/shim/shimx64.efi.signed"
	signedGRUB = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
)

var signedTools = []tool{{signedShim, "shim-signed"}, {signedGRUB, "grub-efi-amd64-signed"}}

// signedConfig lets the kernel say all it has to say: one of its lines tells whether Secure Boot is on.
const signedConfig = serialConfig + `linux ($root)/vmlinuz console=ttyS0,115200 panic=30
initrd ($root)/initramfs
boot
`

func tinySignedInputs(ctx context.Context, b *build) (string, error) {
	tiny, err := tinyInputs(ctx, b)
	if err != nil {
		return "", err
	}
	signed, err := versions(ctx, "shim-signed", "grub-efi-amd64-signed")
	return signedConfig + tiny + signed, err
}

// makeTinySigned makes the tiny image with a second way to start, as a distribution's own image has it: signed
// from end to end, in a folder of the vendor. \EFI\BOOT still has the loader that nobody signed.
func makeTinySigned(ctx context.Context, b *build, out string) error {
	config, err := b.write("signed.cfg", signedConfig)
	if err != nil {
		return err
	}
	return b.withTinyOS(ctx, layout{
		grubConfig: tinyConfig, diskGUID: "b111e700-0000-4000-8000-000000000040", espMiB: 10,
		espFiles: []espFile{{"EFI/debian/shimx64.efi", signedShim}, {"EFI/debian/grubx64.efi", signedGRUB}, {"EFI/debian/grub.cfg", config}},
	}, out)
}
