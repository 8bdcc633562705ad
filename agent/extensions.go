package agent

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/agent/steps"
)

// powerDelay lets the answer to a power command, and a heartbeat, out before the power goes.
const powerDelay = time.Second

// extensions is the table of everything the service may ask for.
func (a *Agent) extensions() extensions {
	jump := &steps.Kexec{Host: a.host, Leave: a.heartbeats.Stop, Reboot: a.Machine.Reboot}
	jump.Machine, _ = a.Machine.(steps.Kexecer) // an ordinary process has no other kernel to start
	return extensions{
		"clean": {
			"get_clean_steps":    a.listSteps(steps.Clean),
			"execute_clean_step": a.executeStep(steps.Clean),
		},
		"deploy": {
			"get_deploy_steps":    a.listSteps(steps.Deploy),
			"execute_deploy_step": a.executeStep(steps.Deploy),
		},
		"service": {
			"get_service_steps":    a.listSteps(steps.Service),
			"execute_service_step": a.executeStep(steps.Service),
		},
		"standby": {
			"prepare_image":       {async: true, run: a.prepareImage},
			"run_image":           {async: true, run: a.power("rebooting", a.Machine.Reboot)},
			"power_off":           {async: true, run: a.power("powering off", a.Machine.PowerOff)},
			"sync":                {run: flush},
			"get_partition_uuids": {run: a.boot.PartitionUUIDs},

			"load_instance_kernel": {async: true, run: jump.Load},
			"kexec":                {async: true, run: jump.Start},
		},
		"image":  {"install_bootloader": {async: true, run: a.boot.Install}},
		"log":    {"collect_system_logs": {run: a.collectLogs}},
		"system": {"lockdown": {run: a.lockdown}},
		"rescue": {"finalize_rescue": {run: a.finalizeRescue}},
	}
}

// prepareImage is write_image by its older name.
func (a *Agent) prepareImage(ctx context.Context, p steps.Params) (any, error) {
	call := steps.Call{Node: a.host.Node, Args: p, Report: func(detail string, done, total int64) {
		a.progress.Report("prepare_image", detail, done, total)
	}}
	return (&steps.Writer{Host: a.host, Images: a.images}).WriteImage(ctx, call)
}

// power flushes the disks and switches power a moment later, so that the result can still be read.
func (a *Agent) power(what string, do func() error) func(context.Context, steps.Params) (any, error) {
	return func(ctx context.Context, _ steps.Params) (any, error) {
		unix.Sync()
		a.Log.Info("power", "what", what)
		time.AfterFunc(powerDelay, func() {
			if err := do(); err != nil {
				a.Log.Error("power", "what", what, "error", err)
			}
		})
		return what, nil
	}
}

func flush(context.Context, steps.Params) (any, error) {
	unix.Sync()
	return nil, nil
}

func (a *Agent) collectLogs(context.Context, steps.Params) (any, error) {
	logs, err := a.packedLogs()
	if err != nil {
		return nil, err
	}
	return map[string]string{"system_logs": logs}, nil
}

// lockdown stops heartbeats; the answer still goes out.
func (a *Agent) lockdown(context.Context, steps.Params) (any, error) {
	a.heartbeats.Stop()
	return nil, nil
}
