package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// version is a minor number of API 1.x.
type version int

// The range of microversions. The highest is 1.115, the newest there is for the shapes served here:
// node, port, driver, history, lookup and heartbeat are as 1.115 has them. Resources that Billet
// does not serve yet answer 404 whatever the version, as an unknown path does, so they do not
// decide it; what decides it is that no field, filter or verb of a served resource is missing or
// wrong at that version.
const (
	minVersion version = 1
	maxVersion version = 115
)

func (v version) String() string { return "1." + strconv.Itoa(int(v)) }

// since is the one table of microversions: the first minor version that knows a thing. Keys are
// paths, "resource.field", "resource?filter", "verb target" and "body.key". What is not in the
// table exists since 1.1.
var since = map[string]version{
	"/v1/nodes/{ident}/states/raid": 12, "/v1/drivers/{name}/raid/logical_disk_properties": 12,
	"/v1/lookup": 22, "/v1/heartbeat/{ident}": 22,
	"/v1/nodes/{ident}/vifs": 28, "/v1/nodes/{ident}/vifs/{vif}": 28,
	"/v1/nodes/{ident}/traits": 37, "/v1/nodes/{ident}/traits/{trait}": 37,
	"/v1/nodes/{ident}/history": 78, "/v1/nodes/{ident}/history/{event}": 78,
	"/v1/nodes/{ident}/history/detail":   78,
	"/v1/nodes/{ident}/inventory":        81,
	"/v1/nodes/{ident}/states/boot_mode": 76, "/v1/nodes/{ident}/states/secure_boot": 76,
	"/v1/nodes/{ident}/management/inject_nmi": 29,
	"/v1/nodes/{ident}/management/indicators": 63, "/v1/nodes/{ident}/management/indicators/{indicator}": 63,
	"/v1/nodes/{ident}/bios": 40, "/v1/nodes/{ident}/bios/{setting}": 40, "/v1/nodes/{ident}/firmware": 86,
	"/v1/nodes/{ident}/vmedia": 89, "list virtual media": 93, "/v1/nodes/{ident}/children": 83, "/v1/shards": 82,
	"/v1/conductors": 49, "/v1/conductors/{name}": 49,
	"/v1/deploy_templates": 55, "/v1/deploy_templates/{ident}": 55, "deploy_template.description": 112,
	"/v1/portgroups": 23, "/v1/portgroups/detail": 23, "/v1/portgroups/{ident}": 23,
	"/v1/portgroups/{ident}/ports": 24, "/v1/portgroups/{ident}/ports/detail": 24,
	"/v1/nodes/{ident}/portgroups": 24, "/v1/nodes/{ident}/portgroups/detail": 24,
	"/v1/allocations": 52, "/v1/allocations/{ident}": 52, "/v1/nodes/{ident}/allocation": 52, "PATCH of an allocation": 57,
	"allocation.node": 58, "allocation.owner": 60, "allocation?owner": 60,
	"/v1/volume": 32, "/v1/volume/connectors": 32, "/v1/volume/connectors/{uuid}": 32,
	"/v1/volume/targets": 32, "/v1/volume/targets/{uuid}": 32,
	"/v1/nodes/{ident}/volume": 32, "/v1/nodes/{ident}/volume/connectors": 32, "/v1/nodes/{ident}/volume/targets": 32,
	"/v1/inspection_rules": 96, "/v1/inspection_rules/{uuid}": 96,

	"node.driver_internal_info": 3, "node.name": 5, "node.inspection_started_at": 6,
	"node.inspection_finished_at": 6, "node.clean_step": 7, "node.raid_config": 12,
	"node.target_raid_config": 12, "node.states": 14, "node.network_interface": 20,
	"node.resource_class": 21, "node.portgroups": 24, "node.boot_interface": 31,
	"node.console_interface": 31, "node.deploy_interface": 31, "node.inspect_interface": 31,
	"node.management_interface": 31, "node.power_interface": 31, "node.raid_interface": 31,
	"node.vendor_interface": 31, "node.volume": 32, "node.storage_interface": 33,
	"node.traits": 37, "node.rescue_interface": 38, "node.bios_interface": 40, "node.fault": 42,
	"node.deploy_step": 44, "node.conductor_group": 46, "node.automated_clean": 47,
	"node.protected": 48, "node.protected_reason": 48, "node.conductor": 49, "node.owner": 50,
	"node.description": 51, "node.allocation_uuid": 52, "node.retired": 61,
	"node.retired_reason": 61, "node.lessee": 65, "node.network_data": 66, "node.boot_mode": 75,
	"node.secure_boot": 75, "node.shard": 82, "node.parent_node": 83, "node.firmware_interface": 86,
	"node.service_step": 87, "node.disable_power_off": 95, "node.instance_name": 104, "node.health": 109,

	"port.internal_info": 18, "port.local_link_connection": 19, "port.pxe_enabled": 19,
	"port.portgroup_uuid": 24, "port.physical_network": 34, "port.is_smartnic": 53, "port.name": 88,
	"port.description": 97, "port.vendor": 100, "port.category": 101,
	"port.available_for_dynamic_portgroup": 111,

	"portgroup.ports": 24, "portgroup.mode": 26, "portgroup.properties": 26, "portgroup.physical_network": 102,
	"portgroup.category": 103, "portgroup.dynamic_portgroup": 111,
	"portgroup?conductor_groups": 99, "portgroup?shard": 106, "volume?detail": 32,

	"driver.properties": 14, "driver.type": 30, "driver.interfaces": 30, "driver.storage_interface": 33,
	"driver.rescue_interface": 38, "driver.bios_interface": 40, "driver.firmware_interface": 86,

	"history.project": 113, "history.state": 115, "history.target_provision_state": 115,
	"history.duration_seconds": 115,

	"any?fields": 8, "any?detail": 43,
	"node?provision_state": 9, "node?driver": 16, "node?resource_class": 21, "node?fault": 42,
	"node?conductor_group": 46, "node?conductor": 49, "node?owner": 50, "node?description_contains": 51,
	"node?retired": 61, "node?lessee": 65, "node?project": 65, "node?shard": 82, "node?sharded": 82,
	"node?parent_node": 83, "node?include_children": 83, "node?instance_name": 104,
	"node?reset_interfaces": 45,
	"port?portgroup":        24, "port?shard": 82, "port?description_contains": 97,
	"port?conductor_groups": 99,
	"driver?type":           30, "driver?detail": 30, "driver?fields": 77,

	"verb manage": 4, "verb provide": 4, "verb inspect": 6, "verb abort": 13, "verb clean": 15,
	"verb adopt": 17, "verb rescue": 38, "verb unrescue": 38, "verb deploy": 73, "verb unhold": 85,
	"verb service": 87, "abort inspect wait": 41, "abort wait call-back": 110,

	"provision.clean_steps": 15, "provision.configdrive of rebuild": 35, "provision.rescue_password": 38,
	"provision.configdrive in parts": 56, "provision.vendor_data": 59, "provision.deploy_steps": 69,
	"provision.disable_ramdisk of clean": 70, "provision.service_steps": 87,
	"provision.disable_ramdisk of service": 108,

	"vif.port_uuid": 67, "vif.portgroup_uuid": 67,

	"power.timeout": 27, "power soft": 27,
	"heartbeat.agent_version": 36, "heartbeat.agent_token": 62, "heartbeat.agent_verify_ca": 68,
	"heartbeat.agent_status": 72, "heartbeat.agent_status_message": 72,

	"links of the node": 5, "names that are no host names": 10, "enroll": 11, "null instead of available": 2, "inspect wait": 39,
	"agent token": 62, "continue_inspection": 84, "no .json suffix": 91, "leaving a chassis": 25, "name of a port": 88,
}

// knows reports whether the version has the thing.
func (v version) knows(thing string) bool { return v >= since[thing] }

// needs is the 406 for a field, verb or filter that is newer than the version asked for.
func (v version) needs(thing, what string) error {
	if v.knows(thing) {
		return nil
	}
	return node.Errorf(node.NotAcceptable, "Request not acceptable. The minimal required API version for %s is %s.", what, since[thing])
}

// Names of the headers that carry versions. The standard one wins over the service's own.
const (
	versionHeader    = "X-Openstack-Ironic-Api-Version"
	minVersionHeader = "X-Openstack-Ironic-Api-Minimum-Version"
	maxVersionHeader = "X-Openstack-Ironic-Api-Maximum-Version"
	standardHeader   = "Openstack-Api-Version"
)

// versionOf reads the version a request asks for. No header means 1.1, never the latest; the error
// is a 406.
func versionOf(h http.Header) (version, error) {
	asked := strings.TrimSpace(h.Get(versionHeader))
	for part := range strings.SplitSeq(strings.Join(h.Values(standardHeader), ","), ",") {
		if service, v, ok := strings.Cut(strings.TrimSpace(part), " "); ok && service == "baremetal" {
			asked = strings.TrimSpace(v)
		}
	}
	switch asked {
	case "":
		return minVersion, nil
	case "latest":
		return maxVersion, nil
	}
	major, minor, ok := strings.Cut(asked, ".")
	mj, err1 := strconv.Atoi(major)
	mn, err2 := strconv.Atoi(minor)
	switch {
	case !ok || err1 != nil || err2 != nil:
		return minVersion, aborted(http.StatusNotAcceptable, "Invalid value for X-OpenStack-Ironic-API-Version header")
	case mj != 1:
		return minVersion, aborted(http.StatusNotAcceptable, fmt.Sprintf("Mutually exclusive versions requested. Version %s requested but not supported by this service. "+
			"The supported version range is: [%s, %s].", asked, minVersion, maxVersion))
	case version(mn) < minVersion || version(mn) > maxVersion:
		return minVersion, aborted(http.StatusNotAcceptable, fmt.Sprintf("Version %s was requested but the minor version is not supported by this service. "+
			"The supported version range is: [%s, %s].", asked, minVersion, maxVersion))
	}
	return version(mn), nil
}

// stamp puts the three version headers on an answer.
func (v version) stamp(h http.Header) {
	h.Set(minVersionHeader, minVersion.String())
	h.Set(maxVersionHeader, maxVersion.String())
	h.Set(versionHeader, v.String())
}
