package inventory

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/wire"
)

// machine is a recorded /sys and /proc: path → content, or "-> target" for a link.
func machine(t testing.TB, files map[string]string) Machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, isLink := strings.CutPrefix(text, "-> "); isLink {
			err = os.Symlink(filepath.Join(root, to), path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Machine{Root: root}
}

// block adds one disk to a machine: its device lies at the given path of /sys/devices.
func block(files map[string]string, name, device string, more map[string]string) {
	at := "sys/devices/" + device + "/block/" + name
	files["sys/block/"+name] = "-> " + at
	files[at+"/device"] = "-> sys/devices/" + device
	files[at+"/size"], files[at+"/dev"] = "20971520\n", "8:0\n"
	files[at+"/ro"], files[at+"/removable"] = "0\n", "0\n"
	files[at+"/queue/rotational"] = "0\n"
	files[at+"/queue/logical_block_size"], files[at+"/queue/physical_block_size"] = "512\n", "4096\n"
	for key, value := range more {
		if rest, ok := strings.CutPrefix(key, "device/"); ok {
			files["sys/devices/"+device+"/"+rest] = value
		} else {
			files[at+"/"+key] = value
		}
	}
}

// ataInformation is page 0x89 with a model of 40 characters in swapped pairs.
func ataInformation(model string) string {
	page := make([]byte, 572)
	text := []byte(model + strings.Repeat(" ", 40-len(model)))
	for i := 0; i < 40; i += 2 {
		page[60+54+i], page[60+54+i+1] = text[i+1], text[i]
	}
	return string(page)
}

func TestDisks(t *testing.T) {
	files := map[string]string{}
	const ahci = "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0"
	block(files, "sda", ahci, map[string]string{
		"device/model": "INTEL SSDSC2KB48", "device/vendor": "ATA     ", "device/vpd_pg80": "\x00\x80\x00\x14  PHYF1234567890    ",
		"device/vpd_pg89": ataInformation("INTEL SSDSC2KB480G8"), "device/wwid": "naa.55cd2e414f123456\n",
	})
	files["sys/devices/pci0000:00/0000:00:1f.2/ata3/ata_port/ata3/port_no"] = "1\n"
	block(files, "sdb", "pci0000:00/0000:00:05.0/virtio3/host3/target3:0:1/3:0:1:2", map[string]string{
		"device/model": "QEMU HARDDISK", "device/vendor": "QEMU", "queue/rotational": "1\n",
		"device/wwid": "naa.600508b1001c9c3a5e4a1f2b3c4d5e6f\n",
	})
	block(files, "sdc", "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host4/target4:0:0/4:0:0:0", map[string]string{"removable": "1\n"})
	block(files, "sdd", "pci0000:00/0000:02:00.0/host5/port-5:0/end_device-5:0/target5:0:0/5:0:0:0", map[string]string{"ro": "1\n"})
	block(files, "vda", "pci0000:00/0000:00:03.0/virtio1",
		map[string]string{"serial": "disk-1", "device/vendor": "0x1af4\n", "dev": "254:0\n", "queue/physical_block_size": "512\n"})
	block(files, "nvme0n1", "pci0000:00/0000:00:1d.0/0000:01:00.0/nvme/nvme0", map[string]string{
		"device/model": "SAMSUNG MZQL2960HCJR-00A07               \n", "device/serial": "S64FNE0R123456      \n",
		"wwid": "eui.36344630523123450025384500000001\n",
	})
	block(files, "mmcblk0", "platform/mmc/mmc0:0001", nil)
	block(files, "mmcblk0boot0", "platform/mmc/mmc0:0002", nil)
	block(files, "sr0", "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0", nil)
	// a reader without a card
	block(files, "sde", "pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host6/target6:0:0/6:0:0:0", map[string]string{"size": "0\n"})
	block(files, "nvme1c1n1", "pci0000:00/0000:00:1d.0/0000:03:00.0/nvme/nvme1", map[string]string{"hidden": "1\n"})
	for _, virtual := range []string{"loop0", "ram0", "zram0", "dm-0", "md0", "nbd0", "fd0"} {
		files["sys/block/"+virtual+"/size"] = "100\n"
	}
	const size = 10 << 30
	want := []wire.Disk{
		{Name: "/dev/mmcblk0", Size: size, LogicalSectors: 512, PhysicalSectors: 4096, Tran: "mmc", DevNumber: "8:0"},
		{Name: "/dev/nvme0n1", Model: "SAMSUNG MZQL2960HCJR-00A07", Size: size, Serial: "S64FNE0R123456",
			WWN: "eui.36344630523123450025384500000001", WWNWithExtension: "eui.36344630523123450025384500000001",
			ByPath: "/dev/disk/by-path/pci-0000:01:00.0-nvme-1", LogicalSectors: 512, PhysicalSectors: 4096, Tran: "nvme", DevNumber: "8:0"},
		{Name: "/dev/sda", Model: "INTEL SSDSC2KB480G8", Size: size, WWN: "0x55cd2e414f123456", WWNWithExtension: "0x55cd2e414f123456",
			Serial: "PHYF1234567890", Vendor: "ATA", HCTL: "2:0:0:0",
			ByPath: "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", LogicalSectors: 512, PhysicalSectors: 4096, Tran: "sata", DevNumber: "8:0"},
		{Name: "/dev/sdb", Model: "QEMU HARDDISK", Size: size, Rotational: true, WWN: "0x600508b1001c9c3a",
			WWNVendorExtension: "0x5e4a1f2b3c4d5e6f", WWNWithExtension: "0x600508b1001c9c3a5e4a1f2b3c4d5e6f",
			Vendor: "QEMU", HCTL: "3:0:1:2", ByPath: "/dev/disk/by-path/pci-0000:00:05.0-scsi-0:0:1:2", LogicalSectors: 512, PhysicalSectors: 4096,
			Tran: "virtio", DevNumber: "8:0"},
		{Name: "/dev/sdc", Size: size, HCTL: "4:0:0:0", ByPath: "/dev/disk/by-path/pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0",
			LogicalSectors: 512, PhysicalSectors: 4096, Tran: "usb", Removable: true, DevNumber: "8:0"},
		{Name: "/dev/sdd", Size: size, HCTL: "5:0:0:0", LogicalSectors: 512, PhysicalSectors: 4096, Tran: "sas", ReadOnly: true,
			DevNumber: "8:0"},
		{Name: "/dev/vda", Size: size, Serial: "disk-1", Vendor: "0x1af4", ByPath: "/dev/disk/by-path/pci-0000:00:03.0", LogicalSectors: 512,
			PhysicalSectors: 512, Tran: "virtio", DevNumber: "254:0"},
	}
	if diff := cmp.Diff(want, machine(t, files).Disks()); diff != "" {
		t.Error(diff)
	}
}

func TestNICs(t *testing.T) {
	const virtio, igb = "sys/devices/pci0000:00/0000:00:03.0/virtio2", "sys/devices/pci0000:00/0000:00:1c.0/0000:03:00.1"
	m := machine(t, map[string]string{
		"sys/class/net/eth0": "-> " + virtio + "/net/eth0", virtio + "/net/eth0/device": "-> " + virtio,
		virtio + "/net/eth0/address": "52:54:00:00:00:01\n", virtio + "/net/eth0/carrier": "1\n", virtio + "/net/eth0/speed": "-1\n",
		virtio + "/driver": "-> sys/bus/virtio/drivers/virtio_net", "sys/bus/virtio/drivers/virtio_net/x": "", virtio + "/vendor": "0x1af4\n",
		virtio + "/device":   "0x0001\n",
		"sys/class/net/eth1": "-> " + igb + "/net/eth1", igb + "/net/eth1/device": "-> " + igb,
		igb + "/net/eth1/address": "A0:36:9F:00:00:02\n", igb + "/net/eth1/carrier": "0\n", igb + "/net/eth1/speed": "10000\n",
		igb + "/vendor": "0x8086\n", igb + "/device": "0x1521\n",
		"sys/class/net/lo/address": "00:00:00:00:00:00\n", "sys/class/net/br0/address": "52:54:00:00:00:09\n",
	})
	m.Addresses = func(name string) []net.IP {
		return map[string][]net.IP{"eth0": {net.ParseIP("fe80::1"), net.IPv4(192, 0, 2, 5), net.ParseIP("2001:db8::5"),
			net.IPv4(192, 0, 2, 6)}}[name]
	}
	want := []wire.NIC{
		{Name: "eth0", MACAddress: "52:54:00:00:00:01", IPv4Address: "192.0.2.5", IPv6Address: "2001:db8::5", HasCarrier: true, Vendor: "0x1af4",
			Product: "0x0001", PCIAddress: "0000:00:03.0", Driver: "virtio_net"},
		{Name: "eth1", MACAddress: "a0:36:9f:00:00:02", SpeedMbps: 10000, Vendor: "0x8086", Product: "0x1521", PCIAddress: "0000:03:00.1"},
	}
	if diff := cmp.Diff(want, m.NICs()); diff != "" {
		t.Error(diff)
	}
}

// module is a memory device structure with its strings.
func module(size uint16, extended uint32) []byte {
	b := make([]byte, 0x22)
	b[0], b[1] = 17, 0x22
	binary.LittleEndian.PutUint16(b[0x0c:], size)
	binary.LittleEndian.PutUint32(b[0x1c:], extended)
	return append(b, "DIMM 0\x00Bank 0\x00\x00"...)
}

func TestRead(t *testing.T) {
	var dmi []byte
	dmi = append(dmi, 0, 4, 0, 0, 0, 0) // another structure, without strings
	for _, m := range [][]byte{module(16384, 0), module(0x7fff, 65536), module(0, 0), module(0xffff, 0), module(0x8000|2048, 0)} {
		dmi = append(dmi, m...)
	}
	dmi = append(dmi, 127, 4, 0, 0, 0, 0)
	dmi = append(dmi, module(8192, 0)...) // behind the end
	m := machine(t, map[string]string{
		"proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2400.123\nphysical id\t: 0\nflags\t\t: sse fpu vme\n\n" +
			"processor\t: 1\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2400.123\nphysical id\t: 1\nflags\t\t: sse fpu vme\n",
		"proc/meminfo":                    "MemTotal:         245760 kB\nMemFree: 1 kB\n",
		"sys/firmware/dmi/tables/DMI":     string(dmi),
		"sys/firmware/efi/fw_vendor":      "x",
		"sys/class/dmi/id/product_name":   "Standard PC (Q35 + ICH9, 2009)\n",
		"sys/class/dmi/id/product_serial": "S1\n", "sys/class/dmi/id/sys_vendor": "QEMU\n",
		"sys/class/dmi/id/bios_vendor": "EFI Development Kit II\n", "sys/class/dmi/id/bios_version": "edk2\n",
		"sys/class/dmi/id/bios_date": "02/02/2022\n",
	})
	m.BootMAC = "52:54:00:00:00:01"
	got := m.Read()
	if host, err := os.Hostname(); err != nil || got.Hostname != host {
		t.Errorf("host name %q", got.Hostname)
	}
	got.Hostname, got.CPU.Architecture = "", ""
	want := wire.Inventory{
		Interfaces: []wire.NIC{}, Disks: []wire.Disk{},
		CPU:    wire.CPU{ModelName: "AMD EPYC", Frequency: "2400.123", Count: 2, SocketCount: 2, Flags: []string{"fpu", "sse", "vme"}},
		Memory: wire.Memory{Total: 245760 << 10, PhysicalMB: 16384 + 65536 + 2},
		SystemVendor: wire.SystemVendor{ProductName: "Standard PC (Q35 + ICH9, 2009)", SerialNumber: "S1", Manufacturer: "QEMU",
			Firmware: map[string]any{"vendor": "EFI Development Kit II", "version": "edk2", "build_date": "02/02/2022"}},
		Boot: wire.BootInfo{CurrentBootMode: "uefi", PXEInterface: "52:54:00:00:00:01"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSecureBoot(t *testing.T) {
	const vars = "sys/firmware/efi/efivars/"
	const name = vars + "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"BIOS", nil, "false"},
		{"on", map[string]string{name: "\x06\x00\x00\x00\x01"}, "true"},
		{"off", map[string]string{name: "\x06\x00\x00\x00\x00"}, "false"},
		{"a firmware that does not have it", map[string]string{vars + "BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c": "\x07\x00\x00\x00"},
			"false"},
		{"variables that cannot be read", map[string]string{"sys/firmware/efi/fw_vendor": "x"}, "nil"},
		{"an empty folder of variables", map[string]string{vars + "sub/x": ""}, "false"},
		{"a short variable", map[string]string{name: "\x06\x00\x00\x00"}, "nil"},
		{"a long variable", map[string]string{name: "\x06\x00\x00\x00\x01\x01"}, "nil"},
		{"a value that is none", map[string]string{name: "\x06\x00\x00\x00\x02"}, "false"},
	} {
		got := "nil"
		if b := machine(t, tt.files).Read().Boot.SecureBoot; b != nil {
			got = fmt.Sprint(*b)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestReadOfNothing(t *testing.T) {
	got := machine(t, nil).Read()
	if got.Boot.CurrentBootMode != "bios" || got.CPU.Count != 0 || got.CPU.SocketCount != 0 || got.Memory.PhysicalMB != 0 {
		t.Errorf("%+v", got)
	}
}

func TestMemoryWithoutATable(t *testing.T) {
	got := machine(t, map[string]string{"proc/meminfo": "MemTotal: 262144 kB\n"}).memory()
	if got != (wire.Memory{Total: 256 << 20, PhysicalMB: 256}) {
		t.Errorf("%+v", got)
	}
}

// The machine the tests run on is a real one.
func TestThisMachine(t *testing.T) {
	got := Machine{}.Read()
	if got.CPU.Count == 0 || got.CPU.ModelName == "" || got.Memory.Total == 0 {
		t.Errorf("%+v", got)
	}
	for _, d := range got.Disks {
		if d.Size == 0 || d.LogicalSectors == 0 || d.DevNumber == "" {
			t.Errorf("%+v", d)
		}
	}
}

func FuzzMemoryDevices(f *testing.F) {
	f.Add(module(16384, 0))
	f.Add([]byte{17, 255, 0, 0})
	f.Fuzz(func(t *testing.T, table []byte) {
		if memoryDevices(table) < 0 {
			t.Error("less than nothing")
		}
	})
}
