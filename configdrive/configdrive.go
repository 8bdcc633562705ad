// Package configdrive owns the config drive, by which an instance learns its name, keys, network and
// user data: it checks the drive that a client gives, builds one from parts, unpacks it on the
// machine's side and makes of it what the machine's disk can hold. User data are secrets: nothing
// here writes them to a file, and no error quotes them.
package configdrive

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Label is the file system's label (and the partition's name) by which cloud-init and others find
// the drive.
const Label = "config-2"

// MaxSize is Ironic's limit of a config drive, unpacked.
const MaxSize = 64 << 20

// File is a file of a drive: a slash-separated path and what is in it.
type File struct {
	Path string
	Data []byte
}

// latest is the folder of the OpenStack metadata format that every reader falls back to.
const latest = "openstack/latest/"

// Check refuses what no agent could use: text must be base64 of a gzipped image, or a URL of one.
func Check(text string) error {
	if u, err := url.Parse(text); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if u.Host == "" {
			return invalid("The config drive is a URL without a host.")
		}
		return nil
	}
	zipped, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		return invalid("The config drive must be an http or https URL, or base64 of a gzipped image; this is neither.")
	}
	// All of the base64, but only the start of the image: a small drive may unpack to a huge one.
	_, zipErr := io.Copy(io.Discard, io.LimitReader(zipped, 64<<10))
	_, err = io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if zipErr != nil || err != nil {
		return invalid("The config drive is damaged: its base64 or gzip does not decode.")
	}
	return nil
}

func invalid(format string, args ...any) error { return node.Errorf(node.Invalid, format, args...) }

// Build makes the drive that was asked for in parts: base64 of gzip of ISO 9660, as agents take it.
// What the parts leave out comes from the node.
func Build(p node.ConfigDriveParts, n *node.Node) (string, error) {
	files, err := Files(p, n)
	if err != nil {
		return "", err
	}
	image, err := makeISO(files)
	if err != nil {
		return "", fmt.Errorf("building the config drive: %w", err)
	}
	if len(image) > MaxSize {
		return "", invalid("The config drive would have %d bytes; at most %d are allowed.", len(image), MaxSize)
	}
	return Pack(image)
}

// Pack writes a drive's image as the API carries it.
func Pack(image []byte) (string, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(image); err != nil {
		return "", fmt.Errorf("compressing the config drive: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("compressing the config drive: %w", err)
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}

// Files are those of a drive in parts. What was not given has no file, and neither has what is empty:
// of network data without links cloud-init makes a machine without a network, where without the file
// it asks DHCP; and an empty file of the other kinds means the same to it as none.
func Files(p node.ConfigDriveParts, n *node.Node) ([]File, error) {
	network := p.NetworkData
	if len(network) == 0 {
		network = n.NetworkData
	}
	meta, err := metaData(p.MetaData, n)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, f := range []struct {
		name string
		doc  any
		none bool
	}{
		{"meta_data.json", meta, false},
		{"network_data.json", network, len(network) == 0},
		{"user_data", p.UserData, isEmpty(p.UserData)},
		{"vendor_data2.json", p.VendorData, len(p.VendorData) == 0},
	} {
		if f.none {
			continue
		}
		text, isText := f.doc.(string)
		b := []byte(text)
		if !isText {
			if b, err = encode(f.doc); err != nil {
				return nil, fmt.Errorf("encoding %s: %w", f.name, err)
			}
		}
		files = append(files, File{latest + f.name, b})
	}
	return files, nil
}

// metaData completes what was given. A member that is null is not there: cloud-init takes a drive
// with "meta": null or "files": null for broken.
func metaData(given node.Document, n *node.Node) (node.Document, error) {
	meta := given.Clone()
	maps.DeleteFunc(meta, func(_ string, v any) bool { return v == nil })
	setDefault(meta, "uuid", n.UUID)
	name := n.Name
	if name == "" {
		name = n.UUID
	}
	setDefault(meta, "name", name)
	setDefault(meta, "hostname", meta.String("name"))
	for _, key := range []string{"files", "network_config"} { // both name files beside this one
		if !isEmpty(meta[key]) {
			return nil, invalid("meta_data of a config drive in parts can not have %q: it names files of the drive, and the parts have none. "+
				"Use user_data or network_data, or give the whole drive as base64 of a gzipped image.", key)
		}
	}
	return meta, nil
}

func setDefault(d node.Document, key string, value any) {
	if v, ok := d[key]; !ok || v == "" {
		d[key] = value
	}
}

func isEmpty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people and scripts read it
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// folders lists the folders of files, each after the one that it is in; "" is the root.
func folders(files []File) []string {
	seen := map[string]bool{"": true}
	for _, f := range files {
		for at := range f.Path {
			if f.Path[at] == '/' {
				seen[f.Path[:at]] = true
			}
		}
	}
	list := slices.Collect(maps.Keys(seen))
	slices.SortFunc(list, func(a, b string) int {
		if d := depth(a) - depth(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return list
}

func depth(folder string) int {
	if folder == "" {
		return 0
	}
	return 1 + strings.Count(folder, "/")
}

// split parts a path into its folder and its name.
func split(path string) (folder, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
