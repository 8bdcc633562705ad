package agent

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// capabilities that this interface obeys, and their values.
var capabilities = []struct {
	name    string
	allowed []string
}{
	{"boot_mode", []string{"bios", "uefi"}},
	{"boot_option", []string{"local", "netboot"}},
	{"disk_label", []string{"gpt", "msdos"}},
	{"secure_boot", []string{"true", "false"}},
}

// Validate implements driver.Implementation: everything about the node's own fields that a deploy
// would fail for later.
func (d *Direct) Validate(_ context.Context, t *driver.Task) error {
	n := t.Node
	for _, check := range []func(*node.Node) error{
		d.validateImage, validateKind, validateCapabilities, d.validatePartitions, validateDriverInfo, d.validatePrograms,
	} {
		if err := check(n); err != nil {
			return err
		}
	}
	return nil
}

func invalid(n *node.Node, format string, args ...any) error {
	return node.Errorf(node.Invalid, "Node %s cannot be deployed: %s.", n.UUID, fmt.Sprintf(format, args...))
}

func (d *Direct) validateImage(n *node.Node) error {
	if n.InstanceInfo.String("image_source") == "" {
		if !deployable(n) {
			return nil
		}
		return invalid(n, "one or more parameters are missing from its instance_info. Missing are: ['image_source']")
	}
	for _, key := range []string{"image_checksum", "image_os_hash_algo", "image_os_hash_value", "image_disk_format", "image_container_format"} {
		if v, ok := n.InstanceInfo[key]; ok && v != nil {
			if _, ok := v.(string); !ok {
				return invalid(n, "instance_info/%s is %v; a string is allowed", key, v)
			}
		}
	}
	if err := d.Sources.Validate(imageRef(n)); err != nil {
		return invalid(n, "instance_info/image_source: %v", err)
	}
	return nil
}

// deployable reports whether the node may be deployed in the state it is in. A node that may not
// is validated for cleaning, which needs no image.
func deployable(n *node.Node) bool {
	_, deploy := n.State.Next(node.EventDeploy)
	_, rebuild := n.State.Next(node.EventRebuild)
	return deploy || rebuild
}

// validateKind refuses ways of fetching or authenticating that are not supported.
func validateKind(n *node.Node) error {
	i := n.InstanceInfo
	if kind := i.String("image_type"); kind != "" && kind != wholeDisk && kind != partition {
		return invalid(n, "instance_info/image_type is %q; %q and %q are allowed", kind, wholeDisk, partition)
	}
	if f := i.String("image_container_format"); f != "" && f != "bare" {
		return invalid(n, "instance_info/image_container_format is %q; only \"bare\" is supported", f)
	}
	switch auth := i.String("image_server_auth_strategy"); auth {
	case "", "noauth":
	case "http_basic":
		if i.Text("image_server_user") == "" || i.Text("image_server_password") == "" {
			return invalid(n, "image_server_auth_strategy is http_basic, but image_server_user or image_server_password is missing from instance_info")
		}
	default:
		return invalid(n, "instance_info/image_server_auth_strategy is %q; \"http_basic\" and \"noauth\" are supported", auth)
	}
	return nil
}

func validateCapabilities(n *node.Node) error {
	if _, _, ok := node.Capabilities(n.InstanceInfo["capabilities"]); !ok {
		return invalid(n, "instance_info/capabilities is %v; an object such as {\"boot_mode\": \"uefi\"}, or a text with one in JSON, is allowed", n.InstanceInfo["capabilities"])
	}
	if isPartition(n) && !isNetboot(n) && wantsSecureBoot(n) && deployable(n) {
		return invalid(n, "its instance asks for Secure Boot, and the boot loader that is installed for a partition image is signed by nobody: take a whole-disk image, whose own boot loaders are signed")
	}
	for _, c := range capabilities {
		if v := n.Capability(c.name); v != "" && !slices.Contains(c.allowed, strings.ToLower(v)) {
			return invalid(n, "the capability %s is %q; allowed are %s", c.name, v, strings.Join(c.allowed, ", "))
		}
	}
	return nil
}

func validateDriverInfo(n *node.Node) error {
	switch v := n.DriverInfo["deploy_forces_oob_reboot"].(type) {
	case nil, bool:
	case string:
		if _, err := strconv.ParseBool(v); err != nil {
			return invalid(n, "driver_info/deploy_forces_oob_reboot is %q; true and false are allowed", v)
		}
	default:
		return invalid(n, "driver_info/deploy_forces_oob_reboot is %v; true and false are allowed", v)
	}
	if v := n.DriverInfo[wipeKey]; v != nil {
		if _, ok := boolean(v); !ok {
			return invalid(n, "driver_info/%s is %v; true and false are allowed", wipeKey, v)
		}
	}
	for place, d := range map[string]node.Document{"driver_info": n.DriverInfo, "instance_info": n.InstanceInfo} {
		if v, ok := d["image_download_source"]; ok && v != nil && v != "http" {
			return invalid(n, "%s/image_download_source is %v; only \"http\" is supported (file:// images and those of the image store are always served by this service)", place, v)
		}
	}
	return nil
}
