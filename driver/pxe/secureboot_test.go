package pxe

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// efiProgram is the header of a program for UEFI, as much of it as says whether it is signed.
func efiProgram(signed bool) []byte {
	b := make([]byte, 512)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[0x3c:], 64)
	copy(b[64:], "PE\x00\x00\x64\x86")
	binary.LittleEndian.PutUint16(b[84:], 240)
	binary.LittleEndian.PutUint16(b[88:], 0x20b)
	binary.LittleEndian.PutUint32(b[88+108:], 16)
	if signed {
		binary.LittleEndian.PutUint32(b[88+112+4*8+4:], 1500)
	}
	return b
}

// secureWorld is setUp with a signed deploy kernel and with boot loaders of which shim and its GRUB are signed.
func secureWorld(t *testing.T, kind boot.Loader) (*Boot, *world, *driver.Task, string) {
	t.Helper()
	b, w, task := setUp(t, kind)
	dir := t.TempDir()
	b.Loaders.Dirs = []string{dir}
	for name, signed := range map[string]bool{"snponly.efi": false, "grubnetx64.efi": false, "shimx64.efi.signed": true,
		"grubnetx64.efi.signed": true} {
		if err := os.WriteFile(filepath.Join(dir, name), efiProgram(signed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(task.Node.DriverInfo.String("deploy_kernel"), efiProgram(true), 0o644); err != nil {
		t.Fatal(err)
	}
	task.Node.State = node.Available
	return b, w, task, dir
}

// What a node whose Secure Boot matters may boot, by what is known of it: the loader of the ramdisk, or the reason why not.
func TestSecureBoot(t *testing.T) {
	yes, no := true, false
	const wants = "boot_mode:uefi,secure_boot:true"
	const asks = "Node " + uuid + " cannot boot its ramdisk: its instance asks for Secure Boot, which the management interface test " +
		"cannot switch, so that it must be on all the time, and "
	const isOn = "Node " + uuid + " cannot boot its ramdisk: its machine starts only what is signed (Secure Boot is on), and "
	const isOff = "The instance of node " + uuid +
		" asks for Secure Boot, but in its machine it is off, as the machine itself has said, and the management interface test cannot " +
		"switch it: switch it on in the machine's firmware and inspect the node, or set the instance's capability secure_boot to false."
	for _, tt := range []struct {
		name               string
		kind               boot.Loader
		properties, wanted string
		known              *bool
		can                bool // the hardware can be told
		state              node.State
		change             func(t *testing.T, b *Boot, n *node.Node, dir string)
		loader             boot.Loader
		err                string
	}{
		{name: "nobody speaks of it", kind: boot.PXE, loader: boot.Shim},
		{name: "nobody speaks of it, and the loaders are not there", kind: boot.PXE, loader: boot.PXE,
			change: func(t *testing.T, _ *Boot, _ *node.Node, dir string) { remove(t, dir, "grubnetx64.efi.signed") }},
		{name: "a new machine that is inspected", kind: boot.PXE, state: node.Manageable, loader: boot.Shim},
		{name: "nobody speaks of it, on BIOS", kind: boot.PXE, properties: "boot_mode:bios", loader: boot.PXE},
		{name: "the hardware does not have it", kind: boot.PXE, properties: "secure_boot:false", loader: boot.PXE},
		{name: "iPXE, and nobody speaks of it", kind: boot.IPXE, loader: boot.IPXE},
		{name: "off, and nobody asks for it", kind: boot.PXE, known: &no, loader: boot.PXE},
		{name: "asked for, unknown", kind: boot.PXE, wanted: wants, loader: boot.Shim},
		{name: "asked for, on", kind: boot.PXE, wanted: wants, known: &yes, loader: boot.Shim},
		{name: "asked for, off", kind: boot.PXE, wanted: wants, known: &no, err: isOff},
		{name: "asked for, off, rebuilt", kind: boot.PXE, wanted: wants, known: &no, state: node.Active, err: isOff},
		{name: "asked for, off, but only inspected", kind: boot.PXE, wanted: wants, known: &no, state: node.Manageable, loader: boot.Shim},
		{name: "on, and nobody asks for it", kind: boot.PXE, known: &yes, loader: boot.Shim},
		{name: "on, while the node is cleaned", kind: boot.PXE, known: &yes, state: node.Manageable, loader: boot.Shim},
		{name: "the hardware has it, unknown", kind: boot.PXE, properties: "secure_boot:true", loader: boot.Shim},
		{name: "the hardware has it, but the loaders are not there", kind: boot.PXE, properties: "secure_boot:true", loader: boot.PXE,
			change: func(t *testing.T, _ *Boot, _ *node.Node, dir string) { remove(t, dir, "shimx64.efi.signed") }},
		{name: "not wanted here", kind: boot.PXE, properties: "secure_boot:true", wanted: "secure_boot:false", loader: boot.PXE},
		{name: "the hardware is told", kind: boot.PXE, wanted: wants, can: true, loader: boot.PXE},
		{name: "the hardware is told, and it is off", kind: boot.PXE, wanted: wants, known: &no, can: true, loader: boot.PXE},
		{name: "the hardware is told, and it is on", kind: boot.IPXE, wanted: wants, known: &yes, can: true, loader: boot.IPXE},
		{name: "on by somebody's hand", kind: boot.IPXE, known: &yes, can: true,
			err: isOn + "the boot interface ipxe starts snponly.efi, which nobody signed: set boot_interface to pxe, or switch Secure Boot off " +
				"in the machine's firmware."},
		{name: "iPXE, asked for", kind: boot.IPXE, wanted: wants,
			err: asks + "the boot interface ipxe starts snponly.efi, which nobody signed: set boot_interface to pxe, or switch Secure Boot off " +
				"in the machine's firmware."},
		{name: "iPXE, on", kind: boot.IPXE, known: &yes, state: node.Manageable,
			err: isOn + "the boot interface ipxe starts snponly.efi, which nobody signed: set boot_interface to pxe, or switch Secure Boot off " +
				"in the machine's firmware."},
		{name: "iPXE, only what the hardware has", kind: boot.IPXE, properties: "secure_boot:true", loader: boot.IPXE},
		{name: "iPXE that somebody signed", kind: boot.IPXE, known: &yes, loader: boot.IPXE,
			change: func(t *testing.T, _ *Boot, _ *node.Node, dir string) { put(t, dir, "snponly.efi", efiProgram(true)) }},
		{name: "HTTP", kind: boot.IPXE, known: &yes, change: func(_ *testing.T, b *Boot, _ *node.Node, _ string) { b.Firmware = UEFIHTTP },
			err: isOn + "the boot interface http-ipxe starts snponly.efi, which nobody signed: set boot_interface to pxe, or switch Secure " +
				"Boot off in the machine's firmware."},
		{name: "no shim", kind: boot.PXE, known: &yes,
			err:    isOn + "shimx64.efi.signed is not in the directories of boot loaders; install the package shim-signed.",
			change: func(t *testing.T, _ *Boot, _ *node.Node, dir string) { remove(t, dir, "shimx64.efi.signed") }},
		{name: "no signed GRUB", kind: boot.PXE, wanted: wants,
			err:    asks + "grubnetx64.efi.signed is not in the directories of boot loaders; install the package grub-efi-amd64-signed.",
			change: func(t *testing.T, _ *Boot, _ *node.Node, dir string) { remove(t, dir, "grubnetx64.efi.signed") }},
		{name: "arm64 without shim", kind: boot.PXE, known: &yes,
			err:    isOn + "shimaa64.efi.signed is not in the directories of boot loaders; install the package shim-signed.",
			change: func(_ *testing.T, _ *Boot, n *node.Node, _ string) { n.Properties["cpu_arch"] = "aarch64" }},
		{name: "a kernel that nobody signed", kind: boot.PXE, known: &yes,
			err: isOn + "driver_info/deploy_kernel (KERNEL) is not signed: take a distribution's own kernel, as billet ramdisk build does.",
			change: func(t *testing.T, _ *Boot, n *node.Node, _ string) {
				put(t, "/", n.DriverInfo.String("deploy_kernel"), efiProgram(false))
			}},
		{name: "a kernel on another server", kind: boot.PXE, known: &yes, state: node.Manageable, loader: "-",
			change: func(_ *testing.T, _ *Boot, n *node.Node, _ string) {
				n.DriverInfo["deploy_kernel"] = "http://ramdisks/vmlinuz"
			}},
		{name: "BIOS", kind: boot.PXE, properties: "boot_mode:bios", wanted: "secure_boot:true",
			err: "The instance of node " + uuid + " asks for Secure Boot, which BIOS does not have: set the capability boot_mode to uefi, or " +
				"secure_boot to false."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, w, task, dir := secureWorld(t, tt.kind)
			if tt.can {
				task.Hardware.Management = firmware{w}
			}
			n := task.Node
			n.SecureBoot = tt.known
			n.Properties = node.Document{"capabilities": tt.properties}
			if tt.wanted != "" {
				n.InstanceInfo["capabilities"] = tt.wanted
			}
			if tt.state != "" {
				n.State = tt.state
			}
			if tt.change != nil {
				tt.change(t, b, n, dir)
			}
			err := b.Validate(t.Context(), task)
			if tt.err != "" {
				want := strings.ReplaceAll(tt.err, "KERNEL", n.DriverInfo.String("deploy_kernel"))
				if err == nil || err.Error() != want || node.KindOf(err) != node.Invalid {
					t.Errorf("\n got %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.loader == "-" {
				return
			}
			if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
				t.Fatal(err)
			}
			if got := w.records[uuid].Loader; got != tt.loader {
				t.Errorf("the ramdisk is loaded by %q, want %q", got, tt.loader)
			}
		})
	}
}

func put(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// An instance that starts over the network with Secure Boot gets the signed loaders, also where the ramdisk had the plain ones.
func TestSecureInstanceOverTheNetwork(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wanted string
		can    bool
		loader boot.Loader
	}{
		{"not asked for", "secure_boot:false", true, boot.PXE},
		{"switched on for the instance", "secure_boot:true", true, boot.Shim},
		{"on all the time", "secure_boot:true", false, boot.Shim},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, w, task, dir := secureWorld(t, boot.PXE)
			if tt.can {
				task.Hardware.Management = firmware{w}
			}
			task.Node.InstanceInfo["capabilities"] = tt.wanted
			put(t, dir, "vmlinuz", efiProgram(true))
			kernel := filepath.Join(dir, "vmlinuz")
			driver.Root{UUID: "1234", Kernel: kernel, Ramdisk: kernel}.Leave(task.Node)
			if err := b.PrepareInstance(t.Context(), task); err != nil {
				t.Fatal(err)
			}
			if got := w.records[uuid].Loader; got != tt.loader {
				t.Errorf("the instance is loaded by %q, want %q", got, tt.loader)
			}
		})
	}
}
