package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/billet-metal/billet/node"
)

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

func (a *API) listNodes(w http.ResponseWriter, c *call) error {
	q, err := c.query(slices.Concat(paging, nodeFilters, []string{"fields", "detail"})...)
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "node", nodeColumns)
	if err != nil {
		return err
	}
	detail, err := detailAsked(c, q)
	if err != nil {
		return err
	}
	if fields == nil && !detail {
		fields = nodeListFields
	}
	return a.writeNodes(w, c, q, fields)
}

func (a *API) listNodesInDetail(w http.ResponseWriter, c *call) error {
	q, err := c.query(slices.Concat(paging, nodeFilters)...)
	if err != nil {
		return err
	}
	return a.writeNodes(w, c, q, nil, "detail")
}

// writeNodes answers a list; nil fields means whole nodes. More is the rest of the list's path.
func (a *API) writeNodes(w http.ResponseWriter, c *call, q url.Values, fields []string, more ...string) error {
	f, err := a.nodeFilter(c, q)
	if err != nil {
		return err
	}
	p, err := c.page(q, func(key string) error { return nodeSortKey(c, key) })
	if err != nil {
		return err
	}
	p.Hot = fields != nil && !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(nodeListFields, f) })
	var nodes []*node.Node
	if host := q.Get("conductor"); host == "" || host == a.Host {
		if nodes, err = a.Reader.Nodes(c.Context(), f, p); err != nil {
			return err
		}
	}
	var next any
	if len(nodes) > 0 && f.InstanceUUID == "" { // one instance has one node
		next = c.next(q, p, len(nodes), nodes[len(nodes)-1].UUID, append([]string{"nodes"}, more...)...)
	}
	writeJSON(w, http.StatusOK, collection("nodes", a.nodesJSON(c, nodes, fields), next))
	return nil
}

func (a *API) showNode(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "node", nodeColumns)
	if err != nil {
		return err
	}
	n, err := a.node(c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.nodeJSON(c, n, fields))
	return nil
}

func (a *API) createNode(w http.ResponseWriter, c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	body, err := decodeObject(c.body)
	if err != nil {
		return err
	}
	n, err := newNode(c.version, body)
	if err == nil {
		err = a.checkNodeName(c.version, n.Name)
	}
	if err != nil {
		return err
	}
	if err := a.resolveParent(c.Context(), n); err != nil {
		return err
	}
	created, err := a.Conductor.CreateNode(c.Context(), n)
	if err != nil {
		return err
	}
	w.Header().Set("Location", c.href("nodes", created.UUID))
	writeJSON(w, http.StatusCreated, a.nodeJSON(c, created, nil))
	return nil
}

// resolveParent turns a parent's name into its UUID.
func (a *API) resolveParent(ctx context.Context, n *node.Node) error {
	if n.ParentNode == "" {
		return nil
	}
	ident := n.ParentNode
	if isUUID(ident) {
		ident = canonicalUUID(ident)
	}
	parent, err := a.Reader.Node(ctx, ident)
	switch {
	case err != nil && node.KindOf(err) == node.NotFound:
		return invalid("The parent node %q could not be found.", n.ParentNode)
	case err != nil:
		return err
	case parent.UUID == n.UUID: // lists hide children: the node would be gone from all of them
		return invalid("Node %s can not be its own parent.", n.UUID)
	}
	n.ParentNode = parent.UUID
	return a.checkAncestors(ctx, n, parent)
}

// checkAncestors refuses a parent that is a descendant of the node: lists would hide the whole circle.
func (a *API) checkAncestors(ctx context.Context, n, parent *node.Node) error {
	for range 1000 { // a circle that was there before must not hold this up for ever
		if parent.ParentNode == "" {
			return nil
		}
		next, err := a.Reader.Node(ctx, parent.ParentNode)
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

func (a *API) patchNode(w http.ResponseWriter, c *call) error {
	reset, ops, err := a.readNodePatch(c)
	if err != nil {
		return err
	}
	ident, err := c.ident()
	if err != nil {
		return err
	}
	opts := UpdateOptions{
		ResetInterfaces:     reset,
		OnlyRemovesInstance: len(ops) == 1 && ops[0].Op == "remove" && ops[0].Path == "/instance_uuid",
		KnowsInspectWait:    c.version >= inspectWaitShown,
		Fields:              touched(ops),
	}
	n, err := a.Conductor.UpdateNode(c.Context(), ident, opts, func(n *node.Node) error {
		if err := applyNodePatch(n, ops); err != nil {
			return err
		}
		if slices.Contains(opts.Fields, "name") {
			if err := a.checkNodeName(c.version, n.Name); err != nil {
				return err
			}
		}
		if !slices.Contains(opts.Fields, "parent_node") { // its parent may have been deleted since
			return nil
		}
		return a.resolveParent(c.Context(), n)
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.nodeJSON(c, n, nil))
	return nil
}

func (a *API) readNodePatch(c *call) (reset bool, ops []patchOp, err error) {
	q, err := c.query("reset_interfaces")
	if err != nil {
		return false, nil, err
	}
	if q.Has("reset_interfaces") {
		if err := c.version.needs(firstOf("node?reset_interfaces"), "the query argument 'reset_interfaces'"); err != nil {
			return false, nil, err
		}
	}
	b, err := boolArg(q, "reset_interfaces")
	if err != nil {
		return false, nil, err
	}
	ops, err = decodePatch(c.body, nodePatchRules(c.version))
	if err != nil {
		return false, nil, err
	}
	if slices.ContainsFunc(ops, leavesChassis) {
		if err := c.version.needs(leavingChassis, "taking a node out of its chassis"); err != nil {
			return false, nil, err
		}
	}
	reset = b != nil && *b
	if reset && !slices.Contains(touched(ops), "driver") {
		return false, nil, invalid("The reset_interfaces parameter can only be used when changing the node's driver.")
	}
	return reset, ops, nil
}

func (a *API) deleteNode(w http.ResponseWriter, c *call) error {
	ident, err := c.ident()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	if err := a.Conductor.DeleteNode(c.Context(), ident); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
