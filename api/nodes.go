package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// NodeChanger carries out what changes nodes. Everything it refuses comes back before the work starts, as a *node.Err whose kind is
// the status; what the machine gets wrong later is the node's last_error. Idents are UUIDs or names.
type NodeChanger interface {
	CreateNode(ctx context.Context, n *node.Node) (*node.Node, error)
	// UpdateNode takes the lease, lets change edit a copy, checks the field rules that depend on
	// the node's state, saves and lets go. resetInterfaces is PATCH ?reset_interfaces=true.
	UpdateNode(ctx context.Context, ident string, opts node.UpdateOptions, change func(*node.Node) error) (*node.Node, error)
	DeleteNode(ctx context.Context, ident string) error
	Provision(ctx context.Context, ident string, req node.ProvisionRequest) error
	Validate(ctx context.Context, ident string) (map[node.Interface]node.Validation, error)
	// Why says what is known of a node's machine: of the flow under way and of its last failure, each nil for none.
	Why(ctx context.Context, ident string) (running, failed *node.Evidence, err error)
}

// Reader answers what needs no lease. Reads never lock.
type Reader interface {
	Node(ctx context.Context, ident string) (*node.Node, error)
	Nodes(ctx context.Context, f node.NodeFilter, p node.Page) ([]*node.Node, error)
	Shards(ctx context.Context) ([]node.Shard, error) // the largest first
	History(ctx context.Context, nodeUUID string, p node.Page) ([]node.HistoryEvent, error)
	HistoryEvent(ctx context.Context, nodeUUID, eventUUID string) (node.HistoryEvent, error)
	Inventory(ctx context.Context, nodeUUID string) (node.Inventory, error) // NotFound when none
	Progress(ctx context.Context, nodeUUID string) (*node.Progress, error)  // nil when none
	BootEvents(ctx context.Context, macs []string, since time.Time) ([]node.BootEvent, error)
	Addresses(ctx context.Context) ([]node.Address, error)   // what DHCP has lent to nodes now, by address
	Strangers(ctx context.Context) ([]node.BootEvent, error) // the newest event of each MAC that no node has
}

// nodes are the calls about nodes.
type nodes struct {
	finder
	nodeViews
	read     Reader
	ports    Records[node.Port, node.PortFilter]
	con      NodeChanger
	wires    VIFChanger
	reserved []string // names that no node may have: each would hide a path below it
}

// finder finds nodes by what clients call them.
type finder struct {
	nodes interface {
		Node(ctx context.Context, ident string) (*node.Node, error)
	}
}

// node is the node a path names, by UUID or, since 1.5, by name.
func (f finder) node(c *call) (*node.Node, error) { return f.named(c, c.PathValue("ident")) }

func (f finder) named(c *call, ident string) (*node.Node, error) {
	id, err := nodeIdent(c, ident)
	if err != nil {
		return nil, err
	}
	return f.nodes.Node(c.Context(), id)
}

// nodeIdent checks the form of an ident; a UUID comes back in its canonical form.
func nodeIdent(c *call, ident string) (string, error) {
	switch {
	case isUUID(ident):
		return canonicalUUID(ident), nil
	case !c.version.knows("node.name"):
		return "", node.NodeNotFound(ident)
	case !nameForm.MatchString(ident), checkNameIn(c.version, ident) != nil:
		return "", invalid("Expected a logical name or UUID but received %q.", ident)
	}
	return ident, nil
}

func (c *call) ident() (string, error) { return nodeIdent(c, c.PathValue("ident")) }

// listNodes answers a list; whole is that of whole nodes, at a path of its own.
func (ns *nodes) listNodes(whole bool) handler {
	return func(w http.ResponseWriter, c *call) error {
		q, fields, err := nodesAsked(c, nodeFilters, whole)
		if err != nil {
			return err
		}
		return ns.writeNodes(w, c, q, fields, detailPath(whole)...)
	}
}

func detailPath(whole bool) []string {
	if whole {
		return []string{"detail"}
	}
	return nil
}

// nodesAsked reads the arguments of a list of nodes: those of whole nodes take no fields. No fields are all.
func nodesAsked(c *call, filters []string, whole bool) (q url.Values, fields []string, err error) {
	if whole {
		q, err = c.query(slices.Concat(paging, filters)...)
		return q, nil, err
	}
	if q, err = c.query(slices.Concat(paging, filters, []string{"fields", "detail"})...); err != nil {
		return nil, nil, err
	}
	if fields, err = fieldsAsked(c, q, "node", nodeColumns); err != nil {
		return nil, nil, err
	}
	detail, err := detailAsked(c, q)
	if fields == nil && !detail {
		fields = nodeListFields
	}
	return q, fields, err
}

// writeNodes answers a list; nil fields means whole nodes. More is the rest of the list's path.
func (ns *nodes) writeNodes(w http.ResponseWriter, c *call, q url.Values, fields []string, more ...string) error {
	f, err := ns.nodeFilter(c, q)
	if err != nil {
		return err
	}
	p, err := c.page(q, func(key string) error { return nodeSortKey(c, key) })
	if err != nil {
		return err
	}
	p.Hot = fields != nil && !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(nodeListFields, f) })
	var nodes []*node.Node
	if host := q.Get("conductor"); host == "" || host == ns.host {
		if nodes, err = ns.read.Nodes(c.Context(), f, p); err != nil {
			return err
		}
	}
	var next any
	if len(nodes) > 0 && f.InstanceUUID == "" { // one instance has one node
		next = c.next(q, p, len(nodes), nodes[len(nodes)-1].UUID, append([]string{"nodes"}, more...)...)
	}
	writeJSON(w, http.StatusOK, collection("nodes", ns.nodesJSON(c, nodes, fields), next))
	return nil
}

func (ns *nodes) showNode(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "node", nodeColumns)
	if err != nil {
		return err
	}
	n, err := ns.node(c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, ns.nodeJSON(c, n, fields))
	return nil
}

func (ns *nodes) createNode(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	n, err := newNode(c.version, body)
	if err == nil {
		err = ns.checkNodeName(c.version, n.Name)
	}
	if err != nil {
		return err
	}
	if err := ns.resolveParent(c.Context(), n); err != nil {
		return err
	}
	created, err := ns.con.CreateNode(c.Context(), n)
	if err != nil {
		return err
	}
	w.Header().Set("Location", c.href("nodes", created.UUID))
	writeJSON(w, http.StatusCreated, ns.nodeJSON(c, created, nil))
	return nil
}

// resolveParent turns a parent's name into its UUID.
func (ns *nodes) resolveParent(ctx context.Context, n *node.Node) error {
	if n.ParentNode == "" {
		return nil
	}
	ident := n.ParentNode
	if isUUID(ident) {
		ident = canonicalUUID(ident)
	}
	parent, err := ns.read.Node(ctx, ident)
	switch {
	case err != nil && node.KindOf(err) == node.NotFound:
		return invalid("The parent node %q could not be found.", n.ParentNode)
	case err != nil:
		return err
	case parent.UUID == n.UUID: // lists hide children: the node would be gone from all of them
		return invalid("Node %s can not be its own parent.", n.UUID)
	}
	n.ParentNode = parent.UUID
	return ns.checkAncestors(ctx, n, parent)
}

// checkAncestors refuses a parent that is a descendant of the node: lists would hide the whole circle.
func (ns *nodes) checkAncestors(ctx context.Context, n, parent *node.Node) error {
	for range 1000 { // a circle that was there before must not hold this up for ever
		if parent.ParentNode == "" {
			return nil
		}
		next, err := ns.read.Node(ctx, parent.ParentNode)
		switch {
		case node.KindOf(err) == node.NotFound && err != nil:
			return nil
		case err != nil:
			return err
		case next.UUID == n.UUID:
			return invalid("Node %s can not be the parent of node %s, which is one of its own ancestors.", n.ParentNode, n.UUID)
		}
		parent = next
	}
	return nil
}

func (ns *nodes) deleteNode(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	if err := ns.con.DeleteNode(c.Context(), ident); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
