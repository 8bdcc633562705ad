package api

import (
	"net/http"
	"net/url"

	"github.com/billet-metal/billet/node"
)

// What was done to a node outlives its last_error. The columns that this service has nothing for are null rather than absent:
// clients index them.

// eventView is a line of a node's history as one request sees it.
type eventView struct {
	node.HistoryEvent
	call *call
}

var historyColumns = []column[*eventView]{
	{"uuid", func(e *eventView) any { return e.UUID }},
	{"created_at", func(e *eventView) any { return stamp(e.CreatedAt) }},
	{"severity", func(e *eventView) any { return e.Severity }},
	{"event_type", func(e *eventView) any { return e.EventType }},
	{"event", func(e *eventView) any { return e.Event }},
	{"conductor", func(e *eventView) any { return e.Conductor }},
	{"user", func(e *eventView) any { return orNull(e.User) }},
	{"project", func(*eventView) any { return nil }},                // requests carry no project here
	{"state", func(*eventView) any { return nil }},                  // the sentence says what happened;
	{"target_provision_state", func(*eventView) any { return nil }}, // the columns are null as for
	{"duration_seconds", func(*eventView) any { return nil }},       // events without a change of state
	{"links", func(e *eventView) any {
		return []link{{Href: e.call.href("nodes", e.NodeUUID, "history", e.UUID), Rel: "self"}}
	}},
}

var historyListFields = []string{"uuid", "created_at", "severity", "event_type", "event", "links"}

func (ns *nodes) listHistory(w http.ResponseWriter, c *call) error {
	q, err := c.query("limit", "marker", "sort_key", "sort_dir", "detail")
	if err != nil {
		return err
	}
	detail, err := boolArg(q, "detail")
	if err != nil {
		return err
	}
	if detail != nil && *detail {
		return ns.writeHistory(w, c, q, nil)
	}
	return ns.writeHistory(w, c, q, historyListFields)
}

// listHistoryInDetail is where python-ironicclient looks for the long list.
func (ns *nodes) listHistoryInDetail(w http.ResponseWriter, c *call) error {
	q, err := c.query(paging...)
	if err != nil {
		return err
	}
	return ns.writeHistory(w, c, q, nil, "detail")
}

// writeHistory answers a list; nil fields means whole events. More is the rest of the list's path.
func (ns *nodes) writeHistory(w http.ResponseWriter, c *call, q url.Values, fields []string, more ...string) error {
	p, err := c.page(q, func(key string) error {
		if key != "created_at" {
			return badSortKey(key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	events, err := ns.read.History(c.Context(), n.UUID, p)
	if err != nil {
		return err
	}
	cols, items := shown(historyColumns, "history", c.version, fields), []map[string]any{}
	for _, e := range events {
		e.NodeUUID = n.UUID
		items = append(items, render(cols, &eventView{e, c}))
	}
	var next any
	if len(events) > 0 {
		next = c.next(q, p, len(events), events[len(events)-1].UUID, append([]string{"nodes", n.UUID, "history"}, more...)...)
	}
	writeJSON(w, http.StatusOK, collection("history", items, next))
	return nil
}

func (ns *nodes) showHistoryEvent(w http.ResponseWriter, c *call) error {
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	e, err := ns.read.HistoryEvent(c.Context(), n.UUID, c.PathValue("event"))
	if err != nil {
		return err
	}
	e.NodeUUID = n.UUID
	writeJSON(w, http.StatusOK, render(shown(historyColumns, "history", c.version, nil), &eventView{e, c}))
	return nil
}
