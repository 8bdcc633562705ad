package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// volumes is one of the two kinds of records of volumes: both belong to a node and are named by their UUID.
type volumes[T any] struct {
	what     string // "volume target"
	listing  listing
	columns  []string
	fields   func(s *Store, v *T, nodeRef any) []any // in the order of columns; nodeRef stands in node_id's place
	ids      func(v *T) (id *int64, uuid, nodeUUID *string)
	damage   func(v *T) node.Unreadable
	empty    func() T
	conflict func(v *T, index string) error // nil: index is not one of its own
}

var connectorColumns = []string{"uuid", "created_at", "updated_at", "node_id", "type", "connector_id", "extra"}

var connectors = volumes[node.VolumeConnector]{
	what: "volume connector", columns: connectorColumns,
	listing: listing{table: "volume_connectors", alias: "p", notFound: node.VolumeConnectorNotFound, sortKeys: sortKeysOf(connectorColumns[:6])},
	fields: func(_ *Store, v *node.VolumeConnector, nodeRef any) []any {
		return forgive(connectorColumns,
			[]any{&v.UUID, micros{&v.CreatedAt}, micros{&v.UpdatedAt}, nodeRef, &v.Type, &v.ConnectorID, document{&v.Extra}}, &v.Unreadable)
	},
	ids:    func(v *node.VolumeConnector) (*int64, *string, *string) { return &v.ID, &v.UUID, &v.NodeUUID },
	damage: func(v *node.VolumeConnector) node.Unreadable { return v.Unreadable },
	empty:  func() node.VolumeConnector { return node.VolumeConnector{Extra: node.Document{}} },
	conflict: func(v *node.VolumeConnector, index string) error {
		if index != "volume_connectors_connector_id" {
			return nil
		}
		return node.Errorf(node.Conflict, "A volume connector with type %s and connector ID %s already exists.", v.Type, v.ConnectorID)
	},
}

// The properties come after the UUID they are sealed with.
var targetColumns = []string{"uuid", "created_at", "updated_at", "node_id", "volume_type", "volume_id", "boot_index", "extra", "properties"}

var targets = volumes[node.VolumeTarget]{
	what: "volume target", columns: targetColumns,
	listing: listing{table: "volume_targets", alias: "p", notFound: node.VolumeTargetNotFound, sortKeys: sortKeysOf(targetColumns[:7])},
	fields: func(s *Store, v *node.VolumeTarget, nodeRef any) []any {
		return forgive(targetColumns, []any{
			&v.UUID, micros{&v.CreatedAt}, micros{&v.UpdatedAt}, nodeRef, &v.VolumeType, &v.VolumeID, &v.BootIndex, document{&v.Extra},
			sealed{s.seal, &v.UUID, "volume_target.properties", &v.Properties},
		}, &v.Unreadable)
	},
	ids:    func(v *node.VolumeTarget) (*int64, *string, *string) { return &v.ID, &v.UUID, &v.NodeUUID },
	damage: func(v *node.VolumeTarget) node.Unreadable { return v.Unreadable },
	empty: func() node.VolumeTarget {
		return node.VolumeTarget{Properties: node.Document{}, Extra: node.Document{}}
	},
	conflict: func(v *node.VolumeTarget, index string) error {
		if index != "volume_targets_boot_index" {
			return nil
		}
		return node.Errorf(node.Conflict, "The node has a volume target with boot index %d already.", v.BootIndex)
	},
}

func (k volumes[T]) text() string { return ofNode(k.listing.table, k.columns) }

func (k volumes[T]) scan(s *Store) func(scanner) (T, error) {
	return func(r scanner) (T, error) {
		v := k.empty()
		id, uuid, owner := k.ids(&v)
		err := r.Scan(append([]any{id}, k.fields(s, &v, owner)...)...)
		s.tellDamage("a value of a "+k.what+" cannot be read", strings.ReplaceAll(k.what, " ", "_"), *uuid, k.damage(&v))
		return v, err
	}
}

func (k volumes[T]) get(ctx context.Context, s *Store, uuid string) (T, error) {
	v, err := k.scan(s)(row(ctx, s.read, k.text()+" WHERE p.uuid = $1", strings.ToLower(uuid)))
	if errors.Is(err, sql.ErrNoRows) {
		return k.empty(), k.listing.notFound(uuid)
	}
	if err != nil {
		return k.empty(), fmt.Errorf("read %s %s: %w", k.what, uuid, err)
	}
	return v, nil
}

func (k volumes[T]) list(ctx context.Context, s *Store, nodeUUID string, p node.Page) ([]T, error) {
	q := &query{}
	if nodeUUID != "" {
		q.and("n.uuid = $?", strings.ToLower(nodeUUID))
	}
	tail, err := s.page(ctx, k.listing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, k.what+"s", k.text()+tail, q.args, k.scan(s))
}

func (k volumes[T]) create(ctx context.Context, s *Store, v *T) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		id, _, nodeUUID := k.ids(v)
		owner, err := nodeID(ctx, tx, *nodeUUID)
		if err != nil {
			return err
		}
		return k.refusal(v, row(ctx, tx, insertSQL(k.listing.table, k.columns)+" RETURNING id", k.fields(s, v, owner)...).Scan(id))
	})
}

func (k volumes[T]) save(ctx context.Context, s *Store, v *T) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, uuid, nodeUUID := k.ids(v)
		owner, err := nodeID(ctx, tx, *nodeUUID)
		if err != nil {
			return err
		}
		saved, err := saveByUUID(ctx, tx, k.listing.table, k.columns, k.fields(s, v, owner), *uuid)
		if err == nil && !saved {
			return k.listing.notFound(*uuid)
		}
		return k.refusal(v, err)
	})
}

func (k volumes[T]) refusal(v *T, err error) error {
	if err == nil {
		return nil
	}
	_, uuid, _ := k.ids(v)
	index := duplicate(err)
	if index == k.listing.table+"_uuid" {
		return node.Errorf(node.Conflict, "A %s with UUID %s already exists.", k.what, *uuid)
	}
	if conflict := k.conflict(v, index); conflict != nil {
		return conflict
	}
	return fmt.Errorf("save %s %s: %w", k.what, *uuid, err)
}

// CreateVolumeConnector adds v and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (s *Store) CreateVolumeConnector(ctx context.Context, v *node.VolumeConnector) error {
	if err := fresh(&v.UUID, &v.CreatedAt, &v.UpdatedAt); err != nil {
		return err
	}
	return connectors.create(ctx, s, v)
}

// VolumeConnector returns a volume connector by its UUID.
func (s *Store) VolumeConnector(ctx context.Context, uuid string) (node.VolumeConnector, error) {
	return connectors.get(ctx, s, uuid)
}

// VolumeConnectors lists volume connectors, of one node or, for "", of all.
func (s *Store) VolumeConnectors(ctx context.Context, nodeUUID string, p node.Page) ([]node.VolumeConnector, error) {
	return connectors.list(ctx, s, nodeUUID, p)
}

// SaveVolumeConnector writes all of v but its UUID and CreatedAt, and sets its UpdatedAt.
func (s *Store) SaveVolumeConnector(ctx context.Context, v *node.VolumeConnector) error {
	v.UpdatedAt = node.Now()
	return connectors.save(ctx, s, v)
}

// DeleteVolumeConnector removes a volume connector.
func (s *Store) DeleteVolumeConnector(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "volume_connectors", connectors.what, uuid, node.VolumeConnectorNotFound)
}

// CreateVolumeTarget adds v and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (s *Store) CreateVolumeTarget(ctx context.Context, v *node.VolumeTarget) error {
	if err := fresh(&v.UUID, &v.CreatedAt, &v.UpdatedAt); err != nil {
		return err
	}
	return targets.create(ctx, s, v)
}

// VolumeTarget returns a volume target by its UUID.
func (s *Store) VolumeTarget(ctx context.Context, uuid string) (node.VolumeTarget, error) {
	return targets.get(ctx, s, uuid)
}

// VolumeTargetNode returns the UUID of a volume target's node, also of a target that cannot be read.
func (s *Store) VolumeTargetNode(ctx context.Context, uuid string) (nodeUUID string, err error) {
	const query = `SELECT n.uuid FROM volume_targets p JOIN nodes n ON n.id = p.node_id WHERE p.uuid = $1`
	err = row(ctx, s.read, query, strings.ToLower(uuid)).Scan(&nodeUUID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", node.VolumeTargetNotFound(uuid)
	}
	if err != nil {
		return "", fmt.Errorf("read volume target %s: %w", uuid, err)
	}
	return nodeUUID, nil
}

// VolumeTargets lists volume targets, of one node or, for "", of all.
func (s *Store) VolumeTargets(ctx context.Context, nodeUUID string, p node.Page) ([]node.VolumeTarget, error) {
	return targets.list(ctx, s, nodeUUID, p)
}

// SaveVolumeTarget writes all of v but its UUID and CreatedAt, and sets its UpdatedAt.
func (s *Store) SaveVolumeTarget(ctx context.Context, v *node.VolumeTarget) error {
	v.UpdatedAt = node.Now()
	return targets.save(ctx, s, v)
}

// ForgetVolumeTargets removes all volume targets of a node, also those that cannot be read.
func (s *Store) ForgetVolumeTargets(ctx context.Context, nodeUUID string) error {
	const query = `DELETE FROM volume_targets WHERE node_id IN (SELECT id FROM nodes WHERE uuid = $1)`
	if _, err := exec(ctx, s.write, query, strings.ToLower(nodeUUID)); err != nil {
		return fmt.Errorf("delete the volume targets of node %s: %w", nodeUUID, err)
	}
	return nil
}

// DeleteVolumeTarget removes a volume target.
func (s *Store) DeleteVolumeTarget(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "volume_targets", targets.what, uuid, node.VolumeTargetNotFound)
}
