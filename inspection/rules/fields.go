package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

// Rules may change what people may change of a node, and no more: neither its state nor what flows keep on it. The table of
// fields is the boundary. What the API checks in a PATCH is checked here once more when all rules have run.

// interfaceNames are the fields that pick a node's implementations.
var interfaceNames = func() (names []string) {
	for _, i := range node.Interfaces {
		names = append(names, string(i)+"_interface")
	}
	return names
}()

// fieldNames are the fields of a node that rules may change.
var fieldNames = slices.Concat([]string{
	"automated_clean", "conductor_group", "description", "disable_power_off", "driver", "driver_info", "extra", "instance_info",
	"lessee", "name", "network_data", "owner", "properties", "resource_class", "retired", "retired_reason", "shard",
}, interfaceNames)

// implementation is the choice of one interface's implementation.
type implementation struct {
	n     *node.Node
	iface node.Interface
}

// nodeField is the place of a node's field: *string, *bool, **bool, *node.Document or implementation;
// nil when rules may not change the field.
func nodeField(n *node.Node, name string) any {
	switch name {
	case "automated_clean":
		return &n.AutomatedClean
	case "conductor_group":
		return &n.ConductorGroup
	case "description":
		return &n.Description
	case "disable_power_off":
		return &n.DisablePowerOff
	case "driver":
		return &n.Driver
	case "driver_info":
		return &n.DriverInfo
	case "extra":
		return &n.Extra
	case "instance_info":
		return &n.InstanceInfo
	case "lessee":
		return &n.Lessee
	case "name":
		return &n.Name
	case "network_data":
		return &n.NetworkData
	case "owner":
		return &n.Owner
	case "properties":
		return &n.Properties
	case "resource_class":
		return &n.ResourceClass
	case "retired":
		return &n.Retired
	case "retired_reason":
		return &n.RetiredReason
	case "shard":
		return &n.Shard
	}
	if i := slices.Index(interfaceNames, name); i >= 0 {
		return implementation{n, node.Interfaces[i]}
	}
	return nil
}

var portFieldNames = []string{
	"category", "description", "extra", "is_smartnic", "local_link_connection", "name", "physical_network", "pxe_enabled", "vendor",
}

// portField is the place of a port's field, as nodeField has it.
func portField(p *node.Port, name string) any {
	switch name {
	case "category":
		return &p.Category
	case "description":
		return &p.Description
	case "extra":
		return &p.Extra
	case "is_smartnic":
		return &p.IsSmartNIC
	case "local_link_connection":
		return &p.LocalLinkConnection
	case "name":
		return &p.Name
	case "physical_network":
		return &p.PhysicalNetwork
	case "pxe_enabled":
		return &p.PXEEnabled
	case "vendor":
		return &p.Vendor
	}
	return nil
}

// plainField is a field's value as JSON has it.
func plainField(field any) any {
	switch f := field.(type) {
	case *string:
		return orNil(*f)
	case *bool:
		return *f
	case **bool:
		if *f != nil {
			return **f
		}
	case *node.Document:
		return map[string]any(*f)
	case implementation:
		return orNil(f.n.Interfaces[f.iface])
	}
	return nil
}

// setField writes a whole field; v nil empties it.
func setField(field, v any) error {
	switch f := field.(type) {
	case *string:
		s, err := fieldText(v)
		*f = s
		return err
	case implementation:
		s, err := fieldText(v)
		if f.n.Interfaces == nil {
			f.n.Interfaces = map[node.Interface]string{}
		}
		if f.n.Interfaces[f.iface] = s; s == "" {
			delete(f.n.Interfaces, f.iface)
		}
		return err
	case *bool:
		b, ok := spelled(v)
		if !ok && v != nil {
			return faultf("the field takes a boolean", "not %s", kindOf(v))
		}
		*f = b
	case **bool:
		b, ok := spelled(v)
		if !ok && v != nil {
			return faultf("the field takes a boolean or null", "not %s", kindOf(v))
		}
		if *f = &b; v == nil {
			*f = nil
		}
	case *node.Document:
		object, ok := v.(map[string]any)
		if !ok && v != nil {
			return faultf("the field takes an object", "not %s", kindOf(v))
		}
		*f = node.Document(object).Clone()
	}
	return nil
}

func fieldText(v any) (string, error) {
	switch v.(type) {
	case nil:
		return "", nil
	case map[string]any, []any:
		return "", faultf("the field takes a text", "not %s", kindOf(v))
	}
	return python(v), nil
}

// split takes a path apart: /driver_info/ipmi_address, driver_info/ipmi_address or driver_info.ipmi_address.
func split(path string) ([]string, error) {
	var parts []string
	if strings.Contains(path, "/") {
		parts = strings.Split(strings.Trim(path, "/"), "/")
	} else {
		parts = strings.Split(path, ".")
	}
	if slices.Contains(parts, "") {
		return nil, faultf("its path is not one", "%q; a path is like /driver_info/ipmi_address or driver_info.ipmi_address", path)
	}
	return parts, nil
}

// place is what a path leads to: the object that has the last key. make says whether objects on the way
// that are not there are made; otherwise a way that does not exist leads to nil.
func place(doc map[string]any, parts []string, make bool) (map[string]any, error) {
	for i, key := range parts[:len(parts)-1] {
		next, there := doc[key]
		if !there && !make {
			return nil, nil
		}
		if !there {
			next = map[string]any{}
			doc[key] = next
		}
		object, ok := next.(map[string]any)
		if !ok {
			return nil, faultf("its path leads through something that is no object", "%s is %s", strings.Join(parts[:i+1], "/"), kindOf(next))
		}
		doc = object
	}
	return doc, nil
}

func setIn(doc map[string]any, parts []string, v any) error {
	at, err := place(doc, parts, true)
	if err == nil {
		at[parts[len(parts)-1]] = v
	}
	return err
}

func extendIn(doc map[string]any, parts []string, v any, unique bool) error {
	at, err := place(doc, parts, true)
	if err != nil {
		return err
	}
	last := parts[len(parts)-1]
	list, ok := at[last].([]any)
	if !ok && at[last] != nil {
		return faultf("only a list can be extended", "%s is %s", strings.Join(parts, "/"), kindOf(at[last]))
	}
	if unique && slices.ContainsFunc(list, func(e any) bool { eq, _ := equal(e, v); return eq }) {
		return nil
	}
	at[last] = append(slices.Clone(list), v)
	return nil
}

func deleteIn(doc map[string]any, parts []string) error {
	at, err := place(doc, parts, false)
	if err == nil && at != nil {
		delete(at, parts[len(parts)-1])
	}
	return err
}

var (
	nameForm  = regexp.MustCompile(`^[a-zA-Z0-9\-._~]{1,255}$`)
	uuidForm  = regexp.MustCompile(`^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$`)
	traitForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,254}$`)
)

// sound says what is wrong with a node that rules have changed. That its driver and interfaces exist and
// its name is free, the caller sees to.
func sound(n *node.Node) error {
	if n.Name != "" && (!nameForm.MatchString(n.Name) || uuidForm.MatchString(n.Name)) {
		return fmt.Errorf("%q is no name of a node: allowed are letters, digits and - . _ ~, 255 at most, and nothing that looks like a UUID",
			n.Name)
	}
	if n.Driver == "" {
		return errors.New("it has no driver")
	}
	if utf8.RuneCountInString(n.Description) > 4096 {
		return errors.New("its description has more than 4096 characters")
	}
	for _, name := range fieldNames {
		if s, _ := plainField(nodeField(n, name)).(string); name != "description" && utf8.RuneCountInString(s) > 255 {
			return fmt.Errorf("its %s has more than 255 characters", name)
		}
	}
	if len(n.Traits) > maxTraits {
		return fmt.Errorf("it has %d traits; %d are allowed", len(n.Traits), maxTraits)
	}
	if n.RetiredReason != "" && !n.Retired {
		return errors.New("retired_reason needs retired to be true")
	}
	return nil
}

const maxTraits = 50 // of one node
