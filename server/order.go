package server

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

// Everything that can be wrong with an order by itself is found before a machine is reserved.

// Order is what somebody wants.
type Order struct {
	Name     string
	Hostname string // "": the name
	Image    Image

	Class      string
	Traits     []string
	Candidates []string // nodes, by name or UUID; none: any

	Networks []string // names or UUIDs; a port is made on each
	Ports    []string // ports of Neutron that are there already
	Address  *Address // without Neutron: one that no DHCP gives

	Keys     []string // public SSH keys
	UserData []byte

	Wait time.Duration // for it to be active; 0: not at all
}

// Image is what is written to the machine's disk.
type Image struct {
	Source   string        // a URL, a name, or a UUID of Glance
	Checksum string        // sha256 or sha512
	More     node.Document // further keys of instance_info, such as root_gb
}

// Address is what a server is told of its network when no DHCP says it.
type Address struct {
	Prefix  netip.Prefix // the server's own address, with the length of its network's prefix
	Gateway netip.Addr   // the zero Addr: none
	DNS     []netip.Addr
}

// MostUserData bounds what cloud-init is given: more belongs behind a URL.
const MostUserData = 1 << 20

// nameForm is that of an allocation's name which is a host name as well (RFC 1123 §2.1).
var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

var uuidForm = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// Check says what is wrong with an order.
func (o Order) Check() error {
	switch {
	case !nameForm.MatchString(o.Name) || uuidForm.MatchString(o.Name):
		return invalid("A server can not be called %q: its name is its host name too, of letters, digits, - and . (RFC 1123), "+
			"at most 253, and no UUID.", o.Name)
	case o.Hostname != "" && !nameForm.MatchString(o.Hostname):
		return invalid("%q is no host name: letters, digits, - and . are allowed (RFC 1123), at most 253.", o.Hostname)
	case o.Class == "":
		return invalid("A server needs a resource class: it says which machines will do.")
	case len(o.UserData) > MostUserData:
		return invalid("The user data have %d bytes; at most %d are allowed.", len(o.UserData), MostUserData)
	case o.Address != nil && len(o.Networks)+len(o.Ports) > 0:
		return invalid("A server on a network of Neutron has the address that Neutron gives it: give no other.")
	}
	for i, key := range o.Keys {
		if err := checkKey(key); err != nil {
			return invalid("SSH key %d: %v.", i+1, err)
		}
	}
	return o.Image.check(true)
}

func invalid(format string, args ...any) error { return node.Errorf(node.Invalid, format, args...) }

func (i Image) check(needed bool) error {
	web := strings.HasPrefix(i.Source, "http://") || strings.HasPrefix(i.Source, "https://")
	of, err := i.hash()
	switch {
	case err != nil:
		return err
	case i.Source == "" && !needed && i.Checksum == "":
		return nil
	case i.Source == "":
		return invalid("A server needs an image.")
	case web && of == "" && i.More["image_os_hash_value"] == nil && i.More["image_checksum"] == nil:
		return invalid("The image %s comes from the web and needs a checksum (sha256 or sha512).", bare(i.Source))
	}
	return nil
}

// hash is the checksum's algorithm, "" without one.
func (i Image) hash() (string, error) {
	switch len(i.Checksum) {
	case 0:
		return "", nil
	case 64:
		return "sha256", nil
	case 128:
		return "sha512", nil
	}
	return "", invalid("The checksum has %d characters; sha256 has 64 and sha512 has 128.", len(i.Checksum))
}

// imageKeys are the keys of instance_info that are about one image, and go with it.
var imageKeys = []string{"image_source", "image_checksum", "image_os_hash_algo", "image_os_hash_value", "image_disk_format",
	"image_container_format", "image_type", "kernel", "ramdisk", "image_url"}

// write puts the image into instance_info, in place of the one that was there.
func (i Image) write(info node.Document) {
	if i.Source != "" {
		for _, key := range imageKeys {
			delete(info, key)
		}
		info["image_source"] = i.Source
	}
	if algo, _ := i.hash(); algo != "" { // it has been checked
		info["image_os_hash_algo"], info["image_os_hash_value"] = algo, strings.ToLower(i.Checksum)
	}
	maps.Copy(info, i.More)
}

// bare is a URL without its query, which may hold a signature.
func bare(source string) string {
	before, _, _ := strings.Cut(source, "?")
	return before
}

// checkKey refuses what no SSH server would take for a public key: a type, base64 of a blob that names the same type (RFC 4253
// §6.6), and a comment.
func checkKey(key string) error {
	if strings.Contains(key, "PRIVATE KEY") {
		return fmt.Errorf("this is a private key, which stays with its owner; name the public one, mostly .pub")
	}
	fields := strings.Fields(key)
	if len(fields) < 2 || strings.ContainsAny(key, "\r\n") {
		return fmt.Errorf("a public key is one line: a type, the key, a comment")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(blob) < 4 {
		return fmt.Errorf("what follows %q is no base64 of a key", fields[0])
	}
	if n := binary.BigEndian.Uint32(blob); int64(n) > int64(len(blob)-4) || string(blob[4:4+n]) != fields[0] {
		return fmt.Errorf("it says %q, and its contents are of another type, or cut off", fields[0])
	}
	return nil
}

// drive is the config drive's content for the server that an allocation stands for.
func (o Order) drive(uuid string, network node.Document) node.ConfigDriveParts {
	meta := node.Document{"uuid": uuid, "name": o.Name, "hostname": o.Hostname}
	if o.Hostname == "" {
		meta["hostname"] = o.Name
	}
	keys := map[string]any{}
	for i, key := range o.Keys {
		keys[fmt.Sprintf("key-%d", i+1)] = strings.TrimSpace(key)
	}
	if len(keys) > 0 {
		meta["public_keys"] = keys
	}
	parts := node.ConfigDriveParts{MetaData: meta, NetworkData: network}
	if len(o.UserData) > 0 {
		parts.UserData = string(o.UserData)
	}
	return parts
}

// deploy is the request that writes the image. Parts go as they are; of user data that JSON has no text for, the whole drive is
// built here.
func (o Order) deploy(uuid string, n *node.Node, network node.Document) (node.ProvisionRequest, error) {
	req := node.ProvisionRequest{Event: node.EventDeploy}
	parts := o.drive(uuid, network)
	if utf8.Valid(o.UserData) {
		req.DriveParts = &parts
		return req, nil
	}
	var err error
	req.ConfigDrive, err = configdrive.Build(parts, n)
	return req, err
}

// extra is what the allocation keeps of an order; given are the addresses of ports that were there before.
func (o Order) extra(given []string) node.Document {
	asked := map[string]any{"image": bare(o.Image.Source)}
	if o.Address != nil {
		asked["address"] = o.Address.Prefix.Addr().String()
	}
	if len(o.Networks) > 0 {
		asked["neutron"] = true // and there are ports to delete
	}
	if len(given) > 0 {
		asked["given"] = strings.Join(given, ",")
	}
	return node.Document{extraKey: asked}
}
