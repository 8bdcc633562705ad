package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// PutRecord makes r what its node boots, in place of its earlier record. A zero CreatedAt is now.
func (s boots) PutRecord(ctx context.Context, r boot.Record) error {
	return s.change(ctx, r.NodeUUID, func(m *machine) error {
		if r.CreatedAt.IsZero() {
			r.CreatedAt = node.Now()
		}
		r = kept(r)
		r.NodeUUID, m.record = m.node.UUID, &r
		return nil
	})
}

// DropRecord makes the node boot its own disk again; no record is not an error.
func (s boots) DropRecord(ctx context.Context, nodeUUID string) error {
	return s.changeIfThere(ctx, nodeUUID, func(m *machine) { m.record = nil })
}

// live is a machine's record that has not ended, or nil.
func (m *machine) live() *boot.Record {
	if m.record == nil || !m.record.Until.After(node.Now()) {
		return nil
	}
	r := *m.record
	return &r
}

// boots is the record of a ramdisk that the machine boots now, or nil.
func (m *machine) boots() *boot.Record {
	if r := m.live(); r != nil && r.Kernel != "" {
		return r
	}
	return nil
}

// RecordOf returns the node's record; nil when there is none or it has ended.
func (s boots) RecordOf(ctx context.Context, nodeUUID string) (r *boot.Record, err error) {
	err = s.changeIfThere(ctx, nodeUUID, func(m *machine) { r = m.live() })
	return r, err
}

// Places returns where the files lie that machines may read now: those of all records that have not ended.
func (s boots) Places(ctx context.Context) (places []string, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if r := m.live(); r != nil {
			places = append(places, r.Places()...)
		}
	}
	return places, nil
}

// RecordBySecret returns the record whose URLs carry secret; nil when there is none or it ended.
func (s boots) RecordBySecret(ctx context.Context, secret string) (*boot.Record, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if r := m.live(); r != nil && secret != "" && r.Secret == secret {
			return r, nil
		}
	}
	return nil, nil
}

// Machine says what the machine with this MAC boots now. A port with pxe_enabled false never gets its node's record; a bond is
// known, and boots nothing.
func (s boots) Machine(ctx context.Context, mac string) (boot.Machine, error) {
	if err := s.enter(ctx); err != nil {
		return boot.Machine{}, err
	}
	defer s.mu.Unlock()
	mac = strings.ToLower(mac)
	for _, p := range s.Ports.rows {
		if p.Address == mac {
			found := boot.Machine{NodeUUID: p.NodeUUID}
			if p.PXEEnabled {
				found.Record = s.machines[p.NodeUUID].live()
			}
			return found, nil
		}
	}
	for _, g := range s.Portgroups.rows {
		if g.Address != "" && g.Address == mac {
			return boot.Machine{NodeUUID: g.NodeUUID}, nil
		}
	}
	return boot.Machine{}, nil
}

// BootKey is the key that the ramdisk which the node boots now shows in each call; boots is false when it boots none.
func (s boots) BootKey(ctx context.Context, nodeUUID string) (key string, boots bool, err error) {
	err = s.changeIfThere(ctx, nodeUUID, func(m *machine) {
		if r := m.boots(); r != nil {
			key, boots = r.Key, true
		}
	})
	return key, boots, err
}

// NodeByBootKey returns the node that a boot's key belongs to: of the boot under way, or of the one whose agent has the token.
func (s boots) NodeByBootKey(ctx context.Context, key string) (*node.Node, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, m := range s.byID() {
		r := m.boots()
		if key != "" && (m.node.Agent.BootKey == key || r != nil && r.Key == key) {
			return s.load(m), nil
		}
	}
	return nil, node.Errorf(node.NotFound, "No node boots with this key.")
}

// askers bounds how many MACs of a boot are kept with the address that asked first.
const askers = 16

// AskedFirst keeps the address that asks for the script of a boot for a MAC, if it is the first, and returns the first.
func (s boots) AskedFirst(ctx context.Context, secret, mac, address string) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if m.record == nil || secret == "" || m.record.Secret != secret {
			continue
		}
		words := strings.Fields(m.record.AskedBy)
		i := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, mac+"=") })
		switch {
		case i >= 0:
			return strings.TrimPrefix(words[i], mac+"="), nil
		case len(words) >= askers:
			return "", nil
		}
		m.record.AskedBy = strings.Join(append(words, mac+"="+address), " ")
	}
	return address, nil
}
