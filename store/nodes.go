package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

var nodeListing = listing{table: "nodes", alias: "n", notFound: node.NodeNotFound, sortKeys: nodeSortKeys()}

// nodeSortKeys are all scalar fields of a node; of what is kept in documents the interfaces alone sort.
func nodeSortKeys() map[string]string {
	keys := map[string]string{"reservation": "lease_holder"}
	for _, i := range node.Interfaces {
		keys[string(i)+"_interface"] = interfacePrefix + string(i)
	}
	for _, c := range hotColumns {
		keys[c.name] = c.name
	}
	delete(keys, "power_failures") // not a field of the API
	return keys
}

// Nodes lists nodes. With p.Hot only the hot row is read: interfaces, traits, documents, config
// drive, plan and agent stay empty, every other field is there. Child nodes are hidden unless f
// asks for them.
func (s *Store) Nodes(ctx context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error) {
	q := nodeQuery(f)
	tail, err := s.page(ctx, nodeListing, q, p)
	if err != nil {
		return nil, err
	}
	text, scan := fullSelect+fullFrom, s.scanFull
	if p.Hot {
		text, scan = hotSelect+hotFrom, scanHot
	}
	return collectAll(ctx, s.read, "nodes", text+tail, q.args, scan)
}

// Shards counts the nodes of every shard, and those without one, the largest first.
func (s *Store) Shards(ctx context.Context) ([]node.Shard, error) {
	shards := []node.Shard{}
	const query = `SELECT shard, COUNT(*) AS nodes FROM nodes GROUP BY shard ORDER BY nodes DESC, shard`
	err := collect(ctx, s.read, query, nil, func(r *sql.Rows) error {
		var shard node.Shard
		err := r.Scan(&shard.Name, &shard.Nodes)
		shards = append(shards, shard)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count the nodes of shards: %w", err)
	}
	return shards, nil
}

func nodeQuery(f node.NodeFilter) *query {
	q := &query{}
	for column, value := range map[string]string{
		"instance_name": f.InstanceName, "chassis_uuid": f.ChassisUUID,
		"provision_state": string(f.State), "driver": f.Driver, "resource_class": f.ResourceClass,
		"owner": f.Owner, "lessee": f.Lessee, "parent_node": f.ParentNode,
	} {
		if value != "" {
			q.and("n."+column+" = $?", value)
		}
	}
	if f.InstanceUUID != "" {
		q.and("n.instance_uuid = $? AND n.instance_uuid <> ''", strings.ToLower(f.InstanceUUID))
	}
	for column, value := range map[string]*bool{"maintenance": f.Maintenance, "retired": f.Retired} {
		if value != nil {
			q.and("n."+column+" = $?", *value)
		}
	}
	q.set("n.instance_uuid", f.Associated)
	q.set("n.shard", f.Sharded)
	if f.Fault != nil {
		q.and("n.fault = $?", *f.Fault)
	}
	if f.ConductorGroup != nil {
		q.and("n.conductor_group = $?", *f.ConductorGroup)
	}
	if f.Project != "" {
		q.and("(n.owner = $? OR n.lessee = $?)", f.Project, f.Project)
	}
	if f.DescriptionContains != "" {
		q.and(`LOWER(n.description) LIKE $? ESCAPE '\'`, like(f.DescriptionContains))
	}
	q.oneOf("n.shard", f.Shards)
	if f.Holder != "" {
		q.and("n.lease_holder = $? AND n.lease_holder <> '' AND n.lease_until > $?", f.Holder, node.Now())
	}
	if f.ParentNode == "" && !f.IncludeChildren {
		q.and("n.parent_node = ''")
	}
	return q
}

// set asks whether a text column is set; nil does not ask.
func (q *query) set(column string, want *bool) {
	switch {
	case want == nil:
	case *want:
		q.and(column + " <> ''")
	default:
		q.and(column + " = ''")
	}
}
