package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

func (s *Notes) linesColumn(l *node.MachineLines) sealed {
	return sealed{s.seal, &l.NodeUUID, "lines." + string(l.Source), l}
}

func (s *Notes) failureColumn(e *node.Evidence) sealed {
	return sealed{s.seal, &e.NodeUUID, "failure", e}
}

// SaveLines replaces the lines of one source, without the lease: they come from the machine.
func (s *Notes) SaveLines(ctx context.Context, l node.MachineLines) error {
	l.NodeUUID = strings.ToLower(l.NodeUUID)
	const query = `INSERT INTO machine_lines (node_id, source, updated_at, lines) SELECT id, $2, $3, $4 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id, source) DO UPDATE SET updated_at = excluded.updated_at, lines = excluded.lines`
	return saveReport(ctx, s.write, string(l.Source)+" lines", query, l.NodeUUID, l.Source, l.UpdatedAt, s.linesColumn(&l))
}

// Lines returns the lines of one source; those of a machine that nothing came from are empty.
func (s *Notes) Lines(ctx context.Context, nodeUUID string, source node.LineSource) (node.MachineLines, error) {
	l := node.MachineLines{NodeUUID: strings.ToLower(nodeUUID), Source: source}
	const query = `SELECT l.lines FROM machine_lines l JOIN nodes n ON n.id = l.node_id WHERE n.uuid = $1 AND l.source = $2`
	err := queryRow(ctx, s.read, query, l.NodeUUID, source).Scan(s.linesColumn(&l))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return node.MachineLines{}, fmt.Errorf("read the %s lines of node %s: %w", source, nodeUUID, err)
	}
	return l, nil
}

// ClearLines forgets the lines of both sources; none is not an error.
func (s *Notes) ClearLines(ctx context.Context, nodeUUID string) error {
	_, err := exec(ctx, s.write, `DELETE FROM machine_lines WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1)`, strings.ToLower(nodeUUID))
	if err != nil {
		return fmt.Errorf("clear the lines of node %s: %w", nodeUUID, err)
	}
	return nil
}

// SaveFailure replaces what was known when a flow of the node failed last.
func (s *Notes) SaveFailure(ctx context.Context, e node.Evidence) error {
	e.NodeUUID = strings.ToLower(e.NodeUUID)
	const query = `INSERT INTO failures (node_id, failed_at, evidence) SELECT id, $2, $3 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET failed_at = excluded.failed_at, evidence = excluded.evidence`
	return saveReport(ctx, s.write, "failure", query, e.NodeUUID, e.FailedAt, s.failureColumn(&e))
}

// Failure returns what was known when a flow of the node failed last; nil when none ever did.
func (s *Notes) Failure(ctx context.Context, nodeUUID string) (*node.Evidence, error) {
	e := &node.Evidence{NodeUUID: strings.ToLower(nodeUUID)}
	err := queryRow(ctx, s.read, `SELECT f.evidence FROM failures f JOIN nodes n ON n.id = f.node_id WHERE n.uuid = $1`,
		e.NodeUUID).Scan(s.failureColumn(e))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last failure of node %s: %w", nodeUUID, err)
	}
	return e, nil
}
