package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/seal"
)

// secrets are all the kinds of values that must not reach the database readable.
var secrets = map[string]string{
	"driver_info":   "PASSWORD-of-the-bmc-7f3a",
	"instance_info": "SECRET-in-instance-info-7f3b",
	"network_data":  "SECRET-in-network-data-7f3c",
	"config drive":  "Q09ORklHLURSSVZFLWNvbnRlbnQ",
	"step argument": "SECRET-step-argument-7f3d",
	"agent token":   "TOKEN-of-the-agent-7f3e",
	"serial line":   "SECRET-on-the-serial-line-7f40",
	"failure":       "SECRET-in-a-failure-7f41",
	"volume":        "SECRET-of-a-volume-7f42",
	"rule's action": "SECRET-of-a-rule's-action-7f3f",
}

func writeSecrets(t *testing.T, s *store.Store) {
	t.Helper()
	n := addNode(t, s, "plain-to-see")
	n, err := s.Reserve(t.Context(), n.UUID, "here", 1e12)
	if err != nil {
		t.Fatal(err)
	}
	n.DriverInfo = node.Document{"ipmi_password": secrets["driver_info"]}
	n.InstanceInfo = node.Document{"image_url": secrets["instance_info"]}
	n.NetworkData = node.Document{"links": secrets["network_data"]}
	n.ConfigDrive = secrets["config drive"]
	n.Plan = &node.Plan{Steps: []node.PlannedStep{{Step: "s", Args: map[string]any{"a": secrets["step argument"]}}}}
	if err := s.Save(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if given, err := s.GiveAgentToken(t.Context(), n.UUID, secrets["agent token"], node.Caller{}); err != nil || !given {
		t.Fatal(given, err)
	}
	if err := s.SaveLines(t.Context(), node.MachineLines{NodeUUID: n.UUID, Source: node.SerialLine,
		Lines: []node.Line{{Text: secrets["serial line"]}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveFailure(t.Context(), node.Evidence{NodeUUID: n.UUID, Sentence: secrets["failure"]}); err != nil {
		t.Fatal(err)
	}
	rule := node.InspectionRule{Actions: []node.RuleOperation{{Op: "set-attribute",
		Args: []any{"driver_info/ipmi_password", secrets["rule's action"]}}}}
	rule.Conditions = []node.RuleOperation{{Op: "eq", Args: []any{secrets["rule's action"]}}}
	if err := s.InspectionRules.Create(t.Context(), &rule); err != nil {
		t.Fatal(err)
	}
	volume := node.VolumeTarget{NodeUUID: n.UUID, Properties: node.Document{"auth_password": secrets["volume"]}}
	if err := s.VolumeTargets.Create(t.Context(), &volume); err != nil {
		t.Fatal(err)
	}
	got, err := s.Node(t.Context(), n.UUID)
	if err != nil || got.Agent.Token != secrets["agent token"] || got.ConfigDrive != secrets["config drive"] {
		t.Fatalf("secrets do not come back: %v", err)
	}
}

// scan looks for the secrets in every file below dir, and for the node's name to prove that it
// would find them. The key file is not part of the database.
func scan(t *testing.T, dir string) {
	t.Helper()
	control := false
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) { // PostgreSQL removes files while it runs
			return nil
		}
		if err != nil {
			return err
		}
		control = control || bytes.Contains(data, []byte("plain-to-see"))
		for what, text := range secrets {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s holds the %s", filepath.Base(name), what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !control {
		t.Error("the scan does not find what is there to see")
	}
}

func TestNoSecretInSQLiteFiles(t *testing.T) {
	cfg := store.Config{DataDir: t.TempDir(), Host: "here"}
	s := open(t, cfg)
	writeSecrets(t, s)
	scan(t, cfg.DataDir) // with what is in the WAL
	shut(t, s)
	scan(t, cfg.DataDir) // and when all is in the file
}

func TestNoSecretInPostgresFiles(t *testing.T) {
	pg := postgres(t)
	writeSecrets(t, openClosed(t, store.Config{URL: pg.Database(t), DataDir: t.TempDir(), Host: "here"}))
	if err := pg.Exec(context.Background(), "postgres", "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	scan(t, filepath.Join(pg.Dir, "data"))
}

func TestKeyFile(t *testing.T) {
	cfg := store.Config{DataDir: t.TempDir()}
	s := open(t, cfg)
	addNode(t, s, "one")
	shut(t, s)
	key := filepath.Join(cfg.DataDir, "secret.key")
	good, err := os.ReadFile(key)
	if err != nil || len(good) != seal.KeySize {
		t.Fatalf("%d bytes, %v", len(good), err)
	}
	set := func(data []byte, mode fs.FileMode) {
		t.Helper()
		os.Remove(key)
		if err := os.WriteFile(key, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []fs.FileMode{0o640, 0o604} {
		set(good, mode)
		notOpened(t, cfg, fmt.Sprintf("key file DIR/secret.key can be read by others (mode %04o); run chmod 600 on it", mode))
	}
	set(good[:31], 0o600)
	notOpened(t, cfg, "key file DIR/secret.key has 31 bytes, a sealing key has 32")
	other := bytes.Repeat([]byte{7}, seal.KeySize)
	set(other, 0o600)
	notOpened(t, cfg,
		"key file DIR/secret.key is not the key this database was sealed with; restore that key: value of key canary is sealed with key "+
			keyID(t, good)+", this is key "+keyID(t, other))
	os.Remove(key)
	notOpened(t, cfg, "key file DIR/secret.key is missing, and this database holds values sealed with it; restore the file (processes that "+
		"share a database share its key)")
	withKey := cfg
	withKey.Key = other
	if _, err := store.Open(t.Context(), withKey); err == nil || !strings.Contains(err.Error(), "the sealing key given is not the key") {
		t.Errorf("got %v", err)
	}
	set(good, 0o400)
	shut(t, open(t, cfg))
	os.Remove(key)
	withKey.Key = good
	shut(t, open(t, withKey))
}

func keyID(t *testing.T, key []byte) string {
	t.Helper()
	s, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	return s.KeyID()
}

// A sealed value that was copied to another node, or changed, is refused and not believed.
func TestMovedSecret(t *testing.T) {
	cfg := store.Config{DataDir: t.TempDir(), Key: sum("k")}
	s := open(t, cfg)
	var uuids []string
	for _, name := range []string{"one", "two"} {
		n := &node.Node{Name: name, DriverInfo: node.Document{"ipmi_password": name}}
		if err := s.CreateNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		uuids = append(uuids, n.UUID)
	}
	shut(t, s)
	rawSQLite(t, cfg.DataDir,
		`UPDATE node_documents SET driver_info = (SELECT driver_info FROM node_documents WHERE node_id = 1) WHERE node_id = 2`)
	s = openClosed(t, cfg)
	if n, err := s.Node(t.Context(), uuids[0]); err != nil || n.DriverInfo["ipmi_password"] != "one" {
		t.Errorf("%+v, %v", n, err)
	}
	n, err := s.Node(t.Context(), uuids[1])
	if want := "sealed value of " + uuids[1] + " driver_info was changed or moved"; err != nil || n.Unreadable["driver_info"] != want ||
		len(n.DriverInfo) > 0 {
		t.Errorf("got %+v, %v, want %s", n, err, want)
	}
}

func sum(text string) []byte {
	s := sha256.Sum256([]byte(text))
	return s[:]
}
