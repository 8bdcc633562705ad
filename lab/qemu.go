package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/lab/bmc"
)

const (
	qemuProgram = "qemu-system-x86_64"
	uefiCode    = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	uefiVars    = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	secureCode  = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd" // runs with the system management mode that guards its variables
	secureVars  = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"      // Microsoft's keys, as servers leave the factory
	ipxeROMs    = "/usr/lib/ipxe/qemu"
)

// Socket and log names in a machine's directory. QEMU runs in that directory, so that its names
// stay short: a unix socket's path has at most 107 bytes.
const (
	serialSocket  = "serial.sock"
	qmpSocket     = "qmp.sock"
	controlSocket = "control.sock"
	insideSocket  = "ipmi.sock"
	serialLog     = "serial.log"
	qemuLog       = "qemu.log"
	superLog      = "supervisor.log"
)

// mayRun says which package is missing before a machine is made.
func mayRun(o MachineOptions) error {
	if _, err := exec.LookPath(qemuProgram); err != nil {
		return fmt.Errorf("%s is missing; run: apt-get install qemu-system-x86", qemuProgram)
	}
	if _, err := os.Stat(firmwareVars(o.SecureBoot)); o.Firmware == "uefi" && err != nil {
		return errors.New("the UEFI firmware is missing; run: apt-get install ovmf")
	}
	if _, err := os.Stat(ipxeROMs); err != nil {
		return errors.New("the network cards' boot ROMs are missing; run: apt-get install ipxe-qemu")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return errors.New("/dev/net/tun is missing: the kernel has no tap interfaces; try: modprobe tun")
	}
	return nil
}

// firmwareVars is the store of UEFI variables that a new machine starts with.
func firmwareVars(secure bool) string {
	if secure {
		return secureVars
	}
	return uefiVars
}

// accelerator picks KVM only where it is the processor's own. /dev/kvm alone proves nothing: under
// some clouds it exists and cannot run an unmodified kernel. BILLET_LAB_ACCEL (kvm or tcg) overrides.
func accelerator() []string {
	// max has RDRAND: early random numbers. TCG is slow at AVX2: SHA-256, which checks every image, takes half the time without.
	tcg := []string{"-accel", "tcg,thread=multi", "-cpu", "max,-avx2"}
	kvm := []string{"-accel", "kvm", "-cpu", "host"}
	switch os.Getenv("BILLET_LAB_ACCEL") {
	case "kvm":
		return kvm
	case "tcg":
		return tcg
	}
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		if _, err := os.Stat("/sys/module/" + module); err != nil {
			continue
		}
		if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
			f.Close()
			return kvm
		}
	}
	return tcg
}

// arguments of QEMU for m. order lists device ids, the first boot source first.
func arguments(m Machine, order []string) []string {
	machine, code := "q35,graphics=off", uefiCode // firmware text goes to the serial line
	if m.SecureBoot {
		machine, code = "q35,smm=on,graphics=off", secureCode
	}
	args := []string{
		"-name", m.Name, "-uuid", m.UUID, "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", machine,
		"-m", strconv.Itoa(m.MemoryMB), "-smp", strconv.Itoa(m.CPUs),
		"-smbios", "type=1,manufacturer=Billet,product=Lab machine,serial=" + m.Name + ",uuid=" + m.UUID,
		"-qmp", "unix:" + qmpSocket + ",server=on,wait=off",
		"-chardev", "socket,id=serial0,path=" + serialSocket + ",server=on,wait=off,logfile=" + serialLog + ",logappend=on",
		"-serial", "chardev:serial0",
	}
	args = append(args, accelerator()...)
	if m.Inside {
		// Connecting again makes the first time wait until the device is complete: else QEMU 7.2 crashes on it.
		args = append(args, "-chardev", "socket,id=ipmi0,reconnect=1,path="+insideSocket, "-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi0",
			"-device", "isa-ipmi-kcs,bmc=bmc0")
	}
	if m.Firmware == "uefi" {
		args = append(args,
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+code,
			"-drive", "if=pflash,format=raw,unit=1,file=vars.fd")
	}
	if m.SecureBoot { // only the firmware itself may write its variables; it must not lose that when it wakes up
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1")
	}
	if m.NICROM == "http" {
		for _, family := range []string{"IPv4", "IPv6"} { // OVMF's switches (OvmfPkg, NetworkPkg)
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/"+family+"PXESupport,string=n")
		}
	}
	index := func(id string) string { return strconv.Itoa(slices.Index(order, id) + 1) }
	for i, n := range m.NICs {
		id := nicID(i)
		device := nicDevices[n.Model] + ",id=" + id + ",netdev=net" + strconv.Itoa(i) + ",mac=" + n.MAC + ",bootindex=" + index(id)
		if m.NICROM != "ipxe" {
			device += ",romfile="
		}
		args = append(args, "-netdev", fmt.Sprintf("tap,id=net%d,ifname=%s,script=no,downscript=no%s", i, n.Tap, finished(n)), "-device", device)
	}
	if m.CDROM != "" || slices.ContainsFunc(m.Disks, func(d Disk) bool { return d.Model == "scsi" }) {
		args = append(args, "-device", "virtio-scsi-pci,id=scsi0")
	}
	if slices.ContainsFunc(m.Disks, func(d Disk) bool { return d.Paths > 1 }) {
		args = append(args, "-device", "virtio-scsi-pci,id=scsi1")
	}
	for i, d := range m.Disks {
		if d.Pulled {
			continue
		}
		if d.Paths > 1 { // nobody but this machine has the file, so both paths may write it
			args = append(args,
				"-drive", fmt.Sprintf("if=none,id=drive%db,format=raw,cache=unsafe,discard=unmap,file.locking=off,%s", i, driveFile(d)),
				"-device", fmt.Sprintf("scsi-hd,bus=scsi1.0,scsi-id=%d,wwn=%s,share-rw=on,id=%sb,drive=drive%db,serial=%s",
					i, d.WWN, diskID(i), i, d.Serial))
		}
		// The host does not crash with the machine, so the guest's flushes may be ignored.
		args = append(args, "-drive", fmt.Sprintf("if=none,id=drive%d,format=raw,cache=unsafe,discard=unmap,%s%s", i, unlocked(d), driveFile(d)),
			"-device", diskDevice(d, i)+",bootindex="+index(diskID(i)))
	}
	if m.CDROM != "" { // on the one bus that every kernel of the lab has a driver for
		args = append(args, "-drive", "if=none,id=cd0,format=raw,media=cdrom,readonly=on,file="+strings.ReplaceAll(m.CDROM, ",", ",,"),
			"-device", "scsi-cd,bus=scsi0.0,scsi-id=7,drive=cd0")
	}
	return args
}

// finished makes QEMU itself compute checksums and cut segments: a switch outside the kernel gets frames as they are on a wire.
func finished(n NIC) string {
	if n.SwitchPort != "" {
		return ",vnet_hdr=off"
	}
	return ""
}

var nicDevices = map[string]string{"virtio": "virtio-net-pci", "e1000e": "e1000e", "e1000": "e1000"}

func diskDevice(d Disk, i int) string {
	drive := fmt.Sprintf("id=%s,drive=drive%d,serial=%s", diskID(i), i, d.Serial)
	if d.SectorSize > 512 {
		drive += fmt.Sprintf(",logical_block_size=%d,physical_block_size=%d", d.SectorSize, d.SectorSize)
	}
	switch d.Model {
	case "nvme":
		return "nvme," + drive
	case "ahci":
		return fmt.Sprintf("ide-hd,bus=ide.%d,wwn=%s,%s", i, d.WWN, drive)
	case "scsi":
		if d.Paths > 1 {
			drive += ",share-rw=on"
		}
		return fmt.Sprintf("scsi-hd,bus=scsi0.0,scsi-id=%d,wwn=%s,%s", i, d.WWN, drive)
	}
	return "virtio-blk-pci," + drive
}

// unlocked lets two drives open one file.
func unlocked(d Disk) string {
	if d.Paths > 1 {
		return "file.locking=off,"
	}
	return ""
}

func nicID(i int) string  { return "nic" + strconv.Itoa(i) }
func diskID(i int) string { return "disk" + strconv.Itoa(i) }

// bootOrder lists device ids for an override. Without one a machine tries its disks first, as
// servers leave the factory; an empty disk falls through to the network.
func bootOrder(m Machine, d bmc.BootDevice) []string {
	var nics, disks []string
	for i := range m.NICs {
		nics = append(nics, nicID(i))
	}
	for i, d := range m.Disks {
		if !d.Pulled {
			disks = append(disks, diskID(i))
		}
	}
	if d.Device == "pxe" {
		return append(nics, disks...)
	}
	return append(disks, nics...)
}
