package conductor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/node"
)

// Logs go to the object store where that is wanted; one that is away does not lose them, and is told.
func TestLogsInTheObjectStore(t *testing.T) {
	for _, away := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "deploy-logs")
		inWorld(t, func(w *world) {
			w.enroll("test", node.Available)
			o := w.withObjects()
			w.cfg.LogDir, w.cfg.LogKeep = dir, LogKeep{Container: "logs", Expires: 24 * time.Hour}
			w.m.fail["write_image"] = errors.New("disk full")
			if away {
				o.set("put", errAway)
			}
			c, _ := w.start(w.cfg)
			w.provision(c, node.ProvisionRequest{Event: node.EventDeploy})
			w.reach(node.DeployWait)
			w.heartbeat(c)
			w.reach(node.DeployFailed)
			synctest.Wait()
			local, _ := filepath.Glob(filepath.Join(dir, uuid1+"-*.tar.gz"))
			all := strings.Join(w.events(), "\n")
			if away {
				if len(local) != 1 || len(o.names()) > 0 || !strings.Contains(all, "in the object store they could not be kept: Swift was asked") {
					t.Errorf("local %v, in the store %v, history\n%s", local, o.names(), all)
				}
				return
			}
			i := slices.IndexFunc(o.names(), func(name string) bool {
				return strings.HasPrefix(name, "logs/"+uuid1) && strings.HasSuffix(name, ".tar.gz")
			})
			if i < 0 || o.has[o.names()[i]] != "what the machine said" || len(local) > 0 {
				t.Fatalf("local %v, in the store %v", local, o.has)
			}
			failure, err := w.store.Failure(w.t.Context(), uuid1)
			if err != nil || !slices.Contains(failure.Files, "swift:"+o.names()[i]) || !strings.Contains(all, "are kept in swift:logs/"+uuid1) {
				t.Errorf("%v %v, history\n%s", failure, err, all)
			}
		})
		if entries, err := os.ReadDir(dir); away == (err != nil) {
			t.Errorf("away %v: %v %v", away, entries, err)
		}
	}
}
