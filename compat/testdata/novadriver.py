# The compute service's own driver for bare metal (nova.virt.ironic.driver), over its own openstacksdk, drives a
# node's whole life. What is not here of a compute service is its database, its network service and its other
# processes: those calls are answered by the few lines of stand() below. Arguments: the service's URL, and the user
# and password when it asks for them; the parts of the test to run.
import sys
import tempfile
import time
import warnings
from unittest import mock

warnings.simplefilter("ignore")

import nova.conf
from nova import context as nova_context
from nova import exception, objects
from nova.compute import power_state, provider_tree, task_states, vm_states
from nova.network import model as network_model
from nova.virt.ironic import driver as ironic_driver
from oslo_serialization import jsonutils
from oslo_utils import uuidutils

url, user, password, parts = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
CONF = nova.conf.CONF
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 10)  # the library looks again every two seconds


def same(got, want, what):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def refused(kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as e:
        assert text in str(e), f"refused with {e}, want {text}"
        return
    raise AssertionError(f"not refused; want {text}")


def configure():
    CONF([], project="nova", default_config_files=[])
    from keystoneauth1 import loading
    loading.register_auth_conf_options(CONF, "ironic")
    options = {"auth_type": "none", "endpoint_override": url, "api_retry_interval": 1, "api_max_retries": 60}
    if user:
        options["auth_type"] = "http_basic"
        CONF.register_opts(loading.get_auth_plugin_conf_options("http_basic"), group="ironic")
        options |= {"username": user, "password": password, "endpoint": url}
    for name, value in options.items():
        CONF.set_override(name, value, group="ironic")
    CONF.set_override("host", "compute-1")
    CONF.set_override("force_config_drive", True)
    CONF.set_override("tempdir", tempfile.mkdtemp())
    CONF.set_override("lock_path", tempfile.mkdtemp(), group="oslo_concurrency")
    objects.register_all()


# stand answers in place of the compute service's database, network service and peers.
def stand():
    for what, answer in {
        "nova.objects.ServiceList.get_all_computes_by_hv_type": [],
        "nova.objects.Instance.save": None,
        "nova.objects.Instance.refresh": None,
        "nova.objects.Instance.get_bdms": [],
        "nova.api.metadata.base.security_group_api.get_instance_security_groups": [],
        "nova.api.metadata.base._format_instance_mapping": {},
    }.items():
        mock.patch(what, return_value=answer).start()
    mock.patch("nova.objects.InstanceList.get_uuids_by_host", side_effect=lambda ctxt, host: [i.uuid for i in instances]).start()
    mock.patch("nova.objects.Instance.get_by_uuid", side_effect=lambda ctxt, uuid: next(i for i in instances if i.uuid == uuid)).start()


instances = []  # those the compute service's database has


def new_instance(ctx, node_id, extra_specs=None):
    flavor = objects.Flavor(
        id=1, name="bm", flavorid="bm", memory_mb=2048, vcpus=2, root_gb=10, ephemeral_gb=0, swap=0, rxtx_factor=1.0, vcpu_weight=0,
        disabled=False, is_public=True, description=None, extra_specs=extra_specs or {"resources:CUSTOM_BAREMETAL": "1", "capabilities:boot_option": "local"})
    i = objects.Instance(
        ctx, id=1, uuid=uuidutils.generate_uuid(), node=node_id, host="compute-1", hostname="web-1", display_name="web 1", user_id="ada", project_id="p1",
        flavor=flavor, config_drive="True", vm_state=vm_states.BUILDING, task_state=task_states.SPAWNING, metadata={"role": "web"}, system_metadata={},
        user_data=None, key_name="k", key_data="ssh-ed25519 AAAA k", launch_index=0, reservation_id="r-1", availability_zone="nova", os_type=None, image_ref="i",
        default_ephemeral_device=None, root_device_name=None, device_metadata=None, numa_topology=None,
        ec2_ids=objects.EC2Ids(instance_id="i-1", ami_id="ami-1", kernel_id=None, ramdisk_id=None),
        keypairs=objects.KeyPairList(objects=[objects.KeyPair(name="k", type="ssh", public_key="ssh-ed25519 AAAA k")]))
    i.obj_reset_changes()
    instances.append(i)
    return i


# network_of is what the network service would say: one port with a fixed address.
def network_of(*vifs):
    subnet = network_model.Subnet(cidr="192.0.2.0/24", ips=[network_model.FixedIP(address="192.0.2.7", version=4)],
                                  gateway=network_model.IP(address="192.0.2.1", type="gateway", version=4), dns=[], routes=[])
    network = network_model.Network(id=uuidutils.generate_uuid(), label="tenant", subnets=[subnet], meta={"mtu": 1500})
    return network_model.NetworkInfo([network_model.VIF(id=v, address="fa:16:3e:00:00:01", network=network, type="other", devname="tap0") for v in vifs])


image = objects.ImageMeta(id="6b2d5d4c-0000-4000-8000-000000000001", name="web", properties=objects.ImageMetaProps())


def enrol(bm, name, **fields):
    n = bm.create_node(driver="fake-hardware", name=name, resource_class="baremetal", provision_state="enroll", network_interface="flat",
                       properties={"cpus": 8, "memory_mb": 16384, "local_gb": 200, "cpu_arch": "x86_64"}, **fields)
    port = bm.create_port(node_id=n.id, address=f"52:54:00:00:01:{len(list(bm.ports())):02x}", is_pxe_enabled=True)
    n = bm.set_node_provision_state(n, "manage", wait=True, timeout=30)
    return bm.set_node_provision_state(n, "provide", wait=True, timeout=30), port


def boot(driver, ctx, instance, net):
    driver.prepare_for_spawn(instance)
    driver.prepare_networks_before_block_device_mapping(instance, net)
    driver.spawn(ctx, instance, image, [("/etc/motd", b"hello")], "s3cret", {}, network_info=net)
    instance.vm_state, instance.task_state = vm_states.ACTIVE, None


def node_of(bm, n):
    return bm.get_node(n.id)


# resources are what the compute service tells the scheduler of a node.
def resources(driver, n, used):
    same(driver.get_available_nodes(), [n.id], "nodes")
    same(driver.get_nodenames_by_uuid(), {n.id: n.id}, "names")
    same((driver.node_is_available(n.id), driver.is_node_deleted(n.id)), (True, False), "the node is there")
    nobody = uuidutils.generate_uuid()
    same((driver.node_is_available(nobody), driver.is_node_deleted(nobody)), (False, True), "no such node")
    r = driver.get_available_resource(n.id)
    same((r["hypervisor_hostname"], r["hypervisor_type"], r["vcpus"], r["memory_mb"], r["local_gb"], r["resource_class"]),
         (n.id, "ironic", 0, 0, 0, "baremetal"), "resources")  # the resource class stands for the size
    tree = provider_tree.ProviderTree()
    tree.new_root(n.id, n.id)
    driver.update_provider_tree(tree, n.id)
    got = tree.data(n.id)
    same(got.inventory["CUSTOM_BAREMETAL"]["reserved"], int(used), "reserved")
    same(got.traits, {"CUSTOM_FAST"}, "traits")


def whole_life(driver, ctx, bm):
    n, port = enrol(bm, "compute-a")
    bm.add_node_trait(n, "CUSTOM_FAST")
    resources(driver, n, used=False)
    i, vif = new_instance(ctx, n.id), uuidutils.generate_uuid()
    net = network_of(vif)
    same(driver.instance_exists(i), False, "before")
    refused(exception.InstanceNotFound, i.uuid, driver._validate_instance_and_node, i)

    boot(driver, ctx, i, net)
    n = node_of(bm, n)
    same((n.provision_state, n.power_state, n.instance_id, n.last_error), ("active", "power on", i.uuid, None), "spawned")
    info = n.instance_info
    same({k: info[k] for k in ("image_source", "root_gb", "swap_mb", "display_name", "vcpus", "memory_mb", "local_gb", "nova_host_id", "configdrive")},
         {"image_source": image.id, "root_gb": "10", "swap_mb": "0", "display_name": "web 1", "vcpus": "2", "memory_mb": "2048", "local_gb": "200",
          "nova_host_id": "compute-1", "configdrive": "******"}, "instance_info")
    same(n.instance_name, "web 1", "name of the instance")
    same(bm.list_node_vifs(n.id), [vif], "virtual interfaces")
    same(bm.get_port(port.id).internal_info, {"tenant_vif_port_id": vif}, "the port")
    same(driver.instance_exists(i), True, "after")
    same(driver.list_instance_uuids(), [], "instances of the old cache")
    resources(driver, n, used=True)
    same((driver.list_instance_uuids(), driver.list_instances()), ([i.uuid], [i.name]), "instances")
    got = driver.get_info(i, use_cache=False)
    same(got.state, power_state.RUNNING, "state")

    driver.power_off(i)
    same(driver.get_info(i, use_cache=False).state, power_state.SHUTDOWN, "state")
    driver.power_on(ctx, i, net)
    driver.reboot(ctx, i, net, "HARD")
    driver.reboot(ctx, i, net, "SOFT")
    driver.power_off(i, timeout=20)
    same(driver.get_info(i, use_cache=False).state, power_state.SHUTDOWN, "state after a soft power off")
    driver.power_on(ctx, i, net)
    same(driver.get_info(i, use_cache=False).state, power_state.RUNNING, "state")
    driver.trigger_crash_dump(i)
    refused(exception.ConsoleTypeUnavailable, "serial", driver.get_serial_console, ctx, i)
    refused(NotImplementedError, "", driver.set_admin_password, i, "new")

    driver.rescue(ctx, i, net, image, "let me in", None, None)
    same(node_of(bm, n).provision_state, "rescue", "rescued")
    driver.unrescue(ctx, i)
    same(node_of(bm, n).provision_state, "active", "unrescued")
    i.task_state = task_states.REBUILDING
    driver.rebuild(ctx, i, image, [], "s3cret", {}, None, detach_block_devices=None, attach_block_devices=None, network_info=net)
    same(node_of(bm, n).provision_state, "active", "rebuilt")

    driver.destroy(ctx, i, net)
    instances.remove(i)
    driver.destroy(ctx, i, net)  # of an instance that is gone
    clean(bm, bm.wait_for_nodes_provision_state([n], "available", timeout=30)[0])
    resources(driver, n, used=False)
    bm.delete_node(n)


# bonded: a node with a portgroup. The virtual interface goes there, and the config drive tells the instance of the bond.
def bonded(driver, ctx, bm):
    n, port = enrol(bm, "compute-b")
    bm.set_node_provision_state(n, "manage", wait=True, timeout=30)
    group = bm.create_port_group(node_id=n.id, name="bond0", address="52:54:00:00:01:f0", mode="802.3ad", properties={"miimon": 100}, is_standalone_ports_supported=False)
    bm.update_port(port, port_group_id=group.id, is_pxe_enabled=False)
    other = bm.create_port(node_id=n.id, address="52:54:00:00:01:f1", port_group_id=group.id, is_pxe_enabled=False)
    loose = bm.create_port(node_id=n.id, address="52:54:00:00:01:f2", is_pxe_enabled=True)
    n = bm.set_node_provision_state(n, "provide", wait=True, timeout=30)
    i, first, second = new_instance(ctx, n.id), uuidutils.generate_uuid(), uuidutils.generate_uuid()
    net = network_of(first, second)
    boot(driver, ctx, i, net)
    same(bm.get_port_group(group.id).internal_info, {"tenant_vif_port_id": first}, "the portgroup")
    same(bm.get_port(loose.id).internal_info, {"tenant_vif_port_id": second}, "the port beside it")
    links = {link.get("vif_id", link["id"]): link for link in driver._get_network_metadata(n, net)["links"]}
    bond = links[first]
    same((bond["type"], bond["bond_mode"], bond["bond_miimon"], bond["ethernet_mac_address"], sorted(bond["bond_links"])),
         ("bond", "802.3ad", 100, "52:54:00:00:01:f0", sorted([port.id, other.id])), "the bond of the config drive")
    same((links[second]["type"], links[second]["ethernet_mac_address"], links[other.id]["ethernet_mac_address"]),
         ("phy", "52:54:00:00:01:f2", "52:54:00:00:01:f1"), "links of the config drive")
    driver.attach_interface(ctx, i, image, net[0])  # attached already, which is as good
    third = network_of(uuidutils.generate_uuid())
    refused(exception.VirtualInterfacePlugException, "not enough free physical ports", driver._plug_vifs, n, i, third)
    driver.detach_interface(ctx, i, net[1])
    same(bm.list_node_vifs(n.id), [first], "after one was detached")
    driver.attach_interface(ctx, i, image, third[0])
    same(sorted(bm.list_node_vifs(n.id)), sorted([first, third[0]["id"]]), "after another was attached")
    finish(driver, ctx, bm, n, i, net)


# finish destroys an instance, sees that nothing of it is left on the node, and forgets the node.
def finish(driver, ctx, bm, n, i, net):
    driver.destroy(ctx, i, net)
    instances.remove(i)
    n = bm.wait_for_nodes_provision_state([n], "available", timeout=30)[0]
    clean(bm, n)
    bm.delete_node(n)


def clean(bm, n):
    n = node_of(bm, n)
    same((n.provision_state, n.instance_id, n.instance_info, bm.list_node_vifs(n.id), [t.volume_id for t in bm.volume_targets(node=n.id, details=True)]),
         ("available", None, {}, [], []), "the node after its instance")


class Volume(dict):
    """A volume of the instance, as the compute manager hands them down."""

    is_volume = True

    def __init__(self, index):
        super().__init__(boot_index=index)
        self._bdm_obj = mock.Mock(boot_index=index, volume_id=f"vol-{index}")
        self._bdm_obj.connection_info = jsonutils.dumps({"driver_volume_type": "iscsi", "data": {
            "target_portal": "192.0.2.30:3260", "target_iqn": "iqn.x", "target_lun": 1, "auth_password": "hush"}})


# volumes: what the storage service is told of the node, a data volume that comes and goes with its instance, and an
# instance that would boot from a volume, which is refused with the reason and undone.
def volumes(driver, ctx, bm):
    n, _ = enrol(bm, "compute-c")
    for kind, name in (("iqn", "iqn.2026-01.example:c"), ("ip", "192.0.2.50"), ("wwpn", "2000"), ("wwpn", "2001")):
        bm.create_volume_connector(node_id=n.id, type=kind, connector_id=name)
    i, vif = new_instance(ctx, n.id), uuidutils.generate_uuid()
    net = network_of(vif)
    same(driver.get_volume_connector(i), {
        "ip": "192.0.2.50", "host": "192.0.2.50", "initiator": "iqn.2026-01.example:c", "wwpns": ["2000", "2001"], "platform": "x86_64",
        "os_type": "baremetal", "multipath": False}, "the connector")

    driver.prepare_for_spawn(i)
    driver.prepare_networks_before_block_device_mapping(i, net)
    asked, validate = [], bm.validate_node
    with mock.patch.object(bm, "validate_node", side_effect=lambda *args, **kw: asked.append(validate(*args, **kw)) or asked[-1]):
        refused(exception.ValidationError, "failed to validate", driver.spawn, ctx, i, image, [], None, {}, network_info=net,
                block_device_info={"block_device_mapping": [Volume(0)]})
    assert "is to boot from volume vol-0" in asked[0]["storage"].reason, asked[0]["storage"].reason
    clean(bm, n)

    driver.prepare_for_spawn(i)
    driver.prepare_networks_before_block_device_mapping(i, net)
    driver.spawn(ctx, i, image, [], None, {}, network_info=net, block_device_info={"block_device_mapping": [Volume(1)]})
    i.vm_state, i.task_state = vm_states.ACTIVE, None
    (target,) = bm.volume_targets(node=n.id, details=True)
    same((target.volume_id, target.boot_index, target.volume_type, target.properties["auth_password"], target.properties["target_lun"]),
         ("vol-1", 1, "iscsi", "******", 1), "the volume target")
    finish(driver, ctx, bm, n, i, net)


# failures: nodes that are not to be had, two instances for one node, and deploys that fail.
def failures(driver, ctx, bm):
    n, _ = enrol(bm, "compute-d", driver_info={"fake_write_image_fail": "the disk is on fire"})
    i, late, net = new_instance(ctx, n.id), new_instance(ctx, n.id), network_of(uuidutils.generate_uuid())
    bm.set_node_maintenance(n, "new disk")
    refused(exception.ComputeResourcesUnavailable, "is not available", driver.prepare_for_spawn, i)
    tree = provider_tree.ProviderTree()
    tree.new_root(n.id, n.id)
    driver.get_available_nodes()
    driver.update_provider_tree(tree, n.id)
    same(tree.data(n.id).inventory["CUSTOM_BAREMETAL"]["reserved"], 1, "reserved in maintenance")
    bm.unset_node_maintenance(n)

    seen = driver._get_node(n.id)
    driver.prepare_for_spawn(i)
    refused(exception.InstanceDeployFailure, "Failed to reserve node", driver._set_instance_id, seen, late)  # it saw the node free
    refused(exception.ComputeResourcesUnavailable, "is not available", driver.prepare_for_spawn, late)
    same(node_of(bm, n).instance_id, i.uuid, "who has the node")
    instances.remove(late)
    driver.destroy(ctx, late, net)  # which never was

    driver.prepare_networks_before_block_device_mapping(i, net)
    refused(exception.InstanceDeployFailure, "the disk is on fire", driver.spawn, ctx, i, image, [], None, {}, network_info=net)
    same(node_of(bm, n).provision_state, "deploy failed", "state")
    driver.destroy(ctx, i, net)
    clean(bm, bm.wait_for_nodes_provision_state([n], "available", timeout=30)[0])

    driver.prepare_for_spawn(i)
    driver.failed_spawn_cleanup(i)
    clean(bm, n)
    refused(exception.InstanceNotFound, i.uuid, driver.power_off, i)
    instances.remove(i)
    bm.delete_node(n)


# partitions: a compute service that serves one shard, or one conductor group, sees that part of the nodes only.
def partitions(driver, ctx, bm):
    east, _ = enrol(bm, "compute-e", shard="s1")
    west, _ = enrol(bm, "compute-w", shard="s2")
    loose, _ = enrol(bm, "compute-l")
    nodes = lambda: sorted(driver.get_available_nodes())
    same(nodes(), sorted([east.id, west.id, loose.id]), "all nodes")
    CONF.set_override("shard", "s1", group="ironic")
    same(nodes(), [east.id], "nodes of a shard")
    CONF.clear_override("shard", group="ironic")
    for group, want in (("", [east.id, west.id, loose.id]), ("elsewhere", [])):
        CONF.set_override("conductor_group", group, group="ironic")
        CONF.set_override("peer_list", ["compute-1"], group="ironic")
        same(nodes(), sorted(want), f"nodes of the conductor group {group!r}")
    CONF.clear_override("conductor_group", group="ironic")
    i = new_instance(ctx, east.id)
    CONF.set_override("shard", "s2", group="ironic")
    driver.prepare_for_spawn(i)
    same(nodes(), [west.id], "an instance's node in another shard is another's affair")
    CONF.clear_override("shard", group="ironic")
    same(nodes(), sorted([east.id, west.id, loose.id]), "with the instance's node")
    driver.failed_spawn_cleanup(i)
    instances.remove(i)
    for n in (east, west, loose):
        bm.delete_node(n)


def main():
    configure()
    stand()
    ctx = nova_context.RequestContext("ada", "p1", is_admin=True)
    driver = ironic_driver.IronicDriver(None)
    driver.init_host("compute-1")
    bm = driver.ironic_connection
    for test in [globals()[part] for part in parts]:
        began = time.monotonic()
        test(driver, ctx, bm)
        print(f"{test.__name__}: {time.monotonic() - began:.1f} s")
    print("done")


main()
