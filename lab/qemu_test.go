package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/lab/bmc"
)

func TestArguments(t *testing.T) {
	t.Setenv("BILLET_LAB_ACCEL", "tcg")
	const common = ` -nodefaults -no-user-config -display none
-machine q35,graphics=off -m 384 -smp 2 -smbios type=1,manufacturer=Billet,product=Lab machine,serial=m1,uuid=U
-qmp unix:qmp.sock,server=on,wait=off
-chardev socket,id=serial0,path=serial.sock,server=on,wait=off,logfile=serial.log,logappend=on -serial chardev:serial0
-accel tcg,thread=multi -cpu max,-avx2`
	base := Machine{Name: "m1", UUID: "U", Firmware: "bios", MemoryMB: 384, CPUs: 2, NICROM: "ipxe"}
	for _, c := range []struct {
		name   string
		change func(*Machine)
		device bmc.BootDevice
		want   string
	}{
		{"virtio, disk first", func(m *Machine) {
			m.NICs = []NIC{{MAC: "52:54:00:00:00:01", Model: "virtio", Tap: "t0"}}
			m.Disks = []Disk{{Path: "/lab/disk0.raw", Model: "virtio", Serial: "S0"}}
		}, bmc.BootDevice{}, `
-netdev tap,id=net0,ifname=t0,script=no,downscript=no
-device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,bootindex=2
-drive if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file=disk0.raw
-device virtio-blk-pci,id=disk0,drive=drive0,serial=S0,bootindex=1`},
		{"uefi, own network boot first", func(m *Machine) {
			m.Firmware, m.NICROM = "uefi", "none"
			m.NICs = []NIC{{MAC: "52:54:00:00:00:01", Model: "e1000e", Tap: "t0"}, {MAC: "52:54:00:00:00:02", Model: "e1000", Tap: "t1"}}
			m.Disks = []Disk{{Path: "/lab/disk0.raw", Model: "nvme", Serial: "S0"}}
		}, bmc.BootDevice{Device: "pxe"}, `
-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd -drive if=pflash,format=raw,unit=1,file=vars.fd
-netdev tap,id=net0,ifname=t0,script=no,downscript=no
-device e1000e,id=nic0,netdev=net0,mac=52:54:00:00:00:01,bootindex=1,romfile=
-netdev tap,id=net1,ifname=t1,script=no,downscript=no
-device e1000,id=nic1,netdev=net1,mac=52:54:00:00:00:02,bootindex=2,romfile=
-drive if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file=disk0.raw
-device nvme,id=disk0,drive=drive0,serial=S0,bootindex=3`},
		{"uefi without PXE", func(m *Machine) {
			m.Firmware, m.NICROM = "uefi", "http"
			m.NICs = []NIC{{MAC: "52:54:00:00:00:01", Model: "virtio", Tap: "t0"}}
		}, bmc.BootDevice{Device: "pxe"}, `
-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd -drive if=pflash,format=raw,unit=1,file=vars.fd
-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n
-netdev tap,id=net0,ifname=t0,script=no,downscript=no
-device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,bootindex=1,romfile=`},
		{"uefi that starts what is signed", func(m *Machine) {
			m.Firmware, m.NICROM, m.SecureBoot = "uefi", "none", true
			m.NICs = []NIC{{MAC: "52:54:00:00:00:01", Model: "virtio", Tap: "t0"}}
		}, bmc.BootDevice{Device: "pxe"}, `
-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd -drive if=pflash,format=raw,unit=1,file=vars.fd
-global driver=cfi.pflash01,property=secure,value=on -global ICH9-LPC.disable_s3=1
-netdev tap,id=net0,ifname=t0,script=no,downscript=no
-device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,bootindex=1,romfile=`},
		{"a cable to a switch", func(m *Machine) {
			m.NICs = []NIC{{MAC: "52:54:00:00:00:01", Model: "virtio", Tap: "t0", SwitchPort: "s0"}}
		}, bmc.BootDevice{}, `
-netdev tap,id=net0,ifname=t0,script=no,downscript=no,vnet_hdr=off
-device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,bootindex=1`},
		{"scsi over two paths", func(m *Machine) {
			m.Disks = []Disk{{Path: "/lab/disk0.raw", Model: "scsi", Serial: "S0", WWN: "0x5000", Paths: 2}}
		}, bmc.BootDevice{Device: "disk", Persistent: true}, `
-device virtio-scsi-pci,id=scsi0 -device virtio-scsi-pci,id=scsi1
-drive if=none,id=drive0b,format=raw,cache=unsafe,discard=unmap,file.locking=off,file=disk0.raw
-device scsi-hd,bus=scsi1.0,scsi-id=0,wwn=0x5000,share-rw=on,id=disk0b,drive=drive0b,serial=S0
-drive if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file.locking=off,file=disk0.raw
-device scsi-hd,bus=scsi0.0,scsi-id=0,wwn=0x5000,id=disk0,drive=drive0,serial=S0,share-rw=on,bootindex=1`},
		{"scsi and no card", func(m *Machine) {
			m.Disks = []Disk{{Path: "/lab/disk0.raw", Model: "scsi", Serial: "S0", WWN: "0x5000"},
				{Path: "/lab/disk1.raw", Model: "scsi", Serial: "S1", WWN: "0x5001"}}
		}, bmc.BootDevice{Device: "disk", Persistent: true}, `
-device virtio-scsi-pci,id=scsi0
-drive if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file=disk0.raw
-device scsi-hd,bus=scsi0.0,scsi-id=0,wwn=0x5000,id=disk0,drive=drive0,serial=S0,bootindex=1
-drive if=none,id=drive1,format=raw,cache=unsafe,discard=unmap,file=disk1.raw
-device scsi-hd,bus=scsi0.0,scsi-id=1,wwn=0x5001,id=disk1,drive=drive1,serial=S1,bootindex=2`},
		{"its BMC inside", func(m *Machine) { m.Inside = true }, bmc.BootDevice{}, `
-chardev socket,id=ipmi0,reconnect=1,path=ipmi.sock -device ipmi-bmc-extern,id=bmc0,chardev=ipmi0 -device isa-ipmi-kcs,bmc=bmc0`},
		{"ahci", func(m *Machine) {
			m.Disks = []Disk{{Path: "/lab/disk0.raw", Model: "ahci", Serial: "S0", WWN: "0x5000"}}
		}, bmc.BootDevice{}, `
-drive if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file=disk0.raw
-device ide-hd,bus=ide.0,wwn=0x5000,id=disk0,drive=drive0,serial=S0,bootindex=1`},
		{"CD drive", func(m *Machine) {
			m.CDROM = "/a,b.iso"
			m.Disks = []Disk{{Path: "/lab/disk0.raw", Model: "virtio", Serial: "S0"}}
		}, bmc.BootDevice{}, `
-device virtio-scsi-pci,id=scsi0
-drive if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file=disk0.raw
-device virtio-blk-pci,id=disk0,drive=drive0,serial=S0,bootindex=1
-drive if=none,id=cd0,format=raw,media=cdrom,readonly=on,file=/a,,b.iso -device scsi-cd,bus=scsi0.0,scsi-id=7,drive=cd0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := base
			c.change(&m)
			got := strings.Join(arguments(m, bootOrder(m, c.device)), " ")
			shared := common
			if m.SecureBoot {
				shared = strings.Replace(common, "q35,", "q35,smm=on,", 1)
			}
			want := strings.ReplaceAll("-name m1 -uuid U"+shared+c.want, "\n", " ")
			if diff := cmp.Diff(strings.Split(want, " -"), strings.Split(got, " -")); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAcceleratorSwitch(t *testing.T) {
	t.Setenv("BILLET_LAB_ACCEL", "kvm")
	if diff := cmp.Diff([]string{"-accel", "kvm", "-cpu", "host"}, accelerator()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
