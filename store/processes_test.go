package store_test

import (
	"testing"

	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/seal"
	"github.com/billet-metal/billet/store/storetest"
)

// Two processes on one PostgreSQL answer DHCP on one network.
func TestAddressesOfTwoProcesses(t *testing.T) {
	url, key := postgres(t).Database(t), make([]byte, seal.KeySize)
	var processes []storetest.Store
	for _, host := range []string{"one", "two"} {
		s, err := store.Open(t.Context(), store.Config{URL: url, Key: key, Host: host, DataDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		processes = append(processes, storetest.SQL(s, nil))
	}
	t.Run("one address", func(t *testing.T) { storetest.OneAddressFromAll(t, processes...) })
	t.Run("race", func(t *testing.T) { storetest.AddressRace(t, processes...) })
}
