# A node's whole life through openstacksdk and through python-ironicclient's library, as programs use
# them. An assertion that fails ends the program with a traceback. Argument: the service's URL.
import sys
import time

import openstack
from ironicclient import client as ironicclient
from ironicclient import exc
from openstack import exceptions

url = sys.argv[1]
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 10)  # the libraries look again every two seconds
conn = openstack.connection.Connection(auth_type="none", endpoint=url, baremetal_endpoint_override=url)
bm = conn.baremetal


def same(got, want, what):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def refused(kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as e:
        assert text in str(e), f"refused with {e}, want {text}"
        return
    raise AssertionError(f"not refused; want {text}")


def enrol():
    # The SDK brings a new node to "available" on its own unless told otherwise.
    n = bm.create_node(driver="fake-hardware", name="metal3~m1", resource_class="bm", provision_state="enroll",
                       driver_info={"password": "hush"}, extra={"rack": [7, {"u": None}]})
    same((n.name, n.provision_state, n.driver_info, n.extra),
         ("metal3~m1", "enroll", {"password": "******"}, {"rack": [7, {"u": None}]}), "the node")
    same(len(n.created_at), len("2026-11-23T01:09:25.228930+00:00"), "length of created_at") if "." in n.created_at else None
    refused(exceptions.ConflictException, "metal3~m1", bm.create_node, driver="fake-hardware", name="metal3~m1",
            provision_state="enroll")
    n = bm.set_node_provision_state(n, "manage", wait=True, timeout=30)
    same(n.provision_state, "manageable", "state")
    return n


def ports(n):
    p = bm.create_port(node_id=n.id, address="52:54:00:0A:0B:01", is_pxe_enabled=True, physical_network="rack",
                       local_link_connection={"switch_id": "0a:1b:2c:3d:4e:5f", "port_id": "Eth1"})
    same((p.address, p.node_id, p.is_pxe_enabled), ("52:54:00:0a:0b:01", n.id, True), "the port")
    same([x.id for x in bm.ports(details=True, node=n.id)], [p.id], "ports of the node")
    same([x.id for x in bm.ports(address="52:54:00:0a:0b:01")], [p.id], "ports by address")
    p = bm.patch_port(p, [{"op": "add", "path": "/extra/slot", "value": 1}])
    same(p.extra, {"slot": 1}, "extra")
    same(conn.get_machine_by_mac("52:54:00:0a:0b:01")["uuid"], n.id, "machine of the MAC")


def storage_and_bonds(n):
    g = bm.create_port_group(node_id=n.id, name="bond0", mode="802.3ad", properties={"miimon": 100})
    same((g.name, g.node_id, g.mode, g.properties, g.is_standalone_ports_supported), ("bond0", n.id, "802.3ad", {"miimon": 100}, True), "the portgroup")
    (p,) = bm.ports(details=True, node=n.id)
    p = bm.update_port(p, port_group_id=g.id)
    same([x.mode for x in bm.port_groups(details=True, node=n.id)], ["802.3ad"], "portgroups of the node")
    same([x.id for x in bm.ports(portgroup=g.id)], [p.id], "ports of the portgroup")
    same(bm.find_port_group("bond0").id, g.id, "the portgroup by its name")
    g = bm.patch_port_group(g, [{"op": "replace", "path": "/properties/miimon", "value": 50}])
    same(g.properties, {"miimon": 50}, "properties")
    refused(exceptions.BadRequestException, "it has ports", bm.delete_port_group, g)
    bm.patch_port(p, [{"op": "remove", "path": "/portgroup_uuid"}])
    bm.delete_port_group(g)
    same(list(bm.port_groups()), [], "portgroups left")

    bm.set_node_power_state(n, "power off", wait=True, timeout=30)
    c = bm.create_volume_connector(node_id=n.id, type="iqn", connector_id="iqn.x")
    same([x.connector_id for x in bm.volume_connectors(details=True, node=n.id)], ["iqn.x"], "connectors")
    same(bm.update_volume_connector(c, connector_id="iqn.y").connector_id, "iqn.y", "the connector")
    t = bm.create_volume_target(node_id=n.id, volume_type="iscsi", volume_id="v", boot_index=0, properties={"auth_password": "hush"})
    same([x.properties for x in bm.volume_targets(details=True, node=n.id)], [{"auth_password": "******"}], "targets")
    refused(exceptions.ValidationException, "boot from volume v", bm.validate_node, n, required=("storage",))
    bm.delete_volume_target(t)
    bm.delete_volume_connector(c)
    same((list(bm.volume_targets()), list(bm.volume_connectors())), ([], []), "volumes left")


def allocations(n):
    a = bm.create_allocation(resource_class="bm", name="web", traits=["CUSTOM_B"], candidate_nodes=[n.id])
    a = bm.wait_for_allocation(a, timeout=30)
    same((a.state, a.node_id, a.last_error, a.candidate_nodes), ("active", n.id, None, [n.id]), "the allocation")
    n = bm.get_node(n.id)
    same((n.allocation_id, n.instance_id, n.instance_info["traits"]), (a.id, a.id, ["CUSTOM_B"]), "its node")
    late = bm.create_allocation(resource_class="bm", name="late")
    refused(exceptions.ResourceFailure, "no available node", bm.wait_for_allocation, late, timeout=30)
    same(bm.wait_for_allocation(late, timeout=30, ignore_error=True).state, "error", "the late one")
    same([x.name for x in bm.allocations()], ["web", "late"], "allocations")
    same([x.name for x in bm.allocations(node=n.id, state="active", resource_class="bm")], ["web"], "allocations of the node")
    same(bm.patch_allocation(a, [{"op": "replace", "path": "/name", "value": "web2"}]).name, "web2", "the new name")
    bm.delete_allocation("web2")
    bm.delete_allocation(late)
    n = bm.get_node(n.id)
    same((n.allocation_id, n.instance_id), (None, None), "the freed node")


def fields(n):
    bm.set_node_traits(n, ["CUSTOM_A", "CUSTOM_B"])
    bm.add_node_trait(n, "CUSTOM_C")
    bm.remove_node_trait(n, "CUSTOM_A")
    n = bm.get_node(n.id)
    same(n.traits, ["CUSTOM_B", "CUSTOM_C"], "traits")
    n = bm.update_node(n, instance_info={"image_source": "http://x/y"}, owner="me")
    same((n.instance_info, n.owner), ({"image_source": "http://x/y"}, "me"), "after update")
    got = bm.get_node(n.name, fields=["uuid", "provision_state"])
    same((got.id, got.provision_state, got.driver), (n.id, "manageable", None), "some fields")
    same(bm.set_node_maintenance(n, "new disk").maintenance_reason, "new disk", "reason")
    same(bm.unset_node_maintenance(n).is_maintenance, False, "maintenance")
    checks = bm.validate_node(n, required=("boot", "deploy", "power"))
    same(checks["power"].result, True, "validation of power")
    same(bm.get_conductor(n.conductor).drivers, ["fake-hardware", "ipmi"], "drivers of the conductor")


def life(n):
    n = bm.set_node_provision_state(n, "inspect", wait=True, timeout=30)
    n = bm.set_node_provision_state(n, "clean", wait=True, timeout=30,
                                    clean_steps=[{"interface": "deploy", "step": "erase_devices_metadata"}])
    n = bm.set_node_provision_state(n, "provide", wait=True, timeout=30)
    same([x.id for x in bm.wait_for_nodes_provision_state([n], "available", timeout=30)], [n.id], "available")
    allocations(n)
    uuid = "5f2a1a2e-0000-4000-8000-000000000001"
    n = bm.update_node(n, instance_id=uuid)
    same([x.id for x in bm.nodes(instance_id=uuid, fields=["uuid"])], [n.id], "nodes of the instance")
    bm.attach_vif_to_node(n, uuid)
    bm.list_node_vifs(n)
    bm.detach_vif_from_node(n, uuid)
    n = bm.set_node_provision_state(n, "active", wait=True, timeout=60,
                                    config_drive={"meta_data": {"hostname": "m1"}, "user_data": "#!/bin/sh"})
    bm.set_node_power_state(n, "power off", wait=True, timeout=30)
    same(bm.get_node(n.id).power_state, "power off", "power")
    bm.set_node_power_state(n, "power on", wait=True, timeout=30)
    bm.set_node_boot_device(n, "pxe", persistent=False)
    bm.wait_for_node_reservation(n, timeout=10)
    n = bm.set_node_provision_state(n, "rebuild", wait=True, timeout=60)
    same(n.provision_state, "active", "state")
    refused(exceptions.BadRequestException, "can not be performed", bm.set_node_provision_state, n, "manage")
    n = bm.set_node_provision_state(n, "deleted", wait=True, timeout=60)
    same((n.provision_state, n.instance_id), ("available", None), "after undeploy")
    bm.delete_node(n)  # available nodes may be deleted
    same(bm.find_node(n.id), None, "the deleted node")


def pages():
    names = [f"page-{i}" for i in range(5)]
    for name in names:
        bm.create_node(driver="fake-hardware", name=name, provision_state="enroll")
    same([n.name for n in bm.nodes(limit=2)], names, "pages of two")
    same([m["name"] for m in conn.list_machines()], names, "machines")
    refused(exceptions.BadRequestException, "", lambda: list(bm.nodes(provision_state="asleep")))


# The agent's inspection, with this program as the machine.
def inspect(c, n):
    mac = "52:54:00:0a:0b:02"
    c.port.create(node_uuid=n.uuid, address=mac)
    c.node.set_provision_state(n.uuid, "inspect")
    c.node.wait_for_provision_state(n.uuid, "inspect wait", timeout=30)
    nic = {"name": "eth0", "mac_address": mac, "ipv4_address": "192.0.2.5", "has_carrier": True}
    report = {"interfaces": [nic], "cpu": {"count": 4, "architecture": "x86_64"}, "memory": {"physical_mb": 8192},
              "disks": [{"name": "/dev/sda", "size": 64 << 30}], "boot": {"current_boot_mode": "uefi", "pxe_interface": mac}}
    got = bm.post("/continue_inspection", json={"inventory": report, "error": None, "boot_interface": mac})
    same(got.status_code, 202, "answer to the report")
    c.node.wait_for_provision_state(n.uuid, "manageable", timeout=30)
    same(c.node.get(n.uuid).properties["cpu_arch"], "x86_64", "architecture")  # the default hooks set no more
    got = bm.get(f"/nodes/{n.uuid}/inventory", microversion="1.81").json()
    same(got["inventory"], report, "inventory")


# What the SDK of Debian does not wrap: history, inventory, sorting, and negotiation by hand.
def library():
    c = ironicclient.get_client(1, endpoint=url, auth_type="none", os_ironic_api_version="latest")
    n = c.node.create(driver="fake-hardware", name="lib", inspect_interface="agent", driver_info={
        "deploy_kernel": "http://192.0.2.1/vmlinuz", "deploy_ramdisk": "http://192.0.2.1/initramfs"})
    c.node.set_provision_state(n.uuid, "manage")
    c.node.wait_for_provision_state(n.uuid, "manageable", timeout=30)
    inspect(c, n)
    events = c.node.get_history_list(n.uuid, detail=True)
    same(len(events) >= 4, True, "events")
    one = c.node.get_history_event(n.uuid, events[0]["uuid"])
    same(one["event"], events[0]["event"], "event")
    same([x.name for x in c.node.list(sort_key="name", sort_dir="desc", fields=["name"], limit=2)], ["page-4", "page-3"], "sorted")
    c.node.set_boot_device(n.uuid, "disk", persistent=True)
    same(c.node.get_boot_device(n.uuid), {"boot_device": "disk", "persistent": True}, "boot device")
    same("pxe" in c.node.get_supported_boot_devices(n.uuid)["supported_boot_devices"], True, "boot devices")
    same(c.node.validate(n.uuid).power, {"result": True}, "validation")
    same(c.conductor.get(n.conductor).drivers, ["fake-hardware", "ipmi"], "drivers of the conductor")
    same([x.alive for x in c.conductor.list(detail=True)], [True], "conductors")
    refused(exc.NotFound, "Node nobody could not be found.", c.node.get, "nobody")
    c.node.delete(n.uuid)


# A client that knows older versions gets what it knows; one that asks for too much is told the range.
def versions():
    old = ironicclient.get_client(1, endpoint=url, auth_type="none", os_ironic_api_version="1.9")
    n = old.node.list(limit=1)[0]
    same(hasattr(old.node.get(n.uuid), "resource_class"), False, "resource_class at 1.9")
    some = ironicclient.get_client(1, endpoint=url, auth_type="none", os_ironic_api_version=["1.58", "1.70"])
    same(hasattr(some.node.get(n.uuid), "lessee"), True, "lessee at 1.70")
    new = ironicclient.get_client(1, endpoint=url, auth_type="none", os_ironic_api_version="1.999")
    refused(exc.UnsupportedVersion, "1.999", new.node.list)


node = enrol()
ports(node)
storage_and_bonds(node)
fields(node)
life(node)
pages()
library()
versions()
print("done")
