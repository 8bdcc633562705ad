package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// PutRecord makes r what its node boots, in place of its earlier record. A zero CreatedAt is now.
func (s *Boots) PutRecord(ctx context.Context, r boot.Record) error {
	if r.CreatedAt.IsZero() {
		r.CreatedAt = node.Now()
	}
	const query = `INSERT INTO boot_records (node_id, loader, kernel, ramdisk, command_line, image,
			secret, valid_until, created_at, boot_key, hidden, asked_by)
		SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET loader = excluded.loader, kernel = excluded.kernel, ramdisk = excluded.ramdisk,
			command_line = excluded.command_line, image = excluded.image, secret = excluded.secret,
			valid_until = excluded.valid_until, created_at = excluded.created_at,
			boot_key = excluded.boot_key, hidden = excluded.hidden, asked_by = excluded.asked_by`
	return saveReport(ctx, s.write, "boot record", query, r.NodeUUID, r.Loader, r.Kernel, r.Ramdisk, r.CommandLine, r.Image, r.Secret,
		r.Until, r.CreatedAt, r.Key, r.Hidden, r.AskedBy)
}

// DropRecord makes the node boot its own disk again; no record is not an error.
func (s *Boots) DropRecord(ctx context.Context, nodeUUID string) error {
	_, err := exec(ctx, s.write, `DELETE FROM boot_records WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1)`, strings.ToLower(nodeUUID))
	if err != nil {
		return fmt.Errorf("drop the boot record of node %s: %w", nodeUUID, err)
	}
	return nil
}

// RecordOf returns the node's record; nil when there is none or it has ended.
func (s *Boots) RecordOf(ctx context.Context, nodeUUID string) (*boot.Record, error) {
	return s.recordWhere(ctx, "n.uuid = $1", strings.ToLower(nodeUUID))
}

// RecordBySecret returns the record whose URLs carry secret; nil when there is none or it ended.
func (s *Boots) RecordBySecret(ctx context.Context, secret string) (*boot.Record, error) {
	return s.recordWhere(ctx, "r.secret = $1 AND r.secret <> ''", secret)
}

// Places returns where the files lie that machines may read now: those of all records that have not ended.
func (s *Boots) Places(ctx context.Context) (places []string, err error) {
	const query = `SELECT kernel, ramdisk, image FROM boot_records WHERE valid_until > $1`
	err = collect(ctx, s.read, query, []any{node.Now()}, func(row *sql.Rows) error {
		var r boot.Record
		err := row.Scan(&r.Kernel, &r.Ramdisk, &r.Image)
		places = append(places, r.Places()...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask what machines may read: %w", err)
	}
	return places, nil
}

// recordWhere returns the live record that cond finds, or nil. arg may be a secret.
func (s *Boots) recordWhere(ctx context.Context, cond, arg string) (*boot.Record, error) {
	query := `SELECT n.uuid, r.loader, r.kernel, r.ramdisk, r.command_line, r.image, r.secret, r.boot_key, r.hidden, r.asked_by,
			r.valid_until, r.created_at
		FROM boot_records r JOIN nodes n ON n.id = r.node_id WHERE r.valid_until > $2 AND ` + cond
	var uuid string
	r, err := scanRecord(queryRow(ctx, s.read, query, arg, node.Now()), &uuid)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a boot record: %w", err)
	}
	r.NodeUUID = uuid
	return &r, nil
}

// Machine says what the machine with this MAC boots now. A port with pxe_enabled false never gets
// its node's record: that network is not for booting.
func (s *Boots) Machine(ctx context.Context, mac string) (boot.Machine, error) {
	const query = `SELECT n.uuid, r.node_id IS NOT NULL, COALESCE(r.loader, ''), COALESCE(r.kernel, ''), COALESCE(r.ramdisk, ''),
			COALESCE(r.command_line, ''), COALESCE(r.image, ''), COALESCE(r.secret, ''), COALESCE(r.boot_key, ''),
			COALESCE(r.hidden, ''), COALESCE(r.asked_by, ''), r.valid_until, r.created_at
		FROM ports p JOIN nodes n ON n.id = p.node_id LEFT JOIN boot_records r ON r.node_id = n.id AND r.valid_until > $2 AND p.pxe_enabled
		WHERE p.address = $1`
	var m boot.Machine
	var has bool
	r, err := scanRecord(queryRow(ctx, s.read, query, strings.ToLower(mac), node.Now()), &m.NodeUUID, &has)
	if errors.Is(err, sql.ErrNoRows) {
		return s.bond(ctx, mac)
	}
	if err != nil {
		return boot.Machine{}, fmt.Errorf("ask what %s boots: %w", mac, err)
	}
	if has {
		r.NodeUUID = m.NodeUUID
		m.Record = &r
	}
	return m, nil
}

// bond is the machine whose operating system has joined ports under a portgroup's address: it is known, and boots nothing.
func (s *Boots) bond(ctx context.Context, mac string) (m boot.Machine, err error) {
	const query = `SELECT n.uuid FROM portgroups p JOIN nodes n ON n.id = p.node_id WHERE p.address = $1 AND p.address <> ''`
	err = queryRow(ctx, s.read, query, strings.ToLower(mac)).Scan(&m.NodeUUID)
	if errors.Is(err, sql.ErrNoRows) {
		return m, nil
	}
	if err != nil {
		err = fmt.Errorf("ask whose bond %s is: %w", mac, err)
	}
	return m, err
}

// scanRecord reads a record's columns behind those that go into before.
func scanRecord(sc scanner, before ...any) (r boot.Record, err error) {
	err = sc.Scan(append(before, &r.Loader, &r.Kernel, &r.Ramdisk, &r.CommandLine, &r.Image, &r.Secret, &r.Key, &r.Hidden,
		&r.AskedBy, micros{&r.Until}, micros{&r.CreatedAt})...)
	return r, err
}
