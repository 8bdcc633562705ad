package api

import "strings"

// What is neither a path, a field nor an argument, and the first version that has it.
const (
	availableShown        version = 2  // instead of null
	anyNames              version = 10 // of nodes, which were host names before
	enrollFirst           version = 11 // is the state of a new node
	leavingChassis        version = 25
	softPower             version = 27
	driveOfRebuild        version = 35
	inspectWaitShown      version = 39
	abortOfInspectWait    version = 41
	driveInParts          version = 56
	allocationsChange     version = 57
	agentTokens           version = 62
	cleanWithoutRamdisk   version = 70
	inspectionContinued   version = 84
	portNames             version = 88
	plainPaths            version = 91 // without ".json"
	mediaListed           version = 93
	serviceWithoutRamdisk version = 108
	abortOfDeployWait     version = 110
)

// since is the one table of microversions: the first minor version that knows a thing. What it does not name no version
// knows: such a path is a 404, and such a field is neither shown nor taken. The names of a row stand for the "*" of its key;
// the rows for kinds of records are in kinds.go.
// TestTheVersionTableAndTheCodeSayTheSame holds both together.
var since = flat(sinceOfKinds, map[string]map[version]string{
	"/*": {1: "{$} v1"},
	"/v1/*": {
		1: "nodes nodes/detail nodes/validate nodes/{ident} drivers drivers/{name} drivers/{name}/properties " +
			"drivers/{name}/vendor_passthru/methods drivers/{name}/vendor_passthru/lookup continue_inspection",
		12: "drivers/{name}/raid/logical_disk_properties",
		22: "lookup heartbeat/{ident}",
		32: "volume",
		49: "conductors conductors/{name}",
		54: "events",
		82: "shards",
	},
	"/v1/nodes/{ident}/*": {
		1: "validate states states/power states/provision states/console management/boot_device management/boot_device/supported " +
			"vendor_passthru/methods vendor_passthru/pass_deploy_info vendor_passthru/pass_bootloader_install_info " +
			"vendor_passthru/heartbeat maintenance",
		12: "states/raid",
		28: "vifs vifs/{vif}",
		29: "management/inject_nmi",
		32: "volume",
		37: "traits traits/{trait}",
		40: "bios bios/{setting}",
		63: "management/indicators management/indicators/{indicator}",
		76: "states/boot_mode states/secure_boot",
		78: "history history/detail history/{event}",
		81: "inventory",
		83: "children",
		86: "firmware",
		89: "vmedia",
	},
	"/billet/v1/*": { // which has no microversions
		1: "nodes/{ident}/progress nodes/{ident}/why strangers addresses progress/{ident} log/{ident}",
	},

	// Fields, shown or taken.
	"node.*": {
		1: "uuid created_at updated_at chassis_uuid console_enabled driver driver_info extra instance_info instance_uuid last_error links " +
			"maintenance " +
			"maintenance_reason ports power_state properties provision_state provision_updated_at reservation target_power_state " +
			"target_provision_state",
		3: "driver_internal_info", 5: "name", 6: "inspection_started_at inspection_finished_at", 7: "clean_step",
		12: "raid_config target_raid_config",
		14: "states", 20: "network_interface", 21: "resource_class", 24: "portgroups",
		31: "boot_interface console_interface deploy_interface inspect_interface management_interface power_interface raid_interface " +
			"vendor_interface",
		32: "volume", 33: "storage_interface", 37: "traits", 38: "rescue_interface", 40: "bios_interface", 42: "fault", 44: "deploy_step",
		46: "conductor_group", 47: "automated_clean", 48: "protected protected_reason", 49: "conductor", 50: "owner", 51: "description",
		52: "allocation_uuid", 61: "retired retired_reason", 65: "lessee", 66: "network_data", 75: "boot_mode secure_boot", 82: "shard",
		83: "parent_node", 86: "firmware_interface", 87: "service_step", 95: "disable_power_off", 104: "instance_name", 109: "health",
	},
	"conductor.*": {49: "hostname conductor_group alive drivers created_at updated_at links"},
	"history.*": {
		78: "uuid created_at severity event_type event conductor user links", 113: "project",
		115: "state target_provision_state duration_seconds",
	},
	"driver.*":                    {1: "name hosts links", 14: "properties", 30: "type"},
	"driver.default_*_interface":  interfacesOfDrivers,
	"driver.enabled_*_interfaces": interfacesOfDrivers,

	// Arguments of lists.
	"any?*": {8: "fields", 43: "detail"},
	"node?*": {
		1: "associated maintenance instance_uuid chassis_uuid", 9: "provision_state", 16: "driver", 21: "resource_class", 42: "fault",
		45: "reset_interfaces",
		46: "conductor_group", 49: "conductor", 50: "owner", 51: "description_contains", 61: "retired", 65: "lessee project",
		82: "shard sharded",
		83: "parent_node include_children", 104: "instance_name",
	},
	"driver?*": {30: "type detail", 77: "fields"},

	// What bodies ask for.
	"verb *": {
		1: "active rebuild deleted undeploy", 4: "manage provide", 6: "inspect", 13: "abort", 15: "clean", 17: "adopt", 38: "rescue unrescue",
		73: "deploy", 85: "unhold", 87: "service",
	},
	"provision.*": {15: "clean_steps", 59: "vendor_data", 69: "deploy_steps", 87: "service_steps"},
	"vif.*":       {67: "port_uuid portgroup_uuid"},
	"power.*":     {27: "timeout"},
	"heartbeat.*": {
		22: "callback_url", 36: "agent_version", 62: "agent_token", 68: "agent_verify_ca", 72: "agent_status agent_status_message",
	},
})

var interfacesOfDrivers = map[version]string{
	30: "boot console deploy inspect management network power raid vendor", 33: "storage", 38: "rescue", 40: "bios", 86: "firmware",
}

// flat is the table by thing.
func flat(parts ...map[string]map[version]string) map[string]version {
	all := map[string]version{}
	for _, rows := range parts {
		for key, row := range rows {
			for first, names := range row {
				for name := range strings.FieldsSeq(names) {
					all[strings.Replace(key, "*", name, 1)] = first
				}
			}
		}
	}
	return all
}
