package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

const (
	hurtNode  = "11111111-0000-4000-8000-00000000000a"
	soundNode = "11111111-0000-4000-8000-00000000000b"
)

// twoNodes makes a closed database with two nodes that have everything, and returns how to open it.
func twoNodes(t *testing.T) store.Config {
	t.Helper()
	cfg := store.Config{DataDir: t.TempDir(), Host: "here", Key: sum("k")}
	s := open(t, cfg)
	for i, uuid := range []string{hurtNode, soundNode} {
		n := &node.Node{UUID: uuid, Name: []string{"hurt", "sound"}[i], State: node.Manageable,
			DriverInfo:   node.Document{"ipmi_password": "hunter2"},
			InstanceInfo: node.Document{"a": "b"}, NetworkData: node.Document{"a": "b"}, Extra: node.Document{"a": "b"},
			Properties: node.Document{"a": "b"},
			Traits:     []string{"CUSTOM_A"}, Interfaces: map[node.Interface]string{node.Power: "fake"}, ConfigDrive: "drive",
			Plan: &node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{{Step: "s", Args: map[string]any{"token": "hunter2"}}}}}
		if err := s.CreateNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if _, err := s.GiveAgentToken(t.Context(), uuid, "hunter2", node.Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, s)
	return cfg
}

// Each way in which one value of one node can be hurt is told with the node, the column and why, and nothing of it is believed. The
// node stays in lists and can be saved and deleted; what is hurt is kept as it is until it gets a new value. Nothing of the value is told.
func TestHurtValues(t *testing.T) {
	for _, tt := range []struct{ column, to, want string }{
		{"driver_info", `X'00'`, "sealed value of NODE driver_info is damaged"},
		{"driver_info", `X''`, "sealed value of NODE driver_info is damaged"},
		{"driver_info", `substr(driver_info, 1, 20)`, "sealed value of NODE driver_info is damaged"},
		{"driver_info", `substr(driver_info, 1, length(driver_info) - 1)`, "sealed value of NODE driver_info was changed or moved"},
		{"driver_info", `CAST(driver_info || X'00' AS BLOB)`, "sealed value of NODE driver_info was changed or moved"},
		{"driver_info", `instance_info`, "sealed value of NODE driver_info was changed or moved"},
		{"driver_info", `X'01' || X'0102030405060708' || substr(driver_info, 10)`, "sealed value kept as string"},
		{"driver_info", `'{"ipmi_password":"hunter2"}'`, "sealed value kept as string"},
		{"plan", `substr(plan, 1, 30)`, "sealed value of NODE plan was changed or moved"},
		{"plan", `driver_info`, "sealed value of NODE plan was changed or moved"},
		{"instance_info", `zeroblob(64)`, "sealed value of NODE instance_info is damaged"},
		{"network_data", `X'01' || randomblob(64)`, ""},
		{"extra", `'{"a":'`, "read a document: unexpected EOF"},
		{"extra", `'[1]'`, "read a document: json: cannot unmarshal array into Go value of type node.Document"},
		{"traits", `'{}'`, "read a document: json: cannot unmarshal object into Go value of type []string"},
		{"interfaces", `'not JSON'`, ""},
		{"interfaces", `'{"power":"ipmi","boot":7}'`, ""}, // the half of it that could be read is not believed either
		{"properties", `X'FFFE'`, ""},
	} {
		what := tt.column + " = " + tt.to
		var log bytes.Buffer
		cfg := twoNodes(t)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		rawSQLite(t, cfg.DataDir, "UPDATE node_documents SET "+tt.column+" = "+tt.to+" WHERE node_id = 1")
		s := open(t, cfg)
		for range 2 {
			n, err := s.Node(t.Context(), hurtNode)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			want := strings.ReplaceAll(tt.want, "NODE", hurtNode)
			if got := n.Unreadable[tt.column]; len(n.Unreadable) != 1 || got == "" || want != "" && got != want || strings.Contains(got, "hunter2") {
				t.Errorf("%s: unreadable are %v, want %s", what, n.Unreadable, want)
			}
			empty := map[string]bool{"driver_info": len(n.DriverInfo) == 0 && n.DriverInfo != nil, "plan": n.Plan == nil,
				"instance_info": len(n.InstanceInfo) == 0,
				"network_data":  len(n.NetworkData) == 0, "extra": len(n.Extra) == 0 && n.Extra != nil, "traits": len(n.Traits) == 0,
				"interfaces": len(n.Interfaces) == 0 && n.Interfaces != nil, "properties": len(n.Properties) == 0}
			for column, is := range empty {
				if is != (column == tt.column) {
					t.Errorf("%s: %s was believed or lost: %+v", what, column, n)
				}
			}
		}
		if told := strings.Count(log.String(), "cannot be read"); told != 1 || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%s: told %d times: %s", what, told, log.String())
		}
		// The others go on, and lists show both.
		sound, err := s.Reserve(t.Context(), soundNode, "here", time.Minute)
		if err != nil || sound.DriverInfo["ipmi_password"] != "hunter2" || sound.ConfigDrive != "drive" || sound.Unreadable != nil {
			t.Errorf("%s: the other node: %+v, %v", what, sound, err)
		}
		for _, hot := range []bool{false, true} {
			list, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{Hot: hot})
			if err != nil || len(list) != 2 || list[0].Name != "hurt" || list[0].Lease.Holder != "" || (len(list[0].Unreadable) > 0) == hot ||
				list[1].Unreadable != nil {
				t.Errorf("%s: listed %+v, %v", what, list, err)
			}
		}
		if list, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{SortKey: "power_interface"}); err != nil || len(list) != 2 {
			t.Errorf("%s: sorted by an interface: %d, %v", what, len(list), err)
		}
		// Saving the rest leaves the value as it was: whoever has the right key, or a backup, can still mend it.
		before := rawValue(t, cfg.DataDir, tt.column)
		n, err := s.Reserve(t.Context(), hurtNode, "here", time.Minute)
		if err == nil {
			n.Description = "hurt"
			err = s.Save(t.Context(), n)
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if after := rawValue(t, cfg.DataDir, tt.column); !bytes.Equal(before, after) {
			t.Errorf("%s: %x was saved over %x", what, after, before)
		}
		if n.Unreadable[tt.column] == "" {
			t.Errorf("%s: forgotten by a save that left it alone", what)
		}
		// A new value takes its place.
		n.DriverInfo, n.InstanceInfo, n.NetworkData, n.Extra, n.Properties = node.Document{"n": "w"}, node.Document{"n": "w"},
			node.Document{"n": "w"}, node.Document{"n": "w"}, node.Document{"n": "w"}
		n.Traits, n.Interfaces, n.Plan = []string{"CUSTOM_N"}, map[node.Interface]string{node.Power: "new"}, &node.Plan{Failure: "new"}
		if err := s.Release(t.Context(), n); err != nil || len(n.Unreadable) > 0 {
			t.Errorf("%s: %v, unreadable %v", what, err, n.Unreadable)
		}
		if n, err = s.Node(t.Context(), hurtNode); err != nil || n.Unreadable != nil || n.Plan == nil || n.Plan.Failure != "new" ||
			n.Description != "hurt" || n.ConfigDrive != "drive" {
			t.Errorf("%s: mended: %+v, %v", what, n, err)
		}
		shut(t, s)
	}
}

// A node can be deleted whatever of it is unreadable.
func TestAHurtNodeIsDeleted(t *testing.T) {
	cfg := twoNodes(t)
	rawSQLite(t, cfg.DataDir,
		`UPDATE node_documents SET driver_info = X'01', plan = X'02', instance_info = NULL, traits = '{' WHERE node_id = 1`)
	rawSQLite(t, cfg.DataDir, `UPDATE config_drives SET config_drive = X'03' WHERE node_id = 1`)
	rawSQLite(t, cfg.DataDir, `UPDATE node_agent SET token = X'04' WHERE node_id = 1`)
	s := openClosed(t, cfg)
	n, err := s.Reserve(t.Context(), "hurt", "here", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(n.Unreadable)); !slices.Equal(got,
		[]string{"agent_token", "config_drive", "driver_info", "plan", "traits"}) || !n.Agent.TokenGiven {
		t.Errorf("unreadable are %v, agent %+v", got, n.Agent)
	}
	if err := s.Save(t.Context(), n); err != nil {
		t.Error(err)
	}
	if got := rawSQLiteValue(t, cfg.DataDir, `SELECT config_drive FROM config_drives WHERE node_id = 1`); !bytes.Equal(got, []byte{3}) {
		t.Errorf("the config drive is %x", got)
	}
	if err := s.DeleteNode(t.Context(), n); err != nil {
		t.Error(err)
	}
	if list, err := s.Nodes(t.Context(), node.NodeFilter{}, node.Page{}); err != nil || len(list) != 1 || list[0].Name != "sound" {
		t.Errorf("left %+v, %v", list, err)
	}
}

// rawValue is what the hurt node's row has in a column, byte by byte.
func rawValue(t *testing.T, dir, column string) []byte {
	t.Helper()
	return rawSQLiteValue(t, dir, "SELECT CAST("+column+" AS BLOB) FROM node_documents WHERE node_id = 1")
}

func rawSQLiteValue(t *testing.T, dir, query string) (value []byte) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "billet.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// A template, a rule or a port of which a value was hurt stays in lists and can be read, changed and deleted: the value is empty and named
// with the reason. What is hurt is kept as it is until it gets a new value. The inventory, which is one value, is an error.
func TestHurtValuesBesideTheNode(t *testing.T) {
	var log bytes.Buffer
	cfg := twoNodes(t)
	s := open(t, cfg)
	template := node.DeployTemplate{Name: "CUSTOM_A", Steps: []node.PlannedStep{{Step: "s", Args: map[string]any{"a": "hunter2"}}},
		Extra: node.Document{"a": "b"}}
	sound := node.DeployTemplate{Name: "CUSTOM_B", Steps: []node.PlannedStep{{Step: "s"}}}
	rule := node.InspectionRule{Phase: node.MainPhase, Priority: 7, Conditions: []node.RuleOperation{{Op: "eq", Args: []any{"x"}}},
		Actions: []node.RuleOperation{{Op: "fail", Args: []any{"hunter2"}}}}
	port := node.Port{NodeUUID: hurtNode, Address: "52:54:00:00:00:01", Extra: node.Document{"a": "b"},
		InternalInfo: node.Document{"tenant_vif_port_id": "v"}}
	volume := node.VolumeTarget{NodeUUID: hurtNode, Properties: node.Document{"auth_password": "hunter2"}}
	for what, err := range map[string]error{
		"volume": s.VolumeTargets.Create(t.Context(), &volume), "template": s.DeployTemplates.Create(t.Context(),
			&template), "another": s.DeployTemplates.Create(t.Context(), &sound),
		"rule": s.InspectionRules.Create(t.Context(), &rule), "port": s.Ports.Create(t.Context(), &port),
		"inventory": s.SaveInventory(t.Context(), hurtNode, node.Inventory{Inventory: node.Document{"a": "b"}}),
	} {
		if err != nil {
			t.Fatal(what, err)
		}
	}
	shut(t, s)
	for _, change := range []string{
		`UPDATE deploy_templates SET steps = X'01' WHERE name = 'CUSTOM_A'`,
		`UPDATE inspection_rules SET actions = (SELECT conditions FROM inspection_rules)`,
		`UPDATE ports SET extra = '[]', internal_info = '{"tenant_vif_port_id":'`, `UPDATE inventory SET inventory = '{'`,
		`UPDATE volume_targets SET properties = X'01'`,
	} {
		rawSQLite(t, cfg.DataDir, change)
	}
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	s = openClosed(t, cfg)
	wantHurt := func(what string, got node.Unreadable, names ...string) {
		t.Helper()
		if !slices.Equal(slices.Sorted(maps.Keys(got)), names) || strings.Contains(fmt.Sprint(got), "hunter2") {
			t.Errorf("%s: unreadable are %v, want %q", what, got, names)
		}
	}
	for range 2 { // told once
		templates, err := s.DeployTemplates.List(t.Context(), node.DeployTemplateFilter{}, node.Page{})
		if err != nil || len(templates) != 2 || len(templates[0].Steps) != 0 || templates[0].Extra["a"] != "b" ||
			templates[1].Unreadable != nil || len(templates[1].Steps) != 1 {
			t.Fatalf("templates: %+v, %v", templates, err)
		}
		wantHurt("template", templates[0].Unreadable, "steps")
		list, err := s.InspectionRules.List(t.Context(), node.InspectionRuleFilter{}, node.Page{})
		if err != nil || len(list) != 1 || len(list[0].Actions) != 0 || len(list[0].Conditions) != 1 || list[0].Priority != 7 {
			t.Fatalf("rules: %+v, %v", list, err)
		}
		wantHurt("rule", list[0].Unreadable, "actions")
		ports, err := s.Ports.List(t.Context(), node.PortFilter{NodeUUID: hurtNode}, node.Page{})
		if err != nil || len(ports) != 1 || len(ports[0].Extra)+len(ports[0].InternalInfo) != 0 || ports[0].Extra == nil ||
			ports[0].Address != port.Address {
			t.Fatalf("ports: %+v, %v", ports, err)
		}
		wantHurt("port", ports[0].Unreadable, "extra", "internal_info")
	}
	if told := strings.Count(log.String(), "cannot be read"); told != 4 || strings.Contains(log.String(), "hunter2") {
		t.Errorf("told %d times: %s", told, log.String())
	}

	// Other fields can be saved; what is hurt stays until it is written anew.
	hurt, err := s.DeployTemplates.Get(t.Context(), "CUSTOM_A")
	if err != nil || hurt.Damage() == nil || !strings.Contains(hurt.Damage().Error(),
		"deploy template CUSTOM_A ("+template.UUID+") is damaged; unreadable are: steps (sealed value of "+template.UUID) {
		t.Fatalf("%+v, %v", hurt, err)
	}
	hurt.Description = "changed"
	if err := s.DeployTemplates.Save(t.Context(), &hurt); err != nil {
		t.Fatal(err)
	}
	wantHurt("saved without steps", hurt.Unreadable, "steps")
	if raw := rawSQLiteValue(t, cfg.DataDir, `SELECT steps FROM deploy_templates WHERE name = 'CUSTOM_A'`); !bytes.Equal(raw, []byte{1}) {
		t.Errorf("the steps are %x now", raw)
	}
	hurt.Steps = []node.PlannedStep{{Step: "new"}}
	if err := s.DeployTemplates.Save(t.Context(), &hurt); err != nil || len(hurt.Unreadable) != 0 {
		t.Errorf("%v, %v", hurt.Unreadable, err)
	}
	if again, err := s.DeployTemplates.Get(t.Context(), template.UUID); err != nil || again.Damage() != nil ||
		again.Steps[0].Step != "new" || again.Description != "changed" {
		t.Errorf("%+v, %v", again, err)
	}
	damaged, err := s.InspectionRules.Get(t.Context(), rule.UUID)
	if err != nil || damaged.Damage() == nil {
		t.Fatalf("%+v, %v", damaged, err)
	}
	damaged.Actions = rule.Actions
	if err := s.InspectionRules.Save(t.Context(), &damaged); err != nil || damaged.Damage() != nil {
		t.Errorf("%v, %v", damaged.Unreadable, err)
	}
	p, err := s.Ports.Get(t.Context(), port.UUID)
	if err != nil || p.Damage() == nil {
		t.Fatalf("%+v, %v", p, err)
	}
	p.Extra, p.Description = node.Document{"new": 1.0}, "changed"
	if err := s.Ports.Save(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	if p, err = s.Ports.Get(t.Context(), port.Address); err != nil || p.Extra["new"] != 1.0 || p.Description != "changed" {
		t.Errorf("%+v, %v", p, err)
	}
	wantHurt("half mended", p.Unreadable, "internal_info")
	if err := s.Ports.Delete(t.Context(), port.UUID); err != nil {
		t.Error(err)
	}

	if v, err := s.VolumeTargets.Get(t.Context(), volume.UUID); err != nil || len(v.Properties) != 0 || v.Unreadable["properties"] == "" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := s.Inventory(t.Context(), hurtNode); err == nil || !strings.Contains(err.Error(), "read the inventory of node "+hurtNode) ||
		node.KindOf(err) != node.Internal {
		t.Errorf("a hurt inventory: %v", err)
	}
	if err := s.SaveInventory(t.Context(), hurtNode, node.Inventory{Inventory: node.Document{"a": "c"}}); err != nil {
		t.Error(err)
	}
	if i, err := s.Inventory(t.Context(), hurtNode); err != nil || i.Inventory["a"] != "c" {
		t.Errorf("%+v, %v", i, err)
	}
	if v, err := s.VolumeTargets.Get(t.Context(), volume.UUID); err != nil || v.NodeUUID != hurtNode {
		t.Errorf("the volume target is of %q, %v", v.NodeUUID, err)
	}
	if err := s.VolumeTargets.Delete(t.Context(), volume.UUID); err != nil {
		t.Error(err)
	}
	if _, err := s.VolumeTargets.Get(t.Context(), volume.UUID); node.KindOf(err) != node.NotFound {
		t.Error(err)
	}
}

// A database file that is cut off, or overwritten in its middle, is found out: by Open or by the read that meets the hole, never by
// wrong values. The program ends no worse than with an error.
func TestHurtFiles(t *testing.T) {
	for name, hurt := range map[string]func(f *os.File, size int64) error{
		"cut in half":   func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		"cut to a page": func(f *os.File, _ int64) error { return f.Truncate(4096) },
		"empty header":  func(f *os.File, _ int64) error { _, err := f.WriteAt(make([]byte, 100), 0); return err },
		"noise in every page but the first": func(f *os.File, size int64) error {
			for at := int64(4096); at < size; at += 4096 {
				if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 512), at); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := twoNodes(t)
			f, err := os.OpenFile(filepath.Join(cfg.DataDir, "billet.db"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err == nil {
				err = hurt(f, info.Size())
			}
			if err != nil || f.Close() != nil {
				t.Fatal(err)
			}
			s, err := store.Open(t.Context(), cfg)
			if err == nil {
				var n *node.Node
				if n, err = s.Node(t.Context(), hurtNode); err == nil {
					t.Errorf("read %+v", n)
				}
				_ = s.Close()
			}
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
			if name != "empty header" && !strings.Contains(err.Error(), "malformed") {
				t.Errorf("the error does not say that the file is hurt: %v", err)
			}
		})
	}
}

// writeLock takes the database's write lock from outside, as a backup or a curious person does, and gives it back.
func writeLock(t *testing.T, dir string) (giveBack func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "billet.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = tx.Rollback()
		_ = db.Close()
	}
}

// While somebody else holds SQLite's write lock, reads go on, writes wait for a while and then say what is wrong; nothing of them is
// kept. When the lock is free again in time they are done as if nothing had been.
func TestABusyDatabase(t *testing.T) {
	cfg := twoNodes(t)
	s := openClosed(t, cfg)
	n, err := s.Reserve(t.Context(), hurtNode, "here", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	giveBack := writeLock(t, cfg.DataDir)
	start := time.Now()
	n.Description = "not kept"
	err = s.Save(t.Context(), n)
	if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "database is locked") || took < 4*time.Second {
		t.Errorf("a write of a locked database: %v after %s", err, took)
	}
	for range 20 { // none waits for the writer, or it would end with "database is locked"
		if got, err := s.Node(t.Context(), hurtNode); err != nil || got.Description != "" {
			t.Fatalf("a read: %+v, %v", got, err)
		}
	}
	// A caller who will not wait that long need not.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Save(ctx, n.Clone()); err == nil {
		t.Error("saved under another's lock")
	}
	time.AfterFunc(time.Second, giveBack)
	n.Description = "kept"
	if err := s.Save(t.Context(), n); err != nil {
		t.Errorf("the lock was free after a second: %v", err)
	}
	if got, err := s.Node(t.Context(), hurtNode); err != nil || got.Description != "kept" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Boot events that the database does not take are said in the log, and those after them are written.
func TestEventsOfABusyDatabase(t *testing.T) {
	var log bytes.Buffer
	cfg := store.Config{DataDir: t.TempDir(), Host: "here", Log: slog.New(slog.NewTextHandler(io.Writer(&log), nil))}
	s := openClosed(t, cfg)
	giveBack := writeLock(t, cfg.DataDir)
	s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01", What: "lost"})
	if _, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:01"}, time.Time{}); err == nil ||
		!strings.Contains(err.Error(), "write 1 boot events: ") {
		t.Errorf("asking while the database is locked: %v", err)
	}
	giveBack()
	s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01", What: "kept"})
	events, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:01"}, time.Time{})
	if err != nil || len(events) != 1 || events[0].What != "kept" {
		t.Errorf("%+v, %v", events, err)
	}
}

// A store that is closed answers with errors, not with a panic, and closing it again is no harm.
func TestAClosedStore(t *testing.T) {
	for name, url := range map[string]string{"sqlite": "", "postgres": postgres(t).Database(t)} {
		t.Run(name, func(t *testing.T) {
			s := open(t, store.Config{URL: url, DataDir: t.TempDir(), Host: "here"})
			n := addNode(t, s, "one")
			wakes := s.Wakeups(t.Context())
			shut(t, s)
			if _, open := <-wakes; open {
				t.Error("wake-ups of a closed store")
			}
			for what, err := range map[string]error{
				"save":   s.Save(t.Context(), n),
				"create": s.CreateNode(t.Context(), &node.Node{Name: "two"}),
				"power":  s.SavePower(t.Context(), n.UUID, node.PowerOn, 0),
			} {
				if err == nil || !strings.Contains(err.Error(), "database is closed") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := s.Node(t.Context(), "one"); err == nil || node.KindOf(err) != node.Internal {
				t.Errorf("read: %v", err)
			}
			if later := s.Wakeups(t.Context()); later != nil {
				if _, open := <-later; open {
					t.Error("a later listener hears something")
				}
			}
			s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01"}) // must not block or panic
		})
	}
}

// The same database, opened and closed again and again, with something written each time: nothing is lost and the tokens grow.
func TestManyStarts(t *testing.T) {
	for name, url := range map[string]string{"sqlite": "", "postgres": postgres(t).Database(t)} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{URL: url, DataDir: t.TempDir(), Host: "here"}
			s := open(t, cfg)
			n := addNode(t, s, "one")
			shut(t, s)
			for i := range 8 {
				s := open(t, cfg)
				held, err := s.Reserve(t.Context(), n.UUID, "here", time.Hour)
				if err != nil {
					t.Fatalf("start %d: %v", i, err)
				}
				if held.Lease.Token != int64(i+1) || held.Description != fmt.Sprint(i) && i > 0 {
					t.Errorf("start %d: token %d, description %q", i, held.Lease.Token, held.Description)
				}
				held.Description = fmt.Sprint(i + 1)
				if err := s.Save(t.Context(), held); err != nil { // not released: the process ends with the lease
					t.Fatal(err)
				}
				shut(t, s)
			}
		})
	}
}
