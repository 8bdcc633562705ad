package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/server"
)

// The room server asks for doors; here the Bare Metal API is behind them, over HTTP like for every other command.

// bareMetal is the Bare Metal API as the room server wants it.
type bareMetal struct{ c *client }

// get reads one answer as it is: what is written back must be what was read, so nothing is made fit for a terminal here.
func (b bareMetal) get(ctx context.Context, path string, into any) error {
	var raw json.RawMessage
	if err := b.c.do(ctx, "GET", path, nil, &raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// getAll reads a list, page by page. add takes one page and returns the link to the next.
func (b bareMetal) getAll(ctx context.Context, path string, add func(json.RawMessage) (next string, err error)) error {
	for path != "" {
		var page json.RawMessage
		if err := b.get(ctx, path, &page); err != nil {
			return err
		}
		next, err := add(page)
		if err != nil {
			return err
		}
		path = b.c.below(next)
	}
	return nil
}

type allocationRow struct {
	UUID          string        `json:"uuid"`
	Name          *string       `json:"name"`
	NodeUUID      *string       `json:"node_uuid"`
	State         *string       `json:"state"`
	LastError     *string       `json:"last_error"`
	ResourceClass *string       `json:"resource_class"`
	Extra         node.Document `json:"extra"`
	CreatedAt     time.Time     `json:"created_at"`
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (r allocationRow) record() node.Allocation {
	return node.Allocation{UUID: r.UUID, Name: orEmpty(r.Name), NodeUUID: orEmpty(r.NodeUUID), State: orEmpty(r.State),
		LastError: orEmpty(r.LastError), ResourceClass: orEmpty(r.ResourceClass), Extra: r.Extra, CreatedAt: r.CreatedAt}
}

func allocationPath(ident string) string { return "/v1/allocations/" + url.PathEscape(ident) }

// CreateAllocation is described on server.Allocations.
func (b bareMetal) CreateAllocation(ctx context.Context, a node.Allocation) (node.Allocation, error) {
	body := map[string]any{"uuid": a.UUID, "name": a.Name, "resource_class": a.ResourceClass, "extra": a.Extra}
	if len(a.Traits) > 0 {
		body["traits"] = a.Traits
	}
	if len(a.CandidateNodes) > 0 {
		body["candidate_nodes"] = a.CandidateNodes
	}
	var raw json.RawMessage
	if err := b.c.do(ctx, "POST", "/v1/allocations", body, &raw); err != nil {
		return a, err
	}
	var row allocationRow
	err := json.Unmarshal(raw, &row)
	return row.record(), err
}

// Allocation is described on server.Allocations.
func (b bareMetal) Allocation(ctx context.Context, ident string) (node.Allocation, error) {
	var row allocationRow
	err := b.get(ctx, allocationPath(ident), &row)
	return row.record(), err
}

// Allocations is described on server.Allocations.
func (b bareMetal) Allocations(ctx context.Context) (all []node.Allocation, err error) {
	err = b.getAll(ctx, "/v1/allocations", func(page json.RawMessage) (string, error) {
		var list struct {
			Allocations []allocationRow
			Next        string
		}
		err := json.Unmarshal(page, &list)
		for _, row := range list.Allocations {
			all = append(all, row.record())
		}
		return list.Next, err
	})
	return all, err
}

// DeleteAllocation is described on server.Allocations.
func (b bareMetal) DeleteAllocation(ctx context.Context, uuid string) error {
	return b.c.do(ctx, "DELETE", allocationPath(uuid), nil, nil)
}

// instanceRow is what of a node concerns its server.
type instanceRow struct {
	UUID           string        `json:"uuid"`
	Name           *string       `json:"name"`
	State          node.State    `json:"provision_state"`
	Power          *string       `json:"power_state"`
	InstanceUUID   *string       `json:"instance_uuid"`
	InstanceName   *string       `json:"instance_name"`
	AllocationUUID *string       `json:"allocation_uuid"`
	ResourceClass  *string       `json:"resource_class"`
	LastError      *string       `json:"last_error"`
	InstanceInfo   node.Document `json:"instance_info"`
	NetworkData    node.Document `json:"network_data"`
	UpdatedAt      *time.Time    `json:"provision_updated_at"`
}

const instanceFields = "fields=uuid,name,provision_state,power_state,instance_uuid,instance_name,allocation_uuid,resource_class," +
	"last_error,instance_info,network_data,provision_updated_at"

func (r instanceRow) record() *node.Node {
	n := &node.Node{UUID: r.UUID, Name: orEmpty(r.Name), State: r.State, Power: node.PowerState(orEmpty(r.Power)),
		InstanceUUID: orEmpty(r.InstanceUUID), InstanceName: orEmpty(r.InstanceName), AllocationUUID: orEmpty(r.AllocationUUID),
		ResourceClass: orEmpty(r.ResourceClass), LastError: orEmpty(r.LastError), InstanceInfo: r.InstanceInfo, NetworkData: r.NetworkData}
	if r.UpdatedAt != nil {
		n.ProvisionUpdatedAt = *r.UpdatedAt
	}
	return n
}

// Node is described on server.Nodes.
func (b bareMetal) Node(ctx context.Context, ident string) (*node.Node, error) {
	var row instanceRow
	if err := b.get(ctx, nodePath(ident)+"?"+instanceFields, &row); err != nil {
		return nil, err
	}
	return row.record(), nil
}

// Instances is described on server.Nodes.
func (b bareMetal) Instances(ctx context.Context) (all []*node.Node, err error) {
	err = b.getAll(ctx, "/v1/nodes?associated=true&"+instanceFields, func(page json.RawMessage) (string, error) {
		var list struct {
			Nodes []instanceRow
			Next  string
		}
		err := json.Unmarshal(page, &list)
		for _, row := range list.Nodes {
			all = append(all, row.record())
		}
		return list.Next, err
	})
	return all, err
}

// SetInstance is described on server.Nodes.
func (b bareMetal) SetInstance(ctx context.Context, uuid string, info node.Document) error {
	return b.c.do(ctx, "PATCH", nodePath(uuid), []map[string]any{{"op": "add", "path": "/instance_info", "value": info}}, nil)
}

// targets are the API's names of the verbs.
var targets = map[node.Event]string{node.EventDeploy: "active", node.EventRebuild: "rebuild", node.EventDelete: "deleted"}

// Provision is described on server.Nodes.
func (b bareMetal) Provision(ctx context.Context, uuid string, req node.ProvisionRequest) error {
	body := map[string]any{"target": targets[req.Event]}
	switch {
	case req.DriveParts != nil:
		body["configdrive"] = partsJSON(*req.DriveParts)
	case req.ConfigDrive != "":
		body["configdrive"] = req.ConfigDrive
	}
	return b.c.do(ctx, "PUT", nodePath(uuid)+"/states/provision", body, nil)
}

// Progress is described on server.Nodes.
func (b bareMetal) Progress(ctx context.Context, uuid string) (string, error) {
	var t trip
	if err := b.get(ctx, "/billet/v1/nodes/"+url.PathEscape(uuid)+"/progress", &t); err != nil {
		return "", err
	}
	if p := t.Progress; p != nil && p.Total > 0 {
		return fmt.Sprintf("is %q: %s %d %% of %s", t.State, p.Step, 100*p.Done/p.Total, megabytes(p.Total)), nil
	}
	for _, s := range t.Steps {
		if s.Current && s.WaitingFor != "" {
			return fmt.Sprintf("is %q: %s waits for %s", t.State, s.Step, s.WaitingFor), nil
		}
		if s.Current {
			return fmt.Sprintf("is %q: %s", t.State, s.Step), nil
		}
	}
	return "", nil
}

// Addresses is described on server.Nodes.
func (b bareMetal) Addresses(ctx context.Context) (map[string][]string, error) {
	var answer struct {
		Addresses []struct {
			Node    string `json:"node_uuid"`
			Address string `json:"address"`
		}
	}
	err := b.get(ctx, "/billet/v1/addresses", &answer)
	lent := map[string][]string{}
	for _, a := range answer.Addresses {
		lent[a.Node] = append(lent[a.Node], a.Address)
	}
	return lent, err
}

// Wires is described on server.Nodes.
func (b bareMetal) Wires(ctx context.Context, uuid string) (w server.Wires, err error) {
	of := "?detail=True&node=" + url.QueryEscape(uuid)
	err = b.getAll(ctx, "/v1/ports"+of, func(page json.RawMessage) (string, error) {
		var list struct {
			Ports []struct {
				UUID      string        `json:"uuid"`
				Address   string        `json:"address"`
				PXE       bool          `json:"pxe_enabled"`
				Portgroup *string       `json:"portgroup_uuid"`
				Info      node.Document `json:"internal_info"`
			}
			Next string
		}
		err := json.Unmarshal(page, &list)
		for _, p := range list.Ports {
			w.Ports = append(w.Ports, node.Port{UUID: p.UUID, Address: p.Address, PXEEnabled: p.PXE, PortgroupUUID: orEmpty(p.Portgroup),
				InternalInfo: p.Info})
		}
		return list.Next, err
	})
	if err != nil {
		return w, err
	}
	err = b.getAll(ctx, "/v1/portgroups"+of, func(page json.RawMessage) (string, error) {
		var list struct {
			Portgroups []struct {
				UUID    string        `json:"uuid"`
				Address *string       `json:"address"`
				Mode    *string       `json:"mode"`
				Info    node.Document `json:"internal_info"`
			}
			Next string
		}
		err := json.Unmarshal(page, &list)
		for _, g := range list.Portgroups {
			w.Portgroups = append(w.Portgroups, node.Portgroup{UUID: g.UUID, Address: orEmpty(g.Address), Mode: orEmpty(g.Mode),
				InternalInfo: g.Info})
		}
		return list.Next, err
	})
	return w, err
}

// AttachVIF is described on server.Nodes.
func (b bareMetal) AttachVIF(ctx context.Context, uuid string, vif node.VIF) error {
	return b.c.do(ctx, "POST", nodePath(uuid)+"/vifs", map[string]any{"id": vif.ID}, nil)
}

// DetachVIF is described on server.Nodes.
func (b bareMetal) DetachVIF(ctx context.Context, uuid, id string) error {
	return b.c.do(ctx, "DELETE", nodePath(uuid)+"/vifs/"+url.PathEscape(id), nil, nil)
}
