package main

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// billet db check says that a database is sound, or each value that cannot be read.
func TestDBCheck(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	n := &node.Node{DriverInfo: node.Document{"ipmi_password": "hunter2"}}
	if err := db.CreateNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	check := func() (string, error) {
		var out bytes.Buffer
		cmd := rootCommand()
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"db", "check", "--data-dir", dir})
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	if out, err := check(); err != nil || out != "The database is sound: every page and every value was read.\n" { // beside the service
		t.Errorf("got %q, %v", out, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", filepath.Join(dir, "billet.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.ExecContext(t.Context(), "UPDATE node_documents SET driver_info = X'00'"); err != nil {
		t.Fatal(err)
	}
	raw.Close()
	out, err := check()
	if err == nil || !strings.HasPrefix(err.Error(), "the database is damaged") ||
		out != "node "+n.UUID+": driver_info cannot be read: sealed value of "+n.UUID+" driver_info is damaged\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
