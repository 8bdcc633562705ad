package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// CreateNode adds n and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty. A lease
// or an agent in n is not stored: both have their own ways in.
func (s *Store) CreateNode(ctx context.Context, n *node.Node) error {
	return s.tx(ctx, func(tx *sql.Tx) error { return s.createNodeIn(ctx, tx, n) })
}

// EnrolNode adds n as CreateNode does, with its ports, as Ports.Create adds them, and its inventory: all of them or
// nothing, whatever ends this process.
func (s *Store) EnrolNode(ctx context.Context, n *node.Node, ports []node.Port, i node.Inventory) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		if err := s.createNodeIn(ctx, tx, n); err != nil {
			return err
		}
		for p := range ports {
			ports[p].NodeUUID = n.UUID
			if err := s.Ports.createIn(ctx, tx, &ports[p]); err != nil {
				return err
			}
		}
		return saveInventoryIn(ctx, tx, n.UUID, i)
	})
}

func (s *Store) createNodeIn(ctx context.Context, tx *sql.Tx, n *node.Node) error {
	if err := fillNew(&n.UUID, &n.CreatedAt, &n.UpdatedAt); err != nil {
		return err
	}
	query := insertSQL("nodes", append(names(hotColumns), planColumns...)) + " RETURNING id"
	if err := queryRow(ctx, tx, query, append(fields(hotColumns, n), planValues(n)...)...).Scan(&n.ID); err != nil {
		return nodeConflict(n, fmt.Errorf("create node %s: %w", n.UUID, err))
	}
	documents := s.documentColumns()
	query = insertSQL("node_documents", append([]string{"node_id"}, names(documents)...))
	if _, err := exec(ctx, tx, query, append([]any{n.ID}, fields(documents, n)...)...); err != nil {
		return fmt.Errorf("create node %s: %w", n.UUID, err)
	}
	return s.saveConfigDrive(ctx, tx, n)
}

// Node returns a node with everything that belongs to it, by UUID or name.
func (s *Store) Node(ctx context.Context, ident string) (*node.Node, error) {
	return s.nodeIn(ctx, s.read, ident)
}

func (d *database) nodeIn(ctx context.Context, c conn, ident string) (*node.Node, error) {
	cond, arg := named("n.", ident)
	n, err := d.scanFull(queryRow(ctx, c, fullSelect+fullFrom+" WHERE "+cond, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, node.NodeNotFound(ident)
	}
	return n, err
}

// NodeByMACs returns the node that has a port with any of the MACs: NotFound when none has,
// Conflict when several have.
func (s *Store) NodeByMACs(ctx context.Context, macs []string) (*node.Node, error) {
	list := strings.Join(macs, ", ")
	var uuids []string
	if len(macs) > 0 {
		query := `SELECT DISTINCT n.uuid FROM ports p JOIN nodes n ON n.id = p.node_id WHERE p.address IN (` + placeholders(1,
			len(macs)) + `) ORDER BY n.uuid`
		err := collect(ctx, s.read, query, lower(macs), func(r *sql.Rows) error {
			uuids = append(uuids, "")
			return r.Scan(&uuids[len(uuids)-1])
		})
		if err != nil {
			return nil, fmt.Errorf("find the node of %s: %w", list, err)
		}
	}
	switch len(uuids) {
	case 0:
		return nil, node.Errorf(node.NotFound, "No node has a port with any of the MAC addresses %s.", list)
	case 1:
		return s.Node(ctx, uuids[0])
	}
	return nil, node.Errorf(node.Conflict, "The MAC addresses %s belong to several nodes: %s.", list, strings.Join(uuids, ", "))
}

// DeleteNode removes the node and all that belongs to it, under its lease. Boot events and
// address leases belong to MAC addresses and go by their own age.
func (s *Store) DeleteNode(ctx context.Context, n *node.Node) error {
	query, args := guarded(`DELETE FROM nodes`, nil, n)
	deleted, err := changedOne(ctx, s.write, query, args...)
	if err != nil {
		return fmt.Errorf("delete node %s: %w", n.UUID, err)
	}
	if !deleted {
		return node.ErrLeaseLost
	}
	return nil
}

// SavePower writes what the BMC said, without the lease. It writes nothing when nothing changed,
// so that power sync costs a disk nothing. While a conductor holds the lease its next Save writes
// power_state and power_failures again as it knows them, and wins: it is the one switching the
// machine, and power sync asks the BMC again soon.
func (s *Store) SavePower(ctx context.Context, uuid string, p node.PowerState, failures int) error {
	const query = `UPDATE nodes SET power_state = $1, power_failures = $2, updated_at = $3
		WHERE uuid = $4 AND (power_state <> $1 OR power_failures <> $2)`
	changed, err := changedOne(ctx, s.write, query, p, failures, node.Now(), strings.ToLower(uuid))
	if err != nil {
		return fmt.Errorf("save the power state of node %s: %w", uuid, err)
	}
	if !changed {
		_, err = nodeID(ctx, s.write, uuid)
	}
	return err
}

// nodeConflict turns a duplicate into the API's answer.
func nodeConflict(n *node.Node, err error) error {
	switch duplicate(err) {
	case "nodes_uuid":
		return node.Errorf(node.Conflict, "A node with UUID %s already exists.", n.UUID)
	case "nodes_name":
		return node.Errorf(node.Conflict, "A node with name %s already exists.", n.Name)
	case "nodes_instance_uuid":
		return node.Errorf(node.Conflict, "Instance %s is already associated with a node, it cannot be associated with this other node %s.",
			n.InstanceUUID, n.UUID)
	}
	return err
}

func lower(macs []string) []any {
	out := make([]any, len(macs))
	for i, m := range macs {
		out[i] = strings.ToLower(m)
	}
	return out
}
