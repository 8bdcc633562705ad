package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
	"github.com/billet-metal/billet/store/memory"
)

const inspected = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"

// What inspection finds is kept in Swift, or nowhere; it is read from there, or from the database that has it from before, it goes
// when its node does, and a Swift that is away is no empty inventory.
func TestInventoriesOutsideTheDatabase(t *testing.T) {
	found := node.Inventory{Inventory: node.Document{"cpu": "x86"}, PluginData: node.Document{"p": "q"}}
	for _, backend := range []string{"swift", "none"} {
		t.Run(backend, func(t *testing.T) {
			cloud := openstacktest.New(t)
			session, err := openstack.Open(openstack.Config{
				AuthURL: cloud.AuthURL(), Username: openstacktest.Username, Password: openstacktest.Password, Project: openstacktest.Project,
			})
			if err != nil {
				t.Fatal(err)
			}
			db := memory.New()
			con := conductor.Config{Store: conductor.Store{Notes: db, Nodes: db}}
			c := &Config{Swift: swiftConfig{InventoryBackend: backend, InventoryContainer: "inventories"}}
			c.Swift.keepIn(&con, session, slog.New(slog.DiscardHandler))
			read := c.shelve(&con, db, slog.New(slog.DiscardHandler))

			n := &node.Node{UUID: inspected, Driver: "ipmi", State: node.Enroll}
			if err := con.Store.Nodes.EnrolNode(t.Context(), n, nil, found); err != nil {
				t.Fatal(err)
			}
			got, err := read.Inventory(t.Context(), inspected)
			if backend == "none" {
				if node.KindOf(err) != node.NotFound {
					t.Errorf("%v %v", got, err)
				}
				if err := con.Store.Notes.SaveInventory(t.Context(), inspected, found); err != nil || len(cloud.Swift.Asked("")) > 0 {
					t.Errorf("%v; asked %v", err, cloud.Swift.Asked(""))
				}
				return
			}
			if err != nil || got.Inventory["cpu"] != "x86" || got.PluginData["p"] != "q" {
				t.Errorf("%v %v", got, err)
			}
			if in, err := db.Inventory(t.Context(), inspected); err == nil && len(in.Inventory) > 0 {
				t.Errorf("the database has %v", in)
			}
			cloud.Swift.Fail(openstacktest.Abort)
			if _, err := read.Inventory(t.Context(), inspected); node.KindOf(err) != node.Unavailable {
				t.Errorf("away: %v", err)
			}
			if err := con.Store.Notes.SaveInventory(t.Context(), inspected, found); node.KindOf(err) != node.Unavailable {
				t.Errorf("saved while it is away: %v", err)
			}
			cloud.Swift.Fail(nil)
			held, err := con.Store.Nodes.Reserve(t.Context(), inspected, "me", time.Minute)
			if err == nil {
				err = con.Store.Nodes.DeleteNode(t.Context(), held)
			}
			if err != nil || len(cloud.Swift.Objects("inventories")) > 0 {
				t.Errorf("%v; left %v", err, cloud.Swift.Objects("inventories"))
			}
		})
	}
}

// An inventory of before is read on.
func TestAnInventoryOfTheDatabaseIsReadOn(t *testing.T) {
	db := memory.New()
	n := &node.Node{UUID: inspected, Driver: "ipmi", State: node.Enroll}
	if err := db.EnrolNode(t.Context(), n, nil, node.Inventory{Inventory: node.Document{"cpu": "old"}}); err != nil {
		t.Fatal(err)
	}
	c := &Config{Swift: swiftConfig{InventoryBackend: "none"}}
	con := conductor.Config{Store: conductor.Store{Notes: db, Nodes: db}}
	got, err := c.shelve(&con, db, nil).Inventory(t.Context(), inspected)
	if err != nil || got.Inventory["cpu"] != "old" {
		t.Errorf("%v %v", got, err)
	}
}

func TestSwiftNeedsACloud(t *testing.T) {
	for args, want := range map[string]string{
		"configdrive_use_object_store": "configdrive_use_object_store: Swift needs openstack_auth_url and a login there",
		"deploy_logs_storage_backend":  "deploy_logs_storage_backend: Swift needs openstack_auth_url and a login there",
		"inventory_data_backend":       "inventory_data_backend: Swift needs openstack_auth_url and a login there",
	} {
		c := &Config{Swift: swiftConfig{
			Drives: strings.HasPrefix(args, "configdrive"), DriveContainer: "a", LogContainer: "b", InventoryContainer: "c",
		}}
		if args == "deploy_logs_storage_backend" {
			c.Swift.LogBackend = "swift"
		}
		if args == "inventory_data_backend" {
			c.Swift.InventoryBackend = "swift"
		}
		if err := c.checkSwift(); err == nil || err.Error() != want {
			t.Errorf("%s: %v", args, err)
		}
		c.Cloud.AuthURL, c.Auth = "http://k", "keystone"
		c.Swift.DriveExpire = time.Hour
		if err := c.checkSwift(); err != nil {
			t.Errorf("%s in a cloud: %v", args, err)
		}
	}
}
