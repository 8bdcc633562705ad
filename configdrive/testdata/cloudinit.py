"""Has cloud-init's own data source read a config drive, and its own renderers write the network's configuration.

usage: cloudinit.py CLOUD_INIT MAC DRIVE...   (folders: cloud-init unpacked, each drive's files; eth0's address)
It prints what cloud-init understood of each as JSON.
"""
import json
import os
import shutil
import sys
import tempfile
from unittest import mock

root, mac, *drives = sys.argv[1:]
sys.path.insert(0, os.path.join(root, "usr/lib/python3/dist-packages"))

from cloudinit import helpers, net  # noqa: E402
from cloudinit.net import eni, netplan, network_state, networkd  # noqa: E402
from cloudinit.sources import DataSourceConfigDrive  # noqa: E402


def parts(message):
    """What a MIME message of cloud-init holds: the kind and text of each part."""
    return [[p.get_content_type(), p.get_payload(decode=True).decode()] for p in message.walk() if not p.is_multipart()]


def render(config, kind):
    target = tempfile.mkdtemp(dir=work)
    if kind is netplan.Renderer:
        renderer = kind({"netplan_path": "network", "postcmds": False})
    elif kind is eni.Renderer:
        renderer = kind({"eni_path": "network", "netrules_path": None})
    else:
        renderer = kind({})
    with mock.patch.object(netplan, "_clean_default", lambda target=None: None):
        renderer.render_network_state(network_state.parse_net_config_data(config), target=target)
    found = {}
    for folder, _, names in os.walk(target):
        for name in names:
            with open(os.path.join(folder, name)) as f:
                found[name] = f.read()
    return found


def understand(drive):
    paths = helpers.Paths({"cloud_dir": os.path.join(work, "cloud"), "run_dir": work})
    source = DataSourceConfigDrive.DataSourceConfigDrive({}, None, paths)
    shutil.rmtree(source.seed_dir, ignore_errors=True)
    shutil.copytree(drive, source.seed_dir)
    try:
        taken = source._get_data()
    except Exception:  # cloud-init logs it and goes on without the drive
        taken = False
    if not taken:
        return {"refused": True}
    source.known_macs = {mac: "eth0"}
    config = source.network_config
    given = config is not None
    if not given:  # what cloud-init does at boot when no source says anything of the network
        with mock.patch.object(net, "find_fallback_nic", lambda **_: "eth0"), mock.patch.object(net, "read_sys_net_safe", lambda *_, **__: mac):
            config = net.generate_fallback_config()
    return {
        "instance": source.get_instance_id(),
        "hostname": getattr(source.get_hostname(), "hostname", None),
        "fqdn": getattr(source.get_hostname(fqdn=True), "hostname", None),
        "keys": source.get_public_ssh_keys(),
        "network_given": given,
        "netplan": render(config, netplan.Renderer),
        "eni": render(config, eni.Renderer),
        "networkd": render(config, networkd.Renderer),
        "user": parts(source.get_userdata()),
        "vendor": parts(source.get_vendordata2()),
    }


work = tempfile.mkdtemp()
try:
    print(json.dumps([understand(d) for d in drives]))
finally:
    shutil.rmtree(work)
