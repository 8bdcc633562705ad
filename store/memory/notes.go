package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/billet-metal/billet/node"
)

// historyKept is how many events of a node's history are kept, the newest.
const historyKept = 300

// AddHistory adds e to its node's history. An empty UUID or CreatedAt is filled.
func (s notes) AddHistory(ctx context.Context, e node.HistoryEvent) error {
	return s.change(ctx, e.NodeUUID, func(m *machine) error {
		if e.UUID == "" {
			e.UUID = uuid.NewString()
		}
		if e.CreatedAt.IsZero() {
			e.CreatedAt = node.Now()
		}
		s.lastID++
		e.ID, e.UUID, e.NodeUUID = s.lastID, strings.ToLower(e.UUID), m.node.UUID
		m.history = append(m.history, kept(e))
		m.history = m.history[max(0, len(m.history)-historyKept):]
		return nil
	})
}

// History lists a node's events, oldest first unless p says otherwise.
func (s notes) History(ctx context.Context, nodeUUID string, p node.Page) (events []node.HistoryEvent, err error) {
	err = s.change(ctx, nodeUUID, func(m *machine) error {
		var rows []*node.HistoryEvent
		for _, other := range s.machines { // a marker may be of any node
			for i := range other.history {
				rows = append(rows, &other.history[i])
			}
		}
		some, err := page(rows, func(e *node.HistoryEvent) bool { return e.NodeUUID == m.node.UUID }, p, historyNotFound)
		events = make([]node.HistoryEvent, len(some))
		for i, e := range some {
			events[i] = *e
		}
		return err
	})
	return events, err
}

func historyNotFound(uuid string) *node.Err {
	return node.Errorf(node.NotFound, "Node history event %s could not be found.", uuid)
}

// HistoryEvent returns one event of a node.
func (s notes) HistoryEvent(ctx context.Context, nodeUUID, eventUUID string) (e node.HistoryEvent, err error) {
	err = s.change(ctx, nodeUUID, func(m *machine) error {
		i := slices.IndexFunc(m.history, func(e node.HistoryEvent) bool { return e.UUID == strings.ToLower(eventUUID) })
		if i < 0 {
			return historyNotFound(eventUUID)
		}
		e = m.history[i]
		return nil
	})
	return e, err
}

// SaveInventory replaces what inspection found of a node.
func (s notes) SaveInventory(ctx context.Context, nodeUUID string, i node.Inventory) error {
	return s.change(ctx, nodeUUID, func(m *machine) error {
		i = kept(i)
		m.inventory = &i
		return nil
	})
}

// Inventory returns what inspection found of a node: NotFound when it was never inspected.
func (s notes) Inventory(ctx context.Context, nodeUUID string) (i node.Inventory, err error) {
	err = s.changeIfThere(ctx, nodeUUID, func(m *machine) {
		if m.inventory != nil {
			i = kept(*m.inventory)
		}
	})
	if err == nil && i.Inventory == nil {
		err = node.Errorf(node.NotFound, "Inventory of node %s could not be found: it has not been inspected.", nodeUUID)
	}
	return i, err
}

// SaveProgress replaces the node's progress.
func (s notes) SaveProgress(ctx context.Context, p node.Progress) error {
	return s.change(ctx, p.NodeUUID, func(m *machine) error {
		p = kept(p)
		p.NodeUUID, m.progress = m.node.UUID, &p
		return nil
	})
}

// Progress returns the node's progress; nil when there is none.
func (s notes) Progress(ctx context.Context, nodeUUID string) (p *node.Progress, err error) {
	err = s.changeIfThere(ctx, nodeUUID, func(m *machine) {
		if m.progress != nil {
			c := kept(*m.progress)
			p = &c
		}
	})
	return p, err
}

// ClearProgress forgets the node's progress; none is not an error.
func (s notes) ClearProgress(ctx context.Context, nodeUUID string) error {
	return s.changeIfThere(ctx, nodeUUID, func(m *machine) { m.progress = nil })
}

// SaveLines replaces the lines of one source.
func (s notes) SaveLines(ctx context.Context, l node.MachineLines) error {
	return s.change(ctx, l.NodeUUID, func(m *machine) error {
		l.NodeUUID = m.node.UUID
		m.lines[l.Source] = kept(l)
		return nil
	})
}

// Lines returns the lines of one source; those of a machine that nothing came from are empty.
func (s notes) Lines(ctx context.Context, nodeUUID string, source node.LineSource) (node.MachineLines, error) {
	l := node.MachineLines{NodeUUID: strings.ToLower(nodeUUID), Source: source}
	err := s.changeIfThere(ctx, nodeUUID, func(m *machine) {
		if had, is := m.lines[source]; is {
			l = kept(had)
		}
	})
	return l, err
}

// ClearLines forgets the lines of both sources; none is not an error.
func (s notes) ClearLines(ctx context.Context, nodeUUID string) error {
	return s.changeIfThere(ctx, nodeUUID, func(m *machine) { clear(m.lines) })
}

// SaveFailure replaces what was known when a flow of the node failed last.
func (s notes) SaveFailure(ctx context.Context, e node.Evidence) error {
	return s.change(ctx, e.NodeUUID, func(m *machine) error {
		e.NodeUUID = m.node.UUID
		e = kept(e)
		m.failure = &e
		return nil
	})
}

// Failure returns what was known when a flow of the node failed last; nil when none ever did.
func (s notes) Failure(ctx context.Context, nodeUUID string) (e *node.Evidence, err error) {
	err = s.changeIfThere(ctx, nodeUUID, func(m *machine) {
		if m.failure != nil {
			c := kept(*m.failure)
			e = &c
		}
	})
	return e, err
}
