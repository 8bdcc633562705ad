package ramdisk

import "slices"

// flavor is one line-up of kernel and drivers.
type flavor struct {
	metapackage string   // points at the newest kernel
	suffix      string   // of linux-image-VERSION
	basic       []string // loaded at once on every machine
	drivers     []string // loaded when the hardware, a file system or the agent asks
}

var flavors = map[Flavor]flavor{
	Generic: {
		metapackage: "linux-image-amd64", suffix: "-amd64",
		basic:   slices.Concat(virtual, disks, filesystems, bmcs),
		drivers: slices.Concat(storage, nics, links, hotplug, iscsi, arrays, roots),
	},
	Cloud: {
		metapackage: "linux-image-cloud-amd64", suffix: "-cloud-amd64",
		basic: slices.Concat(virtual, disks, filesystems),
		drivers: slices.Concat([]string{"nvme", "vmw_pvscsi", "vmxnet3", "ena", "gve", "xen-blkfront", "xen-netfront"}, links, iscsi, arrays,
			[]string{"ext4"}),
	},
}

// Basics.
var (
	// virtual machines: a lab or a private cloud is the most common place to try Billet.
	virtual = []string{"virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi"}
	disks   = []string{"sd_mod", "sr_mod"}
	// What firmware, config drives and EFI boot entries need; vfat refuses to mount without a
	// code page and a character set.
	filesystems = []string{"vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "nls_utf8", "isofs", "efivarfs"}
	// The in-band way to the BMC: its address is part of the inventory.
	bmcs = []string{"ipmi_msghandler", "ipmi_devintf", "ipmi_si"}
)

// Drivers of ordinary servers.
var (
	storage = []string{
		"ahci", "ata_piix", "ata_generic", "sata_mv", "sata_nv", "sata_sil24", "sata_svw", "sata_via", "isci", "nvme",
		"megaraid_sas", "megaraid_mbox", "mpt3sas", "mpi3mr", "mptsas", "mptspi", "hpsa", "smartpqi", "aacraid", "arcmsr", "3w-9xxx", "3w-sas",
		"pm80xx", "mvsas", "mvumi", "ipr", "esas2r", "qla2xxx", "lpfc", "fnic", "snic",
		"vmw_pvscsi", "hv_storvsc", "xen-blkfront", "ses", "sg", "scsi_dh_alua", "mmc_block", "sdhci-pci", "sdhci-acpi",
	}
	nics = []string{
		"e1000", "e1000e", "igb", "igc", "igbvf", "ixgbe", "ixgbevf", "i40e", "iavf", "ice", "fm10k",
		"bnx2", "bnx2x", "bnxt_en", "tg3", "mlx4_core", "mlx4_en", "mlx5_core", "qede", "qlcnic", "netxen_nic", "be2net",
		"cxgb3", "cxgb4", "enic", "sfc", "nfp", "atlantic", "amd-xgbe", "ena", "gve", "mana",
		"r8169", "8139too", "8139cp", "sky2", "skge", "forcedeth", "atl1c", "alx", "e100", "pcnet32",
		"vmxnet3", "hv_netvsc", "xen-netfront", "usbnet", "cdc_ether", "cdc_ncm", "rndis_host", "ax88179_178a", "r8152",
	}
	links   = []string{"8021q", "bonding", "dummy"}
	hotplug = []string{"xhci_pci", "ehci_pci", "ohci_pci", "uhci_hcd", "usb-storage", "uas", "usbhid", "hid-generic", "ipmi_ssif", "acpi_ipmi",
		"i2c-i801", "i2c-piix4", "hpwdt", "iTCO_wdt", "wdat_wdt"}
	iscsi  = []string{"configfs", "target_core_mod", "target_core_iblock", "target_core_file", "iscsi_target_mod", "loop"}
	arrays = []string{"dm-mod", "dm-multipath", "md-mod", "raid0", "raid1", "raid10", "raid456"}
	roots  = []string{"ext4", "xfs", "btrfs", "squashfs", "overlay"}
)
