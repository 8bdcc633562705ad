package driver_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

const instanceUUID = "12345678-1234-1234-1234-123456789abc"

func asking(info node.Document) *node.Node {
	n := &node.Node{UUID: instanceUUID, State: node.Available, InstanceInfo: node.Document{"image_source": "http://h/i.qcow2"}}
	maps.Copy(n.InstanceInfo, info)
	return n
}

// The one order by which every driver knows the mode a machine boots in: the capability, Secure Boot, what the machine said
// last, UEFI. What is not allowed counts as not said.
func TestBootModeOfAnInstance(t *testing.T) {
	for _, tt := range []struct {
		instance, properties any
		last                 string
		asked, known, mode   string
		secure               bool
	}{
		{nil, nil, "", "", "", "uefi", false},
		{nil, nil, "bios", "", "bios", "bios", false},
		{nil, nil, "uefi", "", "uefi", "uefi", false},
		{nil, "boot_mode:uefi", "bios", "uefi", "uefi", "uefi", false},
		{"boot_mode:bios", "boot_mode:uefi", "uefi", "bios", "bios", "bios", false},
		{map[string]any{"boot_mode": "UEFI"}, nil, "bios", "uefi", "uefi", "uefi", false},
		{`{"boot_mode": "Bios"}`, nil, "", "bios", "bios", "bios", false},
		{"secure_boot:true", nil, "", "uefi", "uefi", "uefi", true},
		{"secure_boot:True", nil, "bios", "uefi", "uefi", "uefi", true},
		{"secure_boot:false", nil, "bios", "", "bios", "bios", false},
		{nil, "secure_boot:true", "bios", "", "bios", "bios", false}, // the hardware has it; nobody asks for it
		{"secure_boot:true", "boot_mode:bios", "", "bios", "bios", "bios", true},
		{"boot_mode:efi", nil, "bios", "", "bios", "bios", false},
		{"boot_mode:efi,secure_boot:true", nil, "bios", "uefi", "uefi", "uefi", true},
		{nil, nil, "coreboot", "", "", "uefi", false},
	} {
		n := &node.Node{BootMode: tt.last, InstanceInfo: node.Document{"capabilities": tt.instance},
			Properties: node.Document{"capabilities": tt.properties}}
		i := driver.InstanceOf(n)
		if i.AskedMode != tt.asked || i.BootMode != tt.known || i.Mode() != tt.mode || i.SecureBoot != tt.secure {
			t.Errorf("%v, %v, last %q: asked %q, known %q, %q, Secure Boot %v", tt.instance, tt.properties, tt.last,
				i.AskedMode, i.BootMode, i.Mode(), i.SecureBoot)
		}
	}
}

// An image's ref and the document for its writer, for each form of checksum and server.
func TestImageOfAnInstance(t *testing.T) {
	i := driver.InstanceOf(asking(node.Document{"image_source": "http://h/a/b.img?sig=/x", "image_checksum": "c",
		"image_os_hash_algo": "sha512", "image_os_hash_value": "v", "image_disk_format": "raw", "image_server_auth_strategy": "http_basic",
		"image_server_user": 1001.0, "image_server_password": 12345678.0, "capabilities": "boot_mode:UEFI,boot_option:NetBoot,disk_label:GPT"}))
	ref := image.Ref{Source: "http://h/a/b.img?sig=/x", Checksum: "c", HashAlgo: "sha512", HashValue: "v", DiskFormat: "raw",
		User: "1001", Password: "12345678"}
	if diff := cmp.Diff(ref, i.Image); diff != "" || !i.Netboot || i.DiskLabel != "gpt" || i.IsPartition || i.NeedsLoader() {
		t.Errorf("%+v: %s", i, diff)
	}
	far := image.Resolved{URL: "http://h/x", Info: image.Info{Format: image.GPT}, HashAlgo: "md5", HashValue: "m"}
	got, err := i.ImageInfo(far, "http://h/x")
	want := wire.ImageInfo{ID: "b.img", URLs: []string{"http://h/x"}, DiskFormat: "raw", ContainerFormat: "bare", Checksum: "m",
		NodeUUID: instanceUUID, BootMode: "uefi", AuthStrategy: "http_basic", AuthUser: "1001", AuthPassword: "12345678"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	// A file that this service serves needs nobody's password.
	got, err = i.ImageInfo(image.Resolved{Path: "/i", Info: image.Info{Format: image.QCOW2}, HashAlgo: "sha256", HashValue: "v"}, "/boot/1")
	want = wire.ImageInfo{ID: "b.img", URLs: []string{"/boot/1"}, DiskFormat: "qcow2", ContainerFormat: "bare", HashAlgo: "sha256",
		HashValue: "v", NodeUUID: instanceUUID, BootMode: "uefi"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	for source, want := range map[string]string{"debian-12": "debian-12", "file:///a/b.qcow2": "b.qcow2", "http://h/a/": "a"} {
		if got, _ := driver.InstanceOf(asking(node.Document{"image_source": source})).ImageInfo(image.Resolved{}, ""); got.ID != want {
			t.Errorf("%s: %s, want %s", source, got.ID, want)
		}
	}
}

// A partition image by Ironic's rule; its sizes; what its loader needs.
func TestPartitionsOfAnInstance(t *testing.T) {
	for _, tt := range []struct {
		info      node.Document
		partition bool
	}{
		{nil, false},
		{node.Document{"image_type": "partition"}, true},
		{node.Document{"kernel": "k"}, true},
		{node.Document{"ramdisk": "r"}, true},
		{node.Document{"image_type": "whole-disk", "kernel": "k"}, false},
	} {
		if i := driver.InstanceOf(asking(tt.info)); i.IsPartition != tt.partition || i.NeedsLoader() != tt.partition {
			t.Errorf("%v: %v, needs a loader: %v", tt.info, i.IsPartition, i.NeedsLoader())
		}
	}
	i := driver.InstanceOf(asking(node.Document{"image_type": "partition", "root_gb": "10", "swap_mb": 512.0, "ephemeral_gb": 2,
		"preserve_ephemeral": "true", "capabilities": "boot_option:netboot"}))
	want := wire.PartitionImage{RootGB: 10, RootMB: 10240, SwapMB: 512, EphemeralMB: 2048, EphemeralFormat: "ext4", PreserveEphemeral: true}
	if diff := cmp.Diff(want, i.Partitions); diff != "" || i.NeedsLoader() {
		t.Errorf("needs a loader: %v; %s", i.NeedsLoader(), diff)
	}
	info, err := i.ImageInfo(image.Resolved{}, "")
	if err != nil || info.ImageType != "partition" || info.BootOption != "netboot" || info.BootMode != "" {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := driver.InstanceOf(asking(node.Document{"image_type": "partition"})).ImageInfo(image.Resolved{}, ""); err == nil {
		t.Error("a partition image without sizes is written")
	}
}

func TestPartitionImageFits(t *testing.T) {
	i := driver.InstanceOf(asking(node.Document{"image_type": "partition", "root_gb": 10}))
	const prefix = "Node " + instanceUUID + " cannot be deployed: "
	const whole = prefix + "instance_info asks for a partition image, but image_source holds a whole disk with a partition table: " +
		`set image_type to "whole-disk".`
	for _, tt := range []struct {
		info image.Info
		says string
	}{
		{image.Info{Format: image.QCOW2, VirtualSize: 10 << 30}, ""},
		{image.Info{Format: image.QCOW2, VirtualSize: 10<<30 + 1},
			prefix + "its image needs 10737418241 bytes, but instance_info/root_gb is 10, which is 10737418240 bytes."},
		{image.Info{Format: image.GPT, VirtualSize: 1}, whole}, {image.Info{Format: image.Raw, PartitionTable: "mbr", VirtualSize: 1}, whole},
	} {
		err := i.CheckFits(image.Resolved{Info: tt.info})
		if got := errorText(err); got != tt.says {
			t.Errorf("%+v: got  %s\nwant %s", tt.info, got, tt.says)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What an instance boots by is left whole, and all of an earlier one forgotten.
func TestRoot(t *testing.T) {
	found := func(source string) (string, error) { return "/images/" + source, nil }
	info := node.Document{"image_type": "partition", "root_gb": 1, "kernel": "k", "ramdisk": "r", "capabilities": "boot_option:netboot"}
	n := asking(info)
	n.DriverInternalInfo = node.Document{"agent_version": "1"}
	before := n.Clone()
	err := driver.InstanceOf(n).NoteRoot("6f0c", found)
	if err != nil || driver.RootOf(n) != (driver.Root{UUID: "6f0c", Kernel: "/images/k", Ramdisk: "/images/r"}) {
		t.Errorf("%v, %+v", err, driver.RootOf(n))
	}
	if len(before.DriverInternalInfo) != 1 {
		t.Error("a clone has it too")
	}
	lost := func(string) (string, error) { return "", errors.New("no such image") }
	if err := driver.InstanceOf(n).NoteRoot("77", lost); node.KindOf(err) != node.Invalid || driver.RootOf(n).UUID != "6f0c" {
		t.Errorf("%v, %+v", err, driver.RootOf(n))
	}
	n.InstanceInfo["capabilities"] = nil
	if err := driver.InstanceOf(n).NoteRoot("77", lost); err != nil || driver.RootOf(n) != (driver.Root{UUID: "77"}) {
		t.Errorf("%v, %+v", err, driver.RootOf(n))
	}
	n.InstanceInfo["image_type"] = "whole-disk"
	err = driver.InstanceOf(n).NoteRoot("88", lost)
	if err != nil || driver.RootOf(n) != (driver.Root{}) || len(n.DriverInternalInfo) != 1 {
		t.Errorf("%v, %v", err, n.DriverInternalInfo)
	}
}

// Of an instance that lives in memory, kernel and ramdisk are its own: Secure Boot refuses no boot loader that nobody installs.
func TestSecureBootAndPartitions(t *testing.T) {
	i := driver.InstanceOf(asking(node.Document{"kernel": "k", "ramdisk": "r", "root_gb": 1, "capabilities": "secure_boot:true"}))
	if err := i.CheckCapabilities(); err != nil {
		t.Error(err)
	}
	if err := i.CheckPartitions(); err == nil || !strings.Contains(err.Error(), "is signed by nobody") {
		t.Errorf("got %v", err)
	}
}
