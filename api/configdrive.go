package api

import (
	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// A config drive comes as text, as a URL or as parts, depending on the version. These are told apart here, by the request alone;
// what is in a drive is judged by the conductor, under the lease and with the node at hand.

// readConfigDrive reads the shape of a config drive: text (base64 of a gzipped image, or a URL), or
// parts. The conductor judges the one and builds of the other.
func readConfigDrive(v version, target string, value any, req *node.ProvisionRequest) (err error) {
	if value == nil {
		return nil
	}
	if target == "rebuild" {
		if err := v.needs(driveOfRebuild, "'configdrive' with 'rebuild'"); err != nil {
			return err
		}
	}
	switch x := value.(type) {
	case string:
		if req.ConfigDrive = x; x == "" { // which would mean none from here on
			return invalid("The config drive is empty.")
		}
		return nil
	case map[string]any:
		req.DriveParts, err = readDriveParts(v, x)
		return err
	}
	return invalid("A config drive must be a string or an object, not %s.", payload.KindOf(value))
}

func readDriveParts(v version, m map[string]any) (*node.ConfigDriveParts, error) {
	if err := v.needs(driveInParts, "a config drive given as an object"); err != nil {
		return nil, err
	}
	if m["vendor_data"] != nil {
		if err := v.needs(firstOf("provision.vendor_data"), "'vendor_data' of a config drive"); err != nil {
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
	var d node.ConfigDriveParts
	var err error
	for _, part := range []struct {
		key string
		to  *node.Document
	}{{"meta_data", &d.MetaData}, {"network_data", &d.NetworkData}, {"vendor_data", &d.VendorData}} {
		if *part.to, err = payload.Object("configdrive."+part.key, m[part.key]); err != nil {
			return nil, err
		}
	}
	switch x := m["user_data"].(type) {
	case nil, string, map[string]any, []any:
		d.UserData = x
	default:
		return nil, invalid("user_data of a config drive must be a string, an object or a list, not %s.", payload.KindOf(x))
	}
	return &d, nil
}
