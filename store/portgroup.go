package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

var portgroupColumns = []string{
	"uuid", "created_at", "updated_at", "node_id", "name", "address", "mode", "standalone_ports_supported",
	"physical_network", "category", "properties", "extra", "internal_info",
}

// portgroupFields are g's fields in the order of portgroupColumns; nodeRef stands in node_id's place.
func portgroupFields(g *node.Portgroup, nodeRef any) []any {
	return forgive(portgroupColumns, []any{
		&g.UUID, micros{&g.CreatedAt}, micros{&g.UpdatedAt}, nodeRef, &g.Name, &g.Address, &g.Mode, &g.StandalonePortsSupported,
		&g.PhysicalNetwork, &g.Category, document{&g.Properties}, document{&g.Extra}, document{&g.InternalInfo},
	}, &g.Unreadable)
}

var portgroupListing = listing{table: "portgroups", alias: "p", notFound: node.PortgroupNotFound, sortKeys: sortKeysOf(portgroupColumns[:10])}

// sortKeysOf are columns with the names of the API's fields; the node's row number is none.
func sortKeysOf(columns []string) map[string]string {
	keys := map[string]string{}
	for _, c := range columns {
		if c != "node_id" {
			keys[c] = c
		}
	}
	return keys
}

// ofNode selects a table's columns, the node's UUID in the place of node_id.
func ofNode(table string, columns []string) string {
	return strings.Replace("SELECT p.id, p."+strings.Join(columns, ", p."), "p.node_id", "n.uuid", 1) +
		" FROM " + table + " p JOIN nodes n ON n.id = p.node_id"
}

var portgroupSelect = ofNode("portgroups", portgroupColumns)

func (s *Store) scanPortgroup(r scanner) (node.Portgroup, error) {
	g := node.Portgroup{Properties: node.Document{}, Extra: node.Document{}, InternalInfo: node.Document{}}
	err := r.Scan(append([]any{&g.ID}, portgroupFields(&g, &g.NodeUUID)...)...)
	s.tellDamage("a value of a portgroup cannot be read", "portgroup", g.UUID, g.Unreadable)
	return g, err
}

// CreatePortgroup adds g and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (s *Store) CreatePortgroup(ctx context.Context, g *node.Portgroup) error {
	if err := fresh(&g.UUID, &g.CreatedAt, &g.UpdatedAt); err != nil {
		return err
	}
	g.Address = strings.ToLower(g.Address)
	return s.tx(ctx, func(tx *sql.Tx) error {
		owner, err := nodeID(ctx, tx, g.NodeUUID)
		if err != nil {
			return err
		}
		err = row(ctx, tx, insertSQL("portgroups", portgroupColumns)+" RETURNING id", portgroupFields(g, owner)...).Scan(&g.ID)
		return portgroupConflict(g, err)
	})
}

// Portgroup returns a portgroup by UUID, MAC address or name.
func (s *Store) Portgroup(ctx context.Context, ident string) (node.Portgroup, error) {
	cond, arg := named("p.", ident)
	if isMAC(ident) {
		cond, arg = "p.address = $1", strings.ToLower(ident)
	}
	g, err := s.scanPortgroup(row(ctx, s.read, portgroupSelect+" WHERE "+cond, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return node.Portgroup{}, node.PortgroupNotFound(ident)
	}
	if err != nil {
		return node.Portgroup{}, fmt.Errorf("read portgroup %s: %w", ident, err)
	}
	return g, nil
}

// Portgroups lists portgroups.
func (s *Store) Portgroups(ctx context.Context, f node.PortgroupFilter, p node.Page) ([]node.Portgroup, error) {
	q := &query{}
	if f.NodeUUID != "" {
		q.and("n.uuid = $?", strings.ToLower(f.NodeUUID))
	}
	if f.Address != "" {
		q.and("p.address = $?", strings.ToLower(f.Address))
	}
	if len(f.Shards) > 0 {
		q.in("n.shard", anys(f.Shards))
	}
	if len(f.ConductorGroups) > 0 {
		q.in("n.conductor_group", anys(f.ConductorGroups))
	}
	tail, err := s.page(ctx, portgroupListing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, "portgroups", portgroupSelect+tail, q.args, s.scanPortgroup)
}

// SavePortgroup writes all of g but its UUID and CreatedAt, and sets its UpdatedAt in the database.
func (s *Store) SavePortgroup(ctx context.Context, g node.Portgroup) error {
	g.Address = strings.ToLower(g.Address)
	g.UpdatedAt = node.Now()
	return s.tx(ctx, func(tx *sql.Tx) error {
		owner, err := nodeID(ctx, tx, g.NodeUUID)
		if err != nil {
			return err
		}
		saved, err := saveByUUID(ctx, tx, "portgroups", portgroupColumns, portgroupFields(&g, owner), g.UUID)
		if err == nil && !saved {
			return node.PortgroupNotFound(g.UUID)
		}
		return portgroupConflict(&g, err)
	})
}

// DeletePortgroup removes a portgroup that no port is in.
func (s *Store) DeletePortgroup(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "portgroups", "portgroup", uuid, node.PortgroupNotFound)
}

func portgroupConflict(g *node.Portgroup, err error) error {
	switch duplicate(err) {
	case "portgroups_uuid":
		return node.Errorf(node.Conflict, "A portgroup with UUID %s already exists.", g.UUID)
	case "portgroups_address":
		return node.Errorf(node.Conflict, "A portgroup with MAC address %s already exists.", g.Address)
	case "portgroups_name":
		return node.Errorf(node.Conflict, "A portgroup with name %s already exists.", g.Name)
	}
	if err != nil {
		return fmt.Errorf("save portgroup %s: %w", g.UUID, err)
	}
	return nil
}
