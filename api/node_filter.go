package api

import (
	"net/url"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// A filter that is ignored shows nodes of other people. Each is known by version, and one that is not known is refused.

var nodeFilters = []string{
	"associated", "maintenance", "instance_uuid", "chassis_uuid", "provision_state", "driver",
	"resource_class", "fault", "conductor_group", "conductor", "owner", "description_contains",
	"retired", "lessee", "project", "shard", "sharded", "parent_node", "include_children", "instance_name",
}

// nodeFilter reads the filters of a list; a filter newer than the version is a 406.
func (ns *nodes) nodeFilter(c *call, q url.Values) (node.NodeFilter, error) {
	for _, key := range nodeFilters {
		if q.Has(key) {
			if err := c.version.needsFilter("node", key); err != nil {
				return node.NodeFilter{}, err
			}
		}
	}
	f := node.NodeFilter{
		InstanceUUID: q.Get("instance_uuid"), InstanceName: q.Get("instance_name"), ChassisUUID: q.Get("chassis_uuid"),
		State: node.State(q.Get("provision_state")), Driver: q.Get("driver"), ResourceClass: q.Get("resource_class"),
		Owner: q.Get("owner"), Lessee: q.Get("lessee"), Project: q.Get("project"),
		DescriptionContains: q.Get("description_contains"),
	}
	for _, b := range []struct {
		key string
		to  **bool
	}{{"associated", &f.Associated}, {"maintenance", &f.Maintenance}, {"retired", &f.Retired}, {"sharded", &f.Sharded}} {
		v, err := boolArg(q, b.key)
		if err != nil {
			return f, err
		}
		*b.to = v
	}
	err := ns.checkedFilter(c, q, &f)
	return f, err
}

var faults = []node.Fault{node.PowerFailure, node.CleanFailure, node.RescueAbortFailure, node.ServiceFailure}

// checkedFilter adds the filters whose values have a form of their own.
func (ns *nodes) checkedFilter(c *call, q url.Values, f *node.NodeFilter) error {
	if f.State != "" && !slices.Contains(node.States, f.State) {
		return invalid("Provision state %q is not valid. Valid states are: %s", f.State, joinWords(node.States))
	}
	for _, u := range []struct {
		key string
		to  *string
	}{{"instance_uuid", &f.InstanceUUID}, {"chassis_uuid", &f.ChassisUUID}} {
		switch {
		case *u.to == "":
		case !isUUID(*u.to):
			return invalid("Expected UUID for %s: %q", u.key, *u.to)
		default:
			*u.to = canonicalUUID(*u.to)
		}
	}
	if q.Has("fault") {
		fault := node.Fault(q.Get("fault"))
		if !slices.Contains(faults, fault) {
			return invalid("Unrecognized fault %q is specified, allowed fault types are: %s", fault, joinWords(faults))
		}
		f.Fault = &fault
	}
	if q.Has("conductor_group") {
		group := strings.ToLower(q.Get("conductor_group"))
		f.ConductorGroup = &group
	}
	if q.Get("shard") != "" {
		f.Shards = strings.Split(q.Get("shard"), ",")
	}
	return ns.familyFilter(c, q, f)
}

// familyFilter: a list hides nodes that have a parent unless it is asked for them.
func (ns *nodes) familyFilter(c *call, q url.Values, f *node.NodeFilter) error {
	include, err := boolArg(q, "include_children")
	if err != nil {
		return err
	}
	f.IncludeChildren = include != nil && *include
	if parent := q.Get("parent_node"); parent != "" {
		n, err := ns.named(c, parent)
		if err != nil {
			return err
		}
		f.ParentNode = n.UUID
	}
	return nil
}

func joinWords[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}

// unsortable are the fields that are documents, lists or not stored.
var unsortable = []string{
	"properties", "driver_info", "extra", "instance_info", "driver_internal_info", "clean_step",
	"deploy_step", "service_step", "raid_config", "target_raid_config", "traits", "network_data",
	"links", "conductor", "health",
}

func nodeSortKey(c *call, key string) error {
	if !hasColumn(nodeColumns, key) || slices.Contains(unsortable, key) {
		return badSortKey(key)
	}
	return c.version.needsField("node", key)
}
