package storetest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// A caller that has gone away changes nothing: every method ends with its context's error.
func testCallersThatLeft(t *testing.T, s Store) {
	add(t, s, 1, func(n *node.Node) { n.Description = "as it was" })
	p := addPort(t, s, 1, node.Port{NodeUUID: uid(1)})
	tpl := node.DeployTemplate{Name: "CUSTOM_A", Steps: []node.PlannedStep{{Step: "s"}}}
	ok(t, s.DeployTemplates.Create(t.Context(), &tpl))
	g := addPortgroup(t, s, 1, node.Portgroup{NodeUUID: uid(1)})
	v, w := node.VolumeTarget{NodeUUID: uid(1)}, node.VolumeConnector{NodeUUID: uid(1)}
	ok(t, s.VolumeTargets.Create(t.Context(), &v))
	ok(t, s.VolumeConnectors.Create(t.Context(), &w))
	a := addAllocation(t, s, 1, node.Allocation{State: node.Allocating})
	ch := node.Chassis{UUID: uid(70)}
	ok(t, s.Chassis.Create(t.Context(), &ch))
	n := reserve(t, s, 1)
	before := load(t, s, 1)
	gone, leave := context.WithCancel(t.Context())
	leave()
	changed := n.Clone()
	changed.Description = "changed"
	for name, call := range map[string]func() error{
		"CreateNode":          func() error { return s.CreateNode(gone, &node.Node{UUID: uid(9)}) },
		"Node":                func() error { _, err := s.Node(gone, uid(1)); return err },
		"Nodes":               func() error { _, err := s.Nodes(gone, node.NodeFilter{}, node.Page{}); return err },
		"NodeByMACs":          func() error { _, err := s.NodeByMACs(gone, []string{mac(1)}); return err },
		"Reserve":             func() error { _, err := s.Reserve(gone, uid(1), "x", time.Minute); return err },
		"Save":                func() error { return s.Save(gone, changed.Clone()) },
		"Release":             func() error { return s.Release(gone, changed.Clone()) },
		"Renew":               func() error { return s.Renew(gone, changed.Clone(), time.Hour) },
		"DeleteNode":          func() error { return s.DeleteNode(gone, changed) },
		"SavePower":           func() error { return s.SavePower(gone, uid(1), node.PowerOn, 3) },
		"DropLeases":          func() error { return s.DropLeases(gone, holder) },
		"Work":                func() error { _, err := s.Work(gone, node.Now(), 5); return err },
		"CreatePort":          func() error { return s.Ports.Create(gone, &node.Port{NodeUUID: uid(1), Address: mac(9)}) },
		"Port":                func() error { _, err := s.Ports.Get(gone, p.UUID); return err },
		"Ports":               func() error { _, err := s.Ports.List(gone, node.PortFilter{}, node.Page{}); return err },
		"SavePort":            func() error { q := p; q.Name = "changed"; return s.Ports.Save(gone, &q) },
		"DeletePort":          func() error { return s.Ports.Delete(gone, p.UUID) },
		"CreatePortgroup":     func() error { return s.Portgroups.Create(gone, &node.Portgroup{NodeUUID: uid(1)}) },
		"Portgroup":           func() error { _, err := s.Portgroups.Get(gone, g.UUID); return err },
		"Portgroups":          func() error { _, err := s.Portgroups.List(gone, node.PortgroupFilter{}, node.Page{}); return err },
		"SavePortgroup":       func() error { q := g; q.Name = "changed"; return s.Portgroups.Save(gone, &q) },
		"DeletePortgroup":     func() error { return s.Portgroups.Delete(gone, g.UUID) },
		"CreateVolumeTarget":  func() error { return s.VolumeTargets.Create(gone, &node.VolumeTarget{NodeUUID: uid(1), BootIndex: 9}) },
		"VolumeTarget":        func() error { _, err := s.VolumeTargets.Get(gone, v.UUID); return err },
		"VolumeTargets":       func() error { _, err := s.VolumeTargets.List(gone, node.OfNode{}, node.Page{}); return err },
		"SaveVolumeTarget":    func() error { q := v; q.VolumeID = "changed"; return s.VolumeTargets.Save(gone, &q) },
		"ForgetVolumeTargets": func() error { return s.VolumeTargets.DeleteOf(gone, uid(1)) },
		"DeleteVolumeTarget":  func() error { return s.VolumeTargets.Delete(gone, v.UUID) },
		"CreateConnector": func() error {
			return s.VolumeConnectors.Create(gone, &node.VolumeConnector{NodeUUID: uid(1), Type: "ip"})
		},
		"VolumeConnector":     func() error { _, err := s.VolumeConnectors.Get(gone, w.UUID); return err },
		"VolumeConnectors":    func() error { _, err := s.VolumeConnectors.List(gone, node.OfNode{}, node.Page{}); return err },
		"SaveVolumeConnector": func() error { q := w; q.Type = "changed"; return s.VolumeConnectors.Save(gone, &q) },
		"DeleteConnector":     func() error { return s.VolumeConnectors.Delete(gone, w.UUID) },
		"CreateAllocation":    func() error { return s.Allocations.Create(gone, &node.Allocation{}) },
		"Allocation":          func() error { _, err := s.Allocations.Get(gone, a.UUID); return err },
		"Allocations":         func() error { _, err := s.Allocations.List(gone, node.AllocationFilter{}, node.Page{}); return err },
		"SaveAllocation":      func() error { q := a; q.Name = "changed"; return s.Allocations.Save(gone, &q) },
		"EndAllocation":       func() error { _, err := s.Allocations.End(gone, a.UUID, node.AllocationError, "x"); return err },
		"DeleteAllocation":    func() error { return s.Allocations.Delete(gone, a.UUID) },
		"CreateChassis":       func() error { return s.Chassis.Create(gone, &node.Chassis{}) },
		"Chassis":             func() error { _, err := s.Chassis.Get(gone, ch.UUID); return err },
		"ListChassis":         func() error { _, err := s.Chassis.List(gone, node.All{}, node.Page{}); return err },
		"SaveChassis":         func() error { q := ch; q.Description = "changed"; return s.Chassis.Save(gone, &q) },
		"DeleteChassis":       func() error { return s.Chassis.Delete(gone, ch.UUID) },
		"SaveAgent":           func() error { return s.SaveAgent(gone, uid(1), node.Agent{URL: "x"}) },
		"GiveAgentToken":      func() error { _, err := s.GiveAgentToken(gone, uid(1), "x", node.Caller{}); return err },
		"KeepBootKey":         func() error { return s.KeepBootKey(gone, uid(1), "x") },
		"ForgetAgent":         func() error { return s.ForgetAgent(gone, uid(1)) },
		"AddHistory":          func() error { return s.AddHistory(gone, node.HistoryEvent{NodeUUID: uid(1)}) },
		"History":             func() error { _, err := s.History(gone, uid(1), node.Page{}); return err },
		"HistoryEvent":        func() error { _, err := s.HistoryEvent(gone, uid(1), uid(1)); return err },
		"SaveInventory":       func() error { return s.SaveInventory(gone, uid(1), node.Inventory{}) },
		"Inventory":           func() error { _, err := s.Inventory(gone, uid(1)); return err },
		"SaveProgress":        func() error { return s.SaveProgress(gone, node.Progress{NodeUUID: uid(1)}) },
		"Progress":            func() error { _, err := s.Progress(gone, uid(1)); return err },
		"ClearProgress":       func() error { return s.ClearProgress(gone, uid(1)) },
		"PutRecord":           func() error { return s.PutRecord(gone, record(1)) },
		"DropRecord":          func() error { return s.DropRecord(gone, uid(1)) },
		"RecordOf":            func() error { _, err := s.RecordOf(gone, uid(1)); return err },
		"Places":              func() error { _, err := s.Places(gone); return err },
		"RecordBySecret":      func() error { _, err := s.RecordBySecret(gone, "x"); return err },
		"Machine":             func() error { _, err := s.Machine(gone, mac(1)); return err },
		"AddressLeases":       func() error { _, err := s.AddressLeases(gone); return err },
		"OfferAddress": func() error {
			_, err := s.OfferAddress(gone, testRange(), mac(1), netip.Addr{}, time.Minute)
			return err
		},
		"LendAddress": func() error {
			_, _, err := s.LendAddress(gone, testRange(), mac(1), testRange().First, time.Hour)
			return err
		},
		"ReleaseAddress":       func() error { return s.ReleaseAddress(gone, mac(1), testRange().First) },
		"DeclineAddress":       func() error { return s.DeclineAddress(gone, mac(1), testRange().First, time.Minute) },
		"Strangers":            func() error { _, err := s.Strangers(gone); return err },
		"Addresses":            func() error { _, err := s.Addresses(gone); return err },
		"LentTo":               func() error { _, err := s.LentTo(gone, testRange().First); return err },
		"AnswersDHCP":          func() error { return s.AnswersDHCP(gone, testRange().First) },
		"IsOurs":               func() error { _, err := s.IsOurs(gone, testRange().First); return err },
		"CreateDeployTemplate": func() error { return s.DeployTemplates.Create(gone, &node.DeployTemplate{Name: "CUSTOM_B"}) },
		"DeployTemplate":       func() error { _, err := s.DeployTemplates.Get(gone, tpl.UUID); return err },
		"DeployTemplates": func() error {
			_, err := s.DeployTemplates.List(gone, node.DeployTemplateFilter{}, node.Page{})
			return err
		},
		"DeployTemplatesNamed": func() error {
			_, err := s.DeployTemplates.List(gone, node.DeployTemplateFilter{Names: []string{"CUSTOM_A"}},
				node.Page{})
			return err
		},
		"SaveDeployTemplate":   func() error { c := tpl; c.Description = "changed"; return s.DeployTemplates.Save(gone, &c) },
		"DeleteDeployTemplate": func() error { return s.DeployTemplates.Delete(gone, tpl.UUID) },
		"SaveLines":            func() error { return s.SaveLines(gone, node.MachineLines{NodeUUID: uid(1), Source: node.SerialLine}) },
		"Lines":                func() error { _, err := s.Lines(gone, uid(1), node.SerialLine); return err },
		"ClearLines":           func() error { return s.ClearLines(gone, uid(1)) },
		"SaveFailure":          func() error { return s.SaveFailure(gone, node.Evidence{NodeUUID: uid(1)}) },
		"Failure":              func() error { _, err := s.Failure(gone, uid(1)); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want the context's error", name, err)
		}
	}
	same(t, "the node", load(t, s, 1), before)
	got, err := s.Ports.Get(t.Context(), p.UUID)
	ok(t, err)
	same(t, "the port", got, p)
	kept, err := s.DeployTemplates.List(t.Context(), node.DeployTemplateFilter{}, node.Page{})
	ok(t, err)
	if d := cmp.Diff([]node.DeployTemplate{tpl}, kept); len(kept) != 1 || kept[0].Description != "" {
		t.Errorf("templates: %s", d)
	}
	if all, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{}); err != nil || len(all) != 1 {
		t.Errorf("%d nodes, %v", len(all), err)
	}
}
