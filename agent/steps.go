package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// The one hardware manager of this agent; its version changes when steps change.
const (
	managerName    = "BilletHardwareManager"
	managerVersion = "1.1"
)

// kind is a list of steps: the flow that runs them.
type kind string

const (
	cleanSteps   kind = "clean"
	deploySteps  kind = "deploy"
	serviceSteps kind = "service"
)

// stepCall is one call of a step.
type stepCall struct {
	node   wire.Node
	params params // of the command
	args   params // of the step
	report func(detail string, done, total int64)

	// disks reports how far each of several disks is, and all together; nil when nobody wants to know.
	disks func(detail string, each []wire.DiskProgress)
}

// step is one line of the table of steps.
type step struct {
	name      string
	iface     string       // "" is deploy
	priority  map[kind]int // a kind that is not there does not have the step; 0 runs only when asked for
	abortable bool
	args      map[string]any // argument → {"description", "required"}
	run       func(ctx context.Context, c stepCall) (any, error)
}

func (s step) of() string { return cmp.Or(s.iface, "deploy") }

// steps is the table of steps.
func (a *Agent) steps() []step {
	return []step{
		{name: "erase_devices_metadata", priority: map[kind]int{cleanSteps: 99, deploySteps: 0}, abortable: true, run: a.eraseMetadata},
		{name: "erase_devices", priority: map[kind]int{cleanSteps: 10}, abortable: true, run: a.eraseDevices},
		{name: "erase_devices_express", priority: map[kind]int{cleanSteps: 0}, abortable: true, run: a.eraseExpress},
		{name: "write_image", priority: map[kind]int{deploySteps: 0}, args: writeImageArgs, run: a.writeImage},
		{name: "inject_files", priority: map[kind]int{deploySteps: a.Config.InjectPriority, serviceSteps: 0}, args: injectArgs, run: a.injectFiles},
		{name: "delete_configuration", iface: "raid", priority: map[kind]int{cleanSteps: 0}, run: a.deleteRAID},
		{name: "create_configuration", iface: "raid", priority: map[kind]int{cleanSteps: 0}, args: createRAIDArgs, run: a.createRAID},
		{name: "apply_configuration", iface: "raid", priority: map[kind]int{deploySteps: 0}, args: applyRAIDArgs, run: a.applyRAID},
		{name: "list_disks", priority: map[kind]int{serviceSteps: 0}, abortable: true, run: a.listDisks},
	}
}

var writeImageArgs = map[string]any{
	"image_info":  map[string]any{"description": "A dictionary describing the image: id, urls, disk_format, os_hash_algo and os_hash_value.", "required": true},
	"configdrive": map[string]any{"description": "Base64 of a gzipped config drive image, or a URL of one.", "required": false},
}

// listDisks changes nothing: it is the smallest service, and shows that the machine's disks are seen.
func (a *Agent) listDisks(context.Context, stepCall) (any, error) {
	var seen []string
	for _, d := range a.inventory.Disks() {
		seen = append(seen, fmt.Sprintf("%s (%s, %d bytes, serial %q)", d.Name, d.Model, d.Size, d.Serial))
	}
	return "disks: " + strings.Join(seen, ", "), nil
}

// listSteps answers get_clean_steps, get_deploy_steps and get_service_steps.
func (a *Agent) listSteps(k kind) command {
	return command{run: func(_ context.Context, p params) (any, error) {
		var n wire.Node
		if err := p.decode("node", &n); err != nil {
			return nil, err
		}
		a.learnRAID(n)
		list := []wire.Step{}
		for _, s := range a.steps() {
			if p, ok := s.priority[k]; ok {
				list = append(list, wire.Step{Step: s.name, Interface: s.of(), Priority: p, Abortable: s.abortable, ArgsInfo: s.args})
			}
		}
		return map[string]any{
			string(k) + "_steps":       map[string][]wire.Step{managerName: list},
			"hardware_manager_version": map[string]string{managerName: managerVersion},
			"boot":                     a.inventory.Boot(), // the conductor of a deploy has no inventory
		}, nil
	}}
}

// executeStep answers execute_clean_step and its like.
func (a *Agent) executeStep(k kind) command {
	return command{async: true, run: func(ctx context.Context, p params) (any, error) {
		var asked struct {
			Step      string `json:"step"`
			Interface string `json:"interface"`
			Args      params `json:"args"`
		}
		call := stepCall{node: a.node}
		var version map[string]string
		for key, out := range map[string]any{"step": &asked, "node": &call.node, string(k) + "_version": &version} {
			if err := p.decode(key, out); err != nil {
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
		a.learnRAID(call.node)
		call.params, call.args = p, asked.Args
		call.report = func(detail string, done, total int64) { a.progress.Report(s.name, detail, done, total) }
		call.disks = func(detail string, each []wire.DiskProgress) {
			p := wire.Progress{Step: s.name, Detail: detail, Disks: each}
			for _, d := range each {
				p.Done, p.Total = p.Done+d.Done, p.Total+d.Total
			}
			a.progress.Tell(p)
		}
		result, err := s.run(ctx, call)
		if err != nil {
			return nil, err
		}
		// The conductor compares the step with the one it asked for: it goes back as it came.
		return map[string]any{string(k) + "_result": result, string(k) + "_step": json.RawMessage(p["step"])}, nil
	}}
}

func (a *Agent) findStep(k kind, name, iface string) (step, error) {
	known := ""
	for _, s := range a.steps() {
		if _, ok := s.priority[k]; !ok {
			continue
		}
		if s.name == name && cmp.Or(iface, "deploy") == s.of() {
			return s, nil
		}
		known += " " + s.of() + "." + s.name
	}
	return step{}, &fault{400, fmt.Sprintf("this agent has no %s step %s.%s; it has:%s", k, iface, name, known)}
}
