package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// nodeSetters are the fields of a node that clients may write, each with how its JSON value is
// checked and stored. nil is what a removed field gets: its default.
var nodeSetters = func() map[string]func(*node.Node, any) error {
	set := map[string]func(*node.Node, any) error{
		"name":            setNodeName,
		"driver":          setDriver,
		"instance_uuid":   setInstanceUUID,
		"instance_info":   setInstanceInfo,
		"chassis_uuid":    setChassis,
		"conductor_group": setConductorGroup,
		"maintenance":     setMaintenanceFlag,
		"protected":       boolField("protected", func(n *node.Node) *bool { return &n.Protected }),
		"retired":         boolField("retired", func(n *node.Node) *bool { return &n.Retired }),
		"disable_power_off": boolField("disable_power_off", func(n *node.Node) *bool {
			return &n.DisablePowerOff
		}),
		"automated_clean":  optionalField("automated_clean", func(n *node.Node) **bool { return &n.AutomatedClean }),
		"instance_name":    textField("instance_name", 255, func(n *node.Node) *string { return &n.InstanceName }),
		"resource_class":   textField("resource_class", 80, func(n *node.Node) *string { return &n.ResourceClass }),
		"owner":            textField("owner", 255, func(n *node.Node) *string { return &n.Owner }),
		"lessee":           textField("lessee", 255, func(n *node.Node) *string { return &n.Lessee }),
		"description":      textField("description", 4096, func(n *node.Node) *string { return &n.Description }),
		"shard":            textField("shard", 255, func(n *node.Node) *string { return &n.Shard }),
		"parent_node":      textField("parent_node", 255, func(n *node.Node) *string { return &n.ParentNode }),
		"protected_reason": textField("protected_reason", 4096, func(n *node.Node) *string { return &n.ProtectedReason }),
		"retired_reason":   textField("retired_reason", 4096, func(n *node.Node) *string { return &n.RetiredReason }),
		"driver_info":      documentField("driver_info", func(n *node.Node) *node.Document { return &n.DriverInfo }),
		"properties":       documentField("properties", func(n *node.Node) *node.Document { return &n.Properties }),
		"extra":            documentField("extra", func(n *node.Node) *node.Document { return &n.Extra }),
		"network_data":     setNetworkData,
	}
	for _, i := range node.Interfaces {
		set[string(i)+"_interface"] = interfaceField(i)
	}
	return set
}()

// creationSetters are the fields that only POST may write.
var creationSetters = map[string]func(*node.Node, any) error{
	"uuid":            setUUID,
	"boot_mode":       textField("boot_mode", 16, func(n *node.Node) *string { return &n.BootMode }),
	"secure_boot":     optionalField("secure_boot", func(n *node.Node) **bool { return &n.SecureBoot }),
	"console_enabled": boolField("console_enabled", func(n *node.Node) *bool { return &n.ConsoleEnabled }),
}

// notOnCreation are the fields that PATCH may write and POST may not.
var notOnCreation = []string{"protected", "protected_reason"}

// newNode builds a node from the body of a POST.
func newNode(v version, body map[string]any) (*node.Node, error) {
	n := &node.Node{UUID: newUUID(), State: node.Enroll, Interfaces: map[node.Interface]string{}}
	if v < enrollFirst {
		n.State = node.Available
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		set := creationSetters[key]
		if set == nil && !slices.Contains(notOnCreation, key) {
			set = nodeSetters[key]
		}
		if set == nil {
			return nil, invalid("A node cannot be created with the field %q. Allowed are: %s", key, strings.Join(creatable(), ", "))
		}
		if err := v.needsField("node", key); err != nil {
			return nil, err
		}
		if body[key] == nil && key == "uuid" {
			continue
		}
		if slices.Contains(nodeMasked, key) {
			if err := payload.NoMask(key, body[key]); err != nil {
				return nil, err
			}
		}
		if err := set(n, body[key]); err != nil {
			return nil, err
		}
	}
	if n.Driver == "" {
		return nil, invalid("A node needs the field \"driver\": the name of a hardware type.")
	}
	return n, nil
}

func creatable() []string {
	keys := slices.Collect(maps.Keys(nodeSetters))
	keys = slices.AppendSeq(keys, maps.Keys(creationSetters))
	keys = slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(notOnCreation, k) })
	slices.Sort(keys)
	return keys
}

func setUUID(n *node.Node, v any) error {
	s, ok := v.(string)
	if !ok || !isUUID(s) {
		return invalid("Expected a UUID for uuid but received %v.", v)
	}
	n.UUID = canonicalUUID(s)
	return nil
}

func setNodeName(n *node.Node, v any) error {
	s, err := payload.Text("name", v, 255)
	if err == nil && s != "" {
		err = checkName("node", s)
	}
	n.Name = s
	return err
}

func setDriver(n *node.Node, v any) error {
	s, err := payload.Text("driver", v, 255)
	if err == nil && s == "" {
		err = invalid("'/driver' is a mandatory attribute and can not be removed")
	}
	n.Driver = s
	return err
}

func setInstanceUUID(n *node.Node, v any) error {
	s, err := payload.Text("instance_uuid", v, 36)
	if err == nil {
		s, err = optionalUUID("instance_uuid", s)
	}
	n.InstanceUUID = s
	return err
}

// setInstanceInfo keeps the config drive where it belongs: sealed, beside the document.
func setInstanceInfo(n *node.Node, v any) error {
	d, err := payload.Object("instance_info", v)
	if err != nil {
		return err
	}
	n.ConfigDrive = ""
	if drive, ok := d["configdrive"]; ok && drive != nil {
		s, isText := drive.(string)
		if !isText {
			return invalid("instance_info.configdrive must be a string, not %s.", payload.KindOf(drive))
		}
		n.ConfigDrive = s
	}
	delete(d, "configdrive")
	n.InstanceInfo = d
	return nil
}

func setChassis(n *node.Node, v any) error {
	s, err := payload.Text("chassis_uuid", v, 36)
	if err == nil {
		n.ChassisUUID, err = optionalUUID("chassis_uuid", s) // that it exists is the conductor's to say
	}
	return err
}

func setConductorGroup(n *node.Node, v any) error {
	s, err := payload.Text("conductor_group", v, 255)
	if err == nil && !groupForm.MatchString(s) {
		err = invalid("Value %q for conductor_group is not allowed: use letters, digits and the characters _ - .", s)
	}
	n.ConductorGroup = strings.ToLower(s)
	return err
}

// setMaintenanceFlag also clears the reason and the fault when a node leaves maintenance.
func setMaintenanceFlag(n *node.Node, v any) error {
	b, err := payload.Boolean("maintenance", v)
	n.Maintenance = b
	if err == nil && !b {
		n.MaintenanceReason, n.Fault = "", node.NoFault
	}
	return err
}

// setNetworkData takes a node's network_data: none, or what the schema of OpenStack's network_data.json asks for. Keys that
// the schema does not know are kept.
func setNetworkData(n *node.Node, v any) error {
	d, err := payload.Object("network_data", v)
	if err == nil && len(d) > 0 {
		err = payload.CheckNetworkData(d)
	}
	if err != nil {
		return err
	}
	n.NetworkData = d
	return nil
}
