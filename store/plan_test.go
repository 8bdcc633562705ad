package store

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// What is asked at every tick and every boot goes through an index however many nodes there are.
func TestHotQueriesUseIndexes(t *testing.T) {
	s, err := Open(t.Context(), Config{DataDir: t.TempDir(), Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i := range 500 {
		n := &node.Node{Name: fmt.Sprint("n", i), Driver: "ipmi", State: node.States[i%len(node.States)]}
		if err := s.CreateNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.write.ExecContext(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	byUUID, _ := named("n.", "1be26c0b-03f2-4d2e-ae87-c02d7f33c123")
	byName, _ := named("n.", "n1")
	list := func(f node.NodeFilter) string {
		return hotSelect + hotFrom + " WHERE " + strings.Join(nodeQuery(f).where, " AND ")
	}
	queries := map[string]string{
		"by uuid":    fullSelect + fullFrom + " WHERE " + byUUID,
		"by name":    fullSelect + fullFrom + " WHERE " + byName,
		"first page": list(node.NodeFilter{}) + ` ORDER BY n.id LIMIT 100`,
		"next page":  hotSelect + hotFrom + ` WHERE n.id > 100 AND n.parent_node = '' ORDER BY n.id LIMIT 100`,
		"instance":   list(node.NodeFilter{InstanceUUID: "i"}),
		"children":   list(node.NodeFilter{ParentNode: "p"}),
		"owner":      list(node.NodeFilter{Owner: "o", IncludeChildren: true}),
		"holder":     list(node.NodeFilter{Holder: "h"}),
		"shard":      list(node.NodeFilter{Shards: []string{"s", "t"}, IncludeChildren: true}),
		"machine": `SELECT n.uuid FROM ports p JOIN nodes n ON n.id = p.node_id LEFT JOIN boot_records r ON r.node_id = n.id WHERE p.address ` +
			`= 'a'`,
		"secret":   `SELECT node_id FROM boot_records r WHERE r.secret = $1 AND r.secret <> '' AND r.valid_until > 5`,
		"events":   `SELECT what FROM boot_events WHERE mac IN ('a', 'b') AND seen_at >= 5`,
		"too many": `SELECT id FROM boot_events WHERE mac = 'a' ORDER BY id DESC LIMIT 1 OFFSET 1000`,
		"history":  historySelect + ` WHERE h.node_id = 1 ORDER BY h.id LIMIT 10`,
	}
	for i, w := range works {
		queries[fmt.Sprint("work ", i)] = "SELECT uuid FROM nodes WHERE " + strings.ReplaceAll(w.cond, "$1",
			"5") + " AND (lease_holder = '' OR lease_until <= 5)"
	}
	for name, query := range queries {
		var steps []string
		err := collect(t.Context(), s.read, "EXPLAIN QUERY PLAN "+query, []any{"a", "b", "c"}[:strings.Count(query, "$")],
			func(r *sql.Rows) error {
				var id, parent, unused int
				var detail string
				err := r.Scan(&id, &parent, &unused, &detail)
				steps = append(steps, detail)
				return err
			})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			// Two may read from end to end: the first page by row number, as far as its LIMIT, and the
			// index of the few nodes whose power is being changed.
			whole := strings.HasPrefix(step, "SCAN") && name != "first page" && !strings.HasSuffix(step, "USING INDEX nodes_target_power_state")
			if whole || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", name, strings.Join(steps, "; "))
			}
		}
	}
}

// An option the driver does not know is ignored without a word, so ask what holds.
func TestPragmas(t *testing.T) {
	s, err := Open(t.Context(), Config{DataDir: t.TempDir(), Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, tt := range []struct {
		db           *sql.DB
		pragma, want string
	}{
		{s.write, "journal_mode", "wal"}, {s.write, "synchronous", "2"}, {s.write, "foreign_keys", "1"}, {s.write, "busy_timeout", "5000"},
		{s.read, "journal_mode", "wal"}, {s.read, "query_only", "1"}, {s.read, "busy_timeout", "5000"},
	} {
		var got string
		if err := tt.db.QueryRowContext(t.Context(), "PRAGMA "+tt.pragma).Scan(&got); err != nil || got != tt.want {
			t.Errorf("%s is %s, want %s (%v)", tt.pragma, got, tt.want, err)
		}
	}
	// Write transactions take the lock when they begin: they never fail half way for being second.
	tx, err := s.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	other, err := sql.Open("sqlite", dsn(s.dbFile(t), "_pragma=busy_timeout(0)", "_txlock=immediate"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if second, err := other.BeginTx(t.Context(), nil); err == nil {
		second.Rollback()
		t.Error("a second writer began beside the first")
	}
}

func (s *Store) dbFile(t *testing.T) string {
	t.Helper()
	var seq int
	var name, file string
	if err := s.read.QueryRowContext(t.Context(), "PRAGMA database_list").Scan(&seq, &name, &file); err != nil {
		t.Fatal(err)
	}
	return file
}
