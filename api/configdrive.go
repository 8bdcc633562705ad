package api

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/billet-metal/billet/node"
)

// driveParts is a config drive asked for in parts, to be built once the node is known. The zero
// pointer builds nothing.
type driveParts struct{ node.ConfigDriveParts }

// readConfigDrive reads a config drive: either text that goes on unchanged (base64 of a gzipped
// image, or a URL), or parts.
func readConfigDrive(v version, target string, value any) (*driveParts, string, error) {
	if value == nil {
		return nil, "", nil
	}
	if target == "rebuild" {
		if err := v.needs("provision.configdrive of rebuild", "'configdrive' with 'rebuild'"); err != nil {
			return nil, "", err
		}
	}
	switch x := value.(type) {
	case string:
		return nil, x, checkDriveText(x)
	case map[string]any:
		parts, err := readDriveParts(v, x)
		return parts, "", err
	}
	return nil, "", invalid("A config drive must be a string or an object, not %s.", kindOf(value))
}

// checkDriveText refuses what no agent could use, before the node changes.
func checkDriveText(s string) error {
	if s == "" {
		return invalid("The config drive is empty.")
	}
	if u, err := url.Parse(s); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if u.Host == "" {
			return invalid("The config drive is a URL without a host.")
		}
		return nil
	}
	zipped, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(s)))
	if err != nil {
		return invalid("The config drive must be an http or https URL, or base64 of a gzipped image; this is neither.")
	}
	// All of the base64, but only the start of the image: a small drive may unpack to a huge one.
	_, zipErr := io.Copy(io.Discard, io.LimitReader(zipped, 64<<10))
	_, err = io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, strings.NewReader(s)))
	if zipErr != nil || err != nil {
		return invalid("The config drive is damaged: its base64 or gzip does not decode.")
	}
	return nil
}

func readDriveParts(v version, m map[string]any) (*driveParts, error) {
	if err := v.needs("provision.configdrive in parts", "a config drive given as an object"); err != nil {
		return nil, err
	}
	if m["vendor_data"] != nil {
		if err := v.needs("provision.vendor_data", "'vendor_data' of a config drive"); err != nil {
			return nil, err
		}
	}
	for k := range m {
		switch k {
		case "meta_data", "network_data", "user_data", "vendor_data":
		default:
			return nil, invalid("A config drive has no %q. Allowed are: meta_data, network_data, user_data, vendor_data.", k)
		}
	}
	var d driveParts
	var err error
	for _, part := range []struct {
		key string
		to  *node.Document
	}{{"meta_data", &d.MetaData}, {"network_data", &d.NetworkData}, {"vendor_data", &d.VendorData}} {
		if *part.to, err = object("configdrive."+part.key, m[part.key]); err != nil {
			return nil, err
		}
	}
	switch x := m["user_data"].(type) {
	case nil, string, map[string]any:
		d.UserData = x
	default:
		return nil, invalid("user_data of a config drive must be a string or an object, not %s.", kindOf(x))
	}
	return &d, nil
}

// build makes the image of a config drive: base64 of gzip of ISO 9660, as agents take it. What the
// parts leave out comes from the node.
func (d *driveParts) build(n *node.Node) (string, error) {
	if d == nil {
		return "", nil
	}
	files, err := d.files(n)
	if err != nil {
		return "", err
	}
	iso, err := makeISO("config-2", files)
	if err != nil {
		return "", fmt.Errorf("building the config drive: %w", err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(iso); err != nil {
		return "", fmt.Errorf("compressing the config drive: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("compressing the config drive: %w", err)
	}
	return base64.StdEncoding.EncodeToString(zipped.Bytes()), nil
}

// files are what cloud-init reads on a config drive (OpenStack metadata format, version "latest").
func (d *driveParts) files(n *node.Node) ([]isoFile, error) {
	meta, network := d.MetaData.Clone(), d.NetworkData
	setDefault(meta, "uuid", n.UUID)
	name := n.Name
	if name == "" {
		name = n.UUID
	}
	setDefault(meta, "name", name)
	setDefault(meta, "hostname", meta.String("name"))
	if len(network) == 0 {
		network = n.NetworkData
	}
	files := []isoFile{}
	for _, f := range []struct {
		name string
		doc  node.Document
	}{{"meta_data.json", meta}, {"network_data.json", network}, {"vendor_data2.json", d.VendorData}} {
		b, err := marshal(document(f.doc))
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", f.name, err)
		}
		files = append(files, isoFile{"openstack/latest/" + f.name, b})
	}
	switch u := d.UserData.(type) {
	case string:
		files = append(files, isoFile{"openstack/latest/user_data", []byte(u)})
	case map[string]any:
		b, err := marshal(u)
		if err != nil {
			return nil, fmt.Errorf("encoding user_data: %w", err)
		}
		files = append(files, isoFile{"openstack/latest/user_data", b})
	}
	return files, nil
}

func setDefault(d node.Document, key string, value any) {
	if v, ok := d[key]; !ok || v == nil || v == "" {
		d[key] = value
	}
}
