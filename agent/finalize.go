package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/crypt"
)

// Rescuer is implemented by machines that can let people in. Rescue calls ready once they can, and
// returns when ctx ends, or with the reason why nobody can log in.
type Rescuer interface {
	Rescue(ctx context.Context, hash string, ready func()) error
}

// openTime is the longest that letting people in may take: a host key is made meanwhile.
const openTime = 30 * time.Second

// rescueDelay lets the answer to finalize_rescue out, and a service that was started anew ask
// whether it was done, before the API closes.
const rescueDelay = 10 * time.Second

// finalizeRescue lets people in with the password given, hashed or not, and answers when they can
// log in. From then on the machine is theirs: the heartbeats stop, and soon the API.
func (a *Agent) finalizeRescue(ctx context.Context, p steps.Params) (any, error) {
	var password string
	var hashed bool
	for key, out := range map[string]any{"rescue_password": &password, "hashed": &hashed} {
		if err := p.Decode(key, out); err != nil {
			return nil, err
		}
	}
	switch {
	case password == "":
		return nil, &steps.Fault{Code: http.StatusBadRequest, Text: "Parameter rescue_password is missing"}
	case !hashed:
		password = crypt.Hash(password)
	case !crypt.Valid(password):
		return nil, &steps.Fault{Code: http.StatusBadRequest, Text: "Parameter rescue_password: " + crypt.ErrForm.Error()}
	}
	if _, ok := a.Machine.(Rescuer); !ok {
		return nil, errors.New("this agent is an ordinary process; only in the ramdisk it lets people in")
	}
	if err := a.keepRescue(password); err != nil {
		return nil, err
	}
	a.heartbeats.Stop()
	a.rescued.Do(func() { close(a.letIn) })
	select {
	case <-a.open:
		return nil, nil
	case <-time.After(openTime):
		return nil, fmt.Errorf("nobody can log in after %s; the agent's log says why", openTime)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *Agent) rescuePath() string { return filepath.Join(a.Config.StateDir, "rescue.json") }

// keepRescue leaves the hash for the agent that runs next in this boot, should this one crash.
func (a *Agent) keepRescue(hash string) error {
	raw, err := json.Marshal(map[string]string{"hash": hash})
	if err == nil {
		err = os.MkdirAll(a.Config.StateDir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(a.rescuePath(), raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keeping the rescue password: %w", err)
	}
	return nil
}

// rescueHash is what an agent before this one left; "" when the machine is not in rescue.
func (a *Agent) rescueHash() string {
	raw, err := os.ReadFile(a.rescuePath())
	if err != nil {
		return ""
	}
	var kept struct{ Hash string }
	_ = json.Unmarshal(raw, &kept) // what cannot be read is no hash
	return kept.Hash
}

// rescue lets people in until ctx ends. It is tried again when it fails: nobody else can help.
func (a *Agent) rescue(ctx context.Context, r Rescuer, hash string) error {
	for {
		err := r.Rescue(ctx, hash, func() { a.opened.Do(func() { close(a.open) }) })
		if ctx.Err() != nil {
			return nil
		}
		a.Log.Error("nobody can log in", "error", err, "again_in", rescueDelay)
		if steps.Pause(ctx, rescueDelay) != nil {
			return nil
		}
	}
}
