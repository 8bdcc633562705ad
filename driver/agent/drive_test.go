package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// drivesElsewhere are config drives that are not with their nodes.
type drivesElsewhere struct{ err error }

func (d drivesElsewhere) DriveURL(context.Context, *node.Node) (string, error) {
	return "http://swift/v1/AUTH_a/drives/x?temp_url_sig=1", d.err
}

func (d drivesElsewhere) DriveText(context.Context, *node.Node) (string, error) {
	return "", errors.New("the machine reads it itself")
}

// A config drive that is kept elsewhere reaches the agent as a URL, in both places where agents look for it; one that can not be
// had fails the step before the agent is told anything.
func TestADriveThatIsKeptElsewhere(t *testing.T) {
	w := newWorld(t)
	w.stored.ConfigDrive = "object:drives/" + testUUID + "-1"
	w.direct.Sources = &fakeSources{resolved: image.Resolved{
		URL: "http://img.example/a.iso", HashAlgo: "sha256", HashValue: "ab", Info: image.Info{Format: image.ISO},
	}}
	w.plan(node.FlowDeploy, w.direct.Steps())
	w.stored.Plan.Index = 1
	versionNote.Set(w.atRest(), map[string]string{"generic": "1.2"})
	w.calls()
	task := w.task()
	task.Drives = drivesElsewhere{errors.New("Swift is away")}
	if _, err := w.direct.writing().run(t.Context(), task); err == nil || err.Error() != "Swift is away" {
		t.Errorf("got %v", err)
	}
	task = w.task()
	task.Drives = drivesElsewhere{}
	if _, err := w.direct.writing().run(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	const want = "http://swift/v1/AUTH_a/drives/x?temp_url_sig=1"
	args := w.agent.params("deploy.execute_deploy_step")["step"].(map[string]any)["args"].(map[string]any)
	if args["configdrive"] != want || args["image_info"].(map[string]any)["configdrive"] != want {
		t.Errorf("args %v", args)
	}
}
