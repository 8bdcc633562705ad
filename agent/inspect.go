package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/billet-metal/billet/agent/benchmark"
	"github.com/billet-metal/billet/agent/inventory"
	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/wire"
)

// inspectionAttempts × up to 30 s: a service that is restarted in between still gets the data.
const inspectionAttempts = 20

// inspect sends what is in this machine, and tries again while the service is away or busy.
func (a *Agent) inspect(ctx context.Context) error {
	data := a.collect(ctx)
	var last error
	for attempt := range inspectionAttempts {
		to := a.callbacks()
		last = a.client.continueInspection(ctx, to[attempt%len(to)], data)
		if last == nil {
			a.Log.Info("inspection data sent", "disks", len(data.Inventory.Disks), "interfaces", len(data.Inventory.Interfaces))
			return nil
		}
		answer := (*statusError)(nil)
		if errors.As(last, &answer) && answer.code < 500 && answer.code != http.StatusConflict &&
			answer.code != http.StatusTooManyRequests && attempt >= 5 {
			break
		}
		wait := min(time.Second<<min(attempt, 5), 30*time.Second)
		a.Log.Warn("inspection data not taken", "error", last, "again_in", wait)
		if err := steps.Pause(ctx, wait); err != nil {
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

// defaultCollectors are what is collected when the service asks for nothing special.
var defaultCollectors = []string{"default", "pci-devices", "usb-devices", "logs"}

// collect is the body of an inspection. Collectors this agent does not have are logged and left
// out: what the others find is worth having.
func (a *Agent) collect(ctx context.Context) wire.Inspection {
	collectors := a.Config.Collectors
	if collectors == nil {
		collectors = defaultCollectors
	}
	out := wire.Inspection{
		Inventory:     a.host.Inventory.Read(),
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
	a.addBMC(&out.Inventory)
	if a.Config.CollectLLDP || slices.Contains(collectors, "lldp") {
		a.addLLDP(ctx, out.Inventory.Interfaces)
	}
	out.Extra = a.benchmarks(ctx, out.Inventory)
	for _, name := range collectors {
		switch name {
		case "default", "lldp", "extra-hardware": // the last is where benchmarks come from elsewhere
		case "pci-devices":
			out.PCIDevices = a.host.Inventory.PCIDevices()
		case "usb-devices":
			out.USBDevices = a.host.Inventory.USBDevices()
		case "logs":
			logs, err := a.packedLogs()
			if err != nil {
				a.Log.Warn("logs are left out", "error", err)
			}
			out.Logs = logs
		default:
			a.Log.Warn("this agent has no such inspection collector", "collector", name)
		}
	}
	return out
}

// ipmiDevice is where the kernel shows the BMC, below the machine's root folder.
const ipmiDevice = "dev/ipmi0"

// addBMC asks the BMC where it is reached. A machine without one, or whose BMC is silent, is no
// failure of the inspection; the protocol has 0.0.0.0 and ::/0 for it.
func (a *Agent) addBMC(i *wire.Inventory) {
	i.BMCAddress, i.BMCv6Address = "0.0.0.0", "::/0"
	d, err := inventory.OpenIPMI(filepath.Join(a.Config.Root, ipmiDevice))
	if err != nil {
		a.Log.Info("no BMC is seen from inside", "error", err)
		return
	}
	defer d.Close()
	found, err := inventory.FindBMC(d)
	if err != nil {
		a.Log.Warn("the BMC does not tell its address", "error", err)
	}
	i.BMCAddress, i.BMCv6Address = cmp.Or(found.Address, i.BMCAddress), cmp.Or(found.V6Address, i.BMCv6Address)
	i.BMCMAC = found.MAC
}

// benchmarks are the figures asked for. A measurement that fails is logged and left out.
func (a *Agent) benchmarks(ctx context.Context, i wire.Inventory) [][]any {
	var records []benchmark.Record
	for _, name := range a.Config.Benchmarks {
		began, before := time.Now(), len(records)
		switch name {
		case "cpu":
			records = append(records, benchmark.CPU(ctx, i.CPU.Count)...)
		case "mem":
			records = append(records, benchmark.Memory(ctx, i.CPU.Count)...)
		case "disk":
			var disks []benchmark.Disk
			for _, d := range i.Disks {
				disks = append(disks, benchmark.Disk{Path: filepath.Join(a.Config.Root, d.Name), Size: d.Size})
			}
			figures, err := benchmark.Disks(ctx, disks)
			if err != nil {
				a.Log.Warn("benchmark", "error", err)
			}
			records = append(records, figures...)
		default:
			a.Log.Warn("this agent has no such benchmark", "benchmark", name)
			continue
		}
		a.Log.Info("benchmark", "of", name, "figures", len(records)-before, "took", time.Since(began))
	}
	var out [][]any
	for _, r := range records {
		out = append(out, r[:])
	}
	return out
}

// addLLDP listens on every interface with a link for what its switch says of itself.
func (a *Agent) addLLDP(ctx context.Context, nics []wire.NIC) {
	var names []string
	for _, nic := range nics {
		if nic.HasCarrier {
			names = append(names, nic.Name)
		}
	}
	heard, err := inventory.LLDP(ctx, names, a.Config.LLDPTimeout)
	if err != nil {
		a.Log.Warn("LLDP", "error", err)
	}
	a.Log.Info("listened for LLDP", "interfaces", len(names), "heard", len(heard))
	for i, nic := range nics {
		if tlvs := heard[nic.Name]; len(tlvs) > 0 {
			nics[i].LLDP = tlvs
		}
	}
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
