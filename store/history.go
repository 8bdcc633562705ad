package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

const historySelect = `SELECT h.id, h.uuid, n.uuid, h.conductor, h.event_type, h.severity, h.event, h.username, h.created_at
	FROM history h JOIN nodes n ON n.id = h.node_id`

var historyListing = listing{table: "history", alias: "h", notFound: historyNotFound, sortKeys: map[string]string{
	"uuid": "uuid", "created_at": "created_at", "conductor": "conductor", "event_type": "event_type",
	"severity": "severity", "event": "event", "user": "username",
}}

func historyNotFound(uuid string) *node.Err {
	return node.Errorf(node.NotFound, "Node history event %s could not be found.", uuid)
}

func scanHistory(r scanner) (e node.HistoryEvent, err error) {
	err = r.Scan(&e.ID, &e.UUID, &e.NodeUUID, &e.Conductor, &e.EventType, &e.Severity, &e.Event, &e.User, micros{&e.CreatedAt})
	return e, err
}

// AddHistory adds e to its node's history, which keeps the newest (Keep). An empty UUID or CreatedAt
// is filled.
func (s *Notes) AddHistory(ctx context.Context, e node.HistoryEvent) error {
	if e.UUID == "" {
		e.UUID = newUUID()
	}
	if e.CreatedAt.IsZero() {
		e.CreatedAt = node.Now()
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		owner, err := nodeID(ctx, tx, e.NodeUUID)
		if err != nil {
			return err
		}
		const insert = `INSERT INTO history (uuid, node_id, conductor, event_type, severity, event, username, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
		if _, err := exec(ctx, tx, insert, strings.ToLower(e.UUID), owner, e.Conductor, e.EventType, e.Severity, e.Event, e.User,
			e.CreatedAt); err != nil {
			return fmt.Errorf("add to the history of node %s: %w", e.NodeUUID, err)
		}
		const trim = `DELETE FROM history WHERE node_id = $1 AND id <= (SELECT id FROM history WHERE node_id = $1 ORDER BY id DESC LIMIT 1 ` +
			`OFFSET $2)`
		if _, err := exec(ctx, tx, trim, owner, s.keep.History); err != nil {
			return fmt.Errorf("trim the history of node %s: %w", e.NodeUUID, err)
		}
		return nil
	})
}

// History lists a node's events, oldest first unless p says otherwise.
func (s *Notes) History(ctx context.Context, nodeUUID string, p node.Page) ([]node.HistoryEvent, error) {
	owner, err := nodeID(ctx, s.read, nodeUUID)
	if err != nil {
		return nil, err
	}
	q := &query{}
	q.and("h.node_id = $?", owner)
	tail, err := s.page(ctx, historyListing, q, p)
	if err != nil {
		return nil, err
	}
	events := []node.HistoryEvent{}
	err = collect(ctx, s.read, historySelect+tail, q.args, func(r *sql.Rows) error {
		e, err := scanHistory(r)
		events = append(events, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the history of node %s: %w", nodeUUID, err)
	}
	return events, nil
}

// HistoryEvent returns one event of a node.
func (s *Notes) HistoryEvent(ctx context.Context, nodeUUID, eventUUID string) (node.HistoryEvent, error) {
	if _, err := nodeID(ctx, s.read, nodeUUID); err != nil {
		return node.HistoryEvent{}, err
	}
	e, err := scanHistory(queryRow(ctx, s.read, historySelect+" WHERE h.uuid = $1 AND n.uuid = $2", strings.ToLower(eventUUID),
		strings.ToLower(nodeUUID)))
	if errors.Is(err, sql.ErrNoRows) {
		return node.HistoryEvent{}, historyNotFound(eventUUID)
	}
	if err != nil {
		return node.HistoryEvent{}, fmt.Errorf("read history event %s: %w", eventUUID, err)
	}
	return e, nil
}
