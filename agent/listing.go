package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// The one hardware manager of this agent; its version changes when steps change.
const (
	managerName    = "BilletHardwareManager"
	managerVersion = "1.1"
)

// steps is the table of steps.
func (a *Agent) steps() []steps.Step {
	clean := &steps.Eraser{Host: a.host, Arrays: &steps.RAID{Host: a.host}}
	image := &steps.Writer{Host: a.host, Images: a.images}
	files := &steps.Injector{Host: a.host, Images: a.images, Unverified: func() *http.Client { return a.gate(true).Client() }}
	return slices.Concat(clean.Steps(), image.Steps(), files.Steps(a.Config.InjectPriority), clean.Arrays.Steps(), a.host.Steps())
}

// listSteps answers get_clean_steps, get_deploy_steps and get_service_steps.
func (a *Agent) listSteps(k steps.Kind) command {
	return command{run: func(_ context.Context, p steps.Params) (any, error) {
		var n wire.Node
		if err := p.Decode("node", &n); err != nil {
			return nil, err
		}
		a.host.LearnRAID(n)
		list := []wire.Step{}
		for _, s := range a.steps() {
			if p, ok := s.Priority[k]; ok {
				list = append(list, wire.Step{Step: s.Name, Interface: s.Of(), Priority: p, Abortable: s.Abortable, ArgsInfo: s.Args})
			}
		}
		return map[string]any{
			string(k) + "_steps":       map[string][]wire.Step{managerName: list},
			"hardware_manager_version": map[string]string{managerName: managerVersion},
			"boot":                     a.host.Inventory.Boot(), // the conductor of a deploy has no inventory
		}, nil
	}}
}

// executeStep answers execute_clean_step and its like.
func (a *Agent) executeStep(k steps.Kind) command {
	return command{async: true, run: func(ctx context.Context, p steps.Params) (any, error) {
		var asked struct {
			Step      string       `json:"step"`
			Interface string       `json:"interface"`
			Args      steps.Params `json:"args"`
		}
		call := steps.Call{Node: a.host.Node}
		var version map[string]string
		for key, out := range map[string]any{"step": &asked, "node": &call.Node, string(k) + "_version": &version} {
			if err := p.Decode(key, out); err != nil {
				return nil, err
			}
		}
		if have := map[string]string{managerName: managerVersion}; len(version) > 0 && !maps.Equal(version, have) {
			return nil, &mismatch{asked: fmt.Sprint(version), have: fmt.Sprint(have)}
		}
		s, err := a.findStep(k, asked.Step, asked.Interface)
		if err != nil {
			return nil, err
		}
		a.host.LearnRAID(call.Node)
		call.Params, call.Args = p, asked.Args
		call.Report = func(detail string, done, total int64) { a.progress.Report(s.Name, detail, done, total) }
		call.Disks = func(detail string, each []wire.DiskProgress) {
			p := wire.Progress{Step: s.Name, Detail: detail, Disks: each}
			for _, d := range each {
				p.Done, p.Total = p.Done+d.Done, p.Total+d.Total
			}
			a.progress.Tell(p)
		}
		result, err := s.Run(ctx, call)
		if err != nil {
			return nil, err
		}
		// The conductor compares the step with the one it asked for: it goes back as it came.
		return map[string]any{string(k) + "_result": result, string(k) + "_step": json.RawMessage(p["step"])}, nil
	}}
}

func (a *Agent) findStep(k steps.Kind, name, iface string) (steps.Step, error) {
	known := ""
	for _, s := range a.steps() {
		if _, ok := s.Priority[k]; !ok {
			continue
		}
		if s.Name == name && cmp.Or(iface, "deploy") == s.Of() {
			return s, nil
		}
		known += " " + s.Of() + "." + s.Name
	}
	return steps.Step{}, &steps.Fault{Code: 400, Text: fmt.Sprintf("this agent has no %s step %s.%s; it has:%s", k, iface, name, known)}
}
