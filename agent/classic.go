package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/billet-metal/billet/agent/classic"
	"github.com/billet-metal/billet/agent/steps"
)

// exportDisk lets somebody else write the disk.
func (a *Agent) exportDisk(ctx context.Context) error {
	a.Log = a.Log.With("node", a.Config.ISCSI.DeploymentID)
	a.host.Log = a.Log
	r := &classic.Ramdisk{
		Params: *a.Config.ISCSI, Host: a.host, Boot: a.boot, Export: a.Export, ListenHost: a.Config.ListenHost, DonePort: a.Config.DonePort,
		Reboot: a.Machine.Reboot, Install: a.install, Caller: a,
	}
	return r.Run(ctx)
}

// Authorize makes the token that of all further calls.
func (a *Agent) Authorize(token string) { a.client.authToken = token }

// Post calls a method of the service.
func (a *Agent) Post(ctx context.Context, path string, body any) error {
	_, err := a.client.call(ctx, http.MethodPost, path, 0, body, nil)
	return err
}

// Again does what may fail because the service is busy with the node still, or away, for as long as the
// agent's lookup would.
func (a *Agent) Again(ctx context.Context, what string, try func() error) error {
	deadline := time.Now().Add(a.Config.LookupTimeout)
	for attempt := 0; ; attempt++ {
		err := try()
		if err == nil {
			return nil
		}
		refused := (*statusError)(nil)
		if errors.As(err, &refused) && refused.code < 500 && refused.code != http.StatusConflict || time.Now().After(deadline) {
			return fmt.Errorf("%s for the deployment %s: %w", what, a.Config.ISCSI.DeploymentID, err)
		}
		wait := lookupWait(attempt, a.Config.LookupInterval, err)
		a.Log.Warn(what, "error", err, "again_in", wait)
		if err := steps.Pause(ctx, wait); err != nil {
			return err
		}
	}
}
