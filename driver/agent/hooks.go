package agent

import (
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/agent/wire"
	"github.com/billet-metal/billet/node"
)

// minRootDisk is the smallest disk a system is put on when no hint says otherwise.
const minRootDisk = 4 << 30

const gib = 1 << 30

// readInventory takes the report's inventory apart.
func readInventory(d node.Document) (wire.Inventory, error) {
	var i wire.Inventory
	text, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(text, &i)
	}
	if err != nil {
		return i, node.Errorf(node.Invalid, "The inspection's inventory cannot be read: %v.", err)
	}
	return i, nil
}

// nic is a network interface that may become a port.
type nic struct{ name, mac, address string }

// usable keeps interfaces with a MAC address of their own: no loopback, no multicast, no zeros.
func usable(all []wire.NIC) []nic {
	var nics []nic
	for _, n := range all {
		mac, err := net.ParseMAC(n.MACAddress)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 || n.Name == "lo" || !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 }) {
			continue
		}
		address := n.IPv4Address
		if address == "" {
			address = n.IPv6Address
		}
		nics = append(nics, nic{n.Name, mac.String(), address})
	}
	return nics
}

// bootedFrom is the MAC address the machine booted from, "" when nobody knows. PXELINUX puts the
// hardware type before it ("01-52-54-…").
func bootedFrom(reported string, i wire.Inventory) string {
	for _, s := range []string{reported, i.Boot.PXEInterface} {
		s = strings.ReplaceAll(s, "-", ":")
		if len(s) == len("01:52:54:00:00:00:01") {
			s = strings.TrimPrefix(s, "01:")
		}
		if mac, err := net.ParseMAC(s); err == nil && len(mac) == 6 {
			return mac.String()
		}
	}
	return ""
}

// summary is what the field's tools look for in the plugin data.
func summary(nics []nic, booted string) (macs []string, valid map[string]any) {
	valid = map[string]any{}
	for _, n := range nics {
		macs = append(macs, n.mac)
		valid[n.name] = map[string]any{"name": n.name, "mac_address": n.mac, "ip": n.address, "pxe_enabled": n.mac == booted}
	}
	return macs, valid
}

// describe writes what was found into the node's properties, as strings, which is how the field
// spells them. What the report does not say stays as it is.
func describe(n *node.Node, i wire.Inventory, plugin node.Document) {
	p := n.Properties.Clone()
	set := func(key, value string) {
		if value != "" && value != "0" {
			p[key] = value
		}
	}
	set("cpu_arch", i.CPU.Architecture)
	set("cpus", strconv.Itoa(i.CPU.Count))
	memory := i.Memory.PhysicalMB
	if memory == 0 {
		memory = i.Memory.Total >> 20
	}
	set("memory_mb", strconv.FormatInt(memory, 10))
	// One GiB less than the disk has, for partition tables and the config drive.
	if size := rootSize(i, plugin); size >= 2*gib {
		set("local_gb", strconv.FormatInt(size/gib-1, 10))
	}
	set("vendor", i.SystemVendor.Manufacturer)
	if mode := strings.ToLower(i.Boot.CurrentBootMode); mode == "bios" || mode == "uefi" {
		p["capabilities"] = node.WithCapability(p["capabilities"], "boot_mode", mode)
		n.BootMode = mode
	}
	n.Properties = p
}

// rootSize is the root disk's size in bytes: as the agent chose it, else the smallest disk that
// would do; 0 when there is none.
func rootSize(i wire.Inventory, plugin node.Document) int64 {
	if root, ok := plugin["root_disk"].(map[string]any); ok {
		switch size := root["size"].(type) {
		case float64:
			return int64(size)
		case json.Number:
			n, _ := size.Int64()
			return n
		}
	}
	var smallest int64
	for _, d := range i.Disks {
		if d.Size >= minRootDisk && (smallest == 0 || d.Size < smallest) {
			smallest = d.Size
		}
	}
	return smallest
}
