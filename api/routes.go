package api

import "slices"

// Every path, method, version and right stands in one table, from which links, reserved names and the 404s and 405s follow.

// routes is the table of everything the API answers. A path newer than the version asked for is a
// 404 (see since); everything not listed is a 404 or a 405.
func (a *API) routes() []route {
	all := slices.Concat(a.services.routes(), a.nodes.routes(), a.hardware.routes(), a.machines.routes(), a.machines.vendorRoutes(),
		(&events{a.Conductor.Networks}).routes())
	for _, k := range a.kinds() {
		all = append(all, k.routes()...)
	}
	return all
}

func (sv *services) routes() []route {
	return []route{
		{pattern: "GET /{$}", access: public, serve: sv.showService},
		{pattern: "GET /v1", access: public, serve: sv.showVersion},
		{pattern: "GET /v1/drivers", serve: sv.listDrivers},
		{pattern: "GET /v1/drivers/{name}", serve: sv.showDriver},
		{pattern: "GET /v1/drivers/{name}/properties", serve: sv.showDriverProperties},
		{pattern: "GET /v1/drivers/{name}/vendor_passthru/methods", serve: sv.noVendorMethods},
		{pattern: "GET /v1/drivers/{name}/raid/logical_disk_properties", serve: sv.showLogicalDiskProperties},
		{pattern: "GET /v1/volume", serve: sv.showVolume},
		{pattern: "GET /v1/nodes/{ident}/volume", serve: sv.showVolume},
		{pattern: "GET /v1/shards", serve: sv.listShards},
		{pattern: "GET /v1/nodes/{ident}/vendor_passthru/methods", serve: sv.noVendorMethods},
		{pattern: "GET /billet/v1/strangers", serve: sv.listStrangers},
		{pattern: "GET /billet/v1/addresses", serve: sv.listAddresses},
		{pattern: "GET /v1/conductors", serve: sv.listConductors},
		{pattern: "GET /v1/conductors/{name}", serve: sv.showConductor},
	}
}

// routes are what a machine in a ramdisk calls.
func (ms *machines) routes() []route {
	return []route{
		{pattern: "GET /v1/lookup", access: ramdisk, serve: ms.lookup},
		{pattern: "POST /v1/heartbeat/{ident}", access: ramdisk, serve: ms.heartbeat, maxBody: maxMachineBody},
		{pattern: "POST /v1/continue_inspection", access: ramdisk, serve: ms.continueInspection,
			maxBody: maxInspectionBody, expected: ms.reportExpected, linked: inspectionContinued},
		{pattern: "POST /billet/v1/progress/{ident}", access: ramdisk, serve: ms.takeProgress, maxBody: maxMachineBody},
		{pattern: "POST /billet/v1/log/{ident}", access: ramdisk, serve: ms.takeAgentLines, maxBody: maxMachineBody},
	}
}

func (ns *nodes) routes() []route {
	return []route{
		{pattern: "GET /v1/nodes", serve: ns.listNodes(false)},
		{pattern: "GET /v1/nodes/detail", serve: ns.listNodes(true)},
		{pattern: "POST /v1/nodes", serve: ns.createNode},
		{pattern: "GET /v1/nodes/validate", serve: ns.validate},
		{pattern: "GET /v1/nodes/{ident}", serve: ns.showNode},
		{pattern: "PATCH /v1/nodes/{ident}", serve: ns.patchNode},
		{pattern: "DELETE /v1/nodes/{ident}", serve: ns.deleteNode},
		{pattern: "GET /v1/nodes/{ident}/validate", serve: ns.validate},
		{pattern: "GET /v1/nodes/{ident}/states", serve: ns.showStates},
		{pattern: "PUT /v1/nodes/{ident}/states/provision", serve: ns.provision, maxBody: maxProvisionBody},
		{pattern: "GET /v1/nodes/{ident}/children", serve: ns.listChildren},
		{pattern: "PUT /v1/nodes/{ident}/maintenance", serve: ns.setMaintenance},
		{pattern: "DELETE /v1/nodes/{ident}/maintenance", serve: ns.unsetMaintenance},
		{pattern: "GET /v1/nodes/{ident}/traits", serve: ns.listTraits},
		{pattern: "PUT /v1/nodes/{ident}/traits", serve: ns.setTraits},
		{pattern: "DELETE /v1/nodes/{ident}/traits", serve: ns.removeTraits},
		{pattern: "PUT /v1/nodes/{ident}/traits/{trait}", serve: ns.addTrait},
		{pattern: "DELETE /v1/nodes/{ident}/traits/{trait}", serve: ns.removeTrait},
		{pattern: "GET /v1/nodes/{ident}/vifs", serve: ns.listVIFs},
		{pattern: "POST /v1/nodes/{ident}/vifs", serve: ns.attachVIF},
		{pattern: "DELETE /v1/nodes/{ident}/vifs/{vif}", serve: ns.detachVIF},
		{pattern: "GET /v1/nodes/{ident}/history", serve: ns.listHistory},
		{pattern: "GET /v1/nodes/{ident}/history/detail", serve: ns.listHistoryInDetail},
		{pattern: "GET /v1/nodes/{ident}/history/{event}", serve: ns.showHistoryEvent},
		{pattern: "GET /v1/nodes/{ident}/inventory", serve: ns.showInventory},
		{pattern: "GET /billet/v1/nodes/{ident}/progress", serve: ns.showProgress},
		{pattern: "GET /billet/v1/nodes/{ident}/why", serve: ns.showWhy},
	}
}

func (hw *hardware) routes() []route {
	return []route{
		{pattern: "PUT /v1/nodes/{ident}/states/power", serve: hw.setPower},
		{pattern: "PUT /v1/nodes/{ident}/states/raid", serve: hw.setTargetRAIDConfig},
		{pattern: "GET /v1/nodes/{ident}/management/boot_device", serve: hw.showBootDevice},
		{pattern: "PUT /v1/nodes/{ident}/management/boot_device", serve: hw.setBootDevice},
		{pattern: "GET /v1/nodes/{ident}/management/boot_device/supported", serve: hw.listBootDevices},
		{pattern: "PUT /v1/nodes/{ident}/states/boot_mode", serve: hw.setBootMode},
		{pattern: "PUT /v1/nodes/{ident}/states/secure_boot", serve: hw.setSecureBoot},
		{pattern: "GET /v1/nodes/{ident}/states/console", serve: hw.unsupported("get_console")},
		{pattern: "PUT /v1/nodes/{ident}/states/console", serve: hw.unsupported("console")},
		{pattern: "PUT /v1/nodes/{ident}/management/inject_nmi", serve: hw.injectNMI},
		{pattern: "GET /v1/nodes/{ident}/management/indicators", serve: hw.nothing("indicators")},
		{pattern: "GET /v1/nodes/{ident}/management/indicators/{indicator}", serve: hw.unsupported("get_indicator_state")},
		{pattern: "PUT /v1/nodes/{ident}/management/indicators/{indicator}", serve: hw.unsupported("set_indicator_state")},
		{pattern: "GET /v1/nodes/{ident}/bios", serve: hw.nothing("bios", "detail", "fields")},
		{pattern: "GET /v1/nodes/{ident}/bios/{setting}", serve: hw.showBIOSSetting},
		{pattern: "GET /v1/nodes/{ident}/firmware", serve: hw.nothing("firmware")},
		{pattern: "GET /v1/nodes/{ident}/vmedia", serve: hw.showVirtualMedia},
		{pattern: "POST /v1/nodes/{ident}/vmedia", serve: hw.unsupported("attach_virtual_media")},
		{pattern: "DELETE /v1/nodes/{ident}/vmedia", serve: hw.unsupported("detach_virtual_media")},
	}
}

// machineRoutes is what of the table the provisioning door opens.
func machineRoutes(all []route) []route {
	return slices.DeleteFunc(slices.Clone(all), func(rt route) bool { return rt.access == people })
}
