package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// BootKey is the key that the ramdisk which the node boots now shows in each call, "" for one that is given no key;
// boots is false when it boots none.
func (s *Boots) BootKey(ctx context.Context, nodeUUID string) (key string, boots bool, err error) {
	const query = `SELECT r.boot_key FROM boot_records r JOIN nodes n ON n.id = r.node_id
		WHERE n.uuid = $1 AND r.kernel <> '' AND r.valid_until > $2`
	err = queryRow(ctx, s.read, query, strings.ToLower(nodeUUID), node.Now()).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read the key of the boot of node %s: %w", nodeUUID, err)
	}
	return key, true, nil
}

// NodeByBootKey returns the node that a boot's key belongs to: of the boot under way, or of the one whose agent has the
// token, which may run on when its boot's record is gone. NotFound when it is nobody's.
func (s *Boots) NodeByBootKey(ctx context.Context, key string) (*node.Node, error) {
	const query = `SELECT n.uuid FROM nodes n
		LEFT JOIN boot_records r ON r.node_id = n.id AND r.kernel <> '' AND r.valid_until > $2
		LEFT JOIN node_agent a ON a.node_id = n.id
		WHERE n.id IN (SELECT node_id FROM boot_records WHERE boot_key = $1 UNION SELECT node_id FROM node_agent WHERE boot_key = $1)
			AND (r.boot_key = $1 OR a.boot_key = $1)`
	var uuid string
	err := sql.ErrNoRows
	if key != "" {
		err = queryRow(ctx, s.read, query, key, node.Now()).Scan(&uuid)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, node.Errorf(node.NotFound, "No node boots with this key.")
	}
	if err != nil {
		return nil, fmt.Errorf("find the node of a boot's key: %w", err)
	}
	return s.nodeIn(ctx, s.read, uuid)
}

// LentAddresses are the addresses that DHCP has lent to any of the MACs and that have not run out.
func (s *Boots) LentAddresses(ctx context.Context, macs []string) (addresses []string, err error) {
	if len(macs) == 0 {
		return nil, nil
	}
	query := `SELECT number FROM addresses WHERE mac IN (` + placeholders(2, len(macs)) + `) AND lent_until > $1 ORDER BY number`
	err = collect(ctx, s.read, query, append([]any{node.Now()}, lower(macs)...), func(r *sql.Rows) error {
		var number int64
		err := r.Scan(&number)
		addresses = append(addresses, addressOf(number).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the addresses lent to %s: %w", strings.Join(macs, ", "), err)
	}
	return addresses, nil
}

// askers bounds how many MACs of a boot are kept with the address that asked first.
const askers = 16

// AskedFirst keeps the address that asks for the script of a boot for a MAC, if it is the first, and returns the first.
func (s *Boots) AskedFirst(ctx context.Context, secret, mac, address string) (first string, err error) {
	for range addressTries {
		var before string
		err := queryRow(ctx, s.read, `SELECT asked_by FROM boot_records WHERE secret = $1 AND secret <> ''`, secret).Scan(&before)
		if errors.Is(err, sql.ErrNoRows) {
			return address, nil // the boot has ended meanwhile
		}
		if err != nil {
			return "", fmt.Errorf("read who asked first for a boot's script: %w", err)
		}
		words := strings.Fields(before)
		for _, word := range words {
			if of, ip, _ := strings.Cut(word, "="); of == mac {
				return ip, nil
			}
		}
		if len(words) >= askers {
			return "", nil
		}
		after := strings.Join(append(words, mac+"="+address), " ")
		kept, err := changedOne(ctx, s.write, `UPDATE boot_records SET asked_by = $3 WHERE secret = $1 AND asked_by = $2`, secret, before, after)
		if err != nil {
			return "", fmt.Errorf("keep who asked first for a boot's script: %w", err)
		}
		if kept {
			return address, nil
		}
	}
	return "", nil
}
