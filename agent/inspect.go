package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/billet-metal/billet/agent/disk"
	"github.com/billet-metal/billet/agent/wire"
)

// inspectionAttempts × up to 30 s: a service that is restarted in between still gets the data.
const inspectionAttempts = 20

// inspect sends what is in this machine, and tries again while the service is away or busy.
func (a *Agent) inspect(ctx context.Context) error {
	data := a.collect()
	var last error
	for attempt := range inspectionAttempts {
		to := a.callbacks()
		last = a.client.continueInspection(ctx, to[attempt%len(to)], data)
		if last == nil {
			a.Log.Info("inspection data sent", "disks", len(data.Inventory.Disks), "interfaces", len(data.Inventory.Interfaces))
			return nil
		}
		answer := (*statusError)(nil)
		if errors.As(last, &answer) && answer.code < 500 && answer.code != http.StatusConflict && answer.code != http.StatusTooManyRequests && attempt >= 5 {
			break
		}
		wait := min(time.Second<<min(attempt, 5), 30*time.Second)
		a.Log.Warn("inspection data not taken", "error", last, "again_in", wait)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return fmt.Errorf("sending the inspection data: %w", last)
}

// callbacks are the URLs to send to.
func (a *Agent) callbacks() []string {
	if a.Config.InspectionCallback != "" {
		return []string{a.Config.InspectionCallback}
	}
	var out []string
	for _, u := range a.client.order() {
		out = append(out, u+"/v1/continue_inspection")
	}
	return out
}

// collect is the body of an inspection.
func (a *Agent) collect() wire.Inspection {
	collectors := a.Config.Collectors
	if collectors == nil {
		collectors = []string{"default", "logs"}
	}
	out := wire.Inspection{
		Inventory:     a.inventory.Read(),
		BootInterface: a.Config.BootMAC,
		Configuration: map[string]any{
			"collectors": collectors,
			"managers":   []map[string]string{{"name": managerName, "version": managerVersion}},
		},
	}
	if root, err := disk.Select(out.Inventory.Disks, nil); err == nil {
		out.RootDisk = &root
	} else {
		a.Log.Warn("no root disk without hints", "error", err)
	}
	logs, err := a.packedLogs()
	if err != nil {
		a.Log.Warn("logs are left out", "error", err)
	}
	out.Logs = logs
	return out
}

// packedLogs are the agent's and the kernel's messages.
func (a *Agent) packedLogs() (string, error) {
	kernel, err := a.Machine.KernelLog()
	if err != nil {
		kernel = []byte("not readable: " + err.Error() + "\n")
	}
	texts := map[string][]byte{"kernel.log": kernel}
	names := []string{"kernel.log"}
	if a.Logs != nil {
		names, texts["agent.log"] = []string{"agent.log", "kernel.log"}, a.Logs.Bytes()
	}
	return packLogs(names, texts, time.Now())
}
