package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/jackc/pgx/v5"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store/seal"
)

// oldDatabase is a database as an earlier program left it: with some of the migrations only.
type oldDatabase struct {
	cfg     Config
	dialect goose.Dialect
	db      func(t *testing.T) *sql.DB
}

const oldNode = "11111111-0000-4000-8000-000000000001"

func oldKey() []byte { return []byte(strings.Repeat("k", seal.KeySize)) }

// oldDatabases are an empty SQLite and an empty PostgreSQL.
func oldDatabases(t *testing.T) map[string]oldDatabase {
	t.Helper()
	dir := t.TempDir()
	url := serverURL(t)
	return map[string]oldDatabase{
		"sqlite": {Config{DataDir: dir, Key: oldKey(), Host: "here"}, goose.DialectSQLite3, func(t *testing.T) *sql.DB {
			db, err := sql.Open("sqlite", filepath.Join(dir, "billet.db"))
			if err != nil {
				t.Fatal(err)
			}
			return db
		}},
		"postgres": {Config{URL: url, Key: oldKey(), Host: "here"}, goose.DialectPostgres, func(t *testing.T) *sql.DB {
			pc, err := pgx.ParseConfig(url)
			if err != nil {
				t.Fatal(err)
			}
			return stdlib.OpenDB(*pc)
		}},
	}
}

// serverURL is a new database of the PostgreSQL that the tests of store_test started.
func serverURL(t *testing.T) string {
	t.Helper()
	if NewPostgresDatabase == nil {
		t.Fatal("no PostgreSQL for the tests inside the package")
	}
	return NewPostgresDatabase(t)
}

// migrateTo applies the migrations of these numbers, as the program of that time did.
func (o oldDatabase) migrateTo(t *testing.T, versions []int64) {
	t.Helper()
	db := o.db(t)
	defer db.Close()
	all, err := migrations(o.dialect)
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(m *goose.Migration) bool { return !slices.Contains(versions, m.Version) })
	p, err := goose.NewProvider(o.dialect, db, nil, goose.WithGoMigrations(all...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// fill writes what a program of the first schema wrote: a node in the middle of a deploy, with its secrets sealed, its port, its
// history, its inventory and its boot record.
func (o oldDatabase) fill(t *testing.T) {
	t.Helper()
	db := o.db(t)
	defer db.Close()
	sealer, err := seal.New(oldKey())
	if err != nil {
		t.Fatal(err)
	}
	do := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	do(`INSERT INTO key_canary (id, sealed) VALUES (1, $1)`, sealer.Seal([]byte("billet"), "key canary"))
	columns := strings.Fields(
		`uuid name driver provision_state target_provision_state power_state target_power_state maintenance_reason fault last_error boot_mode
		instance_uuid instance_name allocation_uuid chassis_uuid parent_node resource_class conductor_group owner lessee description
			shard protected_reason retired_reason`)
	values := map[string]string{"uuid": oldNode, "name": "old", "driver": "ipmi", "provision_state": "wait call-back",
		"target_provision_state": "active", "owner": "ada"}
	var args []any
	for _, c := range columns {
		args = append(args, values[c])
	}
	do(
		fmt.Sprintf(
			`INSERT INTO nodes (%s, provision_updated_at, power_failures, maintenance, console_enabled, protected, retired, disable_power_off,
		inspection_started_at, inspection_finished_at, created_at, updated_at, lease_holder, lease_token, lease_until, plan_deadline,
			plan_poll_at)
		VALUES (%s, 5, 0, FALSE, FALSE, FALSE, FALSE, FALSE, 0, 0, 1, 2, 'there', 41, 4000000000000000, 3, 0)`,
			strings.Join(columns, ", "), placeholders(1, len(columns))), args...)
	sealed := func(text, column string) []byte { return sealer.Seal([]byte(text), oldNode+" "+column) }
	do(`INSERT INTO node_documents (node_id, interfaces, extra, driver_info, plan) VALUES (1, $1, $2, $3, $4)`, `{"power":"ipmitool"}`,
		`{"rack":7}`,
		sealed(`{"ipmi_password":"hunter2"}`, "driver_info"),
		sealed(`{"flow":"deploy","steps":[{"interface":"deploy","step":"write_image","priority":80}],"index":0}`, "plan"))
	do(
		`INSERT INTO ports (uuid, node_id, name, address, pxe_enabled, portgroup_uuid, physical_network, is_smartnic, description,
			vendor, category, created_at, updated_at)
		VALUES ('22222222-0000-4000-8000-000000000001', 1, '', '52:54:00:00:00:01', TRUE, '', '', FALSE, '', '', '', 1, 1)`)
	do(`INSERT INTO history (uuid, node_id, conductor, event_type, severity, event, username, created_at)
		VALUES ('33333333-0000-4000-8000-000000000001', 1, 'there', 'deploying', 'ERROR', 'it did not call', '', 9)`)
	do(`INSERT INTO inventory (node_id, inventory) VALUES (1, '{"cpu":{"count":4}}')`)
	do(`INSERT INTO boot_records (node_id, loader, kernel, ramdisk, command_line, image, secret, valid_until, created_at)
		VALUES (1, 'ipxe', '/k', '/r', 'quiet', '', 's', $1, 1)`, time.Now().Add(time.Hour).UnixMicro())
	do(`INSERT INTO boot_events (mac, service, what, seen_at) VALUES ('52:54:00:00:00:01', 'dhcp', 'DISCOVER', $1)`, time.Now().UnixMicro())
	do(`INSERT INTO address_leases (mac, ip, lent_until) VALUES ('52:54:00:00:00:01', '10.99.0.20', 8)`)
}

// checkOld looks for all that fill wrote, and uses the node as a conductor does.
func checkOld(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	n, err := s.Node(ctx, "old")
	if err != nil {
		t.Fatal(err)
	}
	if n.UUID != oldNode || n.State != node.DeployWait || n.Owner != "ada" || n.Extra["rack"] != 7.0 ||
		n.DriverInfo["ipmi_password"] != "hunter2" ||
		n.Interfaces[node.Power] != "ipmitool" || n.Plan == nil || n.Plan.Current().Step != "write_image" || n.Lease.Token != 41 ||
		n.Lease.Holder != "there" {
		t.Errorf("the node came back as %+v, plan %+v", n, n.Plan)
	}
	if p, err := s.Ports.Get(ctx, "52:54:00:00:00:01"); err != nil || p.NodeUUID != oldNode || !p.PXEEnabled {
		t.Errorf("port %+v, %v", p, err)
	}
	if h, err := s.History(ctx, oldNode, node.Page{}); err != nil || len(h) != 1 || h[0].Event != "it did not call" {
		t.Errorf("history %+v, %v", h, err)
	}
	if i, err := s.Inventory(ctx, oldNode); err != nil || i.Inventory["cpu"] == nil {
		t.Errorf("inventory %+v, %v", i, err)
	}
	if m, err := s.Machine(ctx, "52:54:00:00:00:01"); err != nil || m.Record == nil || m.Record.Loader != boot.IPXE ||
		m.Record.CommandLine != "quiet" {
		t.Errorf("machine %+v, %v", m, err)
	}
	if e, err := s.BootEvents(ctx, []string{"52:54:00:00:00:01"}, time.Time{}); err != nil || len(e) != 1 {
		t.Errorf("boot events %+v, %v", e, err)
	}
	if a, err := s.AddressLeases(ctx); err != nil || len(a) != 1 || a[0].IP != "10.99.0.20" {
		t.Errorf("address leases %+v, %v", a, err)
	}
	if err := s.DropLeases(ctx, "there"); err != nil {
		t.Fatal(err)
	}
	held, err := s.Reserve(ctx, oldNode, "here", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	held.Description = "saved by the new program"
	if err := s.Release(ctx, held); err != nil {
		t.Fatal(err)
	}
	if held.Lease.Token != 42 {
		t.Errorf("the fencing token went on with %d, want 42", held.Lease.Token)
	}
	if err := s.CreateNode(ctx, &node.Node{Name: "new", State: node.Enroll}); err != nil {
		t.Errorf("a new node beside the old one: %v", err)
	}
	if err := s.DeployTemplates.Create(ctx, &node.DeployTemplate{Name: "CUSTOM_A"}); err != nil {
		t.Errorf("a table of a later version: %v", err)
	}
}

// versionsOf lists the migrations' numbers.
func versionsOf(t *testing.T) []int64 {
	t.Helper()
	all, err := migrations(goose.DialectSQLite3)
	if err != nil {
		t.Fatal(err)
	}
	var versions []int64
	for _, m := range all {
		versions = append(versions, m.Version)
	}
	if !slices.IsSorted(versions) || len(slices.Compact(slices.Clone(versions))) != len(versions) {
		t.Fatalf("migrations out of order or twice: %v", versions)
	}
	return versions
}

// A database of every earlier version comes up with all that was in it, and with the tables of a new one. So does one that has
// a later migration and lacks an earlier one, as those have that followed the development.
func TestEveryEarlierDatabaseComesUp(t *testing.T) {
	versions := versionsOf(t)
	var olds [][]int64
	for i := 1; i <= len(versions); i++ {
		olds = append(olds, versions[:i])
	}
	for i := 1; i < len(versions)-1; i++ { // without one in the middle
		olds = append(olds, slices.Delete(slices.Clone(versions), i, i+1))
	}
	for _, have := range olds {
		for name, old := range oldDatabases(t) {
			t.Run(fmt.Sprint(name, have), func(t *testing.T) {
				old.migrateTo(t, have)
				old.fill(t)
				for range 2 { // the second time there is nothing to do
					s, err := Open(t.Context(), old.cfg)
					if err != nil {
						t.Fatal(err)
					}
					if n, err := s.Node(t.Context(), oldNode); err != nil || n.Description == "" {
						checkOld(t, s)
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
				fresh := oldDatabases(t)[name]
				s, err := Open(t.Context(), fresh.cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if got, want := schema(t, old), schema(t, fresh); got != want {
					t.Errorf("the tables differ from a new database's:\n%s\nand\n%s", got, want)
				}
			})
		}
	}
}

// schema lists tables, columns with their types, and indexes.
func schema(t *testing.T, o oldDatabase) string {
	t.Helper()
	db := o.db(t)
	defer db.Close()
	queries := []string{`SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c."notnull" FROM sqlite_master m, ` +
		`pragma_table_info(m.name) c WHERE m.type = 'table'`,
		`SELECT name || ' on ' || tbl_name FROM sqlite_master WHERE type = 'index'`}
	if o.dialect == goose.DialectPostgres {
		queries = []string{`SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable FROM information_schema.columns ` +
			`WHERE table_schema = 'public'`,
			`SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'`}
	}
	var lines []string
	for _, q := range queries {
		rows, err := db.QueryContext(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	if len(lines) < 50 {
		t.Fatalf("only %d lines of schema", len(lines))
	}
	return strings.Join(lines, "\n")
}

// A migration that fails changes nothing, is named with what was in its way, and is done once that is gone; those before it stay done.
func TestAMigrationThatFails(t *testing.T) {
	versions := versionsOf(t)
	for name, old := range oldDatabases(t) {
		t.Run(name, func(t *testing.T) {
			old.migrateTo(t, versions[:1])
			old.fill(t)
			raw := func(query string) {
				t.Helper()
				db := old.db(t)
				defer db.Close()
				if _, err := db.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			raw(`CREATE TABLE deploy_templates (somebody TEXT)`) // it is no table of ours
			before := schema(t, old)
			for range 2 {
				s, err := Open(t.Context(), old.cfg)
				if err == nil {
					_ = s.Close()
					t.Fatal("opened")
				}
				want := fmt.Sprintf(`bring the schema from version \d+ to %d: .*version:20.*deploy_templates`, versions[len(versions)-1])
				if !regexp.MustCompile(want).MatchString(err.Error()) {
					t.Errorf("got %v", err)
				}
			}
			for _, line := range strings.Split(before, "\n") {
				if !strings.Contains(schema(t, old), line) {
					t.Errorf("%s is gone", line)
				}
			}
			raw(`DROP TABLE deploy_templates`)
			s, err := Open(t.Context(), old.cfg)
			if err != nil {
				t.Fatal(err)
			}
			checkOld(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A program that is stopped in the middle of bringing a database up leaves one that the next start brings up.
func TestAMigrationThatIsInterrupted(t *testing.T) {
	for name, old := range oldDatabases(t) {
		t.Run(name, func(t *testing.T) {
			old.migrateTo(t, versionsOf(t)[:1])
			old.fill(t)
			for wait := time.Duration(0); wait < 8*time.Millisecond; wait += 2 * time.Millisecond {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				if s, err := Open(ctx, old.cfg); err == nil {
					_ = s.Close()
				}
				cancel()
			}
			s, err := Open(t.Context(), old.cfg)
			if err != nil {
				t.Fatal(err)
			}
			checkOld(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// statements is SQL without its comments.
func statements(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "--")
		out.WriteString(code)
	}
	return out.String()
}

// Every migration is written so that both databases take it: no type but the three that are replaced, and every file has its turn.
func TestMigrationFiles(t *testing.T) {
	files, err := os.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(versionsOf(t)) {
		t.Errorf("%d files, %d migrations", len(files), len(versionsOf(t)))
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join("migrations", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"AUTOINCREMENT", "SERIAL", "BYTEA", "DATETIME", "TIMESTAMP", "VARCHAR", "JSONB", "IF NOT EXISTS"} {
			if strings.Contains(strings.ToUpper(statements(string(text))), word) {
				t.Errorf("%s says %s", f.Name(), word)
			}
		}
		for _, d := range []goose.Dialect{goose.DialectSQLite3, goose.DialectPostgres} {
			if strings.Contains(inDialect(d, string(text)), "ROWNUM ") {
				t.Errorf("%s: a row number is left for %s", f.Name(), d)
			}
		}
	}
}
