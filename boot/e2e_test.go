package boot_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
)

// firmware is how a virtual machine starts.
type firmware int

const (
	biosROM  firmware = iota // SeaBIOS and QEMU's iPXE ROM
	uefiPXE                  // OVMF's own PXE client
	uefiHTTP                 // OVMF's own HTTP boot
)

const (
	machineMAC  = "52:54:00:b1:11:e7"
	machineUUID = "9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de"
	testSecret  = "0123456789abcdef0123456789abcdef"
)

// TestFirmware boots real firmware against the real services up to the kernel and ramdisk.
func TestFirmware(t *testing.T) {
	tests := []struct {
		name    string
		fw      firmware
		mode    dhcp.Mode
		machine boot.Machine
		foreign bool     // dnsmasq gives the addresses
		more    []string // told to dnsmasq
		trace   []string // in this order
		console []string // in this order
		never   []string // in the trace
	}{
		{
			name: "bios-ipxe", fw: biosROM, mode: dhcp.Full, machine: known(boot.IPXE),
			trace: []string{
				"DISCOVER from iPXE on BIOS (arch 0): offered 10.99.0.100, boot file http://10.99.0.1:8080/boot/ipxe?mac=",
				"REQUEST from iPXE on BIOS (arch 0): lent 10.99.0.100",
				machineMAC + " http: script: load kernel and ramdisk",
				machineMAC + " http: kernel: complete, 9216 bytes",
				machineMAC + " http: ramdisk: complete, 70000 bytes",
			},
			console: []string{"initrd=ramdisk", "BOOTIF=01-52-54-00-b1-11-e7", "nofb vga=normal ipa-api-url=http://10.99.0.1:6385"},
		},
		{
			name: "bios-pxelinux", fw: biosROM, mode: dhcp.Full, machine: known(boot.PXE),
			trace: []string{
				"boot file pxelinux.0", "tftp: pxelinux.0: complete", "tftp: ldlinux.c32: complete",
				machineMAC + " tftp: pxelinux.cfg/01-52-54-00-b1-11-e7: complete",
				"tftp: boot/…/kernel: complete, 9216 bytes", "tftp: boot/…/ramdisk: complete, 70000 bytes",
			},
			console: []string{"nofb vga=normal ipa-api-url=http://10.99.0.1:6385", "BOOTIF=01-52-54-00-b1-11-e"},
		},
		{
			name: "bios-no-record-own-disk", fw: biosROM, mode: dhcp.Full, machine: boot.Machine{NodeUUID: machineUUID},
			trace:   []string{"lent 10.99.0.100, boot file http://", "http: script: boot its own disk"},
			console: []string{"starting the local disk", "STARTED FROM THE DIS"},
			never:   []string{"kernel"},
		},
		{
			name: "bios-unknown-mac", fw: biosROM, mode: dhcp.Full,
			trace: []string{
				"DISCOVER from iPXE on BIOS (arch 0): ignored: the MAC belongs to no node and discovery is off",
				"DISCOVER from iPXE on BIOS (arch 0): ignored: the MAC belongs to no node and discovery is off",
			},
			never: []string{"offered", "lent", "http:", "tftp:"},
		},
		{
			name: "uefi-pxe-ipxe", fw: uefiPXE, mode: dhcp.Full, machine: known(boot.IPXE),
			trace: []string{
				"DISCOVER from x86-64 UEFI (arch 7): offered 10.99.0.100, boot file snponly.efi",
				"tftp: snponly.efi: complete", "from iPXE on x86-64 UEFI (arch 7): lent 10.99.0.100, boot file http://",
				"http: script: load kernel and ramdisk", "http: kernel: complete", "http: ramdisk: complete, 70000 bytes",
			},
		},
		{
			name: "uefi-pxe-grub", fw: uefiPXE, mode: dhcp.Full, machine: known(boot.PXE),
			trace: []string{
				"boot file grubnetx64.efi", "tftp: grubnetx64.efi: complete", "grub.cfg: complete",
				"tftp: /grub/machine/" + machineMAC + ": complete",
				"kernel: complete, 9216 bytes", "ramdisk: complete, 70000 bytes",
			},
		},
		{
			name: "uefi-pxe-shim", fw: uefiPXE, mode: dhcp.Full, machine: known(boot.Shim),
			trace: []string{
				"boot file shimx64.efi.signed", "tftp: shimx64.efi.signed: complete", "tftp: grubx64.efi: complete", "grub.cfg: complete",
				"tftp: /grub/machine/" + machineMAC + ": complete",
			},
		},
		{
			name: "uefi-http", fw: uefiHTTP, mode: dhcp.Full, machine: known(boot.IPXE),
			trace: []string{
				"from x86-64 UEFI HTTP (arch 16): lent 10.99.0.100, boot file http://10.99.0.1:8080/boot/loader/snponly.efi",
				"http: loader snponly.efi: complete", "http: script: load kernel and ramdisk",
				"http: kernel: complete", "http: ramdisk: complete, 70000 bytes",
			},
		},
		{
			name: "proxy-bios-ipxe", fw: biosROM, mode: dhcp.Proxy, machine: known(boot.IPXE), foreign: true,
			trace: []string{
				"DISCOVER from iPXE on BIOS (arch 0): the other DHCP server gives the address, boot file http://",
				"http: script: load kernel and ramdisk", "http: kernel: complete", "http: ramdisk: complete, 70000 bytes",
			},
			console: []string{"BOOTIF=01-52-54-00-b1-11-e7"},
			never:   []string{"lent", "offered"},
		},
		{
			name: "proxy-bios-pxelinux", fw: biosROM, mode: dhcp.Proxy, machine: known(boot.PXE), foreign: true,
			trace: []string{
				"the other DHCP server gives the address, boot file pxelinux.0", "tftp: pxelinux.0: complete",
				"kernel: complete, 9216 bytes", "ramdisk: complete, 70000 bytes",
			},
			never: []string{"lent", "offered"},
		},
		{
			name: "proxy-uefi", fw: uefiPXE, mode: dhcp.Proxy, machine: known(boot.IPXE), foreign: true,
			trace: []string{
				"DISCOVER from x86-64 UEFI (arch 7): the other DHCP server gives the address, boot file snponly.efi",
				"tftp: snponly.efi: complete", "http: script: load kernel and ramdisk",
				"http: kernel: complete", "http: ramdisk: complete, 70000 bytes",
			},
			never: []string{"lent", "offered"},
		},
		{
			// GRUB does not hear a ProxyDHCP: the other server must name ours as the next one.
			name: "proxy-uefi-shim", fw: uefiPXE, mode: dhcp.Proxy, machine: known(boot.Shim), foreign: true,
			more: []string{"--dhcp-boot=,," + serverIP},
			trace: []string{
				"the other DHCP server gives the address, boot file shimx64.efi.signed", "tftp: shimx64.efi.signed: complete",
				"tftp: grubx64.efi: complete", "grub.cfg: complete", "tftp: /grub/machine/" + machineMAC + ": complete",
			},
			never: []string{"lent", "offered"},
		},
		{
			name: "proxy-uefi-http", fw: uefiHTTP, mode: dhcp.Proxy, machine: known(boot.IPXE), foreign: true,
			trace: []string{
				"DISCOVER from x86-64 UEFI HTTP (arch 16): the other DHCP server gives the address, boot file " +
					"http://10.99.0.1:8080/boot/loader/snponly.efi",
				"http: loader snponly.efi: complete", "http: script: load kernel and ramdisk", "http: ramdisk: complete, 70000 bytes",
			},
			never: []string{"lent", "offered"},
		},
		{
			name: "proxy-unknown-mac", fw: biosROM, mode: dhcp.Proxy, foreign: true,
			trace: []string{"DISCOVER from iPXE on BIOS (arch 0): ignored: the MAC belongs to no node and discovery is off"},
			never: []string{"gives the address", "http:", "tftp:"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t)
			s := services{Mode: tt.mode, Machines: map[string]boot.Machine{}}
			if tt.machine.Known() {
				s.Machines[machineMAC] = withFiles(t, tt.machine, n.dir, tt.fw)
			}
			if tt.foreign {
				n.foreignDHCP(tt.more...)
			}
			srv := n.serve(s)
			vm := n.boot(tt.fw)
			traced := srv.until(func(string) bool { return inOrder(srv.story(), tt.trace) }, 2*time.Minute)
			shown := vm.until(func(text string) bool { return inOrder(console(text), tt.console) }, 20*time.Second)
			vm.stop()
			srv.stop()
			for _, part := range tt.never {
				if strings.Contains(srv.story(), part) {
					t.Errorf("the trace must not hold %q", part)
				}
			}
			if strings.Contains(srv.text(), testSecret) {
				t.Error("the secret of the boot is in the trace or the log")
			}
			if !traced || !shown || t.Failed() {
				t.Errorf("want in the trace, in order:\n%s\nand on the console:\n%s\ngot the trace:\n%s\nlog:\n%s\nconsole:\n%s",
					strings.Join(tt.trace, "\n"), strings.Join(tt.console, "\n"), srv.story(), srv.text(), console(vm.text()))
			}
		})
	}
}

func known(kind boot.Loader) boot.Machine {
	return boot.Machine{NodeUUID: machineUUID, Record: &boot.Record{
		NodeUUID: machineUUID, Loader: kind, Secret: testSecret,
		CommandLine: "nofb vga=normal ipa-api-url=http://10.99.0.1:6385 quiet",
	}}
}

// withFiles gives the record its kernel and ramdisk. iPXE on UEFI starts EFI programs alone, so
// there a boot loader plays the kernel.
func withFiles(t *testing.T, m boot.Machine, dir string, fw firmware) boot.Machine {
	t.Helper()
	if m.Record == nil {
		return m
	}
	r := *m.Record
	r.Kernel, r.Ramdisk = filepath.Join(dir, "kernel"), filepath.Join(dir, "ramdisk")
	if fw != biosROM && r.Loader == boot.IPXE {
		r.Kernel = "/usr/lib/ipxe/snponly.efi"
	} else {
		write(t, r.Kernel, printingKernel())
	}
	write(t, r.Ramdisk, bytes.Repeat([]byte("ramdisk"), 10000))
	m.Record = &r
	return m
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// boot starts a machine with a disk whose boot sector only prints.
func (n *network) boot(fw firmware) *running {
	n.t.Helper()
	disk := filepath.Join(n.dir, "disk")
	write(n.t, disk, printingDisk())
	words := []string{
		"qemu-system-x86_64", "-machine", "q35,graphics=off", "-cpu", "max", "-accel", "tcg,thread=multi", "-m", "256",
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no",
		"-drive", "if=none,id=d0,format=raw,file=" + disk, "-device", "virtio-blk-pci,drive=d0,bootindex=2",
	}
	nic := "virtio-net-pci,netdev=n0,mac=" + machineMAC + ",bootindex=1"
	if fw != biosROM {
		vars := filepath.Join(n.dir, "vars")
		b, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
		if err != nil {
			n.t.Fatal(err)
		}
		write(n.t, vars, b)
		nic += ",romfile="
		words = append(words,
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,unit=1,file="+vars)
	}
	if fw == uefiHTTP {
		words = append(words, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
			"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
	}
	return n.start(n.ns, nil, append(words, "-device", nic)...)
}

// printString is 16-bit code that prints the zero-terminated string at DS:SI by the BIOS and halts.
// SeaBIOS keeps the last character back from the serial port.
var printString = []byte{
	0xac,       // lodsb
	0x84, 0xc0, // test al, al
	0x74, 0x09, // jz halt
	0xb4, 0x0e, // mov ah, 0x0e: teletype
	0xbb, 0x07, 0x00, // mov bx, 7
	0xcd, 0x10, // int 0x10
	0xeb, 0xf2, // jmp to lodsb
	0xf4,       // halt: hlt
	0xeb, 0xfd, // jmp halt
}

// printingDisk is a boot sector that prints.
func printingDisk() []byte {
	disk := make([]byte, 1<<20)
	code := append([]byte{
		0xfc,       // cld
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x00, 0x7d, // mov si, 0x7d00
	}, printString...)
	copy(disk, code)
	copy(disk[0x100:], "STARTED FROM THE DISK\x00")
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}

// printingKernel is a bzImage by the Linux boot protocol, version 2.12, whose real-mode part prints
// its command line. It has just the fields that iPXE, PXELINUX and GRUB check.
func printingKernel() []byte {
	k := make([]byte, 9216) // boot sector, one setup sector, 16 sectors of nothing
	le := binary.LittleEndian
	k[0x1f1] = 1                      // setup_sects
	le.PutUint32(k[0x1f4:], 8192/16)  // syssize, in paragraphs
	le.PutUint16(k[0x1fe:], 0xaa55)   // boot_flag
	k[0x200], k[0x201] = 0xeb, 0x6e   // jmp 0x270
	copy(k[0x202:], "HdrS")           // header
	le.PutUint16(k[0x206:], 0x020c)   // version
	k[0x211] = 1                      // loadflags: LOADED_HIGH
	le.PutUint32(k[0x214:], 0x100000) // code32_start
	le.PutUint16(k[0x224:], 0xfe00)   // heap_end_ptr
	le.PutUint32(k[0x22c:], 0x7fffffff)
	le.PutUint32(k[0x230:], 0x200000) // kernel_alignment
	k[0x234] = 1                      // relocatable_kernel
	le.PutUint16(k[0x236:], 0x0b)     // xloadflags: 64-bit, above 4 GiB, EFI handover 64
	le.PutUint32(k[0x238:], 2047)     // cmdline_size
	le.PutUint64(k[0x258:], 0x1000000)
	le.PutUint32(k[0x260:], 0x100000) // init_size
	le.PutUint32(k[0x264:], 0x100)    // handover_offset
	copy(k[0x270:], append([]byte{
		0xfc,                   // cld
		0x66, 0xa1, 0x28, 0x02, // mov eax, [cmd_line_ptr]
		0x66, 0x89, 0xc3, // mov ebx, eax
		0x66, 0xc1, 0xe8, 0x04, // shr eax, 4
		0x8e, 0xd8, // mov ds, ax
		0x83, 0xe3, 0x0f, // and bx, 15
		0x89, 0xde, // mov si, bx
	}, printString...))
	return k
}
