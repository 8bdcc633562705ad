// Package wire owns what service and agent say to each other: the ironic-python-agent protocol.
// It holds only the shapes of the JSON documents, no behaviour.
package wire

import (
	"encoding/json"
	"time"
)

// LookupVersion and HeartbeatVersion are the highest microversions an agent asks for.
const (
	LookupVersion    = 62
	HeartbeatVersion = 68
)

// ServiceRoot is the part of the answer to GET / on the service that an agent reads.
type ServiceRoot struct {
	DefaultVersion struct {
		Version string `json:"version"` // "1.89": the highest microversion
	} `json:"default_version"`
}

// Lookup is the answer to GET /v1/lookup.
type Lookup struct {
	Node   Node         `json:"node"`
	Config LookupConfig `json:"config"`
}

// Node is the part of a node that an agent reads.
type Node struct {
	UUID               string         `json:"uuid"`
	Properties         map[string]any `json:"properties"`
	InstanceInfo       map[string]any `json:"instance_info"`
	DriverInternalInfo map[string]any `json:"driver_internal_info"`

	// In commands about a node, not in the lookup.
	DriverInfo       map[string]any `json:"driver_info,omitempty"` // without secrets
	RAIDConfig       map[string]any `json:"raid_config,omitempty"`
	TargetRAIDConfig map[string]any `json:"target_raid_config,omitempty"`
}

// WipeShared is the key of driver_info, Ironic's own, that lets file systems that several machines may share be
// erased and overwritten. Ironic's agents read it in driver_internal_info.
const WipeShared = "wipe_special_filesystems"

// LookupConfig is what the service tells an agent about itself.
type LookupConfig struct {
	HeartbeatTimeout      int      `json:"heartbeat_timeout"` // seconds
	AgentToken            string   `json:"agent_token"`       // 43 characters, or "******" when it was given before
	AgentTokenRequired    bool     `json:"agent_token_required"`
	PermittedImageFormats []string `json:"permitted_image_formats"`
	DisableDeepInspection bool     `json:"disable_deep_image_inspection"`
	MD5Enabled            bool     `json:"agent_md5_checksum_enable"`
}

// Heartbeat is the body of POST /v1/heartbeat/{node}.
type Heartbeat struct {
	CallbackURL   string `json:"callback_url"`
	AgentToken    string `json:"agent_token,omitempty"`
	AgentVersion  string `json:"agent_version,omitempty"`
	AgentVerifyCA string `json:"agent_verify_ca,omitempty"`
}

// Progress is the body of POST /billet/v1/progress/{node}, Billet's own addition: how far the
// agent's command is. A service that is not Billet answers 404 and the agent stops sending.
type Progress struct {
	AgentToken string `json:"agent_token"`
	Step       string `json:"step"`
	Detail     string `json:"detail,omitempty"`
	Done       int64  `json:"done"`  // bytes
	Total      int64  `json:"total"` // bytes, 0 unknown

	Disks []DiskProgress `json:"disks,omitempty"` // of a step that works on several at once
}

// DiskProgress is how far a step is with one disk.
type DiskProgress struct {
	Name   string `json:"name"`
	Serial string `json:"serial"`
	What   string `json:"what"`
	Done   int64  `json:"done"`  // bytes
	Total  int64  `json:"total"` // bytes
}

// LogLines is the body of POST /billet/v1/log/{node}, Billet's own addition: the last lines of the agent's log, so
// that they are there when the agent is not. A service that is not Billet answers 404 and the agent stops sending.
type LogLines struct {
	AgentToken string    `json:"agent_token"`
	Lines      []LogLine `json:"lines"` // oldest first, at most 200
}

// LogLine is one line of the agent's log.
type LogLine struct {
	AgeMS int64  `json:"age_ms"` // when it was sent; the machine's clock may be wrong, its age is not
	Text  string `json:"text"`
}

// Command is the body of POST /v1/commands/ on the agent.
type Command struct {
	Name   string         `json:"name"` // "extension.command"
	Params map[string]any `json:"params"`
}

// Status of a command.
const (
	Running         = "RUNNING"
	Succeeded       = "SUCCEEDED"
	Failed          = "FAILED"
	VersionMismatch = "CLEAN_VERSION_MISMATCH"
)

// CommandResult is how a command stands.
type CommandResult struct {
	ID     string          `json:"id"`
	Name   string          `json:"command_name"` // without the extension
	Params json.RawMessage `json:"command_params,omitempty"`
	Status string          `json:"command_status"`
	Error  *CommandError   `json:"command_error"`
	Result json.RawMessage `json:"command_result"`
}

// CommandError says why a command failed.
type CommandError struct {
	Type    string `json:"type"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details string `json:"details"`

	Disks []ErasedDisk `json:"disks,omitempty"` // of an erase step that failed: what became of each disk
}

// Erasure is the result of an erase step of Billet's agent: in a sentence, and disk by disk.
type Erasure struct {
	Says  string       `json:"says"`
	Disks []ErasedDisk `json:"disks"`
}

// ErasedDisk is what an erase step did to one disk: it has a method, an error, or a reason why it was left alone.
type ErasedDisk struct {
	Name     string   `json:"name"` // "/dev/sda"; it may move between boots
	Serial   string   `json:"serial"`
	WWN      string   `json:"wwn"` // with the vendor's extension
	Model    string   `json:"model"`
	Size     int64    `json:"size"`               // bytes
	Method   string   `json:"method,omitempty"`   // "NVMe format (user data erase)"
	Verified string   `json:"verified,omitempty"` // how it was checked: "64 marks gone"
	NotBy    []string `json:"not_by,omitempty"`   // better methods, with the reason why they were not it
	Seconds  float64  `json:"seconds,omitempty"`
	Skipped  string   `json:"skipped,omitempty"` // why the disk was left alone
	Error    string   `json:"error,omitempty"`   // why it was not erased
}

func (e *CommandError) Error() string {
	if e.Details != "" {
		return e.Details
	}
	return e.Message
}

// Commands is the answer to GET /v1/commands/: all commands since boot, oldest first.
type Commands struct {
	Commands []CommandResult `json:"commands"`
}

// Fault is the body of an HTTP error of the agent.
type Fault struct {
	FaultCode   string `json:"faultcode"`
	FaultString string `json:"faultstring"`
}

// Step is one step an agent offers or is asked to carry out.
type Step struct {
	Step            string         `json:"step"`
	Interface       string         `json:"interface"`
	Priority        int            `json:"priority"`
	Args            map[string]any `json:"args,omitempty"`
	RebootRequested bool           `json:"reboot_requested"`
	Abortable       bool           `json:"abortable"`
	ArgsInfo        map[string]any `json:"argsinfo,omitempty"`
}

// Steps is the result of get_clean_steps, get_deploy_steps and get_service_steps; the one list of
// the three that was asked for is set. Keys are hardware manager names.
type Steps struct {
	Clean   map[string][]Step `json:"clean_steps,omitempty"`
	Deploy  map[string][]Step `json:"deploy_steps,omitempty"`
	Service map[string][]Step `json:"service_steps,omitempty"`
	Version map[string]string `json:"hardware_manager_version"`
	Boot    *BootInfo         `json:"boot,omitempty"` // how the machine booted; agents other than Billet's do not say
}

// ImageInfo is args.image_info of the write_image step.
type ImageInfo struct {
	ID              string   `json:"id"`
	URLs            []string `json:"urls"`
	DiskFormat      string   `json:"disk_format"`
	ContainerFormat string   `json:"container_format"`
	Checksum        string   `json:"checksum,omitempty"`      // md5, sha256 or sha512 by its length
	HashAlgo        string   `json:"os_hash_algo,omitempty"`  // "sha256", "sha512"
	HashValue       string   `json:"os_hash_value,omitempty"` // hex
	StreamRaw       bool     `json:"stream_raw_images"`
	NodeUUID        string   `json:"node_uuid"`
	ImageType       string   `json:"image_type,omitempty"` // "partition"; else whole disk
	BootMode        string   `json:"deploy_boot_mode,omitempty"`
	BootOption      string   `json:"boot_option,omitempty"`
	DiskLabel       string   `json:"disk_label,omitempty"`
	ConfigDrive     string   `json:"configdrive,omitempty"` // base64 of a gzipped ISO 9660 image, or a URL

	*PartitionImage // of a partition image only: its fields stand among the others

	AuthStrategy string `json:"image_server_auth_strategy,omitempty"` // "http_basic", or empty
	AuthUser     string `json:"image_server_user,omitempty"`
	AuthPassword string `json:"image_server_password,omitempty"`
}

// PartitionImage is what image_info says of the disk a partition image goes to. Sizes are MiB; 0
// means that there is no such partition.
type PartitionImage struct {
	RootGB      int `json:"root_gb"`
	RootMB      int `json:"root_mb"`
	SwapMB      int `json:"swap_mb"`
	EphemeralMB int `json:"ephemeral_mb"`
	// "ext4"; agents that are not Billet's want the key even when there is no such partition
	EphemeralFormat   string `json:"ephemeral_format"`
	PreserveEphemeral bool   `json:"preserve_ephemeral"` // keep what the ephemeral partition holds
	Kernel            string `json:"kernel,omitempty"`
	Ramdisk           string `json:"ramdisk,omitempty"`
}

// PartitionUUIDs is the result of standby.get_partition_uuids.
type PartitionUUIDs struct {
	Root string `json:"root uuid"`
	ESP  string `json:"efi system partition uuid"`
	PReP string `json:"PReP Boot partition uuid"`
}

// Inspection is the body of POST /v1/continue_inspection. Other keys become plugin data.
type Inspection struct {
	Inventory     Inventory      `json:"inventory"`
	RootDisk      *Disk          `json:"root_disk,omitempty"`
	BootInterface string         `json:"boot_interface,omitempty"` // MAC
	Configuration map[string]any `json:"configuration,omitempty"`
	Error         *string        `json:"error"`
	Logs          string         `json:"logs,omitempty"` // base64 of a gzipped tar

	PCIDevices []PCIDevice `json:"pci_devices,omitempty"`
	USBDevices []USBDevice `json:"usb_devices,omitempty"`
	Extra      [][]any     `json:"data,omitempty"` // benchmarks: class, device, name, value
}

// PCIDevice is one PCI function; numbers are hex digits without prefix.
type PCIDevice struct {
	VendorID  string  `json:"vendor_id"`
	ProductID string  `json:"product_id"`
	Class     string  `json:"class"`
	Revision  *string `json:"revision"`
	Bus       string  `json:"bus"` // "0000:00:1f.2"
	NUMANode  *string `json:"numa_node_id"`
}

// USBDevice is one device on a USB bus.
type USBDevice struct {
	Product   string `json:"product"`
	Vendor    string `json:"vendor"`
	Handle    string `json:"handle"` // "USB:1-2"
	VendorID  string `json:"vendor_id"`
	ProductID string `json:"product_id"`
}

// Inventory is what is in a machine.
type Inventory struct {
	Interfaces   []NIC        `json:"interfaces"`
	CPU          CPU          `json:"cpu"`
	Memory       Memory       `json:"memory"`
	Disks        []Disk       `json:"disks"`
	BMCAddress   string       `json:"bmc_address"`
	BMCv6Address string       `json:"bmc_v6address"`
	BMCMAC       string       `json:"bmc_mac"`
	SystemVendor SystemVendor `json:"system_vendor"`
	Boot         BootInfo     `json:"boot"`
	Hostname     string       `json:"hostname"`
}

// NIC is one network interface.
type NIC struct {
	Name        string `json:"name"`
	MACAddress  string `json:"mac_address"`
	IPv4Address string `json:"ipv4_address"`
	IPv6Address string `json:"ipv6_address"`
	HasCarrier  bool   `json:"has_carrier"`
	LLDP        any    `json:"lldp"`
	Vendor      string `json:"vendor"`
	Product     string `json:"product"`
	ClientID    string `json:"client_id"`
	BIOSDevName string `json:"biosdevname"`
	SpeedMbps   int    `json:"speed_mbps"`
	PCIAddress  string `json:"pci_address"`
	Driver      string `json:"driver"`
}

// CPU describes all processors together.
type CPU struct {
	ModelName    string   `json:"model_name"`
	Frequency    string   `json:"frequency"` // MHz
	Count        int      `json:"count"`     // logical
	Architecture string   `json:"architecture"`
	Flags        []string `json:"flags"`
	SocketCount  int      `json:"socket_count"`
}

// Memory in bytes as the kernel sees it, and in MiB as the firmware says.
type Memory struct {
	Total      int64 `json:"total"`
	PhysicalMB int64 `json:"physical_mb"`
}

// Disk is one block device, with every field a root device hint may ask for.
type Disk struct {
	Name               string `json:"name"` // "/dev/sda"
	Model              string `json:"model"`
	Size               int64  `json:"size"` // bytes
	Rotational         bool   `json:"rotational"`
	WWN                string `json:"wwn"`
	Serial             string `json:"serial"`
	Vendor             string `json:"vendor"`
	WWNWithExtension   string `json:"wwn_with_extension"`
	WWNVendorExtension string `json:"wwn_vendor_extension"`
	HCTL               string `json:"hctl"`
	ByPath             string `json:"by_path"`
	LogicalSectors     int    `json:"logical_sectors"` // bytes
	PhysicalSectors    int    `json:"physical_sectors"`
	Tran               string `json:"tran"`

	// What an agent must know before it writes; not part of the protocol's inventory.
	Removable bool   `json:"-"`
	ReadOnly  bool   `json:"-"`
	DevNumber string `json:"-"` // "major:minor"
	RAID      string `json:"-"` // of a software RAID array: its level, "raid1"; "" of a disk
	PathOf    string `json:"-"` // of a further path to a disk: the disk's name, which is its best path
	MemberOf  string `json:"-"` // arrays that are running on this disk, or on its partitions: "/dev/md0, /dev/md1"
}

// SystemVendor is what the firmware says of the machine.
type SystemVendor struct {
	ProductName  string         `json:"product_name"`
	SerialNumber string         `json:"serial_number"`
	Manufacturer string         `json:"manufacturer"`
	Firmware     map[string]any `json:"firmware"`
}

// BootInfo is how the machine booted.
type BootInfo struct {
	CurrentBootMode string `json:"current_boot_mode"`     // "bios" or "uefi"
	PXEInterface    string `json:"pxe_interface"`         // MAC
	SecureBoot      *bool  `json:"secure_boot,omitempty"` // whether the firmware starts only what is signed; nil: not said
}

// AgentStatus is the answer to GET /v1/status on the agent.
type AgentStatus struct {
	StartedAt time.Time `json:"started_at"`
	Version   string    `json:"version"`
}
