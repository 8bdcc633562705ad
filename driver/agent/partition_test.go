package agent

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

func partitionNode() *node.Node {
	return &node.Node{UUID: testUUID, State: node.Available, InstanceInfo: node.Document{
		"image_source": "http://h/i.qcow2", "image_checksum": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"image_type": "partition", "root_gb": 10.0,
	}}
}

func TestValidatePartitionImages(t *testing.T) {
	const prefix = "Node " + testUUID + " cannot be deployed: "
	netboot := map[string]any{"boot_option": "netboot"}
	for _, tt := range []struct {
		name string
		set  node.Document
		want string
	}{
		{"root alone", nil, ""},
		{"everything", node.Document{"swap_mb": "512", "ephemeral_gb": json.Number("20"), "ephemeral_format": "ext3",
			"preserve_ephemeral": "True",
			"capabilities":       map[string]any{"disk_label": "gpt", "boot_mode": "uefi"}}, ""},
		{"by kernel", node.Document{"image_type": nil, "kernel": "http://h/k", "ramdisk": "http://h/r"}, ""},
		{"netboot", node.Document{"capabilities": netboot, "kernel": "http://h/k", "ramdisk": "http://h/r"}, ""},
		{"no root", node.Document{"root_gb": nil}, "its image is a partition image, which needs instance_info/root_gb: a whole number of at " +
			"least 1."},
		{"root of nothing", node.Document{"root_gb": 0.0}, "instance_info/root_gb is 0; a whole number from 1 to 1048576 is allowed."},
		{"half a root", node.Document{"root_gb": 1.5}, "instance_info/root_gb is 1.5; a whole number from 1 to 1048576 is allowed."},
		{"root in words", node.Document{"root_gb": "ten"}, "instance_info/root_gb is ten; a whole number from 1 to 1048576 is allowed."},
		{"swap", node.Document{"swap_mb": -1.0}, "instance_info/swap_mb is -1; a whole number from 0 to 1073741824 is allowed."},
		{"ephemeral", node.Document{"ephemeral_gb": []any{}}, "instance_info/ephemeral_gb is []; a whole number from 0 to 1048576 is allowed."},
		{"format", node.Document{"ephemeral_format": "ntfs"}, `instance_info/ephemeral_format is ntfs; allowed are ext4, ext3, ext2, vfat.`},
		{"format xfs", node.Document{"ephemeral_format": "xfs"}, `instance_info/ephemeral_format is xfs; allowed are ext4, ext3, ext2, vfat.`},
		{"format vfat", node.Document{"ephemeral_gb": 2047, "ephemeral_format": "vfat"}, ""},
		{"format vfat, too large", node.Document{"ephemeral_gb": "2048", "ephemeral_format": "vfat"},
			"instance_info/ephemeral_format is vfat, which holds at most 2047 GiB, and ephemeral_gb is 2048; allowed are smaller sizes, or " +
				"ext4, ext3, ext2."},
		{"format that is no text", node.Document{"ephemeral_gb": 1, "ephemeral_format": 4},
			"instance_info/ephemeral_format is 4; allowed are ext4, ext3, ext2, vfat."},
		{"format that is empty", node.Document{"ephemeral_gb": 1, "ephemeral_format": ""}, ""},
		{"preserve", node.Document{"preserve_ephemeral": "maybe"}, "instance_info/preserve_ephemeral is maybe; true and false are allowed."},
		{"preserve nothing", node.Document{"preserve_ephemeral": true},
			"instance_info/preserve_ephemeral is true, but there is no ephemeral_gb: name the size of the partition that is to be kept."},
		{"netboot without a kernel", node.Document{"capabilities": netboot},
			"the capability boot_option is netboot, which needs instance_info/kernel and instance_info/ramdisk: the image's own, as file:// or " +
				"http(s):// URLs or names in the image store."},
		{"netboot from anywhere", node.Document{"capabilities": netboot, "kernel": "file:///etc/shadow", "ramdisk": "http://h/r"},
			"instance_info/kernel: file:///etc/shadow may not be read: no directory is allowed for file:// URLs."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := partitionNode()
			for k, v := range tt.set {
				n.InstanceInfo[k] = v
			}
			err := (&Direct{Sources: &image.Store{}}).Validate(t.Context(), &driver.Task{Node: n})
			got := ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), prefix)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// image_info has Ironic's keys for a partition image, and none of them for another.
func TestImageInfoOfPartitionImages(t *testing.T) {
	n := partitionNode()
	for k, v := range map[string]any{"swap_mb": 512.0, "ephemeral_gb": 2.0, "ephemeral_format": "ext4", "preserve_ephemeral": true,
		"capabilities": map[string]any{"disk_label": "gpt", "boot_mode": "uefi"}} {
		n.InstanceInfo[k] = v
	}
	d := &Direct{Sources: &fakeSources{resolved: image.Resolved{URL: "http://h/i.qcow2", Info: image.Info{Format: image.QCOW2},
		HashAlgo: "sha256", HashValue: "ab"}}, Images: fakeImages{}}
	got := imageInfoDocument(t, d, n)
	want := map[string]any{
		"id": "i.qcow2", "urls": []any{"http://h/i.qcow2"}, "disk_format": "qcow2", "container_format": "bare", "os_hash_algo": "sha256",
		"os_hash_value":     "ab",
		"stream_raw_images": true, "node_uuid": testUUID, "image_type": "partition", "deploy_boot_mode": "uefi", "boot_option": "local",
		"disk_label": "gpt",
		"root_gb":    10.0, "root_mb": 10240.0, "swap_mb": 512.0, "ephemeral_mb": 2048.0, "ephemeral_format": "ext4", "preserve_ephemeral": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	n.InstanceInfo["image_type"] = "whole-disk"
	for key := range imageInfoDocument(t, d, n) {
		if strings.HasPrefix(key, "root_") || strings.HasPrefix(key, "ephemeral") || key == "image_type" {
			t.Errorf("a whole-disk image has %s", key)
		}
	}
}

// ironic-python-agent takes each of these for granted, asked for or not.
func TestImageInfoHasEveryKeyOfAPartitionImage(t *testing.T) {
	d := &Direct{Sources: &fakeSources{resolved: image.Resolved{URL: "http://h/i.qcow2", Info: image.Info{Format: image.QCOW2}}},
		Images: fakeImages{}}
	for _, tt := range []struct {
		ephemeral any
		format    string
	}{{nil, ""}, {1.0, "ext4"}} {
		n := partitionNode()
		n.InstanceInfo["ephemeral_gb"] = tt.ephemeral
		doc := imageInfoDocument(t, d, n)
		for _, key := range []string{"root_mb", "swap_mb", "ephemeral_mb", "ephemeral_format", "preserve_ephemeral"} {
			if _, there := doc[key]; !there {
				t.Errorf("with ephemeral_gb %v there is no %s", tt.ephemeral, key)
			}
		}
		if doc["ephemeral_format"] != tt.format {
			t.Errorf("with ephemeral_gb %v the format is %v, want %q", tt.ephemeral, doc["ephemeral_format"], tt.format)
		}
	}
}

func imageInfoDocument(t *testing.T, d *Direct, n *node.Node) map[string]any {
	t.Helper()
	info, err := d.writing().info(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}
