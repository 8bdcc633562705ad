package storetest_test

import (
	"github.com/billet-metal/billet/api"
	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/store"
)

// The store serves these by its methods alone; it imports neither api nor conductor.
var (
	_ conductor.Nodes    = (*store.Store)(nil)
	_ conductor.Agents   = (*store.Store)(nil)
	_ conductor.Queue    = (*store.Store)(nil)
	_ conductor.Notes    = (*store.Store)(nil)
	_ conductor.Boots    = (*store.Store)(nil)
	_ api.Reader         = (*store.Store)(nil)
	_ boot.Lookup        = (*store.Store)(nil)
	_ boot.Records       = (*store.Store)(nil)
	_ boot.Trace         = (*store.Store)(nil)
	_ boot.AddressLeases = (*store.Store)(nil)
)
