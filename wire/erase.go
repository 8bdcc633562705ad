package wire

// Keys of driver_internal_info, Ironic's own, by which the service says how disks are erased and agents read it.
const (
	EraseATA           = "agent_enable_ata_secure_erase"  // the disks' own commands may be used
	EraseNVMe          = "agent_enable_nvme_secure_erase" // the same
	EraseOverwrites    = "agent_continue_if_secure_erase_failed"
	EraseOverwritesATA = "agent_continue_if_ata_erase_failed" // the name that older agents read
	EraseSkips         = "agent_erase_skip_read_only"
	ErasePasses        = "agent_erase_devices_iterations" // of random data
	EraseZeros         = "agent_erase_devices_zeroize"    // a pass of zeros after them
	EraseAtOnce        = "disk_erasure_concurrency"
)
