package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// state is what an agent leaves for its successor in the same boot: the service gives the token
// only once, and refuses a changed certificate. It lies in memory (/run), never on a disk.
type state struct {
	Node        string      `json:"node"`
	Token       string      `json:"token"`
	IP          string      `json:"ip"`
	Certificate certificate `json:"certificate"`

	RAIDConfig map[string]any `json:"raid_config,omitempty"` // the node's; some commands come without the node
}

func (a *Agent) statePath() string { return filepath.Join(a.Config.StateDir, "state.json") }

// loadState is empty when there is none, or it cannot be read.
func (a *Agent) loadState() state {
	var s state
	raw, err := os.ReadFile(a.statePath())
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return state{}
	}
	return s
}

// keepRAID keeps the node's raid_config beside the token.
func (a *Agent) keepRAID(config map[string]any) {
	s := a.loadState()
	s.RAIDConfig = config
	if err := a.saveState(s); err != nil {
		a.Log.Warn("an agent that is started again will not know the node's RAID", "error", err)
	}
}

func (a *Agent) saveState(s state) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keeping the agent's state: %w", err)
	}
	if err := os.MkdirAll(a.Config.StateDir, 0o700); err != nil {
		return fmt.Errorf("keeping the agent's state: %w", err)
	}
	next := a.statePath() + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return fmt.Errorf("keeping the agent's state: %w", err)
	}
	if err := os.Rename(next, a.statePath()); err != nil {
		return fmt.Errorf("keeping the agent's state: %w", err)
	}
	return nil
}

// certificate is the one kept for this node and address, or a new one.
func (a *Agent) certificate(ip net.IP) (certificate, error) {
	s := a.loadState()
	if s.Node == a.host.Node.UUID && s.IP == ip.String() && s.Certificate.Key != "" {
		return s.Certificate, nil
	}
	cert, err := newCertificate(ip, time.Now())
	if err != nil {
		return certificate{}, err
	}
	s.IP, s.Certificate = ip.String(), cert
	return cert, a.saveState(s)
}
