package conductor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// A failed flow keeps what its machine says, before the machine is switched off; an aborted one, one
// whose agent never called and one that cannot be asked keep nothing.
func TestLogsOfAFailedMachine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks map[string]error
		abort  bool
		kept   bool
		says   string
	}{
		{"failed", map[string]error{"write_image": errors.New("disk full")}, false, true, "INFO deploy: The machine's logs are kept in "},
		{"no answer", map[string]error{"write_image": errors.New("disk full"), "logs": errors.New("no route")}, false, false,
			"ERROR deploy: The machine's logs could not be kept: no route"},
		{"aborted", nil, true, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "deploy-logs")
			inWorld(t, func(w *world) {
				w.enroll("test", node.Available)
				w.cfg.LogDir = dir
				w.m.fail = tt.breaks
				if tt.abort {
					w.m.offers = []node.PlannedStep{{Interface: node.Deploy, Step: "burnin", Priority: 90, Abortable: true}}
				}
				c, _ := w.start(w.cfg)
				w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
				w.reach(node.DeployWait)
				w.heartbeat(c)
				if tt.abort {
					w.reach(node.DeployWait)
					w.provision(c, node.ProvisionRequest{Event: node.EventAbort})
				}
				w.reach(node.DeployFailed)
				kept, _ := filepath.Glob(filepath.Join(dir, uuid1+"-*.tar.gz"))
				if (len(kept) == 1) != tt.kept {
					t.Fatalf("kept %q", kept)
				}
				all := strings.Join(w.events(), "\n")
				if !strings.Contains(all, tt.says+strings.Join(kept, "")) || !tt.kept && strings.Contains(all, "are kept") {
					t.Errorf("history:\n%s", all)
				}
				if !tt.kept {
					return
				}
				text, err := os.ReadFile(kept[0])
				info, _ := os.Stat(kept[0])
				if err != nil || string(text) != "what the machine said" || info.Mode() != 0o600 {
					t.Errorf("%q, %v, %v", text, info.Mode(), err)
				}
				done := fmt.Sprint(w.m.done())
				if strings.Index(done, "logs") > strings.Index(done, "tidy_up") {
					t.Errorf("asked after the machine was tidied up: %s", done)
				}
			})
		})
	}
}

func TestMakeRoom(t *testing.T) {
	for _, tt := range []struct {
		files int
		bytes int64
		age   time.Duration
		left  string
	}{{10, 1000, 0, "abcd"}, {2, 1000, 0, "cd"}, {10, 25, 0, "cd"}, {10, 1, 0, "d"}, {0, 0, 0, "abcd"},
		{10, 1000, 2500 * time.Millisecond, "cd"}, {10, 1000, time.Millisecond, ""}} {
		dir := t.TempDir()
		for i, name := range []string{"a", "b", "c", "d"} {
			path := filepath.Join(dir, name+logSuffix)
			if err := os.WriteFile(path, []byte("ten bytes."), 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Unix(int64(1000+i), 0)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "somebody's file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (LogKeep{Files: tt.files, Bytes: tt.bytes, Age: tt.age}).makeRoom(dir, time.Unix(1004, 0)); err != nil {
			t.Fatal(err)
		}
		entries, _ := os.ReadDir(dir)
		left := ""
		for _, e := range entries {
			left += strings.TrimSuffix(e.Name(), logSuffix)
		}
		if left != tt.left+"somebody's file" {
			t.Errorf("%d files, %d bytes, %s: left %s, want %s", tt.files, tt.bytes, tt.age, left, tt.left)
		}
	}
}
