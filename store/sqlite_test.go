package store_test

import (
	"testing"

	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/storetest"
)

func openSQLite(t *testing.T) *store.Store { return openDir(t, t.TempDir()) }

func openDir(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DataDir: dir, Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) { storetest.Run(t, openSQLite) }
