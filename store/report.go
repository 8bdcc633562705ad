package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// SaveInventory replaces what inspection found of a node.
func (s *Notes) SaveInventory(ctx context.Context, nodeUUID string, i node.Inventory) error {
	return saveInventoryIn(ctx, s.write, nodeUUID, i)
}

func saveInventoryIn(ctx context.Context, c conn, nodeUUID string, i node.Inventory) error {
	const query = `INSERT INTO inventory (node_id, inventory, plugin_data) SELECT id, $2, $3 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET inventory = excluded.inventory, plugin_data = excluded.plugin_data`
	return saveReport(ctx, c, "inventory", query, nodeUUID, document{&i.Inventory}, document{&i.PluginData})
}

// Inventory returns what inspection found of a node: NotFound when it was never inspected.
func (s *Notes) Inventory(ctx context.Context, nodeUUID string) (node.Inventory, error) {
	i := node.Inventory{Inventory: node.Document{}, PluginData: node.Document{}}
	const query = `SELECT i.inventory, i.plugin_data FROM inventory i JOIN nodes n ON n.id = i.node_id WHERE n.uuid = $1`
	err := queryRow(ctx, s.read, query, strings.ToLower(nodeUUID)).Scan(document{&i.Inventory}, document{&i.PluginData})
	if errors.Is(err, sql.ErrNoRows) {
		return node.Inventory{}, node.Errorf(node.NotFound, "Inventory of node %s could not be found: it has not been inspected.", nodeUUID)
	}
	if err != nil {
		return node.Inventory{}, fmt.Errorf("read the inventory of node %s: %w", nodeUUID, err)
	}
	return i, nil
}

// SaveProgress replaces the node's progress.
func (s *Notes) SaveProgress(ctx context.Context, p node.Progress) error {
	const query = `INSERT INTO progress (node_id, flow, step, detail, done_bytes, total_bytes, reported_at, disks)
		SELECT id, $2, $3, $4, $5, $6, $7, $8 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET flow = excluded.flow, step = excluded.step, detail = excluded.detail,
			done_bytes = excluded.done_bytes, total_bytes = excluded.total_bytes, reported_at = excluded.reported_at, disks = excluded.disks`
	return saveReport(ctx, s.write, "progress", query, p.NodeUUID, p.Flow, p.Step, p.Detail, p.Done, p.Total, p.At, document{&p.Disks})
}

// Progress returns the node's progress; nil when there is none.
func (s *Notes) Progress(ctx context.Context, nodeUUID string) (*node.Progress, error) {
	var p node.Progress
	const query = `SELECT n.uuid, p.flow, p.step, p.detail, p.done_bytes, p.total_bytes, p.reported_at, p.disks
		FROM progress p JOIN nodes n ON n.id = p.node_id WHERE n.uuid = $1`
	err := queryRow(ctx, s.read, query, strings.ToLower(nodeUUID)).Scan(&p.NodeUUID, &p.Flow, &p.Step, &p.Detail, &p.Done, &p.Total,
		micros{&p.At}, document{&p.Disks})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the progress of node %s: %w", nodeUUID, err)
	}
	return &p, nil
}

// ClearProgress forgets the node's progress; none is not an error.
func (s *Notes) ClearProgress(ctx context.Context, nodeUUID string) error {
	_, err := exec(ctx, s.write, `DELETE FROM progress WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1)`, strings.ToLower(nodeUUID))
	if err != nil {
		return fmt.Errorf("clear the progress of node %s: %w", nodeUUID, err)
	}
	return nil
}

// saveReport runs an upsert whose $1 is the node's UUID.
func saveReport(ctx context.Context, c conn, what, query, nodeUUID string, args ...any) error {
	saved, err := changedOne(ctx, c, query, append([]any{strings.ToLower(nodeUUID)}, args...)...)
	if err != nil {
		return fmt.Errorf("save the %s of node %s: %w", what, nodeUUID, err)
	}
	if !saved {
		return node.NodeNotFound(nodeUUID)
	}
	return nil
}
