package quirk

import (
	"maps"
	"testing"
)

func TestOf(t *testing.T) {
	table := Table{
		{Name: "all", Does: "padding", Value: 12},
		{Name: "maker", Who: Match{Manufacturers: []uint32{10876, 47488}}, Does: "selector", Value: 9},
		{Name: "board", Who: Match{Manufacturers: []uint32{10876}, Products: []uint16{7}, Firmware: "3.*"}, Does: "selector", Value: 8},
		{Name: "text", Who: Match{Vendor: "acme*", Model: "Rack ?"}, Does: "text", Value: 1},
		{Name: "asked", Who: Match{Asked: true}, Does: "slow", Value: 3},
	}
	for _, tt := range []struct {
		name  string
		id    Identity
		asked []string
		want  Set
	}{
		{"nobody", Identity{}, nil, Set{"padding": 12}},
		{"a maker", Identity{Manufacturer: 47488}, nil, Set{"padding": 12, "selector": 9}},
		{"a later row wins", Identity{Manufacturer: 10876, Product: 7, Firmware: "3.88"}, nil, Set{"padding": 12, "selector": 8}},
		{"other firmware", Identity{Manufacturer: 10876, Product: 7, Firmware: "2.88"}, nil, Set{"padding": 12, "selector": 9}},
		{"texts", Identity{Vendor: "ACME Inc.", Model: "rack 5"}, nil, Set{"padding": 12, "text": 1}},
		{"by name", Identity{}, []string{"asked", "maker"}, Set{"padding": 12, "slow": 3, "selector": 9}},
	} {
		if got := table.Of(tt.id, tt.asked...); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
