package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/raid"
	"github.com/billet-metal/billet/wire"
)

// RAID is the raid interface "agent": the agent in the ramdisk builds software RAID of the machine's
// disks. Its steps need a deploy interface that boots that ramdisk. Direct must be set.
type RAID struct{ Direct *Direct }

// Name implements driver.Implementation.
func (r *RAID) Name() string { return "agent" }

// Properties implements driver.Implementation.
func (r *RAID) Properties() map[string]string { return nil }

// Validate checks the target_raid_config, where there is one.
func (r *RAID) Validate(_ context.Context, t *driver.Task) error {
	if len(t.Node.TargetRAIDConfig) == 0 {
		return nil
	}
	return r.ValidateRAIDConfig(t.Node.TargetRAIDConfig)
}

// LogicalDiskProperties implements driver.RAID.
func (r *RAID) LogicalDiskProperties() map[string]string { return raid.Properties() }

// ValidateRAIDConfig implements driver.RAID.
func (r *RAID) ValidateRAIDConfig(config node.Document) error {
	if _, err := raid.Parse(config); err != nil {
		return node.Errorf(node.Invalid, "The RAID configuration is not one that can be built: %v.", err)
	}
	return nil
}

// Arguments of the steps.
const (
	argRAIDConfig = "raid_config"
	argRoot       = "create_root_volume"
	argOthers     = "create_nonroot_volumes"
	argDelete     = "delete_existing"
)

var createArgs = map[string]string{
	argRoot:   "Whether the root volume is created. Default: true.",
	argOthers: "Whether the other logical disks are created. Default: true.",
	argDelete: "Whether software RAID that is there is deleted first. Default: false.",
}

// Steps lists what people may ask for; nothing runs unasked.
func (r *RAID) Steps() []driver.Step {
	apply := maps.Clone(createArgs)
	apply[argRAIDConfig] = "The RAID configuration to apply, as target_raid_config has it. Required."
	apply[argDelete] = "Whether software RAID that is there is deleted first. Default: true."
	clean, deploy := map[node.Flow]int{node.FlowClean: 0}, map[node.Flow]int{node.FlowDeploy: 0}
	return []driver.Step{
		{Name: "create_configuration", Priority: clean, NeedsAgent: true, Args: createArgs, Run: r.run, Poll: r.poll},
		{Name: "delete_configuration", Priority: clean, NeedsAgent: true, Run: r.run, Poll: r.poll},
		{Name: "apply_configuration", Priority: deploy, NeedsAgent: true, Args: apply, Run: r.run, Poll: r.poll},
	}
}

func (r *RAID) run(ctx context.Context, t *driver.Task) (driver.Result, error) {
	w, err := r.work(t)
	if err != nil {
		return driver.Done(), err
	}
	return r.Direct.commands().run(ctx, t, w)
}

func (r *RAID) poll(ctx context.Context, t *driver.Task) (driver.Result, error) {
	w, err := r.work(t)
	if err != nil {
		return driver.Done(), err
	}
	return r.Direct.commands().poll(ctx, t, w)
}

// work is the step as the agent gets it: which volumes are wanted is settled here, as agents know
// nothing of that.
func (r *RAID) work(t *driver.Task) (work, error) {
	if !t.Node.Plan.InBand {
		return work{}, node.Errorf(node.Invalid, "the agent builds RAID, but no ramdisk runs: use a deploy interface that boots "+
			"one, and leave disable_ramdisk out")
	}
	s := *t.Step()
	target, args, err := wanted(t.Node, s)
	if err != nil {
		return work{}, err
	}
	w := r.Direct.inBand().work(t)
	w.ended = func(_ context.Context, c *wire.CommandResult) (driver.Result, error) { return r.ended(t, c) }
	base := w.params
	w.params = func(ctx context.Context) (map[string]any, error) {
		params, err := base(ctx)
		if err != nil {
			return nil, err
		}
		doc := nodeDocument(t.Node)
		if target != nil {
			doc["target_raid_config"] = target
		}
		params["node"] = doc
		step := params["step"].(wire.Step) // stepWork made it
		step.Args = args
		params["step"] = step
		return params, nil
	}
	return w, nil
}

// wanted is the configuration that a step is to build, and the arguments that are left for the agent.
func wanted(n *node.Node, s node.PlannedStep) (target, args map[string]any, err error) {
	if s.Step == "delete_configuration" {
		return nil, nil, nil
	}
	want := map[string]any(n.TargetRAIDConfig)
	if s.Step == "apply_configuration" {
		given, ok := s.Args[argRAIDConfig].(map[string]any)
		if !ok || len(given) == 0 {
			return nil, nil, node.Errorf(node.Invalid, "its argument raid_config is %v; a RAID configuration is wanted: "+
				"{\"logical_disks\": […]}", s.Args[argRAIDConfig])
		}
		want = given
	}
	if len(want) == 0 {
		return nil, nil, node.Errorf(node.Invalid, "the node has no target_raid_config: set what is to be created first (PUT "+
			"/v1/nodes/%s/states/raid)", n.UUID)
	}
	flags := map[string]bool{argRoot: true, argOthers: true, argDelete: s.Step == "apply_configuration"}
	for name, byDefault := range flags {
		v, given := s.Args[name]
		if !given || v == nil {
			flags[name] = byDefault
			continue
		}
		b, ok := driver.Boolean(v)
		if !ok {
			return nil, nil, node.Errorf(node.Invalid, "its argument %s is %v; true and false are allowed", name, v)
		}
		flags[name] = b
	}
	chosen, err := raid.Volumes(want, flags[argRoot], flags[argOthers])
	if err != nil {
		return nil, nil, node.Errorf(node.Invalid, "%v", err)
	}
	if s.Step == "apply_configuration" {
		return nil, map[string]any{argDelete: flags[argDelete], argRAIDConfig: chosen}, nil
	}
	if flags[argDelete] { // an agent that does not know it would fail for its name alone
		args = map[string]any{argDelete: true}
	}
	return chosen, args, nil
}

// ended keeps what was built in raid_config.
func (r *RAID) ended(t *driver.Task, c *wire.CommandResult) (driver.Result, error) {
	if err := carriedOut(t, t.Step().Step, c); err != nil {
		return driver.Done(), err
	}
	if t.Step().Step == "delete_configuration" {
		t.Node.RAIDConfig = node.Document{}
		return driver.Result{Says: says(c)}, nil
	}
	built, err := builtConfig(c)
	if err != nil {
		return driver.Done(), err
	}
	t.Node.RAIDConfig = built
	return driver.Result{Says: describeRAID(built)}, nil
}

// builtConfig reads the raid_config that the agent answers with.
func builtConfig(c *wire.CommandResult) (node.Document, error) {
	var result struct {
		Clean  map[string]any `json:"clean_result"`
		Deploy map[string]any `json:"deploy_result"`
	}
	if err := json.Unmarshal(c.Result, &result); err != nil {
		return nil, fmt.Errorf("reading the RAID configuration that the agent built: %w", err)
	}
	built := result.Clean
	if built == nil {
		built = result.Deploy
	}
	if built["logical_disks"] == nil {
		return nil, fmt.Errorf("the agent says that it built RAID, but not which logical disks there are now")
	}
	built = maps.Clone(built)
	built["last_updated"] = node.Now().UTC().Format(time.RFC3339)
	return built, nil
}

// describeRAID is a raid_config for people.
func describeRAID(built node.Document) string {
	c, err := raid.Built(built)
	if err != nil {
		return "RAID was built"
	}
	text := "software RAID was built:"
	for i, d := range c.LogicalDisks {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %s (RAID %s, %d GiB)", c.Name(i), d.Level, d.SizeGB)
	}
	return text
}
