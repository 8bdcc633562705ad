package agent

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// An image's GRUB runs as root in the ramdisk only where the service, the node's key and whose image it is let it;
// what would need it is refused before anything boots.
func TestImagesProgramsAreRunForTheTrustedOnly(t *testing.T) {
	const lessee, service, key = "the node has a lessee, whose images are not trusted",
		"the service's run_image_bootloader is false", "driver_info/run_image_bootloader is false"
	mirror := node.Document{"logical_disks": []any{map[string]any{"size_gb": "MAX", "raid_level": "1", "controller": "software"}}}
	for _, tt := range []struct {
		name string
		off  bool // the service's key
		edit func(n *node.Node)
		want string // "" it may be deployed
	}{
		{"as ever", false, func(*node.Node) {}, ""},
		{"switched off", true, func(*node.Node) {}, service},
		{"switched off for the node", false, func(n *node.Node) { n.DriverInfo = node.Document{"run_image_bootloader": "False"} }, key},
		{"switched on for the node", true, func(n *node.Node) { n.DriverInfo = node.Document{"run_image_bootloader": true} }, ""},
		{"a lessee's", false, func(n *node.Node) { n.Lessee = "project" }, lessee},
		{"a lessee's whom somebody trusts", false, func(n *node.Node) {
			n.Lessee, n.DriverInfo = "project", node.Document{"run_image_bootloader": "true"}
		}, ""},
		{"a lessee's cannot ask by instance_info", false,
			func(n *node.Node) { n.Lessee = "project"; n.InstanceInfo["run_image_bootloader"] = true }, lessee},
		{"neither truth nor lie", false, func(n *node.Node) { n.DriverInfo = node.Document{"run_image_bootloader": "perhaps"} },
			"driver_info/run_image_bootloader is perhaps; true and false are allowed"},
		{"netboot", true, func(n *node.Node) {
			n.InstanceInfo["capabilities"] = map[string]any{"boot_option": "netboot"}
			n.InstanceInfo["kernel"], n.InstanceInfo["ramdisk"] = "http://h/k", "http://h/r"
		}, ""},
		{"whole disk", true, func(n *node.Node) { n.InstanceInfo["image_type"] = "whole-disk" }, ""},
		{"whole disk of a lessee on RAID, BIOS", false, func(n *node.Node) {
			n.InstanceInfo["image_type"], n.Lessee, n.RAIDConfig, n.BootMode = "whole-disk", "project", mirror, "bios"
		}, lessee},
		{"whole disk of a lessee on RAID, UEFI", false, func(n *node.Node) {
			n.InstanceInfo["image_type"], n.Lessee, n.RAIDConfig, n.BootMode = "whole-disk", "project", mirror, "uefi"
		}, ""},
		{"nothing to deploy", true, func(n *node.Node) { n.State = node.Manageable }, ""},
	} {
		d := &Direct{Sources: &image.Store{}, NoImagePrograms: tt.off}
		n := &node.Node{UUID: testUUID, State: node.Available, InstanceInfo: node.Document{
			"image_source": "http://h/i.qcow2", "image_checksum": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			"image_type": "partition", "root_gb": 3.0,
		}}
		tt.edit(n)
		err := d.Validate(t.Context(), &driver.Task{Node: n})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
