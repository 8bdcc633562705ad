package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/wire"
)

// attached is what choosing a disk stands on, one line for each disk.
func attached(disks []wire.Disk) string {
	var out []string
	for _, d := range disks {
		out = append(out, fmt.Sprintf("%s tran=%s hctl=%s path=%s serial=%s wwn=%s", d.Name, d.Tran, d.HCTL,
			strings.TrimPrefix(d.ByPath, "/dev/disk/by-path/"), d.Serial, d.WWN))
	}
	return strings.Join(out, "\n")
}

// The ways disks are attached in ordinary servers; device paths are as Linux 6.1 shows them, names by
// path as udev 252 makes them.
func TestAttachments(t *testing.T) {
	type sys = map[string]string
	for _, tt := range []struct {
		name  string
		build func(files sys)
		want  string
	}{
		{"AHCI, two ports of the second controller", func(f sys) {
			for i, port := range []string{"ata7", "ata9"} {
				host := fmt.Sprintf("host%d/target%d:0:0/%d:0:0:0", i+6, i+6, i+6)
				block(f, fmt.Sprintf("sd%c", 'a'+i), "pci0000:00/0000:00:1c.0/0000:02:00.0/"+port+"/"+host, nil)
				f["sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0/"+port+"/ata_port/"+port+"/port_no"] = fmt.Sprintf("%d\n", 1+2*i)
			}
		}, "/dev/sda tran=sata hctl=6:0:0:0 path=pci-0000:02:00.0-ata-1 serial= wwn=\n" +
			"/dev/sdb tran=sata hctl=7:0:0:0 path=pci-0000:02:00.0-ata-3 serial= wwn="},
		{"AHCI of a kernel that does not tell the port", func(f sys) {
			block(f, "sda", "pci0000:00/0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0", nil)
		}, "/dev/sda tran=sata hctl=2:0:0:0 path=pci-0000:00:17.0-ata-3 serial= wwn="},
		{"megaraid: logical disks have a channel of their own, and the controller's names", func(f sys) {
			for i := range 2 {
				block(f, fmt.Sprintf("sd%c", 'a'+i), fmt.Sprintf("pci0000:3a/0000:3a:00.0/0000:3b:00.0/host0/target0:2:%d/0:2:%d:0", i, i), sys{
					"device/vendor": "AVAGO   ", "device/model": "MR9361-8i       ",
					"device/vpd_pg80": fmt.Sprintf("\x00\x80\x00\x20%032d", 100+i),
					"device/wwid":     fmt.Sprintf("naa.600605b00a1b2c3d4e5f60718293a4b%d\n", i),
				})
			}
		}, "/dev/sda tran= hctl=0:2:0:0 path=pci-0000:3b:00.0-scsi-0:2:0:0 serial=00000000000000000000000000000100 wwn=0x600605b00a1b2c3d\n" +
			"/dev/sdb tran= hctl=0:2:1:0 path=pci-0000:3b:00.0-scsi-0:2:1:0 serial=00000000000000000000000000000101 wwn=0x600605b00a1b2c3d"},
		{"megaraid as the sixth host: the host's number does not show", func(f sys) {
			block(f, "sda", "pci0000:3a/0000:3b:00.0/host5/target5:2:7/5:2:7:0", nil)
		}, "/dev/sda tran= hctl=5:2:7:0 path=pci-0000:3b:00.0-scsi-0:2:7:0 serial= wwn="},
		{"SAS behind an expander", func(f sys) {
			block(f, "sda", "pci0000:17/0000:17:00.0/0000:18:00.0/host0/port-0:0/expander-0:0/port-0:0:3/end_device-0:0:3/target0:0:3/0:0:3:0", sys{
				"device/vpd_pg80": "\x00\x80\x00\x08ZC1A2B3C", "device/wwid": "naa.5000c500a1b2c3d7\n"})
		}, "/dev/sda tran=sas hctl=0:0:3:0 path= serial=ZC1A2B3C wwn=0x5000c500a1b2c3d7"},
		{"fibre channel: one LUN over two ports is two disks", func(f sys) {
			for i := range 2 {
				block(f, fmt.Sprintf("sd%c", 'a'+i), fmt.Sprintf("pci0000:3a/0000:3b:00.%d/host%d/rport-%d:0-0/target%d:0:0/%d:0:0:1", i, i+1, i+1, i+1,
					i+1), sys{
					"device/vpd_pg80": "\x00\x80\x00\x04LUN1", "device/wwid": "naa.60000970000197900123533030303031\n"})
			}
		}, "/dev/sda tran=fc hctl=1:0:0:1 path= serial=LUN1 wwn=0x6000097000019790\n" +
			"/dev/sdb tran=fc hctl=2:0:0:1 path= serial=LUN1 wwn=0x6000097000019790"},
		{"iSCSI", func(f sys) {
			block(f, "sda", "platform/host3/session1/target3:0:0/3:0:0:1", nil)
		}, "/dev/sda tran=iscsi hctl=3:0:0:1 path= serial= wwn="},
		{"NVMe: two namespaces, and a domain of its own behind VMD", func(f sys) {
			block(f, "nvme0n1", "pci0000:00/0000:00:1d.0/0000:01:00.0/nvme/nvme0", sys{"device/serial": "A\n", "wwid": "eui.01\n"})
			block(f, "nvme0n2", "pci0000:00/0000:00:1d.0/0000:01:00.0/nvme/nvme0", sys{"device/serial": "A\n", "wwid": "uuid.02\n"})
			block(f, "nvme11n1", "pci0000:64/0000:64:00.5/pci10001:00/10001:00:02.0/10001:01:00.0/nvme/nvme11", sys{"wwid": "nvme.8086-03\n"})
		}, "/dev/nvme0n1 tran=nvme hctl= path=pci-0000:01:00.0-nvme-1 serial=A wwn=eui.01\n" +
			"/dev/nvme0n2 tran=nvme hctl= path=pci-0000:01:00.0-nvme-2 serial=A wwn=uuid.02\n" +
			"/dev/nvme11n1 tran=nvme hctl= path=pci-10001:01:00.0-nvme-1 serial= wwn=nvme.8086-03"},
		{"NVMe with multipath: the head is the disk, its paths are hidden", func(f sys) {
			block(f, "nvme0n1", "virtual/nvme-subsystem/nvme-subsys0", sys{"device/serial": "S\n", "wwid": "eui.09\n"})
			block(f, "nvme0c0n1", "pci0000:00/0000:01:00.0/nvme/nvme0", sys{"hidden": "1\n"})
			block(f, "nvme0c1n1", "pci0000:00/0000:02:00.0/nvme/nvme1", sys{"hidden": "1\n"})
		}, "/dev/nvme0n1 tran=nvme hctl= path= serial=S wwn=eui.09"},
		{"USB behind a hub", func(f sys) {
			block(f, "sdq", "pci0000:00/0000:00:14.0/usb2/2-3/2-3.1/2-3.1:1.0/host9/target9:0:0/9:0:0:0", nil)
		}, "/dev/sdq tran=usb hctl=9:0:0:0 path=pci-0000:00:14.0-usb-0:3.1:1.0-scsi-0:0:0:0 serial= wwn="},
		{"virtio: the disk, and a disk of a virtio SCSI controller", func(f sys) {
			block(f, "vda", "pci0000:00/0000:00:02.3/0000:04:00.0/virtio2", sys{"serial": "v\n"})
			block(f, "sda", "pci0000:00/0000:00:02.4/0000:05:00.0/virtio3/host0/target0:0:0/0:0:0:1", nil)
		}, "/dev/sda tran=virtio hctl=0:0:0:1 path=pci-0000:05:00.0-scsi-0:0:0:1 serial= wwn=\n" +
			"/dev/vda tran=virtio hctl= path=pci-0000:04:00.0 serial=v wwn="},
		{"eMMC: the card, not its boot areas", func(f sys) {
			for _, name := range []string{"mmcblk0", "mmcblk0boot0", "mmcblk0boot1", "mmcblk0rpmb"} {
				block(f, name, "platform/fe320000.mmc/mmc_host/mmc0/mmc0:0001", sys{"device/serial": "0x1234\n"})
			}
		}, "/dev/mmcblk0 tran=mmc hctl= path= serial=0x1234 wwn="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			tt.build(files)
			if diff := cmp.Diff(tt.want, attached(machine(t, files).Disks())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What the kernel makes of disks is no disk: an array, a volume or a mapped path must not be chosen
// beside its own members.
func TestWhatIsNoDisk(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{
		"loop0", "loop7", "ram0", "zram0", "sr0", "sr1", "fd0", "nbd0", "nbd15", "dm-0", "dm-12", "md0", "md127", "md_d1", "mtdblock0", "rbd0",
	} {
		block(files, name, "virtual/block-of/"+name, nil)
	}
	block(files, "sda", "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0", map[string]string{"size": "0\n"})
	block(files, "sdb", "pci0000:00/0000:00:17.0/ata2/host1/target1:0:0/1:0:0:0", map[string]string{"size": "nonsense\n"})
	if got := machine(t, files).Disks(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A machine as a whole: the internal disk is chosen, not the stick, the card reader, the LUN or the
// BMC's virtual medium, whatever their sizes and names.
func TestChoosingInAWholeMachine(t *testing.T) {
	files := map[string]string{}
	gib := func(n int64) string { return fmt.Sprintf("%d\n", n<<30/512) }
	block(files, "sda", "pci0000:00/0000:00:14.0/usb1/1-5/1-5:1.0/host4/target4:0:0/4:0:0:0", map[string]string{
		"size": gib(16), "device/model": "Virtual Floppy\n", "removable": "1\n"})
	block(files, "sdb", "pci0000:00/0000:00:14.0/usb1/1-6/1-6:1.0/host5/target5:0:0/5:0:0:0", map[string]string{
		"size": gib(8), "device/model": "Internal SD\n"})
	block(files, "sdc", "pci0000:3a/0000:3b:00.0/host1/rport-1:0-0/target1:0:0/1:0:0:1", map[string]string{"size": gib(50)})
	block(files, "sdd", "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0", map[string]string{
		"size": gib(480), "device/vpd_pg80": "\x00\x80\x00\x04BOOT"})
	block(files, "nvme0n1", "pci0000:00/0000:00:1d.0/0000:01:00.0/nvme/nvme0", map[string]string{"size": gib(3840), "device/serial": "DATA\n"})
	files["sys/block/md0/size"], files["sys/block/dm-0/size"] = gib(20), gib(20)
	disks := machine(t, files).Disks()
	for _, tt := range []struct {
		hints map[string]any
		want  string
	}{
		{nil, "/dev/sdd"},
		{map[string]any{"rotational": false, "size": "> 1000"}, "/dev/nvme0n1"},
		{map[string]any{"serial": "data"}, "/dev/nvme0n1"},
		{map[string]any{"hctl": "0:0:0:0"}, "/dev/sdd"},
		{map[string]any{"by_path": "/dev/disk/by-path/pci-0000:00:17.0-ata-1"}, "/dev/sdd"},
		{map[string]any{"model": "internal sd"}, "/dev/sdb"},
		{map[string]any{"hctl": "1:0:0:1"}, "/dev/sdc"},
		{map[string]any{"model": "virtual floppy"}, ""},
	} {
		d, err := disk.Select(disks, tt.hints)
		if d.Name != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%v: %q, %v; want %q", tt.hints, d.Name, err, tt.want)
		}
	}
}

// One LUN over two paths: a hint that fits both is refused, one that names the path is not.
func TestChoosingBetweenTwoPathsOfOneDisk(t *testing.T) {
	files := map[string]string{}
	for i := range 2 {
		block(files, fmt.Sprintf("sd%c", 'a'+i), fmt.Sprintf("pci0000:3a/0000:3b:00.%d/host%d/rport-%d:0-0/target%d:0:0/%d:0:0:1", i, i+1, i+1,
			i+1, i+1),
			map[string]string{"device/vpd_pg80": "\x00\x80\x00\x04LUN1", "device/wwid": "naa.6000097000019790012353303030303a\n"})
	}
	disks := machine(t, files).Disks()
	if d, err := disk.Select(disks, map[string]any{"serial": "LUN1"}); err == nil ||
		!strings.Contains(err.Error(), "match 2 disks, the smallest of equal size") {
		t.Errorf("chose %s, %v", d.Name, err)
	}
	if d, err := disk.Select(disks, map[string]any{"serial": "LUN1", "hctl": "2:0:0:1"}); err != nil || d.Name != "/dev/sdb" {
		t.Errorf("chose %s, %v", d.Name, err)
	}
}

// Names that are kept short or damaged by the hardware give what can be had, never another disk's.
func TestSerialsAndModels(t *testing.T) {
	const ahci = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0"
	for _, tt := range []struct {
		name          string
		files         map[string]string
		serial, model string
	}{
		{"virtio beside the device wins", map[string]string{"serial": "beside\n", "device/serial": "in\n"}, "beside", ""},
		{"a page that is too short", map[string]string{"device/vpd_pg80": "\x00\x80"}, "", ""},
		{"a page without a serial", map[string]string{"device/vpd_pg80": "\x00\x80\x00\x08        "}, "", ""},
		{"zeros around it", map[string]string{"device/vpd_pg80": "\x00\x80\x00\x08\x00\x00AB12\x00\x00"}, "AB12", ""},
		{"an ATA page cut short falls back to SCSI's model",
			map[string]string{"device/vpd_pg89": ataInformation("WHOLE MODEL")[:100], "device/model": "CUT MODEL\n"}, "", "CUT MODEL"},
		{"an empty ATA model falls back too", map[string]string{"device/vpd_pg89": ataInformation(""), "device/model": "SCSI MODEL\n"}, "",
			"SCSI MODEL"},
		{"the whole ATA model", map[string]string{"device/vpd_pg89": ataInformation("SAMSUNG MZ7LH960HAJR-00005"),
			"device/model": "SAMSUNG MZ7LH960\n"}, "", "SAMSUNG MZ7LH960HAJR-00005"},
	} {
		files := map[string]string{}
		block(files, "sda", ahci, tt.files)
		d := machine(t, files).Disks()[0]
		if d.Serial != tt.serial || d.Model != tt.model {
			t.Errorf("%s: serial %q, model %q; want %q, %q", tt.name, d.Serial, d.Model, tt.serial, tt.model)
		}
	}
}

func TestWorldWideNames(t *testing.T) {
	for id, want := range map[string][3]string{
		"naa.5000c500a1b2c3d7\n":                 {"0x5000c500a1b2c3d7", "0x5000c500a1b2c3d7", ""},
		"naa.600508b1001c9c3a5e4a1f2b3c4d5e6f\n": {"0x600508b1001c9c3a", "0x600508b1001c9c3a5e4a1f2b3c4d5e6f", "0x5e4a1f2b3c4d5e6f"},
		"eui.0025385b71b00c5f\n":                 {"eui.0025385b71b00c5f", "eui.0025385b71b00c5f", ""},
		"t10.ATA     QEMU HARDDISK\n":            {},
		"":                                       {},
	} {
		files := map[string]string{}
		block(files, "sda", "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0", map[string]string{"device/wwid": id})
		d := machine(t, files).Disks()[0]
		if got := [3]string{d.WWN, d.WWNWithExtension, d.WWNVendorExtension}; got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

// A link that leads out of the recorded machine, or nowhere, is none.
func TestLinksStayInside(t *testing.T) {
	m := machine(t, map[string]string{"sys/block/sda/size": "8\n", "sys/block/sda/device": "-> ../../../../../../etc",
		"sys/block/sdb/size": "8\n"})
	for _, d := range m.Disks() {
		if d.ByPath != "" || d.HCTL != "" && d.HCTL != "." || d.Tran != "" {
			t.Errorf("%+v", d)
		}
	}
}
