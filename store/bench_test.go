package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// 1,000 nodes as they are in life, with a config drive of 20 KB on every other one.
func BenchmarkStore(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		cfg := store.Config{DataDir: b.TempDir(), Host: "here"}
		if name == "postgres" {
			cfg.URL = postgres(b).Database(b)
		}
		s, err := store.Open(context.Background(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		first := fill(b, s, 1000)
		b.Run(name+"/list hot", func(b *testing.B) { list(b, s, node.Page{Hot: true}) })
		b.Run(name+"/list full", func(b *testing.B) { list(b, s, node.Page{}) })
		b.Run(name+"/page of 100 hot", func(b *testing.B) { list(b, s, node.Page{Hot: true, Limit: 100, Marker: first}) })
		b.Run(name+"/node", func(b *testing.B) { each(b, func() error { _, err := s.Node(b.Context(), first); return err }) })
		b.Run(name+"/machine", func(b *testing.B) {
			each(b, func() error { _, err := s.Machine(b.Context(), "52:54:00:00:00:01"); return err })
		})
		b.Run(name+"/work", func(b *testing.B) {
			each(b, func() error { _, err := s.Work(b.Context(), node.Now(), 500); return err })
		})
		b.Run(name+"/reserve and release", func(b *testing.B) {
			each(b, func() error {
				n, err := s.Reserve(b.Context(), first, "here", time.Minute)
				if err != nil {
					return err
				}
				return s.Release(b.Context(), n)
			})
		})
		b.Run(name+"/heartbeat", func(b *testing.B) {
			if _, err := s.GiveAgentToken(b.Context(), first, "token", node.Caller{}); err != nil {
				b.Fatal(err)
			}
			each(b, func() error { return s.SaveAgent(b.Context(), first, node.Agent{URL: "u", LastHeartbeat: node.Now()}) })
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func each(b *testing.B, f func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
}

func list(b *testing.B, s *store.Store, p node.Page) {
	each(b, func() error { _, err := s.Nodes(b.Context(), node.NodeFilter{}, p); return err })
}

func fill(b *testing.B, s *store.Store, count int) (first string) {
	b.Helper()
	drive := strings.Repeat("H4sI", 5000)
	for i := range count {
		n := &node.Node{
			Name: fmt.Sprintf("rack%d-u%d", i/40, i%40), Driver: "ipmi", State: node.Active, Power: node.PowerOn, ResourceClass: "baremetal",
			Interfaces:   map[node.Interface]string{node.Power: "ipmitool", node.Deploy: "direct", node.Boot: "ipxe"},
			Properties:   node.Document{"cpus": 64.0, "memory_mb": 262144.0, "local_gb": 960.0, "capabilities": "boot_mode:uefi"},
			DriverInfo:   node.Document{"ipmi_address": "10.0.0.7", "ipmi_username": "admin", "ipmi_password": "secret"},
			InstanceInfo: node.Document{"image_source": "http://images/debian.qcow2", "image_checksum": strings.Repeat("ab", 32)},
			Traits:       []string{"CUSTOM_GPU"},
		}
		if i%2 == 0 {
			n.ConfigDrive = drive
		}
		if err := s.CreateNode(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		if first == "" {
			first = n.UUID
		}
	}
	if err := s.Ports.Create(b.Context(), &node.Port{NodeUUID: first, Address: "52:54:00:00:00:01"}); err != nil {
		b.Fatal(err)
	}
	return first
}

// A thousand records of a kind, and one of them.
func BenchmarkRecords(b *testing.B) {
	s, err := store.Open(context.Background(), store.Config{DataDir: b.TempDir(), Host: "here"})
	if err != nil {
		b.Fatal(err)
	}
	n := &node.Node{Driver: "ipmi", State: node.Active}
	if err := s.CreateNode(b.Context(), n); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		p := node.Port{NodeUUID: n.UUID, Address: fmt.Sprintf("52:54:00:00:%02x:%02x", i>>8, i&255), Extra: node.Document{"a": "b"},
			LocalLinkConnection: node.Document{"switch_id": "aa:bb", "port_id": "Gi1"}}
		if err := s.Ports.Create(b.Context(), &p); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("list 1000 ports", func(b *testing.B) {
		each(b, func() error { _, err := s.Ports.List(b.Context(), node.PortFilter{}, node.Page{}); return err })
	})
	b.Run("port", func(b *testing.B) {
		each(b, func() error { _, err := s.Ports.Get(b.Context(), "52:54:00:00:00:01"); return err })
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
