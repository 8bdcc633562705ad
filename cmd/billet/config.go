package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/billet-metal/billet/boot/dhcp"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/openstack"
)

// A configuration key is one row of one table. Flags, variables, the file, the page docs/configuration.md and the errors are
// made of it, so that none of them can lack a key or describe another default.

// Config is everything `billet serve` can be told. Its keys are one table, see keys.
type Config struct {
	File          string // the configuration file; "" when there is none
	DataDir       string
	Database      string
	SecretKeyFile string
	Host          string
	Roles         []string
	HardwareTypes []string
	LogFormat     string
	LogLevel      string

	Listen       string
	Auth         string
	HtpasswdFile string
	Cloud        openstack.Config

	Neutron         bool // whether the cloud's Neutron connects machines
	NeutronNetworks map[driver.NetworkPurpose]string
	NeutronPortTime time.Duration

	KeystoneURL                                 string // told to clients
	Swift                                       swiftConfig
	ImageCacheDir                               string
	ImageCacheGB                                int
	ImageSource, GlanceContainer, GlanceAccount string // see image_download_source

	NoauthAnywhere bool
	PublicEndpoint string
	AllowedHosts   []string
	MaxLimit       int

	ProvisionInterface string
	ProvisionPort      int
	DHCPProvider       string
	DHCPMode           string
	DHCPRange          string
	DHCPRanges         []dhcp.Pool
	DHCPRouter         string
	DHCPDNS            []string
	DHCPLeaseTime      time.Duration
	TFTPPort           int
	LoaderDirs         []string
	Discovery          bool
	DiscoveryDriver    string
	DiscoveryLimit     int

	DeployKernel       string
	DeployRamdisk      string
	KernelAppendParams string
	ImageDir           string
	FileURLPaths       []string
	URLAllowed         []fetch.Place
	URLDenied          []netip.Prefix

	AutomatedClean        bool
	DeleteAvailable       bool
	FastTrack             bool
	FastTrackTimeout      time.Duration
	EraseDevicesPriority  int
	EraseMetadataPriority int
	CreateRAIDPriority    int
	DeleteRAIDPriority    int
	EraseIterations       int
	EraseZeros            bool
	EraseContinue         bool
	EraseATA, EraseNVMe   bool
	EraseSkipReadOnly     bool
	RunImageBootloader    bool
	EraseConcurrency      int
	DeployTimeout         time.Duration
	CleanTimeout          time.Duration
	InspectTimeout        time.Duration
	InspectionLLDP        bool
	InspectionRules       string
	InspectionHooks       []string
	InspectionAddPorts    string
	InspectionKeepPorts   string
	InspectionPXEPorts    bool
	InspectionPowerOff    bool
	InspectionParams      map[string]string
	CPUCapabilities       map[string]string
	PCIAliases            map[string]string
	PhysicalNetworks      map[netip.Prefix]string
	AgentNetworks         []netip.Prefix
	BootAddressCheck      bool
	RescueTimeout         time.Duration
	ServiceTimeout        time.Duration
	PowerTimeout          time.Duration
	BootPhaseTimeout      time.Duration
	FirmwareTimeout       time.Duration
	CaptureSerial         bool
	SerialConsole         string
	PowerSyncInterval     time.Duration
	HeartbeatTimeout      time.Duration
	LeaseTTL              time.Duration
	Workers               int
	HistoryEntries        int
	BootEvents            int
	BootEventsOfMachine   int
	BootEventsAge         time.Duration
	LogFiles, LogMB       int
	LogAge                time.Duration
}

// key is one line of the configuration table: its name in files, the default, what it means and
// how its text becomes a value. The flag is --name with dashes, the variable BILLET_NAME.
type key struct {
	name, def, help string
	set             func(text string) error
}

// keys is the one table of the configuration; docs/configuration.md is written from it.
func (c *Config) keys() []key {
	own := []key{
		{"data_dir", "/var/lib/billet", "directory of the embedded database, the secret key and caches", text(&c.DataDir)},
		{"database", "", "empty: SQLite in data_dir; postgres://… for PostgreSQL, whose password belongs in the file or the environment: other " +
			"users of the host can see a flag", text(&c.Database)},
		{"secret_key_file", "", "key that seals BMC passwords, tokens and config drives; empty: secret.key in data_dir, made at first start",
			text(&c.SecretKeyFile)},
		{"host", "", "this process's name, shown as a node's reservation; empty: the host name", text(&c.Host)},
		{"roles", "api,conductor,boot", "what this process does: any of api, conductor, boot", list(&c.Roles, "api", "conductor", "boot")},
		{"enabled_hardware_types", "ipmi,fake-hardware", "hardware types nodes may use: any of ipmi, fake-hardware, manual-management",
			list(&c.HardwareTypes, "ipmi", "fake-hardware", "manual-management")},
		{"log_format", "text", "text or json", oneOf(&c.LogFormat, "text", "json")},
		{"log_level", "info", "debug, info, warn or error", oneOf(&c.LogLevel, "debug", "info", "warn", "error")},

		{"listen", "127.0.0.1:6385", "address:port of the API for people and programs", hostPort(&c.Listen)},
		{"auth", "noauth", "noauth (loopback only, unless noauth_anywhere), http_basic, or keystone (docs/openstack.md)",
			oneOf(&c.Auth, "noauth", "http_basic", "keystone")},
		{"htpasswd_file", "", "bcrypt htpasswd file for auth http_basic", text(&c.HtpasswdFile)},
		{"noauth_anywhere", "false", "allow auth noauth on an address others can reach", boolean(&c.NoauthAnywhere)},
		{"public_endpoint", "", "base of the links in answers; empty: what the client asked for", text(&c.PublicEndpoint)},
		{"allowed_hosts", "", "comma list of further names and addresses, without port, under which the API may be asked for " +
			"when auth is noauth, and the provisioning listener by name; its own address, localhost and public_endpoint's always are. " +
			"A name that others can have lead here lets their web pages drive the API", list(&c.AllowedHosts)},
		{"max_limit", "1000", "most items in one page of a list", number(&c.MaxLimit, 1, 1_000_000)},

		{"provision_interface", "", "network interface of the provisioning network; boot services need it", text(&c.ProvisionInterface)},
		{"provision_port", "6386", "TCP port of the provisioning listener: boot files, images, lookup, heartbeat",
			number(&c.ProvisionPort, 1, 65535)},
		{"dhcp_mode", "full", "full (hand out addresses), proxy (beside another DHCP server, which must name this one as its next server for " +
			"UEFI machines with boot interface pxe) or off", oneOf(&c.DHCPMode, "full", "proxy", "off")},
		{"dhcp_range", "", "first-last address to hand out; empty: the upper half of the interface's network", addressRange(&c.DHCPRange)},
		{"dhcp_ranges", "", "networks behind DHCP relays, with dhcp_mode full: " +
			"\"NETWORK FIRST-LAST [router=ADDRESS] [dns=ADDRESS,ADDRESS] [lease=TIME]\", a semicolon between two (docs/networks.md)",
			ranges(&c.DHCPRanges)},
		{"dhcp_router", "", "default router told to machines; empty: none", address(&c.DHCPRouter)},
		{"dhcp_dns", "", "comma list of name servers told to machines", addresses(&c.DHCPDNS)},
		{"dhcp_lease_time", "1h", "how long an address is lent", duration(&c.DHCPLeaseTime)},
		{"tftp_port", "69", "UDP port of TFTP; firmware only knows 69", number(&c.TFTPPort, 1, 65535)},
		{"loader_dirs", "", "comma list of directories with boot loaders; empty: where Debian's packages put them", list(&c.LoaderDirs)},
		{"boot_address_check", "true", "a machine's boot script and menu go only to the address that DHCP lent to it, " +
			"or that the network knows it by; false where addresses change on the way", boolean(&c.BootAddressCheck)},
		{"agent_networks", "", "comma list of networks in which an agent may be called at another address than the one it calls from: " +
			"behind NAT, or where the API is behind a proxy; loopback and link-local addresses only when they are in it",
			prefixes(&c.AgentNetworks)},
		{"discovery", "false", "boot machines that belong to no node into the inspection ramdisk, and enrol those that report",
			boolean(&c.Discovery)},
		{"discovery_driver", "ipmi", "hardware type of the nodes that discovery enrols", oneOf(&c.DiscoveryDriver, "ipmi", "fake-hardware")},
		{"discovery_limit", "1000", "most nodes in state enroll that discovery has made: " +
			"more machines are not enrolled until some of them are managed or deleted; 0: no limit", number(&c.DiscoveryLimit, 0, 1_000_000)},

		{"deploy_kernel", "", "kernel of the deploy ramdisk when a node names none; empty: ramdisk/vmlinuz in data_dir", text(&c.DeployKernel)},
		{"deploy_ramdisk", "", "deploy ramdisk when a node names none; empty: ramdisk/initramfs in data_dir", text(&c.DeployRamdisk)},
		{"kernel_append_params", "nofb vga=normal rootfstype=ramfs",
			"kernel parameters of the deploy ramdisk; rootfstype=ramfs lets it fill more than half of a small machine's memory",
			text(&c.KernelAppendParams)},
		{"image_dir", "", "the local image store; empty: images in data_dir", text(&c.ImageDir)},
		{"file_url_allowed_paths", "/shared/html,/templates,/opt/cache/files,/vagrant", "comma list of directories " +
			"that images, kernels and ramdisks given as file:// may be in (links are followed); image_dir and ramdisk in data_dir always are, " +
			"the rest of data_dir and this service's key, password and configuration files never", list(&c.FileURLPaths)},
		{"url_allowed_networks", "", "comma list of addresses and networks that URLs may lead to although they are loopback or link-local; " +
			"address:port for a listener of this service itself", places(&c.URLAllowed)},
		{"url_denied_networks", "", "comma list of addresses and networks that no URL may lead to, such as that of the BMCs",
			prefixes(&c.URLDenied)},

		{"automated_clean", "true", "clean nodes on provide and undeploy unless the node says otherwise", boolean(&c.AutomatedClean)},
		{"allow_deleting_available_nodes", "true", "DELETE of a node in state available is allowed, as it is of a manageable one",
			boolean(&c.DeleteAvailable)},
		{"fast_track", "false", "a ramdisk that still runs is used on by the next flow, without a reboot; driver_info/fast_track of a node wins",
			boolean(&c.FastTrack)},
		{"fast_track_timeout", "5m", "with fast_track: an agent that called within it is taken for alive", duration(&c.FastTrackTimeout)},
		{"erase_devices_priority", "0", "priority of erasing whole disks in automated cleaning; 0: only metadata is erased",
			number(&c.EraseDevicesPriority, 0, 1000)},
		{"erase_devices_metadata_priority", "99", "priority of erasing disks' metadata in automated cleaning; 0: never",
			number(&c.EraseMetadataPriority, 0, 1000)},
		{"create_configuration_priority", "0", "priority of the agent's making RAIDs in automated cleaning; 0: never",
			number(&c.CreateRAIDPriority, 0, 1000)},
		{"delete_configuration_priority", "0", "priority of the agent's taking RAIDs apart in automated cleaning; 0: never",
			number(&c.DeleteRAIDPriority, 0, 1000)},
		{"enable_nvme_secure_erase", "true", "NVMe disks erase themselves where they can", boolean(&c.EraseNVMe)},
		{"enable_ata_secure_erase", "true", "ATA disks erase themselves where they can", boolean(&c.EraseATA)},
		{"continue_if_disk_secure_erase_fails", "false", "a disk that fails to erase itself is overwritten; false: it fails the step",
			boolean(&c.EraseContinue)},
		{"shred_random_overwrite_iterations", "0", "passes of random data when a disk is overwritten", number(&c.EraseIterations, 0, 100)},
		{"shred_final_overwrite_with_zeros", "true", "a pass of zeros when a disk is overwritten, after the random ones", boolean(&c.EraseZeros)},
		{"run_image_bootloader", "true", "the GRUB of partition images, and of images on software RAID for BIOS, " +
			"is run as root in the deploy ramdisk; false: such images are refused. Never for a node with a lessee, " +
			"unless its driver_info/run_image_bootloader is true, which wins over this key", boolean(&c.RunImageBootloader)},
		{"erase_skip_read_only", "false", "a read-only disk is left alone; false: it fails erase_devices before any disk is touched",
			boolean(&c.EraseSkipReadOnly)},
		{"disk_erasure_concurrency", "4", "disks of a machine that are erased side by side", number(&c.EraseConcurrency, 1, 1000)},
		{"deploy_callback_timeout", "30m", "longest wait for the machine in a deploy step", duration(&c.DeployTimeout)},
		{"clean_callback_timeout", "30m", "longest wait for the machine in a clean step", duration(&c.CleanTimeout)},
		{"inspect_callback_timeout", "30m", "longest wait for the inspection report", duration(&c.InspectTimeout)},
		{"inspection_lldp", "false",
			"inspection listens, for half a minute at most, for the switches' LLDP: ports get their local_link_connection",
			boolean(&c.InspectionLLDP)},
		{"inspection_hooks", strings.Join(inspection.DefaultHooks, ","), "what inspection makes of a report, in order; " +
			"more are accelerators, boot-mode, cpu-capabilities, cpus, extra-hardware, local-link-connection, " +
			"memory, parse-lldp, pci-devices, physical-network, raid-device, root-device", hookList(&c.InspectionHooks)},
		{"inspection_add_ports", "pxe", "interfaces that become ports: pxe (that it booted from), active (with an address), all or disabled",
			oneOf(&c.InspectionAddPorts, "pxe", "active", "all", "disabled")},
		{"inspection_keep_ports", "all",
			"ports that inspection keeps: all, present (of interfaces found) or added (of interfaces that inspection_add_ports is for)",
			oneOf(&c.InspectionKeepPorts, "all", "present", "added")},
		{"inspection_update_pxe_enabled", "true",
			"inspection sets pxe_enabled of the node's ports: true for the interface it booted from, false for the others",
			boolean(&c.InspectionPXEPorts)},
		{"inspection_power_off", "true", "switch the machine off when its inspection has ended", boolean(&c.InspectionPowerOff)},
		{"inspection_extra_kernel_params", "", "more kernel parameters of the inspection ramdisk: key=value, separated by spaces",
			parameters(&c.InspectionParams)},
		{"inspection_cpu_capabilities", "aes:cpu_aes,pdpe1gb:cpu_hugepages_1g,pse:cpu_hugepages,smx:cpu_txt,svm:cpu_vt,vmx:cpu_vt",
			"processor flags and the capabilities they stand for, for the hook cpu-capabilities", colonPairs(&c.CPUCapabilities)},
		{"inspection_pci_device_alias", "", "comma list of vendor:product:capability (IDs in hexadecimal), for the hook pci-devices",
			pciAliases(&c.PCIAliases)},
		{"inspection_physical_network_cidr_map", "",
			"comma list of network:physical_network, such as 10.1.0.0/16:racks, for the hook physical-network", networks(&c.PhysicalNetworks)},
		{"inspection_rules_built_in", "", "YAML file with a list of inspection rules beside those made over the API; empty: none",
			text(&c.InspectionRules)},
		{"rescue_callback_timeout", "30m", "longest wait for the rescue ramdisk", duration(&c.RescueTimeout)},
		{"service_callback_timeout", "30m", "longest wait for the machine in a service step", duration(&c.ServiceTimeout)},
		{"boot_phase_timeout", "110s", "a machine that stops on its way to the agent's first call fails this long after DHCP, TFTP or HTTP saw " +
			"it last; 0s: only the timeouts above count", duration(&c.BootPhaseTimeout)},
		{"firmware_timeout", "25m", "the same from power on until DHCP, TFTP or HTTP see the machine first; 0s: only the timeouts above count",
			duration(&c.FirmwareTimeout)},
		{"capture_serial", "true", "hear a machine's serial line through its BMC (Serial over LAN) while a flow works on it, unless somebody " +
			"else has it; a node's driver_info/capture_serial overrides it", boolean(&c.CaptureSerial)},
		{"serial_console", "ttyS0,115200n8", "the kernel's name of that line: the deploy ramdisk is told to speak there; empty: it is not",
			text(&c.SerialConsole)},
		{"power_state_change_timeout", "60s", "longest wait for the BMC to confirm a power change", duration(&c.PowerTimeout)},
		{"sync_power_state_interval", "2m", "how often every BMC is asked for its power state; 0s: never", duration(&c.PowerSyncInterval)},
		{"heartbeat_timeout", "5m", "told to agents, which call every 0.3 to 0.6 of it", duration(&c.HeartbeatTimeout)},
		{"lease_ttl", "30s", "how long a node stays locked after its conductor died", duration(&c.LeaseTTL)},
		{"workers", "300", "steps that run at the same time", number(&c.Workers, 1, 100_000)},

		{"node_history_max_entries", "300", "events of a node's history that are kept, the newest", number(&c.HistoryEntries, 1, 1_000_000)},
		{"boot_events_max_entries", "100000", "boot events of all machines together that are kept", number(&c.BootEvents, 1000, 100_000_000)},
		{"boot_events_max_entries_of_machine", "1000", "boot events of one machine that are kept", number(&c.BootEventsOfMachine, 10, 1_000_000)},
		{"boot_events_max_age", "168h", "how long boot events are kept", duration(&c.BootEventsAge)},
		{"deploy_logs_max_files", "500", "files of logs of failed flows that are kept in data_dir/deploy-logs, the newest",
			number(&c.LogFiles, 1, 1_000_000)},
		{"deploy_logs_max_mb", "1024", "megabytes of those files together", number(&c.LogMB, 1, 100_000_000)},
		{"deploy_logs_max_age", "0s", "how long those files are kept; 0s: as long as there is room", duration(&c.LogAge)},
	}
	return append(append(own, c.cloudKeys()...), c.swiftKeys()...)
}

// addConfigFlags gives cmd one flag for each key, and --config.
func addConfigFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "YAML configuration file")
	for _, k := range new(Config).keys() {
		flags.String(flagName(k.name), k.def, k.help)
	}
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// loadConfig merges defaults, file, environment and flags. The error names the key, where it was
// set and what is allowed. texts holds the keys that were set at all, as they were written.
func loadConfig(flags *pflag.FlagSet, environ []string) (c *Config, texts map[string]string, err error) {
	c, texts = &Config{}, map[string]string{}
	known := c.keys()
	path, _ := flags.GetString("config")
	if path == "" {
		path = lookupEnv(environ, "BILLET_CONFIG")
	}
	c.File = path
	set, err := sources(flags, environ, path, known)
	if err != nil {
		return nil, nil, err
	}
	for _, key := range known {
		value := setting{text: key.def}
		if given, ok := set[key.name]; ok {
			value, texts[key.name] = given, given.text
		}
		if err := key.set(value.text); err != nil {
			return nil, nil, fmt.Errorf("%s: %s: %w", value.source, key.name, err)
		}
	}
	if err := c.checkDHCP(texts["dhcp_mode"]); err != nil {
		return nil, nil, err
	}
	return c, texts, c.fill()
}

// fill puts in what depends on other keys and refuses what cannot work together.
func (c *Config) fill() error {
	if c.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("host: reading the host name: %w", err)
		}
		c.Host = host
	}
	dir, err := filepath.Abs(c.DataDir) // a relative directory is the caller's own way to it
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	c.DataDir = dir
	setIfEmpty(&c.ImageDir, c.DataDir+"/images")
	if images, err := filepath.Abs(c.ImageDir); err == nil && (images == dir || strings.HasPrefix(dir, strings.TrimSuffix(images, "/")+"/")) {
		return fmt.Errorf("image_dir: %s is data_dir or above it, and images would lie beside the service's key: use a directory of its own",
			c.ImageDir)
	}
	setIfEmpty(&c.ImageCacheDir, c.DataDir+"/image-cache")
	if c.ImageCacheDir, err = filepath.Abs(c.ImageCacheDir); err != nil {
		return fmt.Errorf("image_cache_dir: %w", err)
	}
	if strings.HasPrefix(dir+"/", strings.TrimSuffix(c.ImageCacheDir, "/")+"/") {
		return fmt.Errorf("image_cache_dir: %s is data_dir or above it: use a directory of its own", c.ImageCacheDir)
	}
	setIfEmpty(&c.DeployKernel, c.DataDir+"/ramdisk/vmlinuz")
	setIfEmpty(&c.DeployRamdisk, c.DataDir+"/ramdisk/initramfs")
	host, _, _ := net.SplitHostPort(c.Listen)
	ip, err := netip.ParseAddr(host)
	loopback := host == "localhost" || err == nil && ip.IsLoopback()
	if c.Auth == "noauth" && !loopback && !c.NoauthAnywhere && slices.Contains(c.Roles, "api") {
		return fmt.Errorf("listen: %s can be reached by others and auth is noauth: use auth http_basic with htpasswd_file, listen on 127.0.0.1, "+
			"or set noauth_anywhere to true", c.Listen)
	}
	if !c.EraseZeros && c.EraseIterations == 0 {
		return fmt.Errorf("shred_final_overwrite_with_zeros: it is false and shred_random_overwrite_iterations is 0, so overwriting a disk " +
			"would write nothing")
	}
	if c.Discovery && !slices.Contains(c.HardwareTypes, c.DiscoveryDriver) {
		return fmt.Errorf("discovery_driver: %s is not among enabled_hardware_types", c.DiscoveryDriver)
	}
	if c.Discovery && (c.InspectionAddPorts == "disabled" || !slices.Contains(c.InspectionHooks, "ports")) {
		return fmt.Errorf("discovery: without ports a machine is not known again; it needs the hook ports and inspection_add_ports other than " +
			"disabled")
	}
	if c.Auth == "http_basic" && c.HtpasswdFile == "" {
		return fmt.Errorf("htpasswd_file: auth http_basic needs it")
	}
	setIfEmpty(&c.KeystoneURL, c.Cloud.AuthURL)
	if err := c.checkCloud(); err != nil {
		return err
	}
	return c.checkSwift()
}

func setIfEmpty(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func unknownKey(source, name string, known []key) error {
	var names []string
	for _, k := range known {
		names = append(names, k.name)
	}
	slices.Sort(names)
	return fmt.Errorf("%s: unknown key %q; the keys are %s", source, name, strings.Join(names, ", "))
}
