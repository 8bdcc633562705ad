package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/billet-metal/billet/api"
	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/node"
)

// shelf is where what inspection finds is kept instead of the database: in objects, or nowhere. What the database has from before
// is read on.
type shelf struct {
	objects   conductor.Objects // nil: nowhere
	container string
	log       *slog.Logger
}

// mostInventory bounds what is read of a node; machines may report less.
const mostInventory = 16 << 20

// inventoryDocument is an object of the container.
type inventoryDocument struct {
	Inventory  node.Document `json:"inventory"`
	PluginData node.Document `json:"plugin_data"`
}

func inventoryObject(uuid string) string { return strings.ToLower(uuid) + "-inventory" }

func (s *shelf) put(ctx context.Context, uuid string, i node.Inventory) error {
	if s.objects == nil {
		return nil
	}
	b, err := json.Marshal(inventoryDocument{i.Inventory, i.PluginData})
	if err != nil {
		return fmt.Errorf("encoding an inventory: %w", err)
	}
	return s.objects.Put(ctx, s.container, inventoryObject(uuid), bytes.NewReader(b), 0)
}

func (s *shelf) get(ctx context.Context, uuid string) (i node.Inventory, err error) {
	if s.objects == nil {
		return i, node.Errorf(node.NotFound, "Inventory of node %s could not be found: this service keeps none.", uuid)
	}
	b, err := s.objects.Get(ctx, s.container, inventoryObject(uuid), mostInventory)
	if err != nil {
		return i, err
	}
	var doc inventoryDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return i, node.ServiceAway("The inventory of the node in Swift can not be read", err)
	}
	return node.Inventory{Inventory: doc.Inventory, PluginData: doc.PluginData}, nil
}

func (s *shelf) drop(ctx context.Context, uuid string) {
	if s.objects == nil {
		return
	}
	if err := s.objects.Delete(ctx, s.container, inventoryObject(uuid)); err != nil {
		s.log.Warn("the inventory of a deleted node stays in Swift", "node", uuid, "error", err)
	}
}

// shelvedNotes, shelvedNodes and shelvedReader are the doors to the database with another shelf for inventories.
type (
	nodesDoor    = conductor.Nodes // which has a method of that name
	shelvedNotes struct {
		conductor.Notes
		*shelf
	}
	shelvedNodes struct {
		nodesDoor
		*shelf
	}
	shelvedReader struct {
		api.Reader
		*shelf
	}
)

// SaveInventory implements conductor.Notes.
func (s shelvedNotes) SaveInventory(ctx context.Context, uuid string, i node.Inventory) error {
	return s.put(ctx, uuid, i)
}

// Inventory implements conductor.Notes.
func (s shelvedNotes) Inventory(ctx context.Context, uuid string) (node.Inventory, error) {
	return inventoryOf(ctx, s.shelf, s.Notes, uuid)
}

// Inventory implements api.Reader.
func (s shelvedReader) Inventory(ctx context.Context, uuid string) (node.Inventory, error) {
	return inventoryOf(ctx, s.shelf, s.Reader, uuid)
}

func inventoryOf(ctx context.Context, s *shelf, before interface {
	Inventory(ctx context.Context, nodeUUID string) (node.Inventory, error)
}, uuid string) (node.Inventory, error) {
	i, err := s.get(ctx, uuid)
	if err == nil || node.KindOf(err) != node.NotFound {
		return i, err
	}
	old, oldErr := before.Inventory(ctx, uuid)
	if oldErr != nil || len(old.Inventory) > 0 {
		return old, oldErr
	}
	return i, err
}

// EnrolNode implements conductor.Nodes. The object comes first: a node is never there without what was found of it.
func (s shelvedNodes) EnrolNode(ctx context.Context, n *node.Node, ports []node.Port, i node.Inventory) error {
	if err := s.put(ctx, n.UUID, i); err != nil {
		return err
	}
	err := s.nodesDoor.EnrolNode(ctx, n, ports, node.Inventory{Inventory: node.Document{}, PluginData: node.Document{}})
	if err != nil {
		s.drop(ctx, n.UUID)
	}
	return err
}

// DeleteNode implements conductor.Nodes.
func (s shelvedNodes) DeleteNode(ctx context.Context, n *node.Node) error {
	err := s.nodesDoor.DeleteNode(ctx, n)
	if err == nil {
		s.drop(ctx, n.UUID)
	}
	return err
}

// shelve puts inventories where the configuration says.
func (c *Config) shelve(con *conductor.Config, read api.Reader, log *slog.Logger) api.Reader {
	if c.Swift.InventoryBackend == "database" {
		return read
	}
	s := &shelf{container: c.Swift.InventoryContainer, log: log}
	if c.Swift.InventoryBackend == "swift" {
		s.objects = con.Objects
	}
	con.Store.Notes, con.Store.Nodes = shelvedNotes{con.Store.Notes, s}, shelvedNodes{con.Store.Nodes, s}
	return shelvedReader{read, s}
}
