package openstack

import (
	"context"
	"slices"
	"strings"
	"time"

	pictures "github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// Describe says what Glance knows of an image, in the words of deploys.
func (g *Images) Describe(ctx context.Context, id string) (*pictures.Described, error) {
	i, err := g.Image(ctx, id)
	if node.KindOf(err) == node.NotFound {
		return nil, node.Errorf(node.NotFound, "Glance has no image %s, or Billet's account may not see it: name another image, make it public "+
			"or community, share it with the account's project, or give the account the role admin", id)
	}
	if err != nil {
		return nil, err
	}
	d := &pictures.Described{
		ID: id, Name: i.Name, Status: i.Status, Size: i.Size, DiskFormat: strings.ToLower(i.DiskFormat),
		ContainerFormat: strings.ToLower(i.ContainerFormat), MinDisk: i.MinDisk,
		Kind: i.Properties["img_type"], Capabilities: capabilitiesOf(i.Properties),
	}
	d.HashAlgo, d.HashValue = i.sum()
	for key, to := range map[string]*string{"kernel_id": &d.Kernel, "ramdisk_id": &d.Ramdisk} {
		if id := i.Properties[key]; id != "" && id != "nokernel" {
			*to = "glance://" + id
		}
	}
	return d, nil
}

// sum is the checksum that an image is known by: MD5, which Glance has of every image, can be forged and is taken only where there
// is no other.
func (i *Image) sum() (algo, value string) {
	if algo = strings.ToLower(i.HashAlgo); slices.Contains(pictures.Algorithms(), algo) && i.HashValue != "" {
		return algo, strings.ToLower(i.HashValue)
	}
	if i.MD5 != "" {
		return "md5", strings.ToLower(i.MD5)
	}
	return "", ""
}

// capabilitiesOf reads what an image asks of its machine: Compute's own properties, and capabilities as bare metal flavors have
// them, "boot_mode:uefi,disk_label:gpt", which win.
func capabilitiesOf(properties map[string]string) map[string]string {
	out := map[string]string{}
	if mode := properties["hw_firmware_type"]; mode != "" {
		out["boot_mode"] = strings.ToLower(mode)
	}
	if properties["os_secure_boot"] == "required" {
		out["secure_boot"] = "true"
	}
	for pair := range strings.SplitSeq(properties["capabilities"], ",") {
		if key, value, ok := strings.Cut(pair, ":"); ok {
			out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return out
}

// ImageURLs are temporary URLs of the images that Glance keeps in Swift, one object for each, named by its ID.
type ImageURLs struct {
	Objects   *Objects
	Container string
	Life      time.Duration
}

// URL is where anybody may read the bytes of an image for some time; "" when they are not in Swift. It is a secret.
func (u *ImageURLs) URL(ctx context.Context, d *pictures.Described) (string, error) {
	url, err := u.Objects.URL(ctx, u.Container, d.ID, node.Now().Add(u.Life))
	if err != nil {
		return "", err
	}
	if err = u.Objects.Check(ctx, url); node.KindOf(err) == node.NotFound {
		return "", nil
	}
	return url, err
}
