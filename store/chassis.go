package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

var chassisColumns = []string{"uuid", "created_at", "updated_at", "description", "extra"}

func chassisFields(c *node.Chassis) []any {
	return forgive(chassisColumns, []any{&c.UUID, micros{&c.CreatedAt}, micros{&c.UpdatedAt}, &c.Description, document{&c.Extra}},
		&c.Unreadable)
}

var chassisListing = listing{table: "chassis", alias: "p", notFound: node.ChassisNotFound, sortKeys: sortKeysOf(chassisColumns[:4])}

var chassisSelect = "SELECT p.id, p." + strings.Join(chassisColumns, ", p.") + " FROM chassis p"

func (s *Store) scanChassis(r scanner) (node.Chassis, error) {
	c := node.Chassis{Extra: node.Document{}}
	err := r.Scan(append([]any{&c.ID}, chassisFields(&c)...)...)
	s.tellDamage("a value of a chassis cannot be read", "chassis", c.UUID, c.Unreadable)
	return c, err
}

// CreateChassis adds c and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (s *Store) CreateChassis(ctx context.Context, c *node.Chassis) error {
	if err := fresh(&c.UUID, &c.CreatedAt, &c.UpdatedAt); err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		err := row(ctx, tx, insertSQL("chassis", chassisColumns)+" RETURNING id", chassisFields(c)...).Scan(&c.ID)
		if duplicate(err) == "chassis_uuid" {
			return node.Errorf(node.Conflict, "A chassis with UUID %s already exists.", c.UUID)
		}
		if err != nil {
			err = fmt.Errorf("create chassis %s: %w", c.UUID, err)
		}
		return err
	})
}

// Chassis returns a chassis by its UUID.
func (s *Store) Chassis(ctx context.Context, uuid string) (node.Chassis, error) {
	c, err := s.scanChassis(row(ctx, s.read, chassisSelect+" WHERE p.uuid = $1", strings.ToLower(uuid)))
	if errors.Is(err, sql.ErrNoRows) {
		return node.Chassis{}, node.ChassisNotFound(uuid)
	}
	if err != nil {
		return node.Chassis{}, fmt.Errorf("read chassis %s: %w", uuid, err)
	}
	return c, nil
}

// ListChassis lists chassis.
func (s *Store) ListChassis(ctx context.Context, p node.Page) ([]node.Chassis, error) {
	q := &query{}
	tail, err := s.page(ctx, chassisListing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, "chassis", chassisSelect+tail, q.args, s.scanChassis)
}

// SaveChassis writes all of c but its UUID and CreatedAt, and sets its UpdatedAt.
func (s *Store) SaveChassis(ctx context.Context, c *node.Chassis) error {
	c.UpdatedAt = node.Now()
	saved, err := saveByUUID(ctx, s.write, "chassis", chassisColumns, chassisFields(c), c.UUID)
	if err == nil && !saved {
		return node.ChassisNotFound(c.UUID)
	}
	if err != nil {
		err = fmt.Errorf("save chassis %s: %w", c.UUID, err)
	}
	return err
}

// DeleteChassis removes a chassis that no node is in.
func (s *Store) DeleteChassis(ctx context.Context, uuid string) error {
	const query = `DELETE FROM chassis WHERE uuid = $1 AND NOT EXISTS (SELECT 1 FROM nodes WHERE chassis_uuid = $1)`
	deleted, err := changedOne(ctx, s.write, query, strings.ToLower(uuid))
	if err != nil {
		return fmt.Errorf("delete chassis %s: %w", uuid, err)
	}
	if deleted {
		return nil
	}
	if _, err := s.Chassis(ctx, uuid); err != nil {
		return err
	}
	return node.Errorf(node.Invalid, "Chassis %s cannot be deleted: it has nodes, which must leave it first.", strings.ToLower(uuid))
}
