package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

var portColumns = []string{
	"uuid", "created_at", "updated_at", "node_id", "name", "address", "pxe_enabled", "portgroup_uuid", "physical_network",
	"is_smartnic", "description", "vendor", "category", "local_link_connection", "extra", "internal_info",
}

// portFields are p's fields in the order of portColumns; nodeRef stands in node_id's place.
func portFields(p *node.Port, nodeRef any) []any {
	kept := func(name string, d *node.Document) any { return forgiving{document{d}, &p.Unreadable, name} }
	return []any{
		&p.UUID, micros{&p.CreatedAt}, micros{&p.UpdatedAt}, nodeRef, &p.Name, &p.Address, &p.PXEEnabled, &p.PortgroupUUID, &p.PhysicalNetwork,
		&p.IsSmartNIC, &p.Description, &p.Vendor, &p.Category, kept("local_link_connection", &p.LocalLinkConnection), kept("extra", &p.Extra), kept("internal_info", &p.InternalInfo),
	}
}

var portListing = listing{table: "ports", alias: "p", notFound: node.PortNotFound, sortKeys: sortKeysOf(portColumns[:13])}

var portSelect = ofNode("ports", portColumns)

func (s *Store) scanPort(r scanner) (node.Port, error) {
	p := node.Port{LocalLinkConnection: node.Document{}, Extra: node.Document{}, InternalInfo: node.Document{}}
	err := r.Scan(append([]any{&p.ID}, portFields(&p, &p.NodeUUID)...)...)
	s.tellDamage("a value of a port cannot be read; nothing is done with its machine", "port", p.UUID, p.Unreadable)
	return p, err
}

// CreatePort adds p and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty. A MAC
// address belongs to one port.
func (s *Store) CreatePort(ctx context.Context, p *node.Port) error {
	return s.tx(ctx, func(tx *sql.Tx) error { return createPortIn(ctx, tx, p) })
}

func createPortIn(ctx context.Context, tx *sql.Tx, p *node.Port) error {
	if err := fresh(&p.UUID, &p.CreatedAt, &p.UpdatedAt); err != nil {
		return err
	}
	p.Address = strings.ToLower(p.Address)
	owner, err := nodeID(ctx, tx, p.NodeUUID)
	if err != nil {
		return err
	}
	err = row(ctx, tx, insertSQL("ports", portColumns)+" RETURNING id", portFields(p, owner)...).Scan(&p.ID)
	return portConflict(p, err)
}

// Port returns a port by UUID, MAC address or name.
func (s *Store) Port(ctx context.Context, ident string) (node.Port, error) {
	cond, arg := named("p.", ident)
	if isMAC(ident) {
		cond, arg = "p.address = $1", strings.ToLower(ident)
	}
	p, err := s.scanPort(row(ctx, s.read, portSelect+" WHERE "+cond, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return node.Port{}, node.PortNotFound(ident)
	}
	if err != nil {
		return node.Port{}, fmt.Errorf("read port %s: %w", ident, err)
	}
	return p, nil
}

// Ports lists ports.
func (s *Store) Ports(ctx context.Context, f node.PortFilter, p node.Page) ([]node.Port, error) {
	q := &query{}
	for column, value := range map[string]string{
		"n.uuid": strings.ToLower(f.NodeUUID), "p.address": strings.ToLower(f.Address), "p.portgroup_uuid": f.PortgroupUUID,
	} {
		if value != "" {
			q.and(column+" = $?", value)
		}
	}
	if f.DescriptionContains != "" {
		q.and(`LOWER(p.description) LIKE $? ESCAPE '\'`, like(f.DescriptionContains))
	}
	if len(f.Shards) > 0 {
		q.in("n.shard", anys(f.Shards))
	}
	if len(f.ConductorGroups) > 0 {
		q.in("n.conductor_group", anys(f.ConductorGroups))
	}
	tail, err := s.page(ctx, portListing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, "ports", portSelect+tail, q.args, s.scanPort)
}

// SavePort writes all of p but its UUID and CreatedAt, and sets its UpdatedAt in the database.
func (s *Store) SavePort(ctx context.Context, p node.Port) error {
	p.Address = strings.ToLower(p.Address)
	p.UpdatedAt = node.Now()
	return s.tx(ctx, func(tx *sql.Tx) error {
		owner, err := nodeID(ctx, tx, p.NodeUUID)
		if err != nil {
			return err
		}
		saved, err := saveByUUID(ctx, tx, "ports", portColumns, portFields(&p, owner), p.UUID)
		if err == nil && !saved {
			return node.PortNotFound(p.UUID)
		}
		return portConflict(&p, err)
	})
}

// DeletePort removes a port.
func (s *Store) DeletePort(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "ports", "port", uuid, node.PortNotFound)
}

func portConflict(p *node.Port, err error) error {
	switch duplicate(err) {
	case "ports_uuid":
		return node.Errorf(node.Conflict, "A port with UUID %s already exists.", p.UUID)
	case "ports_address":
		return node.Errorf(node.Conflict, "A port with MAC address %s already exists.", p.Address)
	case "ports_name":
		return node.Errorf(node.Conflict, "A port with name %s already exists.", p.Name)
	}
	if err != nil {
		return fmt.Errorf("save port %s: %w", p.UUID, err)
	}
	return nil
}

// isMAC reports whether s is written as six pairs of hex digits with colons.
func isMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i%3 == 2:
			if c != ':' {
				return false
			}
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}
