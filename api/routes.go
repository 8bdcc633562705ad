package api

import "slices"

// routes is the table of everything the API answers. A path newer than the version asked for is a
// 404 (see since); everything not listed is a 404 or a 405.
func (a *API) routes() []route {
	all := slices.Concat(a.serviceRoutes(), a.nodeRoutes(), a.machinePaths(), a.vendorRoutes())
	for _, k := range a.kinds() {
		all = append(all, k.routes()...)
	}
	return all
}

func (a *API) serviceRoutes() []route {
	return []route{
		{pattern: "GET /{$}", access: public, serve: a.showService},
		{pattern: "GET /v1", access: public, serve: a.showVersion},
		{pattern: "GET /v1/drivers", serve: a.listDrivers},
		{pattern: "GET /v1/drivers/{name}", serve: a.showDriver},
		{pattern: "GET /v1/drivers/{name}/properties", serve: a.showDriverProperties},
		{pattern: "GET /v1/drivers/{name}/vendor_passthru/methods", serve: a.noVendorMethods},
		{pattern: "GET /v1/drivers/{name}/raid/logical_disk_properties", serve: a.showLogicalDiskProperties},
		{pattern: "GET /v1/volume", serve: a.showVolume},
		{pattern: "GET /v1/shards", serve: a.listShards},
		{pattern: "GET /v1/conductors", serve: a.listConductors},
		{pattern: "GET /v1/conductors/{name}", serve: a.showConductor},
	}
}

// machinePaths are what a machine in a ramdisk calls.
func (a *API) machinePaths() []route {
	return []route{
		{pattern: "GET /v1/lookup", access: ramdisk, serve: a.lookup},
		{pattern: "POST /v1/heartbeat/{ident}", access: ramdisk, serve: a.heartbeat, maxBody: maxMachineBody},
		{pattern: "POST /v1/continue_inspection", access: ramdisk, serve: a.continueInspection,
			maxBody: maxInspectionBody, expected: a.reportExpected, linked: inspectionContinued},
		{pattern: "POST /billet/v1/progress/{ident}", access: ramdisk, serve: a.takeProgress, maxBody: maxMachineBody},
		{pattern: "POST /billet/v1/log/{ident}", access: ramdisk, serve: a.takeAgentLines, maxBody: maxMachineBody},
	}
}

func (a *API) nodeRoutes() []route {
	return []route{
		{pattern: "GET /v1/nodes", serve: a.listNodes},
		{pattern: "GET /v1/nodes/detail", serve: a.listNodesInDetail},
		{pattern: "POST /v1/nodes", serve: a.createNode},
		{pattern: "GET /v1/nodes/validate", serve: a.validate},
		{pattern: "GET /v1/nodes/{ident}", serve: a.showNode},
		{pattern: "PATCH /v1/nodes/{ident}", serve: a.patchNode},
		{pattern: "DELETE /v1/nodes/{ident}", serve: a.deleteNode},
		{pattern: "GET /v1/nodes/{ident}/validate", serve: a.validate},
		{pattern: "GET /v1/nodes/{ident}/states", serve: a.showStates},
		{pattern: "PUT /v1/nodes/{ident}/states/power", serve: a.setPower},
		{pattern: "PUT /v1/nodes/{ident}/states/raid", serve: a.setTargetRAIDConfig},
		{pattern: "PUT /v1/nodes/{ident}/states/provision", serve: a.provision, maxBody: maxProvisionBody},
		{pattern: "GET /v1/nodes/{ident}/management/boot_device", serve: a.showBootDevice},
		{pattern: "PUT /v1/nodes/{ident}/management/boot_device", serve: a.setBootDevice},
		{pattern: "GET /v1/nodes/{ident}/management/boot_device/supported", serve: a.listBootDevices},
		{pattern: "PUT /v1/nodes/{ident}/states/boot_mode", serve: a.setBootMode},
		{pattern: "PUT /v1/nodes/{ident}/states/secure_boot", serve: a.setSecureBoot},
		{pattern: "GET /v1/nodes/{ident}/states/console", serve: a.unsupported("get_console")},
		{pattern: "PUT /v1/nodes/{ident}/states/console", serve: a.unsupported("console")},
		{pattern: "PUT /v1/nodes/{ident}/management/inject_nmi", serve: a.injectNMI},
		{pattern: "GET /v1/nodes/{ident}/management/indicators", serve: a.nothing("indicators")},
		{pattern: "GET /v1/nodes/{ident}/management/indicators/{indicator}", serve: a.unsupported("get_indicator_state")},
		{pattern: "PUT /v1/nodes/{ident}/management/indicators/{indicator}", serve: a.unsupported("set_indicator_state")},
		{pattern: "GET /v1/nodes/{ident}/bios", serve: a.nothing("bios", "detail", "fields")},
		{pattern: "GET /v1/nodes/{ident}/bios/{setting}", serve: a.showBIOSSetting},
		{pattern: "GET /v1/nodes/{ident}/firmware", serve: a.nothing("firmware")},
		{pattern: "GET /v1/nodes/{ident}/vmedia", serve: a.showVirtualMedia},
		{pattern: "POST /v1/nodes/{ident}/vmedia", serve: a.unsupported("attach_virtual_media")},
		{pattern: "DELETE /v1/nodes/{ident}/vmedia", serve: a.unsupported("detach_virtual_media")},
		{pattern: "GET /v1/nodes/{ident}/vendor_passthru/methods", serve: a.noVendorMethods},
		{pattern: "GET /v1/nodes/{ident}/children", serve: a.listChildren},
		{pattern: "PUT /v1/nodes/{ident}/maintenance", serve: a.setMaintenance},
		{pattern: "DELETE /v1/nodes/{ident}/maintenance", serve: a.unsetMaintenance},
		{pattern: "GET /v1/nodes/{ident}/volume", serve: a.showVolume},
		{pattern: "GET /v1/nodes/{ident}/traits", serve: a.listTraits},
		{pattern: "PUT /v1/nodes/{ident}/traits", serve: a.setTraits},
		{pattern: "DELETE /v1/nodes/{ident}/traits", serve: a.removeTraits},
		{pattern: "PUT /v1/nodes/{ident}/traits/{trait}", serve: a.addTrait},
		{pattern: "DELETE /v1/nodes/{ident}/traits/{trait}", serve: a.removeTrait},
		{pattern: "GET /v1/nodes/{ident}/vifs", serve: a.listVIFs},
		{pattern: "POST /v1/nodes/{ident}/vifs", serve: a.attachVIF},
		{pattern: "DELETE /v1/nodes/{ident}/vifs/{vif}", serve: a.detachVIF},
		{pattern: "GET /v1/nodes/{ident}/history", serve: a.listHistory},
		{pattern: "GET /v1/nodes/{ident}/history/detail", serve: a.listHistoryInDetail},
		{pattern: "GET /v1/nodes/{ident}/history/{event}", serve: a.showHistoryEvent},
		{pattern: "GET /v1/nodes/{ident}/inventory", serve: a.showInventory},
		{pattern: "GET /billet/v1/nodes/{ident}/progress", serve: a.showProgress},
		{pattern: "GET /billet/v1/nodes/{ident}/why", serve: a.showWhy},
		{pattern: "GET /billet/v1/strangers", serve: a.listStrangers},
	}
}

// machineRoutes is what of the table the provisioning door opens.
func machineRoutes(all []route) []route {
	return slices.DeleteFunc(slices.Clone(all), func(rt route) bool { return rt.access == people })
}
