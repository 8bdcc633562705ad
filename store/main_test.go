package store_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/pgtest"
)

// server is the one PostgreSQL of this package's tests, started by the first that asks.
var server struct {
	once sync.Once
	pg   *pgtest.Server
	err  error
}

func postgres(t testing.TB) *pgtest.Server {
	t.Helper()
	server.once.Do(func() { server.pg, server.err = pgtest.Start() })
	if server.err != nil {
		t.Fatal(server.err)
	}
	return server.pg
}

func TestMain(m *testing.M) {
	if where := os.Getenv(childEnv); where != "" {
		fmt.Fprintln(os.Stderr, child(where))
		os.Exit(1)
	}
	store.NewPostgresDatabase = func(t testing.TB) string { return postgres(t).Database(t) }
	code := m.Run()
	if server.pg != nil {
		if err := server.pg.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
