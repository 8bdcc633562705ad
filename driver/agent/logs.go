package agent

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/billet-metal/billet/driver"
)

// CollectLogs implements driver.LogCollector.
func (d *Direct) CollectLogs(ctx context.Context, t *driver.Task) ([]byte, error) {
	s, err := d.Client.open(t.Node.Agent)
	if err != nil {
		return nil, err
	}
	s.Attempts = 1
	var collected struct {
		SystemLogs string `json:"system_logs"`
	}
	if err := s.ask(ctx, "log.collect_system_logs", nil, &collected); err != nil {
		return nil, err
	}
	logs, err := base64.StdEncoding.DecodeString(collected.SystemLogs)
	if err != nil {
		return nil, fmt.Errorf("reading the agent's logs: %w", err)
	}
	return logs, nil
}
