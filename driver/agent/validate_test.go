package agent

import (
	"errors"
	"testing"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

func TestValidate(t *testing.T) {
	good := func() *node.Node {
		return &node.Node{UUID: testUUID, State: node.Available, InstanceInfo: node.Document{
			"image_source": "http://h/i.qcow2", "image_checksum": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		}}
	}
	const prefix = "Node " + testUUID + " cannot be deployed: "
	tests := []struct {
		name string
		edit func(n *node.Node)
		want string
	}{
		{"good", func(n *node.Node) {}, ""},
		{"all there is", func(n *node.Node) {
			for k, v := range map[string]any{"image_type": "whole-disk", "image_container_format": "bare", "image_disk_format": "qcow2",
				"image_server_auth_strategy": "http_basic", "image_server_user": 1001.0,
				"image_server_password": 12345678.0, "image_download_source": "http",
				"capabilities": map[string]any{"boot_mode": "UEFI", "boot_option": "local", "secure_boot": "true", "disk_label": "gpt"}} {
				n.InstanceInfo[k] = v
			}
			n.DriverInfo = node.Document{"deploy_forces_oob_reboot": "True"}
		}, ""},
		{"no image", func(n *node.Node) { delete(n.InstanceInfo, "image_source") },
			prefix + "one or more parameters are missing from its instance_info. Missing are: ['image_source']."},
		{"no image, after a failure", func(n *node.Node) { delete(n.InstanceInfo, "image_source"); n.State = node.DeployFailed },
			prefix + "one or more parameters are missing from its instance_info. Missing are: ['image_source']."},
		{"no image, to be cleaned", func(n *node.Node) { delete(n.InstanceInfo, "image_source"); n.State = node.Manageable }, ""},
		{"no checksum", func(n *node.Node) { delete(n.InstanceInfo, "image_checksum") },
			prefix + "instance_info/image_source: an image read over HTTP needs a checksum: set image_checksum (sha256 or sha512, or the URL " +
				"of a checksum file), or image_os_hash_algo and image_os_hash_value."},
		{"no checksum's type", func(n *node.Node) { n.InstanceInfo["image_checksum"] = 17.0 },
			prefix + "instance_info/image_checksum is 17; a string is allowed."},
		{"disk format", func(n *node.Node) { n.InstanceInfo["image_disk_format"] = "vmdk" },
			prefix + `instance_info/image_source: the disk format "vmdk" is not supported; allowed are raw, gpt, iso, qcow2.`},
		{"file outside", func(n *node.Node) { n.InstanceInfo["image_source"] = "file:///etc/shadow" },
			prefix + "instance_info/image_source: file:///etc/shadow may not be read: no directory is allowed for file:// URLs."},
		{"partition image", func(n *node.Node) { n.InstanceInfo["image_type"] = "partition" },
			prefix + "its image is a partition image, which needs instance_info/root_gb: a whole number of at least 1."},
		{"partition image with Secure Boot", func(n *node.Node) {
			n.InstanceInfo["image_type"], n.InstanceInfo["root_gb"] = "partition", 3.0
			n.InstanceInfo["capabilities"] = map[string]any{"secure_boot": "True"}
		}, prefix + "its instance asks for Secure Boot, and the boot loader that is installed for a partition image is signed by nobody: " +
			"take a whole-disk image, whose own boot loaders are signed."},
		{"partition image on hardware that has Secure Boot", func(n *node.Node) {
			n.InstanceInfo["image_type"], n.InstanceInfo["root_gb"] = "partition", 3.0
			n.Properties = node.Document{"capabilities": "secure_boot:true"}
		}, ""},
		{"image of no kind", func(n *node.Node) { n.InstanceInfo["image_type"] = "tarball" },
			prefix + `instance_info/image_type is "tarball"; "whole-disk" and "partition" are allowed.`},
		{"partition image by kernel", func(n *node.Node) { n.InstanceInfo["kernel"] = "http://h/k" },
			prefix + "its image is a partition image, which needs instance_info/root_gb: a whole number of at least 1."},
		{"container", func(n *node.Node) { n.InstanceInfo["image_container_format"] = "ova" },
			prefix + `instance_info/image_container_format is "ova"; only "bare" is supported.`},
		{"auth", func(n *node.Node) { n.InstanceInfo["image_server_auth_strategy"] = "http_digest" },
			prefix + `instance_info/image_server_auth_strategy is "http_digest"; "http_basic" and "noauth" are supported.`},
		{"auth without a password", func(n *node.Node) { n.InstanceInfo["image_server_auth_strategy"] = "http_basic" },
			prefix + "image_server_auth_strategy is http_basic, but image_server_user or image_server_password is missing from instance_info."},
		{"boot mode", func(n *node.Node) { n.Properties = node.Document{"capabilities": "boot_mode:efi"} },
			prefix + `the capability boot_mode is "efi"; allowed are bios, uefi.`},
		{"netboot", func(n *node.Node) { n.InstanceInfo["capabilities"] = `boot_option:netboot` },
			prefix + "the capability boot_option is netboot, but its image is a whole-disk image, which boots from its disk only; set " +
				"image_type to partition, with kernel and ramdisk, or boot_option to local."},
		{"capabilities of no kind", func(n *node.Node) { n.InstanceInfo["capabilities"] = []any{1.0} },
			prefix + `instance_info/capabilities is [1]; an object such as {"boot_mode": "uefi"}, or a text with one in JSON, is allowed.`},
		{"capabilities of broken JSON", func(n *node.Node) { n.InstanceInfo["capabilities"] = `{"boot_mode": uefi}` },
			prefix + `instance_info/capabilities is {"boot_mode": uefi}; an object such as {"boot_mode": "uefi"}, or a text with one in ` +
				`JSON, is allowed.`},
		{"a boot mode that the compute service asks for", func(n *node.Node) { n.InstanceInfo["capabilities"] = `{"boot_mode": "efi"}` },
			prefix + `the capability boot_mode is "efi"; allowed are bios, uefi.`},
		{"Secure Boot in a form that is none", func(n *node.Node) { n.InstanceInfo["capabilities"] = `{"secure_boot": "yes"}` },
			prefix + `the capability secure_boot is "yes"; allowed are true, false.`},
		{"wipe", func(n *node.Node) { n.DriverInfo = node.Document{"wipe_special_filesystems": "perhaps"} },
			prefix + `driver_info/wipe_special_filesystems is perhaps; true and false are allowed.`},
		{"oob", func(n *node.Node) { n.DriverInfo = node.Document{"deploy_forces_oob_reboot": "maybe"} },
			prefix + `driver_info/deploy_forces_oob_reboot is "maybe"; true and false are allowed.`},
		{"oob of no kind", func(n *node.Node) { n.DriverInfo = node.Document{"deploy_forces_oob_reboot": 1.0} },
			prefix + `driver_info/deploy_forces_oob_reboot is 1; true and false are allowed.`},
		{"swift", func(n *node.Node) { n.DriverInfo = node.Document{"image_download_source": "swift"} },
			prefix + `driver_info/image_download_source is swift; only "http" is supported (file:// images and those of the image store are ` +
				`always served by this service).`},
	}
	d := &Direct{Sources: &image.Store{}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := good()
			tt.edit(n)
			err := d.Validate(t.Context(), &driver.Task{Node: n})
			got := ""
			if err != nil {
				got = err.Error()
				if e, ok := errors.AsType[*node.Err](err); !ok || e.Kind != node.Invalid {
					t.Errorf("the error is a %T, not node.Invalid", err)
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
